"""The sections of the network, and of the classifiers that it has without being trained."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from shopsight.config.reach import NOTHING, READS
from shopsight.config.section import Fraction, Positive, Section, Text
from shopsight.head_settings import HeadSettings
from shopsight.neck_settings import NeckSettings
from shopsight.new_text_settings import NewTextSettings


class ModelSettings(Section):
    """Backbone and head.

    Attributes:
        backbone: "library:name", e.g. "embedded:tf_efficientnet_lite0", "timm:resnet18".
        weights: "pretrained", "random", or the path of a weight file.
        neck: The layers from the backbone to the embedding.
        head: The layers from the embedding to the logits.
        drop_path: Stochastic depth, where the backbone has it.
        conv_dropout: Dropout after the convolutions of `shopsight:` networks; unset: their own.
        new_text: A text encoder with new weights in place of the backbone's, for
            `training.mode = "contrastive"`; unset: the backbone's own.
        keep_text: Whether the bundle keeps the backbone's text encoder, where it has one and its
            weights were not trained: the bundle is then searched by words, and is larger.
    """

    backbone: Annotated[str, READS] = "embedded:tf_efficientnet_lite0"
    weights: Annotated[str, READS] = "pretrained"
    neck: NeckSettings = NeckSettings()
    head: HeadSettings = HeadSettings()
    drop_path: Fraction = 0.0
    conv_dropout: Fraction | None = None
    new_text: NewTextSettings | None = None
    keep_text: bool = True


class ZeroShotSettings(Section):
    """Classes by their names, for a backbone with a text encoder.

    Attributes:
        prompts: Sentences with `{}` where the label goes; the direction of a class is the mean of
            theirs. Empty: those of `shopsight.words.class_lists.PROMPTS`.
    """

    prompts: Annotated[tuple[Text, ...], Field(max_length=1000), NOTHING] = ()

    @field_validator("prompts")
    @classmethod
    def _have_a_place(cls, prompts: tuple[str, ...]) -> tuple[str, ...]:
        for prompt in prompts:
            if prompt.count("{}") != 1 or "{" in prompt.replace("{}", ""):
                raise ValueError(f"{prompt[:100]!r} has not one {{}}, where the label goes")
        return prompts


class ProbeSettings(Section):
    """The linear probe: logistic regression on features of the frozen backbone.

    Attributes:
        penalties: L2 penalties to try; the one with the lowest validation log loss is kept.
        within: Share of the penalty that asks what photos of one class differ in.
        adapt: Whether to say, before any fine-tuning, what a layer on these features would bring to
            a search (`shopsight adapt`).
    """

    penalties: Annotated[tuple[Positive, ...], Field(max_length=100)] = (
        3e-4,
        1e-3,
        3e-3,
        1e-2,
        3e-2,
    )
    within: Fraction = 0.1
    adapt: bool = True
