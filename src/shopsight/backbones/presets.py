"""Networks that are good for searching products, under short names.

A preset is a name for a backbone with published weights and nothing more: how it wants its images
is its library's own, see `shopsight.backbones.create`. Figures are those that somebody published
with a source; most presets were never run by us, and say so.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """A backbone under a short name.

    Attributes:
        name: the short one.
        model: the backbone's, with its library.
        license: of the weights, and who says so where that is not the library.
        embedding_dim: numbers in an embedding.
        size_px: side of the input; None where only the published configuration says.
        params_m: millions of parameters of the image encoder; None likewise.
        text: languages of its text encoder; empty where it has none.
        published: figures on products.
        source: who published them.
        run_by_us: whether we have run it: its figures are in docs/benchmarks.md.
        note: what else to know before it is chosen.
    """

    name: str
    model: str
    license: str
    embedding_dim: int
    size_px: int | None
    params_m: float | None
    text: str = ""
    published: str = ""
    source: str = ""
    run_by_us: bool = False
    note: str = ""


@dataclass(frozen=True)
class LeftOut:
    """A network that is no preset, and why."""

    name: str
    why: str


_APACHE = "Apache-2.0"

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "embedded",
            "embedded:tf_efficientnet_lite0",
            _APACHE,
            1280,
            224,
            3.4,
            run_by_us=True,
            note="its weights come with pip; words by the extra `words`",
        ),
        Preset(
            "general-tiny",
            "open_clip:PE-Core-T-16-384/meta",
            _APACHE,
            512,
            384,
            6.1,
            text="English",
        ),
        Preset(
            "general-small",
            "open_clip:PE-Core-S-16-384/meta",
            _APACHE,
            512,
            384,
            23.8,
            text="English",
        ),
        Preset(
            "general-base",
            "open_clip:PE-Core-B-16/meta",
            _APACHE,
            1024,
            224,
            93.7,
            text="English",
            note="the first to try with text: open, and its tokenizer comes with open_clip",
        ),
        Preset(
            "general-large",
            "open_clip:PE-Core-L-14-336/meta",
            _APACHE,
            1024,
            336,
            317.2,
            text="English",
            published="not tuned: Stanford Online Products P@1 80.1 %, VPRC 2023 P@1 33.0 %, "
            "mAP@10 36.5 %; second of the general models on eight data sets",
            source="arXiv 2603.17186",
        ),
        Preset(
            "siglip2-base",
            "open_clip:ViT-B-16-SigLIP2-256/webli",
            _APACHE,
            768,
            256,
            92.9,
            text="many languages",
        ),
        Preset(
            "siglip2-so400m",
            "open_clip:ViT-SO400M-16-SigLIP2-256/webli",
            _APACHE,
            1152,
            256,
            427.9,
            text="many languages",
        ),
        Preset(
            "ecommerce-base",
            "open_clip:hf-hub:Marqo/marqo-ecommerce-embeddings-B",
            f"{_APACHE} (its model card)",
            768,
            None,
            None,
            text="English",
            note="tuned on products; 203 M parameters with its text encoder",
        ),
        Preset(
            "ecommerce-large",
            "open_clip:hf-hub:Marqo/marqo-ecommerce-embeddings-L",
            f"{_APACHE} (its model card)",
            1024,
            None,
            None,
            text="English",
            published="marqo-ecommerce-hard: MRR +17.6 %, nDCG@10 +20.5 % to ViT-SO400M-14-SigLIP",
            source="its makers' model card",
            note="tuned on products; 652 M parameters with its text encoder",
        ),
        Preset(
            "fashion",
            "open_clip:hf-hub:Marqo/marqo-fashionSigLIP",
            f"{_APACHE} (not checked by us)",
            768,
            224,
            None,
            text="English",
            published="means of five or six data sets: text to image MRR .239 (SigLIP-B .214, "
            "FashionCLIP 2.0 .165), category P@1 .758",
            source="its makers' model card",
            note="tuned on clothes",
        ),
        Preset(
            "contest",
            "open_clip:ViT-H-14/laion2b_s32b_b79k",
            f"{_APACHE} (timm's copy)",
            1024,
            224,
            632.1,
            text="English",
            published="GUIE 2022: not tuned, with PCA, mP@5 .603; the five best teams all trained "
            "it, the best of them .728",
            source="Google Universal Image Embedding, a Kaggle contest",
            note="it crops the middle, which cuts tall products: try --resize pad",
        ),
        Preset(
            "contest-cnn",
            "open_clip:convnext_xxlarge/laion2b_s34b_b82k_augreg_rewind",
            f"{_APACHE} (timm's copy)",
            1024,
            256,
            846.5,
            text="English",
            published="the network that the winner of VPRC 2023 trained",
            source="Visual Product Recognition Challenge 2023",
            note="it crops the middle, which cuts tall products: try --resize pad",
        ),
        Preset(
            "vision-only",
            "timm:vit_base_patch16_dinov3.lvd1689m",
            "DINOv3's own: read it first",
            768,
            256,
            85.6,
            note="also small, large, huge and ConvNeXt: timm:vit_large_patch16_dinov3.lvd1689m",
        ),
        Preset(
            "open-vision-only",
            "timm:vit_base_patch14_dinov2.lvd142m",
            _APACHE,
            768,
            518,
            86.6,
        ),
    )
}

LEFT_OUT = (
    LeftOut("MobileCLIP 2", "its license is for research only"),
    LeftOut("DFN", "its license file was replaced by a longer one: read it before use"),
    LeftOut("EUPE", "not for commercial use"),
    LeftOut("C-RADIO", "NVIDIA's own license of models: read it before use"),
    LeftOut("MetaCLIP 2", "its license was not checked; open_clip has it by name"),
    LeftOut("Unicom", "neither open_clip nor timm has it"),
)


def backbone_of(name: str) -> str:
    """The backbone that a preset names; any other name as it is."""
    preset = PRESETS.get(name)
    return name if preset is None else preset.model


def near_presets(name: str) -> list[str]:
    """Presets whose names are like this one, the nearest first."""
    return difflib.get_close_matches(name, PRESETS, n=3, cutoff=0.5)
