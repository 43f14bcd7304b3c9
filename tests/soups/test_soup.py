"""`soup` on real runs, end to end."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from shopsight import api
from shopsight.bundle.read import read_bundle
from shopsight.errors import ConfigError, ShopsightError, SoupError, WriteError
from shopsight.files import sha256_file
from shopsight.memory import use_memory_budget
from shopsight.metrics.retrieval import query_metrics
from shopsight.read_options import ReadOptions
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.runs.run_folder import RunFolder
from shopsight.soups.shared_start import check_shared_start
from shopsight.user_key import STATE_VARIABLE
from tests.helpers import edit_json
from tests.soups.soup_runs import HELD_OUT_CLASSES, SoupRuns, train

WEIGHTS = "model/model.safetensors"


def weights_of(bundle: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(bundle / "model.safetensors")
    return found


def keep_epochs(run: Path, *weights: dict[str, torch.Tensor]) -> None:
    for number, one in enumerate(weights, start=1):
        save_file(one, RunFolder(run).checkpoints / f"epoch-{number:04d}.safetensors")


# -- between a run and its start -------------------------------------------------------------------


def test_between_a_run_and_its_start(soup_runs: SoupRuns, tmp_path: Path) -> None:
    run, out = soup_runs.fitted[0], tmp_path / "bundle"
    before = sha256_file(run / "run.json")
    done = api.soup([run], out=out, how="alpha", alphas=(0.5,), device="cpu")
    start, end, found = (
        weights_of(path) for path in (soup_runs.base / "model", run / "model", out)
    )
    probe = load_file(RunFolder(run).probe_file)
    for name, value in found.items():
        if "running" in name or not value.is_floating_point():
            continue
        first = probe[name.rpartition(".")[2]] if name.startswith("head.") else start[name]
        np.testing.assert_allclose(value, (first + end[name]) / 2, atol=1e-6, err_msg=name)
    # Six BatchNorms, which neither end shares: measured, and not the mean of the two.
    name = "backbone.features.0.2.running_var"
    running = [key for key in found if key.endswith("running_var")]
    assert len(running) == 6
    assert any(
        not torch.allclose(found[name], (start[name] + end[name]) / 2, rtol=1e-3)
        for name in running
    )
    assert [one.alpha for one in done.average.tried] == [0.0, 0.5, 1.0]
    assert not done.average.chosen
    assert sha256_file(run / "run.json") == before


def test_the_end_is_the_run_itself(soup_runs: SoupRuns, tmp_path: Path) -> None:
    run = soup_runs.fitted[0]
    done = api.soup([run], out=tmp_path / "bundle", how="alpha", alphas=(1.0,), device="cpu")
    assert all(
        torch.equal(value, weights_of(run / "model")[name])
        for name, value in weights_of(tmp_path / "bundle").items()
    )
    written = json.loads(RunFolder(run).scores_file.read_text(encoding="utf-8"))
    found = done.average.measured.intervals()
    for part in ("val", "test"):
        assert found[part].to_json() == written[part]["metrics"]["accuracy"]
    assert done.gains() == {}
    assert any("the bundle is alpha 1 alone" in note for note in done.notes())


def test_the_bundle_answers_and_says_what_it_is(soup_runs: SoupRuns, tmp_path: Path) -> None:
    run, out = soup_runs.fitted[0], tmp_path / "bundle"
    alphas = (0.0, 0.25, 0.5, 0.75, 1.0)
    done = api.soup([run], out=out, how="alpha", alphas=alphas, device="cpu")
    # Loading checks the hash and the golden outputs.
    predictor = api.load(out, device="cpu")
    chosen = next(one for one in done.average.tried if one.kept)
    best = max(one.measured.val for one in done.average.tried)
    assert chosen.measured.val == best
    first = next(one for one in done.average.tried if one.measured.val == best)
    assert chosen is first
    assert f"alpha {chosen.alpha:g}" in predictor.info.recipe
    about = read_bundle(out).metrics["soup"]
    assert [one["sha256"] for one in about["ingredients"]] == [sha256_file(run / WEIGHTS)]
    assert about["scores"]["test"]["value"] == chosen.measured.estimates["test"].value
    assert any("test images judge" in note for note in about["notes"])
    page = (out / "soup.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 1
    assert "held-out classes, mAP" in page
    assert done.page == out / "soup.html"


def test_classes_that_no_training_saw_are_searched(soup_runs: SoupRuns, tmp_path: Path) -> None:
    """The figure for alpha 1, against ranks that are counted one by one."""
    run = soup_runs.fitted[0]
    done = api.soup([run], out=tmp_path / "bundle", how="alpha", alphas=(1.0,), device="cpu")
    held = AuditedCatalog.read(RunFolder(run).held_out_file)
    assert held.catalog.labels == HELD_OUT_CLASSES
    assert not set(held.catalog.labels) & set(read_bundle(run / "model").info.labels)
    predictor = api.load(run, device="cpu")
    vectors = np.stack([one.vector for one in predictor.embed(held.catalog.refs())])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels, hashes = held.catalog.table["label"].to_numpy(), held.sha256.to_numpy()
    precisions, firsts = [], []
    for query, vector in enumerate(vectors):
        others = np.flatnonzero(hashes != hashes[query])
        order = others[np.argsort(-(vectors[others] @ vector), kind="stable")]
        ranks = np.flatnonzero(labels[order] == labels[query]) + 1
        one = query_metrics(ranks, len(ranks))
        precisions.append(one["mean_average_precision"])
        firsts.append(one["recall_at_1"])
    found = done.average.measured.estimates
    assert found["held_out_map"].value == pytest.approx(np.mean(precisions), abs=1e-3)
    assert found["held_out_recall_at_1"].value == pytest.approx(np.mean(firsts), abs=0.02)


def test_a_random_head_is_fitted_anew(soup_runs: SoupRuns, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    done = api.soup([soup_runs.random], out=out, how="alpha", alphas=(0.0,), device="cpu")
    assert done.head == "refitted"
    assert any("a linear head is fitted to each" in note for note in done.notes())
    found, start = weights_of(out), weights_of(soup_runs.base / "model")
    backbone = [name for name in found if name.startswith("backbone.")]
    moved = [name for name in backbone if not torch.equal(found[name], start[name])]
    assert [name for name in moved if "num_batches" not in name] == []
    # A probe from the same start is fitted to the same embeddings, which are rounded here to bf16
    # where the machine multiplies in it.
    probe = load_file(RunFolder(soup_runs.fitted[0]).probe_file)
    np.testing.assert_allclose(found["head.classifier.weight"], probe["weight"], atol=0.1)


def test_between_two_runs(soup_runs: SoupRuns, tmp_path: Path) -> None:
    ends, out = soup_runs.fitted[:2], tmp_path / "bundle"
    done = api.soup(ends, out=out, how="alpha", alphas=(0.25,), device="cpu")
    first, second, found = (weights_of(path) for path in (*(run / "model" for run in ends), out))
    name = "head.classifier.weight"
    np.testing.assert_allclose(found[name], 0.75 * first[name] + 0.25 * second[name], atol=1e-6)
    assert done.title == "weights between two runs, alpha 0.25"


# -- soups -----------------------------------------------------------------------------------------


def test_a_uniform_soup_is_the_mean(soup_runs: SoupRuns, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    done = api.soup(soup_runs.fitted, out=out, how="uniform", device="cpu")
    every = [weights_of(run / "model") for run in soup_runs.fitted]
    for name, value in weights_of(out).items():
        if "running" not in name and value.is_floating_point():
            exact = np.mean([one[name].double().numpy() for one in every], axis=0)
            np.testing.assert_allclose(value, exact, atol=1e-6)
    about = read_bundle(out).metrics["soup"]
    assert len({one["sha256"] for one in about["ingredients"]}) == 3
    best = max(done.average.tried, key=lambda one: one.measured.val)
    assert about["compared_with"] == best.name
    assert done.title == "uniform soup of 3 of 3 runs"
    assert api.load(out, device="cpu").info.recipe.startswith("uniform soup of 3 of 3 runs: ")


def test_greedy_leaves_out_what_hurts(fitted_run: Path, tmp_path: Path) -> None:
    """Kept epochs: a good one, one a hair beside it, and one whose classifier is turned around."""
    good = load_file(fitted_run / WEIGHTS)
    head = "head.classifier.weight"
    near = {name: value.clone() for name, value in good.items()}
    near[head] += 1e-5
    bad = {name: value.clone() for name, value in good.items()}
    bad[head] *= -20
    keep_epochs(fitted_run, bad, near, good)
    greedy = api.soup([fitted_run], out=tmp_path / "greedy", how="greedy", device="cpu")
    kept = {one.name: one.kept for one in greedy.average.tried}
    assert kept == {"epoch-0001": False, "epoch-0002": True, "epoch-0003": True}
    # Tried from the best to the worst, and of equals the first one first.
    assert [one.name for one in greedy.average.tried] == ["epoch-0002", "epoch-0003", "epoch-0001"]
    np.testing.assert_allclose(
        weights_of(tmp_path / "greedy")[head], (good[head] + near[head]) / 2, atol=1e-7
    )
    uniform = api.soup([fitted_run], out=tmp_path / "uniform", how="uniform", device="cpu")
    assert uniform.average.measured.val < greedy.average.measured.val
    assert greedy.average.measured.val >= max(one.measured.val for one in greedy.average.tried)
    # What an unchanged BatchNorm holds is no average.
    assert greedy.measured_layers == 0
    about = read_bundle(tmp_path / "greedy").metrics["soup"]
    assert [one["kept"] for one in about["ingredients"]] == [False, True, True]
    assert "test" in about["scores"]


# -- what cannot be averaged -----------------------------------------------------------------------


def refused(runs: list[Path], out: Path, how: api.How = "uniform", **others: object) -> str:
    """The error's text; nothing is written."""
    with pytest.raises(ShopsightError) as error:
        api.soup(runs, out=out, how=how, device="cpu", **others)  # type: ignore[arg-type]
    assert not out.exists()
    return str(error.value)


def test_one_run_without_kept_epochs(soup_runs: SoupRuns, tmp_path: Path) -> None:
    text = refused([soup_runs.fitted[0]], tmp_path / "bundle", "greedy")
    assert "one run, with 0 kept epochs" in text
    assert "training.keep_epochs" in text


def test_another_start_is_named(soup_runs: SoupRuns, tmp_path: Path) -> None:
    text = refused([soup_runs.fitted[0], soup_runs.base], tmp_path / "bundle")
    assert "does not share a start" in text
    assert "weights: " in text
    text = refused([soup_runs.fitted[0], soup_runs.random], tmp_path / "bundle")
    assert "a head that was fitted before fine-tuning, here random by seed 0" in text


def test_a_random_start_alone(soup_runs: SoupRuns, tmp_path: Path) -> None:
    text = refused([soup_runs.base], tmp_path / "bundle", "alpha", alphas=(0.5,))
    assert "began with random weights" in text


def test_other_random_seeds(soup_runs: SoupRuns, tmp_path: Path) -> None:
    other = RunFolder(shutil.copytree(soup_runs.base, tmp_path / "other"))
    other.write_recipe(other.recipe().replace(seed=5))
    text = refused([soup_runs.base, other.path], tmp_path / "bundle")
    assert "weights at the start: random by seed 0, here by seed 5" in text


def test_another_split(soup_runs: SoupRuns, fitted_run: Path, tmp_path: Path) -> None:
    split = pl.col("split").replace({"val": "test", "test": "val"})
    change_table(fitted_run, split=split)
    text = refused([soup_runs.fitted[1], fitted_run], tmp_path / "bundle")
    assert re.search(r"split: \d+ of \d+ images are in another part", text)
    assert "shopsight split DATA" in text


def change_table(run: Path, **columns: pl.Expr) -> None:
    audited = RunFolder(run).audited_catalog()
    table = audited.catalog.table.with_columns(**columns)
    audited.with_catalog(audited.catalog.with_table(table)).write(RunFolder(run).catalog_file)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"labels": ["a", "b", "c", "d", "e"]}, "labels: lacking here"),
        ({"preprocess": {"size_px": 32}}, "preprocess.size_px: 28, here 32"),
        ({"head": {"kind": "direction"}}, "head.kind: linear, here direction"),
        ({"tta_hflip": True}, "tta_hflip: False, here True"),
        ({"backbone": "shopsight:fashion_net"}, "backbone: "),
    ],
)
def test_what_differs_is_named(
    soup_runs: SoupRuns, fitted_run: Path, changes: dict[str, object], line: str
) -> None:
    edit_json(fitted_run / "model" / "model.json", **changes)
    with pytest.raises(SoupError) as error:
        check_shared_start([RunFolder(soup_runs.fitted[1]), RunFolder(fitted_run)])
    assert line in str(error.value)


def test_labels_in_another_order(soup_runs: SoupRuns, fitted_run: Path) -> None:
    labels = list(read_bundle(fitted_run / "model").info.labels)
    edit_json(fitted_run / "model" / "model.json", labels=labels[::-1])
    with pytest.raises(SoupError, match="the same in another order"):
        check_shared_start([RunFolder(soup_runs.fitted[1]), RunFolder(fitted_run)])


def test_a_probe_alone(fitted_run: Path, tmp_path: Path) -> None:
    """As the time limit leaves a run in which no epoch fits."""
    RunFolder(fitted_run).final_weights_file.unlink()
    text = refused([fitted_run], tmp_path / "bundle", "alpha", alphas=(0.5,))
    assert "trained no backbone" in text


@pytest.mark.slow
def test_a_head_alone(soup_runs: SoupRuns, tmp_path: Path) -> None:
    start = f"local:{soup_runs.base}"
    run = train(soup_runs.table, tmp_path / "frozen", "training.mode=frozen", start=start)
    text = refused([run], tmp_path / "bundle", "alpha", alphas=(0.5,))
    assert "trained its head alone" in text


def test_no_validation_images(fitted_run: Path, tmp_path: Path) -> None:
    change_table(fitted_run, split=pl.col("split").replace("val", "train"))
    text = refused([fitted_run], tmp_path / "bundle", "alpha", alphas=(0.5,))
    assert "has no validation images" in text


def test_nan(fitted_run: Path, tmp_path: Path) -> None:
    good = load_file(fitted_run / WEIGHTS)
    spoiled = {name: value.clone() for name, value in good.items()}
    spoiled["head.classifier.bias"][0] = float("inf")
    keep_epochs(fitted_run, good, spoiled)
    text = refused([fitted_run], tmp_path / "bundle")
    assert "epoch-0002.safetensors: the weights hold NaN or infinity" in text
    assert "head.classifier.bias: 1 of 5 numbers" in text


def test_a_cut_off_file_and_other_shapes(fitted_run: Path, tmp_path: Path) -> None:
    good = load_file(fitted_run / WEIGHTS)
    other = {name: value for name, value in good.items() if name != "head.classifier.bias"}
    other["head.classifier.weight"] = torch.zeros(3, 3)
    keep_epochs(fitted_run, good, other)
    text = refused([fitted_run], tmp_path / "bundle")
    assert "head.classifier.weight: [3, 3], in the network [5, 32]" in text
    assert "head.classifier.bias: is missing" in text
    file = RunFolder(fitted_run).kept_epoch_files[1]
    file.write_bytes(file.read_bytes()[:-10])
    assert "epoch-0002: is no safetensors file, or a damaged one" in refused(
        [fitted_run], tmp_path / "bundle"
    )


def test_the_same_weights_twice(soup_runs: SoupRuns, fitted_run: Path, tmp_path: Path) -> None:
    text = refused([soup_runs.fitted[0], fitted_run], tmp_path / "bundle")
    assert "are the same weights" in text


def test_too_little_memory_is_said_with_the_number(soup_runs: SoupRuns, tmp_path: Path) -> None:
    with use_memory_budget(1e-4):
        text = refused(list(soup_runs.fitted), tmp_path / "bundle")
    assert "averaging takes about" in text
    assert "100.0 kB" in text or "100 kB" in text


def test_the_start_is_gone(fitted_run: Path, tmp_path: Path) -> None:
    run = RunFolder(fitted_run)
    gone = f"local:{tmp_path / 'gone'}"
    run.write_recipe(run.recipe().replace(model={"backbone": gone}))
    text = refused([fitted_run], tmp_path / "bundle", "alpha", alphas=(0.5,))
    assert "gone" in text


def test_the_start_is_another_one(soup_runs: SoupRuns, fitted_run: Path, tmp_path: Path) -> None:
    run = RunFolder(fitted_run)
    run.write_recipe(run.recipe().replace(model={"backbone": f"local:{soup_runs.random}"}))
    text = refused([fitted_run], tmp_path / "bundle", "alpha", alphas=(0.5,))
    assert "the weights that it began with are not there any more" in text


def test_a_strangers_run_names_no_files(
    fitted_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    read = ReadOptions(allow_outside=True)
    text = refused([fitted_run], tmp_path / "bundle", "alpha", alphas=(1.0,))
    assert "reaches what you did not name" in text
    text = refused([fitted_run], tmp_path / "bundle", "alpha", alphas=(1.0,), trust_recipe=True)
    assert "--allow-outside" in text
    done = api.soup(
        [fitted_run],
        out=tmp_path / "bundle",
        how="alpha",
        alphas=(1.0,),
        read=read,
        trust_recipe=True,
        device="cpu",
    )
    assert done.out.is_dir()


def test_what_is_there_is_not_written_over(soup_runs: SoupRuns, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(WriteError, match="not written over"):
        api.soup(soup_runs.fitted, out=tmp_path, how="uniform", device="cpu")
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("how", "alphas", "count"),
    [("uniform", (0.5,), 2), ("alpha", (), 1), ("alpha", (float("nan"),), 1), ("alpha", (0.5,), 3)],
)
def test_options_that_do_not_go_together(
    soup_runs: SoupRuns, tmp_path: Path, how: api.How, alphas: tuple[float, ...], count: int
) -> None:
    with pytest.raises(ConfigError):
        api.soup(soup_runs.fitted[:count], out=tmp_path / "out", how=how, alphas=alphas)


def test_changed_images_stop_it(soup_runs: SoupRuns, fitted_run: Path, tmp_path: Path) -> None:
    catalog = RunFolder(fitted_run).audited_catalog()
    wrong = pl.Series("sha256", ["0" * 64, *catalog.sha256.to_list()[1:]])
    AuditedCatalog(catalog.catalog, wrong, catalog.duplicate_group).write(
        RunFolder(fitted_run).catalog_file
    )
    text = refused([fitted_run], tmp_path / "bundle", "alpha", alphas=(0.5,))
    assert "not the files that the run was made with" in text
