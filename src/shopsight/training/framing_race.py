"""The framing that fine-tuning wants, by a race of real steps.

The probe's favorite shows less of the image than fine-tuning wants. It races with the crops that
show one and two steps more: all begin with the probe of their framing. The step of
`framing.looser` is what the others have to beat: it stays unless it is clearly worse. And it stays
where the best is no better than the probe it began with: the first steps spoil more than they
improve, and the framing that they spoil least need not be the one that is best in the end.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Int64

from shopsight.config.recipe import Recipe
from shopsight.preprocess import Preprocess
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.runs.run_folder import RunFolder
from shopsight.training.finetune import check_hardware
from shopsight.training.framing_search import FramingChoice, framing_text, looser
from shopsight.training.race import Contestant, Race, halving
from shopsight.training.race_losses import RaceLosses
from shopsight.training.race_sample import RaceSample
from shopsight.training.resolve import training_sizes

CLEAR = 1.0
"""Standard errors by which the rule's framing must be worse to be left."""
STEPS_LOOSER = 2
"""Of the largest crop that races."""
GROWTH = (1, 2)
"""Steps of the rounds, relative to the first."""


def race_framings(
    run: RunFolder,
    audited: AuditedCatalog,
    rows: Int64[np.ndarray, "n"],
    choice: FramingChoice,
) -> FramingChoice:
    """What was found, with the framing that wins a race among those that show more.

    Args:
        run: whose recipe says how long the race is.
        audited: its images.
        rows: those that may decide: of the training part.
        choice: what the probes found.

    Raises:
        ImageError: a file that cannot be decoded, or that changed since the audit.
    """
    recipe = run.recipe()
    settings = recipe.framing
    more = (looser(choice.by_probe, settings, steps) for steps in range(STEPS_LOOSER + 1))
    framings = list(dict.fromkeys([choice.chosen, *more]))
    if len(framings) == 1 or recipe.training.sampling == "pxk":
        return choice
    hardware = check_hardware(recipe)
    sample = RaceSample(audited, recipe, rows, images=settings.images, device=hardware.device)
    kept, device, world = RaceLosses(run.race_file), hardware.device, hardware.world_size
    race = Race("Racing framings", sample, kept, device, world=world)
    if not race.can_judge:
        return choice
    contestants = {
        one: Contestant(framing_text(one), framed_recipe(recipe, one)) for one in framings
    }
    own = contestants[choice.chosen]
    rounds = [settings.race_steps * grown for grown in GROWTH]
    found = halving(race, list(contestants.values()), rounds=rounds, own=own)
    rule = next(one for one in found if one.contestant == own)
    best = found[0]
    learned = best.loss < race.compare([best.contestant], 0)[0].loss
    stays = not learned or rule.worse <= CLEAR * rule.error
    winner = own if stays else best.contestant
    chosen = next(one for one, its in contestants.items() if its == winner)
    return replace(choice, chosen=chosen, raced=tuple(found), learned=learned)


def framed_recipe(recipe: Recipe, framing: Preprocess) -> Recipe:
    """The recipe with a framing, and with training images of the sizes that go with it.

    Args:
        recipe: resolved but for the framing.
        framing: of all images.
    """
    training = recipe.training
    sizes = training.progressive_sizes_px
    if training.progressive_scales or sizes == (recipe.preprocess.size_px,):
        unsized = recipe.replace(training={"progressive_sizes_px": ()})
        sizes = training_sizes(unsized, framing.size_px)
    return recipe.replace(
        preprocess=framing.recipe_section(),
        framing={"search": False},
        training={"progressive_sizes_px": sizes},
    )
