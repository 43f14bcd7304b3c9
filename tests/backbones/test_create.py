from __future__ import annotations

import logging
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from timm.data.constants import OPENAI_CLIP_MEAN
from torch import nn

from shopsight.backbones import efficientnet_lite
from shopsight.backbones.create import create_backbone
from shopsight.backbones.spec import Backbone
from shopsight.backbones.weights import read_weights
from shopsight.errors import ConfigError, ExtraMissingError, WeightsError
from shopsight.preprocess import IMAGENET_MEAN, Preprocess

SMALL = (
    "timm:resnet18",
    "timm:mobilenetv3_small_050",
    "timm:convnext_atto",
    "timm:vit_tiny_patch16_224",
    "shopsight:fashion_cnn",
    "shopsight:fashion_net",
    "embedded:tf_efficientnet_lite0",
)


def embed(backbone: Backbone, size_px: int | None = None) -> torch.Tensor:
    size_px = size_px or backbone.preprocess.size_px
    with torch.inference_mode():
        out = backbone.module.eval()(torch.randn(2, 3, size_px, size_px))
    assert isinstance(out, torch.Tensor)
    return out


@pytest.mark.parametrize("name", SMALL)
def test_width_stages_and_name(name: str) -> None:
    backbone = create_backbone(name, weights="random")
    assert embed(backbone).shape == (2, backbone.embedding_dim)
    in_stages = [name for stage in backbone.stages for name in stage]
    assert sorted(in_stages) == sorted(key for key, _ in backbone.module.named_parameters())
    assert len(backbone.stages) >= 5
    assert backbone.name == name
    assert backbone.weights == "random"


def test_stages_go_from_input_to_output() -> None:
    for name, first, last in (
        ("timm:resnet18", "conv1.weight", "layer4.1.bn2.bias"),
        ("timm:vit_tiny_patch16_224", "patch_embed.proj.weight", "norm.bias"),
        ("timm:caformer_s18", "stem.conv.weight", "head.norm.bias"),
        ("shopsight:fashion_cnn", "blocks.0.0.weight", "neck.bias"),
        ("embedded:tf_efficientnet_lite0", "conv_stem.weight", "bn2.bias"),
    ):
        stages = create_backbone(name, weights="random").stages
        assert first in stages[0]
        assert last in stages[-1]


def test_embedded_weights_match_the_published_order() -> None:
    """The published tensors are in timm's order: zipping by order is an independent mapping."""
    backbone = create_backbone("embedded:tf_efficientnet_lite0")
    published = list(read_weights(efficientnet_lite._file("0")).values())
    full = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    assert len(published) == len(full.state_dict()) == 296
    full.load_state_dict(dict(zip(full.state_dict(), published, strict=True)))
    for name, value in backbone.module.state_dict().items():
        assert torch.equal(value, full.state_dict()[name]), name
    assert backbone.weights.startswith("pretrained: efficientnet-lite0")
    assert backbone.preprocess == Preprocess(
        size_px=224, resize="pad", crop_fraction=0.875, mean=(0.5,) * 3, std=(0.5,) * 3
    )


@pytest.mark.parametrize(("number", "size_px"), [("1", 240), ("2", 260)])
def test_larger_embedded_ones(number: str, size_px: int) -> None:
    try:
        backbone = create_backbone(f"embedded:tf_efficientnet_lite{number}")
    except ExtraMissingError:
        pytest.skip("the lite extra is not installed")
    assert backbone.preprocess.size_px == size_px
    published = read_weights(efficientnet_lite._file(number))
    assert len(published) == 386
    assert torch.equal(
        backbone.module.state_dict()["conv_stem.weight"], published["_conv_stem.weight"]
    )


@pytest.mark.parametrize(
    ("name", "count"), [("shopsight:fashion_cnn", 142_474), ("shopsight:fashion_net", 477_666)]
)
def test_parameters_of_the_small_nets_with_a_head_for_ten(name: str, count: int) -> None:
    backbone = create_backbone(name, weights="random")
    head = nn.Linear(backbone.embedding_dim, 10)
    both = [*backbone.module.parameters(), *head.parameters()]
    assert sum(parameter.numel() for parameter in both) == count
    assert backbone.preprocess.size_px == 28
    assert embed(backbone, size_px=32).shape == (2, backbone.embedding_dim)


def test_dropout_after_convolutions_can_be_set() -> None:
    for name, own in (("shopsight:fashion_cnn", 0.2), ("shopsight:fashion_net", 0.0)):
        for asked, expected in ((None, own), (0.35, 0.35)):
            module = create_backbone(name, weights="random", conv_dropout=asked).module
            found = {part.p for part in module.modules() if isinstance(part, nn.Dropout2d)}
            assert found == {expected}
    with pytest.raises(ConfigError, match="no dropout after its convolutions"):
        create_backbone("timm:resnet18", weights="random", conv_dropout=0.1)


def test_preprocess_comes_from_timm() -> None:
    resnet = create_backbone("timm:resnet18.tv_in1k", weights="random").preprocess
    assert (resnet.size_px, resnet.resize, resnet.crop_fraction) == (224, "crop", 0.875)
    assert (resnet.interpolation, resnet.mean) == ("bilinear", IMAGENET_MEAN)
    vit = create_backbone("timm:vit_tiny_patch16_224", weights="random").preprocess
    assert (vit.mean, vit.crop_fraction, vit.interpolation) == ((0.5,) * 3, 0.9, "bicubic")


def test_size_and_drop_path() -> None:
    vit = create_backbone("timm:vit_tiny_patch16_224", weights="random", size=96, drop_path=0.1)
    assert vit.preprocess.size_px == 96
    assert embed(vit).shape == (2, 192)
    assert embed(vit, size_px=64).shape == (2, 192)  # training may change the size on its way
    with pytest.raises(ConfigError, match="no stochastic depth"):
        create_backbone("timm:vgg11", weights="random", drop_path=0.1)
    with pytest.raises(ConfigError, match="no stochastic depth"):
        create_backbone("shopsight:fashion_cnn", weights="random", drop_path=0.1)


def test_unknown_names() -> None:
    with pytest.raises(ConfigError, match="library:name"):
        create_backbone("resnet18")
    with pytest.raises(ConfigError, match="did you mean timm:resnet18"):
        create_backbone("timm:resnet_18")
    with pytest.raises(ConfigError, match="did you mean embedded:tf_efficientnet_lite"):
        create_backbone("embedded:efficientnet_lite0")
    with pytest.raises(ConfigError, match="neither a run nor a bundle"):
        create_backbone("local:nowhere")


def test_a_tag_that_timm_does_not_have() -> None:
    for weights in ("pretrained", "random"):
        with pytest.raises(ConfigError, match=r"did you mean timm:resnet18\.a1_in1k") as caught:
            create_backbone("timm:resnet18.a1_in1", weights=weights)
        assert caught.value.where == "model.backbone"
        assert "timm:resnet18.tv_in1k" in caught.value.details
        assert f"... {len(caught.value.details)} in all" in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        create_backbone("timm:resnet18.nosuch")
    assert "did you mean" not in str(caught.value)


def test_no_pretrained_weights() -> None:
    with pytest.raises(WeightsError, match="trained from scratch"):
        create_backbone("shopsight:fashion_cnn")
    with pytest.raises(WeightsError, match="timm has no pretrained weights for resnetblur18"):
        create_backbone("timm:resnetblur18")


def test_offline_says_what_was_looked_for_and_the_ways_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Sockets are blocked in tests: exactly the user without network and without a cache."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError) as caught:
        create_backbone("timm:resnet18.a1_in1k")
    text = str(caught.value)
    assert f"looked for timm/resnet18.a1_in1k in {tmp_path}\n" in text
    assert [line.strip().removeprefix("fix: ")[:2] for line in text.splitlines()[-3:]] == [
        "1.", "2.", "3.",
    ]  # fmt: skip
    assert "--set model.weights=FILE" in text
    assert "--backbone embedded:tf_efficientnet_lite0" in text


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_weights_from_a_file(suffix: str, tmp_path: Path) -> None:
    source = timm.create_model("resnet18", pretrained=False, num_classes=7)
    path = tmp_path / f"weights.{suffix}"
    if suffix == "safetensors":
        safetensors.torch.save_file(source.state_dict(), path)
    else:
        torch.save({"state_dict": {f"module.{k}": v for k, v in source.state_dict().items()}}, path)
    for backbone in (
        create_backbone("timm:resnet18", weights=str(path)),
        create_backbone(f"local:timm:resnet18@{path}"),
    ):
        assert backbone.name == "timm:resnet18"
        assert backbone.weights == f"file: weights.{suffix}"
        for name, value in backbone.module.state_dict().items():
            assert torch.equal(value, source.state_dict()[name])


def test_original_names_are_renamed_by_timm(tmp_path: Path) -> None:
    """ConvNeXt's authors named the tensors otherwise; timm knows how."""
    source = timm.create_model("convnext_atto", pretrained=False)
    original = {
        name.replace("stem.", "downsample_layers.0.")
        .replace(".downsample.", "#")
        .replace(".conv_dw.", ".dwconv.")
        .replace(".mlp.fc1.", ".pwconv1.")
        .replace(".mlp.fc2.", ".pwconv2.")
        .replace("head.fc.", "head.")
        .replace("head.norm.", "norm."): value
        for name, value in source.state_dict().items()
    }
    renamed = {}
    for name, value in original.items():
        if "#" in name:
            stage, rest = name.removeprefix("stages.").split("#")
            name = f"downsample_layers.{stage}.{rest}"  # noqa: PLW2901
        renamed[name.replace(".blocks.", ".")] = value
    path = tmp_path / "convnext.safetensors"
    safetensors.torch.save_file(renamed, path)
    backbone = create_backbone("timm:convnext_atto", weights=str(path))
    assert torch.equal(
        backbone.module.state_dict()["stages.1.downsample.1.weight"],
        source.state_dict()["stages.1.downsample.1.weight"],
    )


def test_a_wrong_file_lists_names_and_shapes(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    wrong = timm.create_model("resnet18", pretrained=False, num_classes=0).state_dict()
    del wrong["layer1.0.conv1.weight"]
    wrong["extra"] = torch.zeros(1)
    wrong["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    safetensors.torch.save_file(wrong, path)
    with pytest.raises(WeightsError) as caught:
        create_backbone("timm:resnet18", weights=str(path))
    text = str(caught.value)
    assert "conv1.weight: (64, 1, 7, 7) in the file, (64, 3, 7, 7) in the network" in text
    assert "layer1.0.conv1.weight: not in the file" in text
    assert "extra: not in the network" in text
    safetensors.torch.save_file({"nothing": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="120 not in the file, 1 not in the network") as caught:
        create_backbone("timm:resnet18", weights=str(path))
    assert len(str(caught.value).splitlines()) == 8  # what, five details, their total, the fix


def test_of_many_that_do_not_fit_those_are_shown_that_a_reader_knows(tmp_path: Path) -> None:
    path = tmp_path / "resnet34.safetensors"
    safetensors.torch.save_file(timm.create_model("resnet34", num_classes=0).state_dict(), path)
    with pytest.raises(WeightsError) as caught:
        create_backbone("timm:resnet18", weights=str(path))
    assert "0 of another shape, 0 not in the file, 96 not in the network" in caught.value.what
    assert len(caught.value.details) == 96
    shown = caught.value.details[:5]
    assert all(".conv" in line and "not in the network" in line for line in shown)


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such weight file"):
        create_backbone("timm:resnet18", weights=str(tmp_path / "none.pth"))
    junk = tmp_path / "junk.pth"
    for content in (b"not a checkpoint", b"hello, this is text", b"<!DOCTYPE html>", b"", b"\x80"):
        junk.write_bytes(content)
        with pytest.raises(WeightsError, match="neither safetensors nor"):
            create_backbone("timm:resnet18", weights=str(junk))
    torch.save([1, 2], junk)
    with pytest.raises(WeightsError, match="no tensors by name"):
        create_backbone("timm:resnet18", weights=str(junk))


def test_pickled_code_is_refused_in_our_own_words(tmp_path: Path) -> None:
    path = tmp_path / "pickled.pth"
    torch.save({"model": nn.Linear(2, 2)}, path)
    with pytest.raises(WeightsError, match=r"holds Python objects \(torch.nn.*Linear\)") as caught:
        create_backbone("timm:resnet18", weights=str(path))
    text = str(caught.value)
    assert "can run code" in text
    assert "torch.save(model.state_dict()" in text
    assert "\x1b" not in text
    assert "weights_only" not in text


def test_a_weight_file_alone_does_not_name_its_network(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file({"nothing": torch.zeros(1)}, path)
    with pytest.raises(ConfigError, match="does not name its network") as caught:
        create_backbone(f"local:{path}")
    assert f"local:timm:resnet18@{path}" in str(caught.value)


TINY_CLIP = """{"embed_dim": 24, "vision_cfg": {"image_size": 32, "layers": 2, "width": 32,
"head_width": 16, "patch_size": 8}, "text_cfg": {"context_length": 8, "vocab_size": 64,
"width": 32, "heads": 2, "layers": 1}}"""


def test_open_clip_visual_tower(tmp_path: Path) -> None:
    open_clip = pytest.importorskip("open_clip")
    (tmp_path / "tiny-clip.json").write_text(TINY_CLIP)
    open_clip.add_model_config(tmp_path)
    backbone = create_backbone("open_clip:tiny-clip", weights="random")
    assert backbone.embedding_dim == 24
    assert embed(backbone).shape == (2, 24)
    assert (backbone.preprocess.size_px, backbone.preprocess.mean) == (32, OPENAI_CLIP_MEAN)
    assert [stage[0].split(".")[0] for stage in backbone.stages] == [
        "class_embedding", "transformer", "transformer", "proj",
    ]  # fmt: skip
    whole = open_clip.create_model("tiny-clip")
    path = tmp_path / "clip.safetensors"
    safetensors.torch.save_file(whole.state_dict(), path)
    loaded = create_backbone("open_clip:tiny-clip", weights=str(path)).module.state_dict()
    assert torch.equal(loaded["proj"], whole.visual.state_dict()["proj"])
    with pytest.raises(ConfigError, match="which weights"):
        create_backbone("open_clip:tiny-clip")
    with pytest.raises(ConfigError, match="no weights 'nope'"):
        create_backbone("open_clip:RN50/nope")


def test_open_clip_does_not_write_to_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    open_clip = pytest.importorskip("open_clip")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (tmp_path / "tiny-clip.json").write_text(TINY_CLIP)
    open_clip.add_model_config(tmp_path)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])  # as in a process of its own
    create_backbone("open_clip:tiny-clip", weights="random")
    with pytest.raises(WeightsError, match="ViT-B-32-laion2B-s34B-b79K in ") as caught:
        create_backbone("open_clip:ViT-B-32/laion2b_s34b_b79k")
    assert f" in {tmp_path}\n" in str(caught.value)
    assert capsys.readouterr().err == ""
    assert (root.handlers, root.filters) == ([], [])
    logging.warning("from others")
    assert "from others" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")
def test_fastervit_tells_its_licence(said: list[str]) -> None:
    pytest.importorskip("timm")
    try:
        backbone = create_backbone("fastervit:faster_vit_0_224", weights="random")
    except ExtraMissingError:
        pytest.skip("the fastervit extra is not installed")
    assert "non-commercial" in said[0]
    assert embed(backbone).shape == (2, backbone.embedding_dim)
    with pytest.raises(ConfigError, match="224 px only"):
        create_backbone("fastervit:faster_vit_0_224", weights="random", size=160)
