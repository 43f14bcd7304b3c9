"""Before the first stage of a run: its framing, where the recipe has it searched."""

from __future__ import annotations

from functools import partial

import numpy as np

from shopsight import progress
from shopsight.runs.run_folder import Clock, RunFolder
from shopsight.training.finetune import training_device
from shopsight.training.framing_race import framed_recipe, race_framings
from shopsight.training.framing_search import choose_framing
from shopsight.training.race import until_it_fits

SPARES_SEARCH_BELOW_S = 150.0
"""Of a time limit: what a search takes would be missing elsewhere."""


def settle_framing(run: RunFolder) -> None:
    """Choose the framing of a run that is prepared, unless it is settled.

    With folds, all images choose, before the first fold: ten framings compared by a linear head on
    frozen features fit no fold, and an ensemble needs one framing.

    Raises:
        ImageError: a file that cannot be decoded, or that changed since the audit.
    """
    recipe = run.recipe()
    if not recipe.framing.search:
        return
    limit = recipe.training.time_limit_s
    if limit is not None and limit < SPARES_SEARCH_BELOW_S:
        progress.notify(f"framing: not searched in {limit:g} s; the backbone's own is taken")
        run.write_recipe(recipe.replace(framing={"search": False}))
        return
    clock = Clock()
    audited = run.audited_catalog()
    catalog = audited.catalog
    rows = catalog.rows_of("train") if catalog.has("split") else np.arange(len(catalog))
    choice = choose_framing(audited, recipe, rows, device=str(training_device(recipe)))
    if recipe.framing.race_steps and recipe.training.finetunes:
        choice = until_it_fits(run, partial(race_framings, run, audited, rows, choice))
    progress.notify(choice.line())
    # First what was found: the recipe says that it is settled.
    run.update_state(framing=choice.to_json())
    run.write_recipe(framed_recipe(run.recipe(), choice.chosen))
    run.add_seconds("framing", clock)
