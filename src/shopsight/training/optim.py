"""Optimizer groups with layer-wise rates, and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from shopsight.backbones.stages import Stages
from shopsight.config.sections import OptimizerSettings, ScheduleSettings

ADAM_BETAS = (0.9, 0.999)


def parameter_groups(
    backbone: nn.Module,
    stages: Stages,
    head: nn.Module,
    settings: OptimizerSettings,
) -> list[dict[str, Any]]:
    """Groups by (rate, decay); frozen parameters are left out.

    The last stage's rate is `lr`, each earlier one's `layer_decay` times the next's, the head's
    `lr * head_lr_factor`. Biases and one-dimensional parameters (norms, scales) do not decay.

    Source: layer-wise decay: Clark et al. 2020, "ELECTRA"; no decay on norms: He et al. 2019,
        "Bag of Tricks for Image Classification".
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}

    def add(parameter: nn.Parameter, rate: float) -> None:
        if parameter.requires_grad:
            decay = settings.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)

    parameters = dict(backbone.named_parameters())
    for depth, stage in enumerate(reversed(stages)):
        for name in stage:
            add(parameters[name], settings.lr * settings.layer_decay**depth)
    for parameter in head.parameters():
        add(parameter, settings.lr * settings.head_lr_factor)
    return [
        {"params": members, "lr": rate, "weight_decay": decay}
        for (rate, decay), members in groups.items()
    ]


def create_optimizer(
    groups: list[dict[str, Any]], settings: OptimizerSettings
) -> torch.optim.Optimizer:
    if settings.name == "sgd":
        return torch.optim.SGD(
            groups, lr=settings.lr, momentum=settings.momentum, nesterov=settings.nesterov
        )
    kind = torch.optim.Adam if settings.name == "adam" else torch.optim.AdamW
    return kind(groups, lr=settings.lr, betas=ADAM_BETAS)


def schedule_factor(
    settings: ScheduleSettings, *, steps_per_epoch: int, epochs: int
) -> Callable[[int], float]:
    """The factor of the learning rate at optimizer step `step`, 0 <= step < steps.

    With `per = "epoch"` the factor changes only at an epoch's start, as in works that call their
    scheduler once an epoch.
    """
    warmup = round(settings.warmup_epochs * steps_per_epoch)
    total = max(1, epochs * steps_per_epoch - warmup)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        epoch = step // steps_per_epoch
        if settings.per == "epoch":
            step = max(warmup, epoch * steps_per_epoch)
        progress = min(1.0, (step - warmup) / total)
        match settings.name:
            case "cosine":
                wave = 0.5 * (1.0 + math.cos(math.pi * progress))
                return settings.final_factor + (1.0 - settings.final_factor) * wave
            case "linear":
                return 1.0 + (settings.final_factor - 1.0) * progress
            case "step":
                return float(settings.gamma ** (epoch // settings.step_epochs))
            case "exponential":
                exact = step / steps_per_epoch if settings.per == "step" else epoch
                return float(settings.gamma**exact)
            case _:
                return 1.0

    return factor
