"""K-fold training: every image is predicted by a network that never saw it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shopsight import progress
from shopsight.audit.gate import GateRules
from shopsight.bundle.format import Bundle
from shopsight.bundle.read import read_bundle, read_tensors
from shopsight.bundle.write import write_bundle
from shopsight.catalog.catalog import Catalog
from shopsight.config.recipe import Recipe
from shopsight.inference.load import load
from shopsight.inference.save import save_bundle
from shopsight.metrics.temperature import Temperature
from shopsight.models.build import build_model
from shopsight.models.ensemble import EnsembleBackbone, EnsembleHead
from shopsight.models.heads import divide_logits
from shopsight.models.product_model import ProductModel
from shopsight.runs.history import read_history, selected_epoch
from shopsight.runs.run_folder import RunFolder
from shopsight.training.finetune import world_of
from shopsight.training.finish import framing_metrics
from shopsight.training.fit import run_stages
from shopsight.training.fold_calibration import (
    ensemble_temperature,
    fold_answers,
    fold_calibrations,
    prediction_precision,
    shared_fields,
)
from shopsight.training.framing_stage import settle_framing
from shopsight.training.peers import Peers, check_shared_folder, joined
from shopsight.training.prepare import init_run_folder, prepare


def fit_folds(
    catalog: Catalog | None,
    recipe: Recipe,
    out: Path | str,
    *,
    rules: GateRules | None = None,
) -> None:
    """Train `folds.count` networks and one bundle; the audit is made once.

    Each fold's run folder has that fold as its test part; the bundle of `out` is the ensemble of
    all, or the network trained on everything.

    Args:
        catalog: labeled images; None where another process, rank 0, prepares the run.
        recipe: `folds` says how many, and what becomes of them.
        out: the run folder to make, which holds those of the folds.
        rules: which audit findings are accepted, fixed or refused; None refuses errors.

    Raises:
        ShopsightError: as `shopsight.training.fit.fit` does.
    """
    run = RunFolder(Path(out))

    def begin() -> None:
        assert catalog is not None
        prepare(catalog, recipe, run, rules=rules)

    with joined(world_of(recipe)) as peers:
        check_shared_folder(run.path, peers)
        peers.first(begin)
        _run_folds(run, peers)


def resume_folds(out: Path | str) -> None:
    """Continue `fit_folds` at the fold, stage and epoch where it was stopped."""
    run = RunFolder(Path(out))
    with joined(world_of(run.recipe())) as peers:
        check_shared_folder(run.path, peers)
        _run_folds(run, peers)


def _run_folds(run: RunFolder, peers: Peers) -> None:
    """Train what is not finished; the first process does what one can do."""
    folds = run.folds()
    peers.first(lambda: settle_framing(run))
    for number, fold in enumerate(folds):
        progress.notify(f"fold {number + 1} of {len(folds)}: {fold.path}")
        _train_one(run, fold, number, peers)
    if peers.first(lambda: run.reached("bundled")):
        return
    if run.recipe().folds.final == "ensemble":
        peers.first(lambda: _ensemble(run, folds))
    else:
        _refit(run, folds, peers)
    peers.first(lambda: run.update_state(stage="bundled"))


def _train_one(run: RunFolder, fold: RunFolder, number: int, peers: Peers) -> None:
    def begin() -> None:
        if not fold.exists():
            init_run_folder(
                fold, run.audited_catalog(), run.recipe(), fold=number, about={"of": str(run.path)}
            )

    peers.first(begin)
    run_stages(fold, peers)


def _ensemble(run: RunFolder, folds: tuple[RunFolder, ...]) -> None:
    bundles = [read_bundle(fold.model) for fold in folds]
    first = bundles[0].info
    models = [build_model(bundle) for bundle in bundles]
    model = ProductModel(
        EnsembleBackbone([member.backbone for member in models]),
        EnsembleHead([member.head for member in models], multilabel=first.multilabel),
        first.preprocess,
        tta_hflip=first.tta_hflip,
    ).eval()
    golden_images = bundles[0].golden.images
    precision = prediction_precision(model, golden_images, run, first)
    found = fold_calibrations(folds, precision=precision)
    own = [one.temperature for one in found]
    for member, temperature in zip(models, own, strict=True):
        divide_logits(member.head, temperature)
    fitted = ensemble_temperature(fold_answers(run, folds, precision=precision).divided(own))
    info = first.model_copy(
        update={
            "members": len(bundles),
            "embedding_dim": first.embedding_dim * len(bundles),
            "temperature": fitted.value,
        }
        | shared_fields(found, temperature=fitted.value)
    )
    run.update_state(temperature=fitted.to_json())
    save_bundle(
        run.model,
        model,
        info=info,
        golden_images=golden_images,
        metrics=_metrics(run, bundles, fitted),
    )


def _refit(run: RunFolder, folds: tuple[RunFolder, ...], peers: Peers) -> None:
    """Train once more, on every image, with the epochs and the penalty that the folds chose."""
    refit = run.refit

    def begin() -> None:
        if not refit.exists():
            settled = refit_recipe(run.recipe(), folds)
            init_run_folder(
                refit, run.audited_catalog(), settled, fold="all", about={"of": str(run.path)}
            )

    peers.first(begin)
    run_stages(refit, peers)
    peers.first(lambda: _copy_refit(run, folds))


def _copy_refit(run: RunFolder, folds: tuple[RunFolder, ...]) -> None:
    """Make the refit's bundle the run's, with the folds' calibration."""
    bundles = [read_bundle(fold.model) for fold in folds]
    made = read_bundle(run.refit.model)
    precision = load(run.refit.path, verify=False, engine="torch").engine.precision
    fitted = fold_answers(run, folds, precision=precision).single()
    found = fold_calibrations(folds, precision=precision)
    fields = shared_fields(found, temperature=fitted.value)
    run.update_state(temperature=fitted.to_json())
    write_bundle(
        run.model,
        tensors=read_tensors(run.refit.model),
        info=made.info.model_copy(update={"temperature": fitted.value} | fields),
        golden=made.golden,
        metrics=_metrics(run, bundles, fitted),
    )


def _metrics(run: RunFolder, bundles: Sequence[Bundle], fitted: Temperature) -> dict[str, Any]:
    """What a K-fold run's bundle says of how good it is, and of its framing."""
    folds = [bundle.metrics for bundle in bundles]
    return {"folds": folds} | fitted.metrics() | framing_metrics(run)


def refit_recipe(recipe: Recipe, folds: tuple[RunFolder, ...]) -> Recipe:
    """The recipe of a training on every image, which has no validation images to decide anything.

    Epochs and the probe's penalty are the medians of the folds'.
    """
    epochs = round(statistics.median(_epochs_needed(fold) for fold in folds))
    training = {"checkpoint": "last", "patience": None, "time_limit_s": None}
    # No epoch at all: the probe was wanted, or all that the time limit allowed.
    changed = {"epochs": epochs} if epochs else {"mode": "probe"}
    # A race of its own, on all images, is for a training of epochs.
    tune = {} if epochs else {"time_s": None}
    settled = recipe.replace(training=training | changed, tune=tune)
    states = [fold.state() for fold in folds]
    penalties = [state["probe_penalty"] for state in states if "probe_penalty" in state]
    if penalties:
        settled = settled.replace(probe={"penalties": [statistics.median_low(penalties)]})
    return settled


def _epochs_needed(fold: RunFolder) -> int:
    """Fine-tuning epochs up to the weights that the fold kept."""
    kept = selected_epoch(read_history(fold.metrics_file), fold.recipe().training.checkpoint)
    return 0 if kept is None else kept.epoch
