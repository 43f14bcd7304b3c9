"""The sections of what is trained on: how DATA is read, prepared and kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shopsight.config.section import Auto, Fraction, Probability, Section, SizePx
from shopsight.preprocess import Interpolation, Mean, PadColor, Preprocess, Resize, Std
from shopsight.read_options import ReadOptions


# pydantic freezes it by the configuration of `Section`, which mypy does not see.
class DataSettings(Section, ReadOptions):  # type: ignore[misc]
    """How DATA is read, and how it is split when it brings no split.

    Further keys are the fields of `ReadOptions`: `image`, `label`, `group`, `text`, `drop`, ...

    Attributes:
        val: Fraction of the images that validate.
        test: Fraction of the images that test.
        val_classes: Fraction of the images that validate as whole classes, none of which is trained
            on: the retrieval of each epoch is scored among them, as a search meets new products.
        offline_kinds: Materialized augmentation as in Product-650: each kind is applied once, as
            extra training samples.
        offline_fraction: Fraction of the training images that each kind is applied to.
    """

    val: Fraction = 0.1
    test: Fraction = 0.1
    val_classes: Fraction = 0.0
    offline_kinds: tuple[Literal["hflip", "vflip", "rotate", "crop", "noise", "box"], ...] = ()
    offline_fraction: Probability = 0.245


class PreprocessSettings(Section):
    """What to change of the backbone's own preprocessing; "auto" keeps it.

    The keys are those of `shopsight.preprocess.Preprocess`.
    """

    size_px: SizePx | Auto = "auto"
    resize: Resize | Auto = "auto"
    crop_fraction: Annotated[float, Field(gt=0.0, le=1.0)] | Auto = "auto"
    pad_color: PadColor | Auto = "auto"
    interpolation: Interpolation | Auto = "auto"
    mean: tuple[Mean, Mean, Mean] | Auto = "auto"
    std: tuple[Std, Std, Std] | Auto = "auto"

    def applied_to(self, base: Preprocess) -> Preprocess:
        """Return `base` with every setting that is not "auto"."""
        changes = {key: value for key, value in self.model_dump().items() if value != "auto"}
        return Preprocess.model_validate(base.model_dump() | changes)


class CacheSettings(Section):
    """The cache of decoded images; `--cache-dir` says where it is kept.

    Attributes:
        mode: "auto" keeps raw pixels when they fit in half of the free disk, else JPEG;
            "off" decodes at every pass.
    """

    mode: Literal["auto", "raw", "jpeg", "off"] = "auto"
