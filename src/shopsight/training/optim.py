"""The optimizer with layer-wise learning rates, and the schedules of the rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from shopsight.backbones.stages import Stages
from shopsight.config.optimizer_settings import OptimizerSettings, ScheduleSettings
from shopsight.training.lion import Lion

ADAM_BETAS = (0.9, 0.999)


def parameter_groups(
    backbone: nn.Module,
    stages: Stages,
    new: Iterable[nn.Parameter],
    settings: OptimizerSettings,
) -> list[dict[str, Any]]:
    """Parameter groups by learning rate and weight decay; frozen parameters are in none.

    The last stage learns at `lr`, each stage before it at `layer_decay` times the rate of the next
    (stage k of 0 .. K - 1 at lr * layer_decay^(K - 1 - k)), neck and head at
    `lr * head_lr_factor`.
    Weight decay applies to matrices and kernels alone: shrinking a bias or a norm's scale does not
    make the function smoother, and a scale near zero switches a channel off.

    Args:
        backbone: its parameters that require gradients are trained.
        stages: names of its parameters, from the input to the embedding.
        new: those of the head, and of the loss where it has some.
        settings: rates and decay.

    Returns:
        Groups as `torch.optim` takes them.

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
            add(parameters.pop(name), settings.lr * settings.layer_decay**depth)
    # What is in no stage is new, as the head is: the neck.
    for parameter in (*parameters.values(), *new):
        add(parameter, settings.lr * settings.head_lr_factor)
    return [
        {"params": members, "lr": rate, "weight_decay": decay}
        for (rate, decay), members in groups.items()
    ]


def create_optimizer(
    groups: list[dict[str, Any]], settings: OptimizerSettings, *, fused: bool = False
) -> torch.optim.Optimizer:
    """SGD with momentum, Adam, AdamW or Lion over the groups, whose rates and decays count.

    Args:
        groups: see `parameter_groups`.
        settings: the kind and its numbers.
        fused: whether a step is one kernel for many tensors, see `may_fuse`; else torch decides.
    """
    # None, and not False: on CUDA torch then at least groups tensors ("foreach").
    fuse = True if fused else None
    if settings.name == "sgd":
        return torch.optim.SGD(
            groups,
            lr=settings.lr,
            momentum=settings.momentum,
            nesterov=settings.nesterov,
            fused=fuse,
        )
    if settings.name == "lion":
        return Lion(groups, lr=settings.lr)
    kind = torch.optim.Adam if settings.name == "adam" else torch.optim.AdamW
    return kind(groups, lr=settings.lr, betas=ADAM_BETAS, fused=fuse)


def may_fuse(device: torch.device, *, mixed_precision: bool, clips: bool) -> bool:
    """Whether the optimizer's step may be one kernel.

    On CUDA alone: results on the CPU stay as they are. Lightning refuses to clip the gradients of
    a fused optimizer in mixed precision, because with fp16 that would undo the loss scaling by
    itself, and does not tell bf16 from fp16 there.

    Args:
        device: of the parameters.
        mixed_precision: whether training is in bf16 or fp16.
        clips: whether gradients are clipped.
    """
    return device.type == "cuda" and not (mixed_precision and clips)


def schedule_factor(
    settings: ScheduleSettings, *, steps_per_epoch: int, epochs: int
) -> Callable[[int], float]:
    """A function that gives the factor of the learning rate at each optimizer step.

    Steps count from 0 over all epochs. The first `warmup` steps rise linearly to 1, at step s with
    (s + 1) / warmup, so that the first step already moves. After them, with p the fraction of the
    remaining steps that is over (0 at the first of them), e the epoch and f the final factor:

        cosine        f + (1 - f) (1 + cos(pi p)) / 2      flat at both ends
        linear        1 + (f - 1) p
        step          gamma^floor(e / step_epochs)
        exponential   gamma^(epochs so far, fractions included)
        constant      1

    All of it is lower in a short training: a high rate spoils in its first steps what a probe knew,
    and few steps do not come back from that. The distance that s steps of random directions go is
    the root of s, so with s below `full_rate_steps` the rate is that much lower.

    With `per = "epoch"` the factor changes only at an epoch's start, as in works that call their
    scheduler once an epoch.

    Args:
        settings: name and numbers of the schedule.
        steps_per_epoch: optimizer steps, which are fewer than batches when gradients accumulate.
        epochs: of the whole training.

    Source: cosine: Loshchilov and Hutter 2017, "SGDR"; warmup: Goyal et al. 2017, "Accurate, Large
        Minibatch SGD".
    """
    warmup = round(settings.warmup_epochs * steps_per_epoch)
    steps = epochs * steps_per_epoch
    total = max(1, steps - warmup)
    height = 1.0
    if steps < settings.full_rate_steps:
        height = math.sqrt(max(1, steps) / settings.full_rate_steps)

    def factor(step: int) -> float:
        return height * shape(step)

    def shape(step: int) -> float:
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
