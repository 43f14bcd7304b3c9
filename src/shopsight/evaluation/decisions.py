"""What the images that a score is about have decided: a score on images that chose is too high.

Of several candidates, the one that looks best on some images is partly the best by luck of these
images, and its score on them holds the luck. The more candidates and the fewer images, the more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shopsight.config.recipe import Recipe
from shopsight.text import listed

TRAINED = "train"
CHOOSING = "val"


@dataclass(frozen=True)
class Decisions:
    """What some images decided about the model that is scored on them.

    Attributes:
        chosen: what was chosen on them in this run: "the checkpoint" ...
        fitted: whether the weights were fitted to them.
        recipe_data: the data set that the recipe was developed on, where it has the name of these
            images; empty where it has not.
        known: whether the run says so; a bundle alone does not.
    """

    chosen: tuple[str, ...] = ()
    fitted: bool = False
    recipe_data: str = ""
    known: bool = True

    @property
    def nothing(self) -> bool:
        """Whether the score is about images that decided nothing."""
        return self.known and not (self.chosen or self.fitted or self.recipe_data)

    @property
    def short(self) -> str:
        """What a figure is marked with; empty where they decided nothing."""
        if self.fitted:
            return "trained on"
        if self.chosen:
            return "used for choices"
        if self.recipe_data:
            return "the recipe was chosen on them"
        return "" if self.known else "origin not known"

    @property
    def note(self) -> str:
        """Sentences for whoever reads the score."""
        if not self.known:
            return (
                "Whether these images decided something about the model is not known: only its "
                "run knows."
            )
        if self.fitted:
            return "The model was trained on these images: the score says nothing about others."
        notes = []
        if self.chosen:
            what = listed(list(self.chosen), most=len(self.chosen))
            verb = "was" if len(self.chosen) == 1 else "were"
            notes.append(
                f"Used for choices: {what} {verb} chosen on these images, so the score is too "
                "high by some luck."
            )
        if self.recipe_data:
            notes.append(
                f"The recipe was developed on the data set {self.recipe_data}: on its images the "
                "score is too high by some luck."
            )
        return " ".join(notes) or (
            "These images decided nothing about the model: no weight, no checkpoint, no setting."
        )

    def to_json(self) -> dict[str, Any]:
        """The attributes and the note."""
        return {
            "chosen": list(self.chosen),
            "fitted": self.fitted,
            "recipe_data": self.recipe_data,
            "known": self.known,
            "note": self.note,
        }


UNKNOWN = Decisions(known=False)


def decisions_of_run(recipe: Recipe, split: str, data: str, *, multilabel: bool) -> Decisions:
    """What the images of one part of a run's own catalog decided.

    Args:
        recipe: of the run.
        split: the part; "out-of-fold" is every image, by the network that it decided nothing about.
        data: the name of the catalog.
        multilabel: whether thresholds are chosen.
    """
    recipe_data = data if data in recipe.about.chosen_on else ""
    if split in (TRAINED, "all"):
        return Decisions(fitted=True, recipe_data=recipe_data)
    chosen = _chosen_on_val(recipe, multilabel=multilabel) if split == CHOOSING else ()
    return Decisions(chosen=chosen, recipe_data=recipe_data)


def decisions_on_other_data(recipe: Recipe | None, data: str) -> Decisions:
    """What images of other data than the run's decided, which the run has not seen.

    Args:
        recipe: of the run; None where only a bundle is known.
        data: the name of the catalog.
    """
    if recipe is None:
        return UNKNOWN
    return Decisions(recipe_data=data if data in recipe.about.chosen_on else "")


def _chosen_on_val(recipe: Recipe, *, multilabel: bool) -> tuple[str, ...]:
    training = recipe.training
    chosen = []
    by_val = training.checkpoint == "best" or (
        training.checkpoint == "retrieval" and not recipe.data.val_classes
    )
    if training.finetunes and by_val and training.epochs > 1:
        chosen.append("the checkpoint")
    if training.mode.startswith("probe") and len(recipe.probe.penalties) > 1:
        chosen.append("the penalty of the linear probe")
    chosen.append("the temperature")
    if multilabel:
        chosen.append("the thresholds")
    return tuple(chosen)
