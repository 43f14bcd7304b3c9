"""The one description of how an image becomes the network's input.

A `Preprocess` comes with the pretrained weights and is stored in the bundle, so that training,
evaluation and prediction use the same. This module holds the value only:
`shopsight.images.model_input` applies the geometry, `shopsight.models.product_model` the mean and
standard deviation.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

MiddlePart = Annotated[float, Field(ge=0.2, lt=1.0)]
"""A part of a square's side."""
MOST_AVERAGED = 4
Channel = Annotated[int, Field(ge=0, le=255)]
Color = tuple[Channel, Channel, Channel]
Mean = Annotated[float, Field(ge=-100.0, le=100.0, allow_inf_nan=False)]
Std = Annotated[float, Field(gt=1e-6, le=100.0, allow_inf_nan=False)]
PadColor = Color | Literal["edge"]
Resize = Literal["pad", "crop", "squash"]
Interpolation = Literal["bilinear", "bicubic"]

PREPROCESS_VERSION = 2
"""Raised whenever the same file and the same Preprocess give other pixels than before.

Part of the keys under which prepared images and their features are cached.
"""

WHITE: Color = (255, 255, 255)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Preprocess(BaseModel):
    """How a file becomes a square RGB image, and that an array of numbers.

    EXIF orientation is applied, an ICC profile converted to sRGB, and transparency composited onto
    the pad color (white when that is "edge"). These three have no switch: without them the network
    would see another image than people do.

    Attributes:
        size_px: side of the square input, pixels.
        resize: "pad" keeps the whole image and its aspect, "crop" the middle, "squash" neither.
        crop_fraction: with "crop", the part of the resized short side that is kept, as a
            fraction (224/256 = .875).
        pad_color: RGB, or "edge" for the mean color of the image's outermost pixels.
        interpolation: the filter, antialiased, on 8-bit values.
        mean: per channel, of values scaled to 0..1.
        std: per channel, likewise.
        boxes: the network sees the part of an image that its box says, and no image without one.
        average: middle parts of the square, as fractions of its side, that the network sees too,
            each as large as the square; its embedding is the mean over all of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size_px: int = Field(default=224, ge=8, le=4096)
    resize: Resize = "pad"
    crop_fraction: float = Field(default=0.875, gt=0.0, le=1.0)
    pad_color: PadColor = WHITE
    interpolation: Interpolation = "bicubic"
    mean: tuple[Mean, Mean, Mean] = IMAGENET_MEAN
    std: tuple[Std, Std, Std] = IMAGENET_STD
    boxes: bool = False
    average: Annotated[tuple[MiddlePart, ...], Field(max_length=MOST_AVERAGED)] = ()

    @model_serializer(mode="wrap")
    def _without_unused(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """One view of a whole image is written, and hashed, as it was before there were others."""
        written: dict[str, Any] = plain(self)
        for name in ("boxes", "average"):
            if not getattr(self, name):
                written.pop(name, None)
        return written

    @property
    def views(self) -> int:
        """How often the network looks at an image, but for mirror images."""
        return 1 + len(self.average)

    @property
    def framing(self) -> str:
        """In words: what of an image the network sees, and how large."""
        shown = {
            "pad": "whole image, padded",
            "squash": "whole image, squashed",
            "crop": f"middle {100 * self.crop_fraction:g} %",
        }[self.resize]
        parts = "".join(f" + its middle {100 * part:g} %" for part in self.average)
        return f"{shown}, {self.size_px} px{' of its box' * self.boxes}{parts}"

    def recipe_section(self) -> dict[str, Any]:
        """What the section `[preprocess]` of a recipe says; the rest is in `[framing]`."""
        return self.model_dump(exclude={"boxes", "average"})

    @property
    def of_whole_images(self) -> Preprocess:
        """The same for images that are all that there is to see: golden ones, or crops."""
        return self.model_copy(update={"boxes": False})

    @property
    def matte(self) -> Color:
        """The color onto which transparent pixels are composited."""
        return WHITE if self.pad_color == "edge" else self.pad_color
