"""Which framing suits these images: how much of each the network sees, and how large.

Whole photos suit products that fill them, the middle suits those that do not, and which is which
nobody knows beforehand: on photos of clothes the whole image is 3.5 points ahead of its middle
three quarters, on photos of groceries 9 points behind. A linear head on frozen features sees
this in seconds, so framings are compared by the cross-validated log loss of such heads
(`framing_losses`), on a sample of the training images. Photos of a group are in one fold, and where
the catalog has no groups those that look alike (`looks`).

**Successive halving.** All framings at the backbone's own size are compared on a third of the
sample; sizes are compared for the best of them; the best three are compared on the whole sample.
Of those that are not clearly worse than the best the cheapest is taken, and of equally cheap ones
that which shows most of the image. Clearly worse is by half a standard error of the difference:
what is not would be better on other images in three of ten cases or more.

**Fine-tuning wants more of the image** than the probe does: what is left out at the edges cannot be
learned from. There the crop is `framing.looser` steps larger than the probe's, the whole image
after the largest (docs/log.md), or what a race of real steps finds (`framing_race`).

Source: Jamieson and Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter
optimization" (successive halving); Breiman et al. 1984, "Classification and regression trees",
section 3.4.3 (a rule of standard errors).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from shopsight.config.framing_settings import FramingSettings
from shopsight.config.recipe import Recipe
from shopsight.metrics.families import Families
from shopsight.preprocess import Preprocess
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.targets import first_labels, stratified_sample
from shopsight.training.fold_heads import deal_folds
from shopsight.training.framing_features import FramingFeatures
from shopsight.training.framing_losses import FOLDS, compared, out_of_fold_losses
from shopsight.training.looks import looks_of
from shopsight.training.race import Raced

CLEAR = 0.5
"""Standard errors from which on a framing is clearly worse."""
LAST = 3
"""Framings that are compared on the whole sample."""
FEWEST_OF_CLASS = 4
"""Images of the mean class that the sample should have."""
FEWEST_AT_FIRST = 400
"""Images that rule out framings, if there are so many."""


@dataclass(frozen=True)
class Compared:
    """One framing that was tried.

    Attributes:
        framing: how an image becomes the network's input.
        images: that it was judged by.
        loss: mean cross-validated log loss, nats.
        worse: by how much its loss exceeds that of the best on the same images.
        error: standard error of that.
        cost: of an image at inference, relative to the backbone's own size.
    """

    framing: Preprocess
    images: int
    loss: float
    worse: float
    error: float
    cost: float

    @property
    def clearly_worse(self) -> bool:
        """By more than `CLEAR` standard errors."""
        return self.worse > CLEAR * self.error

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "framing": framing_text(self.framing),
            "resize": self.framing.resize,
            "crop_fraction": self.framing.crop_fraction,
            "size_px": self.framing.size_px,
            "images": self.images,
            "loss": round(self.loss, 4),
            "worse": round(self.worse, 4),
            "error": round(self.error, 4),
            "cost": round(self.cost, 3),
        }


@dataclass(frozen=True)
class FramingChoice:
    """What was found.

    Attributes:
        chosen: the framing to train with.
        by_probe: the one that the probes prefer.
        tried: all that were compared, each with its last comparison, best first.
        raced: what a race of real steps gave, best first; empty without one.
        learned: whether the best of these is better than the probe that it began with: else the
            race was too short, and decided nothing.
    """

    chosen: Preprocess
    by_probe: Preprocess
    tried: tuple[Compared, ...]
    raced: tuple[Raced, ...] = ()
    learned: bool = False

    def line(self) -> str:
        """What was chosen and why, in one line."""
        own = next(one for one in self.tried if one.framing == self.by_probe)
        text = f"framing: {framing_text(self.chosen)}"
        if self.learned:
            first = self.raced[0]
            text += f" (by a race of {first.steps} steps, judged by {first.images:,} images"
            text += f"; the probe prefers {framing_text(self.by_probe)})"
        elif self.chosen != self.by_probe:
            text += (
                f" (the probe prefers {framing_text(self.by_probe)}; training wants more to see)"
            )
        if self.raced and not self.learned:
            text += f"; a race of {self.raced[0].steps} steps was too short to tell"
        text += f"; log loss {own.loss:.3f} on {own.images:,} images by cross-validation"
        whole = next((one for one in self.tried if one.framing.resize == "pad"), None)
        if whole is not None and whole.clearly_worse:
            text += f"; whole image: worse by {whole.worse:.3f} +- {whole.error:.3f}"
        return text

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "chosen": framing_text(self.chosen),
            "by_probe": framing_text(self.by_probe),
            "line": self.line(),
            "tried": [one.to_json() for one in self.tried],
            "raced": [one.to_json() for one in self.raced],
            "learned": self.learned,
        }


def framing_text(framing: Preprocess) -> str:
    """A framing in words."""
    return framing.framing


def choose_framing(
    audited: AuditedCatalog, recipe: Recipe, rows: Int64[np.ndarray, "n"], *, device: str
) -> FramingChoice:
    """Compare framings on a sample of some rows.

    Args:
        audited: the images.
        recipe: resolved; its preprocessing is the backbone's own.
        rows: those that may decide: of the training part.
        device: where to compute.

    Raises:
        ImageError: a file that cannot be decoded, or that changed since the audit.
    """
    return _Search(audited, recipe, rows, device).run()


class _Division(NamedTuple):
    """Images in folds, and which of them vary together."""

    families: Families
    folds: Int64[np.ndarray, "n"]


class _Search:
    """The comparison on one sample."""

    def __init__(
        self, audited: AuditedCatalog, recipe: Recipe, rows: Int64[np.ndarray, "n"], device: str
    ) -> None:
        self._recipe, self._settings = recipe, recipe.framing
        self._own = recipe.framed(Preprocess())
        targets = audited.catalog.targets(audited.catalog.labels)
        self._num_classes = len(audited.catalog.labels)
        most = max(self._settings.images, FEWEST_OF_CLASS * self._num_classes)
        classes = first_labels(targets)[rows]
        rows = rows[stratified_sample(classes, most, seed=recipe.seed)]
        # A third of them, stratified too, comes first: what it was judged by stays.
        few = max(FEWEST_AT_FIRST, len(rows) // 3)
        first = stratified_sample(first_labels(targets)[rows], few, seed=recipe.seed)
        self._rows = np.concatenate([rows[first], rows[~first]])
        self._few = int(first.sum())
        self._targets = targets[self._rows]
        self._features = FramingFeatures(audited, recipe, device)
        self._families = audited.families().take(self._rows)
        self._has_groups = audited.catalog.has("group")
        self._divisions: dict[int, _Division] = {}
        self._losses: dict[tuple[Preprocess, int], Float64[np.ndarray, "n"]] = {}
        self._tried: dict[Preprocess, Compared] = {}

    def run(self) -> FramingChoice:
        shapes = self._compare(self._shapes(), self._few)
        sizes = self._sizes(shapes[0].framing)
        ranked = self._compare([*(one.framing for one in shapes), *sizes], self._few)
        last = self._compare([one.framing for one in ranked[:LAST]], len(self._rows))
        usable = [one for one in last if not one.clearly_worse]
        chosen = min(usable, key=lambda one: (one.cost, -_shown_share(one.framing))).framing
        order = sorted(self._tried.values(), key=lambda one: (-one.images, one.loss))
        finetunes = self._recipe.training.finetunes
        loosened = looser(chosen, self._settings, self._settings.looser) if finetunes else chosen
        return FramingChoice(loosened, chosen, tuple(order))

    def _shapes(self) -> list[Preprocess]:
        """All framings at the backbone's own size."""
        shapes = [_framed(self._own, resize="pad"), _framed(self._own, resize="squash")]
        crops = sorted(self._settings.crops, reverse=True)
        return [*shapes, *(_framed(self._own, resize="crop", crop_fraction=one) for one in crops)]

    def _sizes(self, framing: Preprocess) -> list[Preprocess]:
        """The framing at other sizes that are not too dear."""
        found = dict[int, Preprocess]()
        for size in self._settings.sizes_px(self._own.size_px):
            framed = _framed(framing, size_px=size)
            if size != framing.size_px and self._cost(framed) <= self._settings.max_cost:
                found[size] = framed
        return list(found.values())

    def _compare(self, framings: Sequence[Preprocess], images: int) -> list[Compared]:
        """Compare framings on the first images of the sample; best first."""
        rows = self._rows[:images]
        self._features.compute(framings, rows)
        for framing in framings:
            if (framing, images) not in self._losses:
                self._losses[framing, images] = self._out_of_fold(framing, images)
        mean = {one: float(self._losses[one, images].mean()) for one in framings}
        best = min(framings, key=lambda one: mean[one])
        families = self._divided(framings[0], images).families
        found = []
        for one in framings:
            worse, error = compared(self._losses[one, images], self._losses[best, images], families)
            found.append(Compared(one, images, mean[one], worse, error, self._cost(one)))
        found.sort(key=lambda one: one.loss)
        self._tried |= {one.framing: one for one in found}
        return found

    def _divided(self, framing: Preprocess, images: int) -> _Division:
        """The first images of the sample in folds, the same for all framings.

        Groups are in one fold, where the catalog has them, or what looks alike in the framing that
        is the first to ask.
        """
        if images not in self._divisions:
            classes = first_labels(self._targets)[:images]
            families = self._families.take(np.arange(images))
            if not self._has_groups:
                features = self._features.of(framing, self._rows[:images])
                families = looks_of(features, classes, families)
            folds = deal_folds(classes, families, seed=self._recipe.seed, count=FOLDS)
            self._divisions[images] = _Division(families, folds)
        return self._divisions[images]

    def _out_of_fold(self, framing: Preprocess, images: int) -> Float64[np.ndarray, "n"]:
        return out_of_fold_losses(
            self._features.of(framing, self._rows[:images]),
            self._targets[:images],
            self._divided(framing, images).folds,
            num_classes=self._num_classes,
            penalty=median_low(self._recipe.probe.penalties),
        )

    def _cost(self, framing: Preprocess) -> float:
        return framing.views * (framing.size_px / self._own.size_px) ** 2


def looser(framing: Preprocess, settings: FramingSettings, steps: int) -> Preprocess:
    """The framing that shows some steps of `crops` more of the image.

    After the whole short side comes the whole image, padded: a middle square leaves a quarter of a
    photo of 3 to 4 out.

    Args:
        framing: a crop of these; another framing shows the whole image already.
        settings: `crops`.
        steps: how many.
    """
    if framing.resize != "crop":
        return framing
    crops = sorted(settings.crops)
    at = crops.index(framing.crop_fraction) + steps
    if at >= len(crops) and crops[-1] == 1.0:
        return _framed(framing, resize="pad")
    return _framed(framing, crop_fraction=crops[min(at, len(crops) - 1)])


def _framed(framing: Preprocess, **changes: Any) -> Preprocess:
    return Preprocess.model_validate(framing.model_dump() | changes)


def _shown_share(framing: Preprocess) -> float:
    """Of a square image, how much the network sees; squashed a little less, for its proportions."""
    return {"pad": 1.0, "squash": 0.99}.get(framing.resize, 0.98 * framing.crop_fraction**2)
