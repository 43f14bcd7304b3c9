"""Soup: average the weights of networks that share a start, into one bundle."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from shopsight.bundle.format import WEIGHTS_FILE, BundleInfo
from shopsight.catalog.seal import is_sealed_recipe
from shopsight.commands.recipe_trust import refuse_reaching
from shopsight.devices import pick_device
from shopsight.errors import ConfigError, WriteError
from shopsight.evaluation.headline import ACCURACY, MEAN_AVERAGE_PRECISION
from shopsight.evaluation.run_images import check_run_images
from shopsight.io.own_folder import refuse_links_out
from shopsight.memory import memory_budget_bytes
from shopsight.output_locks import only_writer_of_file
from shopsight.output_paths import check_output_path
from shopsight.read_options import ReadOptions
from shopsight.runs.run_access import RunAccess, use_run_access
from shopsight.runs.run_folder import RunFolder
from shopsight.runtime import retain_freed_memory, single_threaded_opencv
from shopsight.soups.averages import Average, How, between, greedy, uniform
from shopsight.soups.candidates import Candidates
from shopsight.soups.ingredients import (
    Ingredient,
    batchnorms_to_measure,
    check_memory,
    check_same_tensors,
    ingredients_of,
    weight_bytes,
)
from shopsight.soups.page import PAGE_FILE, write_soup_page
from shopsight.soups.result import SoupResult
from shopsight.soups.shared_start import check_run, check_shared_start
from shopsight.soups.start import HeadRole, start_of
from shopsight.soups.weights import differing_batchnorms
from shopsight.soups.write import write_average
from shopsight.text import command_line, counted

__all__ = ["SoupResult", "soup"]

NUMBER_BYTES = 4
MOST_ALPHAS = 101


def soup(
    runs: Sequence[str | Path],
    *,
    out: str | Path,
    how: How,
    alphas: Sequence[float] = (),
    read: ReadOptions | None = None,
    trust_recipe: bool = False,
    accept: Collection[str] = (),
    device: str = "auto",
) -> SoupResult:
    """Average weights, score the average, and write it as a bundle.

    Args:
        runs: finished runs of one start and one split. A single run stands for its kept epochs or,
            with `how="alpha"`, for itself and its start; two runs are the ends of "alpha".
        out: the bundle to make; there may be nothing in that folder.
        how: "uniform" is the mean, "greedy" the mean of those that help on validation images,
            "alpha" a point between two ends.
        alphas: shares of the second end; of several the best on validation images is taken.
        read: where the images lie now, `images_root`, and what else may be read for them.
        trust_recipe: read a run of somebody else whose recipe names files to start from.
        accept: "changed-file" goes on with images that changed since training.
        device: see `shopsight.devices`.

    Raises:
        SoupError: the runs share no start, or their weights cannot be averaged.
        ConfigError: alphas and `how` do not go together.
        ChangedFilesError: images of the run changed or vanished.
        WriteError: `out` cannot be written, or something is there.
    """
    folders = [RunFolder(Path(run)) for run in runs]
    chosen = _checked_alphas(how, alphas, len(folders))
    pick_device(device)
    bundle = Path(out)
    _check_out(bundle)
    with only_writer_of_file(bundle), use_run_access(RunAccess.by_flags(read)):
        infos = [check_run(run) for run in folders]
        check_shared_start(folders)
        wanted = ["--alpha", ",".join(f"{one:g}" for one in chosen)] if chosen else [f"--{how}"]
        command = ["shopsight", "soup", *(run.path for run in folders), *wanted, "--out", bundle]
        for run in folders:
            if not run.is_own():
                _check_stranger(run, command, trust_recipe=trust_recipe)
        check_run_images(
            folders[-1],
            command=command,
            accept=accept,
            images_root=None if read is None else read.images_root,
        )
        with retain_freed_memory(), single_threaded_opencv():
            found = _averaged(folders, infos[0], how, chosen, bundle, device=device)
            return replace(found, page=write_soup_page(bundle / PAGE_FILE, found))


def _checked_alphas(how: How, alphas: Sequence[float], runs: int) -> list[float]:
    if how != "alpha":
        if alphas:
            raise ConfigError("--alpha goes without --uniform and --greedy", where="--alpha")
        if runs < 1:
            raise ConfigError("there is no run to average", fix="shopsight soup RUN RUN ...")
        return []
    if runs not in (1, 2):
        raise ConfigError(
            f"--alpha lies between two ends, and there are {counted(runs, 'run')}",
            where="--alpha",
            fix="one RUN (its start and itself) or two; several: --uniform or --greedy",
        )
    if not 0 < len(alphas) <= MOST_ALPHAS or not all(map(math.isfinite, alphas)):
        raise ConfigError(
            f"one to {MOST_ALPHAS} numbers are needed", where="--alpha", fix="--alpha 0,0.25,0.5,1"
        )
    return sorted(set(map(float, alphas)))


def _check_out(out: Path) -> None:
    check_output_path(out, reserve=1 + len(WEIGHTS_FILE))
    if out.is_dir() and any(out.iterdir()):
        raise WriteError(
            "is there already, and is not written over",
            where=str(out),
            fix="give another --out, or delete it",
        )


def _check_stranger(run: RunFolder, command: Sequence[object], *, trust_recipe: bool) -> None:
    """Refuse what a run of somebody else would reach: links, and weights to start from."""
    refuse_links_out(run.path)
    recipe = run.recipe()
    if not trust_recipe and not is_sealed_recipe(recipe, run.recipe_text()):
        fix = command_line([*command, "--trust-recipe"])
        refuse_reaching(recipe, run.recipe_file, own=("data", "about", "tracking"), fix=fix)


def _averaged(
    runs: Sequence[RunFolder],
    info: BundleInfo,
    how: How,
    alphas: Sequence[float],
    out: Path,
    *,
    device: str,
) -> SoupResult:
    """Average as is wanted, and write the bundle."""
    if how == "alpha":
        ingredients = [Ingredient.of(str(run.path), run.model / WEIGHTS_FILE) for run in runs]
    else:
        ingredients = ingredients_of(runs)
    _check_room(runs[-1], ingredients, info)
    candidates = Candidates(runs[-1], device=device)
    check_same_tensors(ingredients, candidates.shapes())
    head: HeadRole = "interpolated"
    if how == "alpha":
        average, head, layers = _interpolated(runs, candidates, ingredients, alphas)
    else:
        layers = batchnorms_to_measure(ingredients)
        mean = uniform if how == "uniform" else greedy
        average = mean(candidates, ingredients, layers=layers)
    averages_several = how == "alpha" or sum(one.kept for one in average.tried) > 1
    found = SoupResult(
        out=out,
        how=how,
        title=_title(how, average, len(runs)),
        metric=MEAN_AVERAGE_PRECISION if info.multilabel else ACCURACY,
        average=average,
        ingredients=tuple(ingredients),
        head=head,
        measured_layers=len(layers) if averages_several else 0,
        held_out=(candidates.num_held_out, candidates.num_held_out_classes),
    )
    write_average(out, candidates, average.model, title=found.title, about=found.about())
    return found


def _interpolated(
    runs: Sequence[RunFolder],
    candidates: Candidates,
    ingredients: Sequence[Ingredient],
    alphas: Sequence[float],
) -> tuple[Average, HeadRole, set[str]]:
    """Between two runs, or between a run and its start."""
    end = ingredients[-1].read()
    head: HeadRole = "interpolated"
    if len(runs) == 2:
        start = ingredients[0].read()
    else:
        found = start_of(runs[0], candidates.info, end)
        start, head = found.weights, found.head
    layers = differing_batchnorms(start, end)
    return between(candidates, start, end, alphas, layers=layers, head=head), head, layers


def _check_room(run: RunFolder, ingredients: Sequence[Ingredient], info: BundleInfo) -> None:
    """Refuse, before any work, what does not fit in memory."""
    held = run.held_out()
    images = len(run.catalog()) + (2 * len(held) if held else 0)
    embeddings = images * info.embedding_dim * NUMBER_BYTES
    weights = max(map(weight_bytes, ingredients))
    check_memory(weights, embeddings, memory_budget_bytes())


def _title(how: How, average: Average, runs: int) -> str:
    kept = [one for one in average.tried if one.kept]
    if how == "alpha":
        ends = "a run and its start" if runs == 1 else "two runs"
        return f"weights between {ends}, {kept[0].name}"
    of = "runs" if runs > 1 else "epochs"
    return f"{how} soup of {len(kept)} of {len(average.tried)} {of}"
