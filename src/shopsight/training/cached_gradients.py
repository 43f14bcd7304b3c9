"""A step on a batch that is larger than memory, with the gradient of the whole batch.

A loss that compares all pairs of a batch is no sum over its parts: adding up gradients of parts
("accumulation") is another loss. But it depends on the network through the vectors Z alone,

    dL / d theta = sum_k dL / dZ_k . dZ_k / d theta,

so that two passes are enough. The first one computes all Z without keeping a graph, part by part;
L and G = dL/dZ follow from them. The second one computes each part again, now with its graph, and
goes back from sum(Z_part * G_part), whose gradient is the part's share of the sum. Memory is that
of one part. Source: Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory
Limited Setup".

**The second pass must compute what the first one did.** Dropout and stochastic depth are replayed
from the state of the random generators at the beginning of each part. BatchNorm in training mode
looks at its part alone, so that the sum above does not hold: networks with it are refused
elsewhere.

**Several processes.** Each computes the vectors of its own images, receives all the others'
without a graph, and computes the whole loss: its G is complete for its own rows. DDP averages
gradients over the W processes, so that towers go back from W times the sum. What the loss itself
multiplies with (its scale) has the whole gradient in every process already, and stays. Only the
last part is synchronized: once a step, and all processes have as many parts.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, distributed

from shopsight.training.random_states import random_states, restore_random_states

Vectors = tuple[Tensor, ...]
"""Of each tower: "m d"."""


def cached_backward(
    encode: Callable[[int], Vectors],
    num_parts: int,
    gradients_of: Callable[[Vectors], tuple[Vectors, Tensor]],
    backward: Callable[[Tensor, bool], None],
    *,
    device: torch.device,
    world: int = 1,
) -> None:
    """Leave the gradient of the whole batch in the parameters.

    Args:
        encode: computes the vectors of part k with every tower, the same if the random state is.
        num_parts: of this process, as many in each.
        gradients_of: gets the vectors of all processes' parts, without a graph, a tensor for each
            tower; gives the loss's gradients with respect to them, and a scalar whose gradient is
            that of what the loss itself has to learn.
        backward: goes back from a scalar; its second argument says whether it is the step's last
            time, with which processes are synchronized.
        device: where the towers compute.
        world: processes.
    """
    if num_parts == 1:
        # One part: its graph may as well stay.
        vectors = encode(0)
        shares, own = _shares(vectors, gradients_of, world)
        backward(_pulled(vectors, shares, world) + own, True)
        return
    states, found = [], []
    with torch.no_grad():
        for part in range(num_parts):
            states.append(random_states(device))
            found.append(encode(part))
    after = random_states(device)
    whole = tuple(torch.cat(tower) for tower in zip(*found, strict=True))
    shares, own = _shares(whole, gradients_of, world)
    start = 0
    for part, state in enumerate(states):
        restore_random_states(state, device)
        vectors = encode(part)
        stop = start + len(vectors[0])
        pulled = _pulled(vectors, tuple(one[start:stop] for one in shares), world)
        last = part == num_parts - 1
        backward(pulled + own if last else pulled, last)
        start = stop
    restore_random_states(after, device)


def _shares(
    own: Vectors, gradients_of: Callable[[Vectors], tuple[Vectors, Tensor]], world: int
) -> tuple[Vectors, Tensor]:
    """The loss's gradients with respect to this process's vectors, and the loss's own scalar."""
    everybody = tuple(gathered(one.detach(), world) for one in own)
    gradients, learned = gradients_of(everybody)
    if world == 1:
        return gradients, learned
    start = distributed.get_rank() * len(own[0])
    return tuple(one[start : start + len(own[0])] for one in gradients), learned


def _pulled(vectors: Vectors, shares: Vectors, world: int) -> Float[Tensor, ""]:
    """A scalar whose gradient with respect to the vectors is their share, times the processes."""
    pairs = zip(vectors, shares, strict=True)
    return world * torch.stack([(one * share).sum() for one, share in pairs]).sum()


def gathered(own: Tensor, world: int) -> Tensor:
    """The rows of all processes, those of rank r at place r; no gradient goes through it."""
    if world == 1:
        return own
    parts = [torch.empty_like(own) for _ in range(world)]
    distributed.all_gather(parts, own.contiguous())
    return torch.cat(parts)
