"""The section of augmentation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from shopsight.config.section import Bound, Fraction, Probability, Section, Span


class AugmentSettings(Section):
    """What training changes in each image, sampled anew per (seed, epoch, sample).

    Geometry is one warp, color one matrix. A probability of 0 switches a change off.

    Attributes:
        hflip_prob: Probability of a mirror image.
        vflip_prob: Probability of an image upside down.
        affine_prob: Probability of the warp.
        affine_kinds: One is chosen per image: "all" uses scale, rotation and shift together.
        scale: Side of the window that is kept, as a fraction of the side (above 1 zooms out).
        rotate_deg: Largest rotation, degrees.
        translate: Largest shift, as a fraction of the side.
        aspect_jitter: Largest change of aspect, as a factor less one (.2: from 1/1.2 to 1.2).
        color_jitter_prob: Probability of a change of color.
        color_kinds: One is chosen per image ("jitter" uses brightness, contrast, saturation
            and hue together).
        brightness: The factor's range.
        contrast: The factor's range.
        saturation: The factor's range.
        hue: Largest turn, as a fraction of the color circle.
        noise_prob: Probability of Gaussian noise.
        noise_std: Largest standard deviation, of 255; each image's is uniform from 0.
        blur_prob: Probability of a blur.
        blur_kinds: One is chosen per image.
        blur_px: Largest kernel side.
        random_erasing_prob: Probability that a box is covered (Zhong et al. 2017).
        random_erasing_area: Fraction of the image that the box covers.
        mix_prob: Probability that an image is mixed with another one.
        mixup: Alpha of mixup's Beta distribution; 0 is off.
        cutmix: Alpha of CutMix's Beta distribution; 0 is off. With both on, each gets half.
    """

    hflip_prob: Probability = 0.5
    vflip_prob: Probability = 0.0
    affine_prob: Probability = 1.0
    affine_kinds: tuple[Literal["all", "rotate", "scale", "translate"], ...] = ("all",)
    scale: Span = (0.75, 1.0)
    rotate_deg: float = Field(default=8.0, ge=0.0, le=180.0)
    translate: Fraction = 0.05
    aspect_jitter: Bound = 0.0
    color_jitter_prob: Probability = 0.8
    color_kinds: tuple[
        Literal["jitter", "brightness-contrast", "hue-saturation", "clahe", "channel-shuffle"], ...
    ] = ("jitter",)
    brightness: Span = (0.8, 1.2)
    contrast: Span = (0.8, 1.2)
    saturation: Span = (0.8, 1.2)
    hue: float = Field(default=0.0, ge=0.0, le=0.5)
    noise_prob: Probability = 0.0
    noise_std: Bound = 10.0
    blur_prob: Probability = 0.0
    blur_kinds: tuple[Literal["box", "gaussian", "median"], ...] = ("gaussian",)
    blur_px: int = Field(default=5, ge=3, le=255)
    random_erasing_prob: Probability = 0.0
    random_erasing_area: Span = (0.02, 0.2)
    mix_prob: Probability = 1.0
    mixup: Bound = 0.0
    cutmix: Bound = 0.0

    @classmethod
    def none(cls) -> AugmentSettings:
        """Return the settings that change nothing."""
        return cls(hflip_prob=0.0, affine_prob=0.0, color_jitter_prob=0.0)
