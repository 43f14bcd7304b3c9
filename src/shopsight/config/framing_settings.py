"""The section `[framing]`: how much of an image a network is to see, and how large."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shopsight.config.section import Section
from shopsight.preprocess import MOST_AVERAGED, MiddlePart

MULTIPLE_PX = 32
"""What networks shrink images by."""
CropFraction = Annotated[float, Field(gt=0.0, le=1.0)]


class FramingSettings(Section):
    """The search for a framing, before anything is trained.

    A framing is what `preprocess.resize`, `crop_fraction` and `size_px` say together. Whoever sets
    one of these has chosen, and nothing is searched.

    Attributes:
        search: Whether to compare framings on this data, by probes on frozen features.
        crops: Center crops to compare with the whole image, as parts of the short side.
        sizes: Sizes to compare, as multiples of the backbone's own.
        max_cost: The most that one image may cost the network, relative to its own size; the cost
            grows with the square of the size.
        images: Images that the last ones are compared by; a third of them rules out the others.
        looser: Steps of `crops` that fine-tuning shows more of the image than the probe prefers;
            after 1.0 comes the whole image.
        boxes: Whether the network sees the part of an image that its row's box says, instead of
            the whole image; then no image without a box is answered.
        average: Middle parts of the framed square that the network sees too, such as [0.75], as
            fractions of its side; the embeddings are averaged. Each costs as much as the square.
        race_steps: Steps of the first round of a race, of real steps on a part of the training
            images, between the probe's choice and the two that show more; 0: `looser` decides.
    """

    search: bool = False
    crops: Annotated[tuple[CropFraction, ...], Field(max_length=20)] = (1.0, 0.875, 0.75, 0.6, 0.5)
    sizes: Annotated[
        tuple[Annotated[float, Field(gt=0.1, le=8.0)], ...], Field(min_length=1, max_length=20)
    ] = (0.85, 1.0, 1.15, 1.25, 1.5)
    max_cost: Annotated[float, Field(gt=0.0, le=64.0)] = 1.35
    images: Annotated[int, Field(ge=100, le=100_000)] = 1_200
    looser: Annotated[int, Field(ge=0, le=20)] = 1
    race_steps: Annotated[int, Field(ge=0, le=100_000)] = 0
    boxes: bool = False
    average: Annotated[tuple[MiddlePart, ...], Field(max_length=MOST_AVERAGED)] = ()

    def sizes_px(self, own_px: int) -> tuple[int, ...]:
        """The sizes to compare, each once.

        Args:
            own_px: the backbone's own.
        """
        multiples = (max(1, round(factor * own_px / MULTIPLE_PX)) for factor in self.sizes)
        return tuple(dict.fromkeys(MULTIPLE_PX * one for one in multiples))
