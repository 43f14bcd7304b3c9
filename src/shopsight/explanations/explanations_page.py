"""explanations.html: each photo, its map, the answer, and the training photos that are like it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shopsight.bundle.format import BundleInfo
from shopsight.explanations.explained_image import ImageExplanation, PhotoAndMap
from shopsight.explanations.training_photos import Neighbor
from shopsight.images.heat_overlay import RAMP
from shopsight.inference.deletion import TOP
from shopsight.pages import Shot, percent_text, thumbnail, write_page
from shopsight.text import counted, listed

SIDE_PX = 420
"""Of a photo and of its map on the page; the files of the maps are larger."""

_METHODS = {
    "class activation": "exact: a linear head on the mean over a feature map",
    "occlusion": "49 parts covered one after another",
}


@dataclass(frozen=True)
class ShownExplanation:
    """One image on the page.

    Attributes:
        name: of its file.
        source: the whole path.
        said: the label with its probability.
        is_unknown: the model answers "unknown".
        photo: a data URI.
        overlay: likewise.
        facts: names and values.
        near: training photos that are like it.
        own: what is said of a training photo that is this very file.
    """

    name: str
    source: str
    said: str
    is_unknown: bool
    photo: str
    overlay: str
    facts: Sequence[tuple[str, str]]
    near: Sequence[Shot]
    own: str


def page_images(pair: PhotoAndMap) -> tuple[str, str]:
    """A photo and its map as the page shows them, as data URIs."""
    return thumbnail(pair.photo, side_px=SIDE_PX), thumbnail(pair.overlay, side_px=SIDE_PX)


def shown(one: ImageExplanation, photo: str, overlay: str) -> ShownExplanation:
    """What the page has of an image that could be read.

    Args:
        one: what is known of it.
        photo: see `page_images`.
        overlay: likewise.
    """
    return ShownExplanation(
        name=Path(one.source).name,
        source=one.source,
        said=f"{one.label} {percent_text(one.probability, 0)}",
        is_unknown=bool(one.is_unknown),
        photo=photo,
        overlay=overlay,
        facts=_facts(one),
        near=[_shot(photo, one.label) for photo in one.nearest.photos],
        own=_about_own_file(one.nearest.own_labels),
    )


def write_explanations_page(
    path: Path,
    shown_images: Sequence[ShownExplanation],
    explanations: Sequence[ImageExplanation],
    *,
    info: BundleInfo,
    notes: Sequence[str],
    training: str,
) -> Path:
    """Write the page.

    Args:
        path: the .html file.
        shown_images: those that could be read.
        explanations: all of them.
        info: the model.
        notes: what weakens the page, a line each.
        training: what the images were compared with; empty where with nothing.
    """
    methods = sorted({one.method for one in explanations if one.method is not None})
    failed = [(one.source, one.error) for one in explanations if one.error is not None]
    context = {
        "title": f"Where the model looked in {counted(len(shown_images), 'image')}",
        "lead": f"{info.backbone}, {counted(len(info.labels), 'label')}.",
        "images": shown_images,
        "failed": failed,
        "notes": notes,
        "ramp": ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in RAMP),
        "method": [
            *((name, _METHODS[name]) for name in methods),
            ("strongest", f"the {percent_text(TOP, 0)} of the photo that say most for the label"),
            *(
                [("nearest photos", f"by cosine of embeddings, among {training}")]
                if training
                else ()
            ),
            ("labels", listed(info.labels)),
        ],
    }
    return write_page(path, "explanations", context)


def _facts(one: ImageExplanation) -> list[tuple[str, str]]:
    facts = [("file", one.source)]
    if one.predicted and one.label not in one.predicted:
        facts.append(("the model says", ", ".join(one.predicted)))
    share = "nothing speaks for it"
    if one.top_share is not None:
        share = f"{percent_text(one.top_share, 0)} of what speaks for it"
    facts.append((f"the strongest {percent_text(TOP, 0)} of the photo hold", share))
    covered = f"{percent_text(one.probability, 0)} → {percent_text(one.covered_probability, 0)}"
    facts.append(("probability with that covered", covered))
    facts.append(("found by", str(one.method)))
    return facts


def _shot(photo: Neighbor, label: str) -> Shot:
    is_same = label in photo.label.split(" | ")
    tone = "" if not photo.label else "good" if is_same else "bad"
    name = Path(photo.name).name
    return Shot(photo.image, photo.label or "no label", tone, f"{photo.similarity:.3f}", name)


def _about_own_file(labels: Sequence[str]) -> str:
    return f"This very file is a training photo, labeled {listed(labels)}." if labels else ""
