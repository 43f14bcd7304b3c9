"""Recommend: the backbone with the best probe among those that are fast enough here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from shopsight.audit.gate import GateRules
from shopsight.catalog.catalog import Catalog
from shopsight.commands.compare import finished_run, run_for
from shopsight.commands.recipes import recipe_with
from shopsight.commands.train import training_data
from shopsight.config.defaults import PROBE_RECIPE
from shopsight.config.recipe import Recipe
from shopsight.devices import pick_device
from shopsight.evaluation.compare_page import write_comparison
from shopsight.evaluation.recommend import CANDIDATES, Recommendation
from shopsight.evaluation.recommend import recommend as recommend_backbone
from shopsight.read_options import ReadOptions
from shopsight.training.usable_images import check_trainable


def recommend(
    data: str | Path | Catalog,
    *,
    latency_ms: float,
    out: str | Path,
    read: ReadOptions | None = None,
    backbones: Sequence[str] = (),
    device: str = "auto",
    accept: Collection[str] = (),
    exclude: Collection[str] = (),
    fail_on: Collection[str] = (),
) -> Recommendation:
    """Choose the backbone whose probe is the most accurate among those that are fast enough here.

    Args:
        data: a folder, a table, the name of a data set, or a catalog.
        latency_ms: the most that one image may take on `device`, at the size that its probe
            chooses: `framing.max_cost` follows from it.
        out: holds one run per backbone that was probed, and the comparison.
        read: how DATA is read; None guesses everything.
        backbones: empty considers `shopsight.evaluation.recommend.CANDIDATES`.
        device: "auto" takes CUDA when it is there, else the CPU.
        accept: as for `train`.
        exclude: as for `train`.
        fail_on: as for `train`.

    Raises:
        CompareError: none could be built.
    """
    # Before DATA is read: a device that is not there is known at once.
    pick_device(device)
    rules = GateRules(accept=accept, exclude=exclude, fail_on=fail_on)
    catalog, recipe = training_data(data, recipe_with(PROBE_RECIPE), read)
    check_trainable(catalog, recipe)
    candidates = list(backbones) or CANDIDATES
    for backbone in candidates:
        run_for(backbone, out).check_path_length()
    found = recommend_backbone(
        candidates,
        latency_ms=latency_ms,
        train=lambda backbone, cost: finished_run(
            catalog,
            _bounded(recipe_with(recipe, [f"model.backbone={backbone}"]), cost),
            run_for(backbone, out),
            rules=rules,
        ),
        sizes_px=recipe.framing.sizes_px,
        classes=len(catalog.labels),
        device=device,
    )
    if found.comparison is not None:
        write_comparison(out, found.comparison)
    return found


def _bounded(recipe: Recipe, cost: float) -> Recipe:
    """The recipe, whose search for a framing keeps the time for an image."""
    most = min(recipe.framing.max_cost, cost)
    return recipe.replace(framing={"max_cost": most})
