"""The sections of the optimizer, and of its learning rate over time."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shopsight.config.section import Auto, Fraction, Positive, Section


class OptimizerSettings(Section):
    """The optimizer and its rates.

    Attributes:
        name: torch's optimizer of that name, or "lion" (Chen et al. 2023), which takes a third
            to a tenth of AdamW's rate.
        lr: Learning rate of the backbone (of everything when training from scratch), for batches
            of `training.batch_size` images, or of 32 where that is "auto", on one device.
        lr_scaling: How `lr` changes when a step takes k times as many images as it is for: times
            k ("linear"), times the root of k ("sqrt"), or not ("none"). "auto" is linear for
            "sgd" (Goyal et al. 2017) and the root for the others (Malladi et al. 2022).
        head_lr_factor: The head's rate is `lr` times this.
        layer_decay: Each stage's rate is this times that of the stage after it.
        weight_decay: Decoupled for "adamw" and "lion", an L2 penalty for "adam" and "sgd".
        momentum: Momentum of "sgd".
        nesterov: Nesterov's momentum for "sgd".
    """

    name: Literal["sgd", "adam", "adamw", "lion"] = "adamw"
    lr: Positive = 1e-3
    lr_scaling: Literal["linear", "sqrt", "none"] | Auto = "auto"
    head_lr_factor: Positive = 1.0
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    weight_decay: float = Field(default=0.01, ge=0.0, le=1e6)
    momentum: Fraction = 0.9
    nesterov: bool = False


class ScheduleSettings(Section):
    """The learning rate over time, as a factor of `optimizer.lr`.

    Attributes:
        name: The shape of the curve.
        warmup_epochs: Linear from zero; may be a fraction of an epoch.
        final_factor: Where "cosine" and "linear" end.
        gamma: Factor of "step" (each `step_epochs`) and "exponential" (each epoch).
        step_epochs: Epochs between two changes of "step".
        full_rate_steps: Steps of a training from which on its rate is `optimizer.lr`; of s fewer it
            is that times the root of s / full_rate_steps. 0: always `optimizer.lr`.
        per: "step" moves at each optimizer step, "epoch" at each epoch's end (as the originals).
    """

    name: Literal["constant", "cosine", "linear", "step", "exponential"] = "cosine"
    warmup_epochs: float = Field(default=0.0, ge=0.0, le=1e6)
    final_factor: float = Field(default=0.0, ge=0.0, le=1.0)
    gamma: Positive = 0.1
    step_epochs: int = Field(default=10, ge=1, le=1_000_000)
    full_rate_steps: int = Field(default=0, ge=0, le=1_000_000_000)
    per: Literal["step", "epoch"] = "step"
