"""The three averages: between two ends, of all ingredients, and of those that help."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from shopsight import progress
from shopsight.models.product_model import ProductModel
from shopsight.soups.candidates import VAL, Candidates, Measured
from shopsight.soups.head import refit_head
from shopsight.soups.ingredients import Ingredient
from shopsight.soups.start import HeadRole
from shopsight.soups.weights import Weights, interpolated, mean_of
from shopsight.text import percent_text

How = Literal["uniform", "greedy", "alpha"]


@dataclass(frozen=True, eq=False)
class Tried:
    """A network that was scored.

    Attributes:
        name: of the ingredient, or "alpha 0.25".
        measured: its scores.
        kept: it is in the soup; of alphas, it is the chosen one.
        alpha: share of the second end; None of an ingredient.
        val_with: the soup's validation score if it joined; None where that was not tried.
    """

    name: str
    measured: Measured
    kept: bool
    alpha: float | None = None
    val_with: float | None = None


@dataclass(frozen=True, eq=False)
class Average:
    """An average, and what it was chosen among.

    Attributes:
        model: its network.
        measured: its scores.
        tried: ingredients in the order in which they were tried, or alphas in ascending order.
        reference: of the tried ones, the network that the average is compared with: the best
            ingredient by validation, or the second end.
        chosen: several averages were compared on the validation images.
    """

    model: ProductModel
    measured: Measured
    tried: tuple[Tried, ...]
    reference: Tried
    chosen: bool

    @property
    def is_reference(self) -> bool:
        """Whether it is the very network that it would be compared with."""
        return self.measured is self.reference.measured


def between(
    candidates: Candidates,
    start: Weights,
    end: Weights,
    alphas: Sequence[float],
    *,
    layers: Collection[str],
    head: HeadRole,
) -> Average:
    """Score networks between two ends, and take the best on validation images.

    Of equal ones, it is the one nearest to the start, which keeps more of what the start knew of
    other images.

    Args:
        candidates: build and score.
        start: weights at alpha 0.
        end: weights at alpha 1.
        alphas: to choose among, at least one; 0 and 1 are scored too, for comparison.
        layers: BatchNorm layers that are measured again between the ends.
        head: what becomes of the head.
    """

    def network(alpha: float) -> ProductModel:
        measured = () if alpha in (0.0, 1.0) else layers
        model = candidates.network(interpolated(start, end, alpha), measured=measured)
        if head == "refitted":
            refit_head(candidates, model)
        return model

    found = dict[float, Measured]()
    best, best_model = alphas[0], None
    for alpha in sorted({0.0, 1.0, *alphas}):
        model = network(alpha)
        found[alpha] = candidates.measure(model)
        progress.notify(f"alpha {alpha:g}: val {percent_text(found[alpha].val)}")
        if alpha in alphas and (best_model is None or found[alpha].val > found[best].val):
            best, best_model = alpha, model
    assert best_model is not None
    tried = tuple(
        Tried(f"alpha {alpha:g}", measured, kept=alpha == best, alpha=alpha)
        for alpha, measured in found.items()
    )
    reference = next(one for one in tried if one.alpha == 1.0)
    return Average(best_model, found[best], tried, reference, chosen=len(alphas) > 1)


def uniform(
    candidates: Candidates, ingredients: Sequence[Ingredient], *, layers: Collection[str]
) -> Average:
    """The mean of all ingredients.

    Args:
        candidates: build and score.
        ingredients: two at least.
        layers: BatchNorm layers that are measured again.
    """
    tried = tuple(Tried(one.name, _scores_of(candidates, one), kept=True) for one in ingredients)
    model = candidates.network(mean_of(one.read() for one in ingredients), measured=layers)
    reference = max(tried, key=lambda one: one.measured.val)
    return Average(model, candidates.measure(model), tried, reference, chosen=False)


def greedy(
    candidates: Candidates, ingredients: Sequence[Ingredient], *, layers: Collection[str]
) -> Average:
    """The mean of the ingredients that do not lower the validation score when they join.

    They are tried from the best on validation images to the worst; each stays if the score with it
    is at least that without it. The soup is so never worse there than its best ingredient, and what
    was chosen there must be judged on other images.

    Args:
        candidates: build and score.
        ingredients: two at least.
        layers: BatchNorm layers that are measured again.
    """
    scored = [(one, _scores_of(candidates, one)) for one in ingredients]
    # Stable: of equals the first one given.
    scored.sort(key=lambda pair: -pair[1].val)
    (best, measured), others = scored[0], scored[1:]
    soup, count, val = best.read(), 1, measured.val
    model = candidates.network(soup)
    tried = [Tried(best.name, measured, kept=True, val_with=val)]
    for one, alone in others:
        joined = interpolated(soup, one.read(), 1 / (count + 1))
        candidate = candidates.network(joined, measured=layers)
        with_it = candidates.measure(candidate, parts=(VAL,), held_out=False).val
        kept = with_it >= val
        progress.notify(
            f"{one.name}: {percent_text(val)} -> {percent_text(with_it)} on val, "
            f"{'stays' if kept else 'left out'}"
        )
        if kept:
            soup, count, val, model = joined, count + 1, with_it, candidate
        tried.append(Tried(one.name, alone, kept=kept, val_with=with_it))
    whole = measured if count == 1 else candidates.measure(model)
    return Average(model, whole, tuple(tried), tried[0], chosen=True)


def _scores_of(candidates: Candidates, ingredient: Ingredient) -> Measured:
    measured = candidates.measure(candidates.network(ingredient.read()))
    progress.notify(f"{ingredient.name}: val {percent_text(measured.val)}")
    return measured
