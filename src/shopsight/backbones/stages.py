"""A network's parameters in the order in which the image passes them, grouped into stages.

Layer-wise learning rates and freezing both need this order: stage 0 is the stem, the last stage is
next to the head.
"""

from __future__ import annotations

import re

from timm.models._manipulate import group_with_matcher
from torch import nn

Stages = tuple[tuple[str, ...], ...]

_NUMBERED = re.compile(
    r"(?:^|\.)(?:stages|blocks|layers|levels|resblocks|features)\.(\d+)\.|(?:^|\.)layer(\d+)\."
)
# Registered first by some networks, applied last.
_LAST = re.compile(r"(?:^|\.)(?:proj|ln_post|attn_pool|attnpool)(?:\.|$)")


def stages_of(module: nn.Module) -> Stages:
    """Names of all parameters, each in exactly one stage, from input to output.

    timm's networks say their order; others are grouped by the numbers in their parameters' names.
    """
    names = [name for name, _ in module.named_parameters()]
    matcher = getattr(module, "group_matcher", None)
    if matcher is not None:
        groups = group_with_matcher(((name, None) for name in names), matcher(coarse=True))
        stages = tuple(tuple(groups[key]) for key in sorted(groups))
    else:
        stages = _by_number(names)
    assert sorted(name for stage in stages for name in stage) == sorted(names)
    return stages


def _by_number(names: list[str]) -> Stages:
    """Group by the first number after a word like "layers"; names are in registration order.

    What is registered before the first numbered block is the stem. What comes after, and what
    networks apply last, is the last stage.
    """
    stem: list[str] = []
    numbered: dict[int, list[str]] = {}
    last = 1 << 30
    for name in names:
        match = _NUMBERED.search(name)
        if match:
            numbered.setdefault(int(match[1] or match[2]), []).append(name)
        elif numbered or _LAST.search(name):
            numbered.setdefault(last, []).append(name)
        else:
            stem.append(name)
    ordered = [numbered[key] for key in sorted(numbered)]
    return tuple(tuple(stage) for stage in [stem, *ordered] if stage)
