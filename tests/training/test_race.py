from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shopsight import api
from shopsight.commands.recipes import recipe_with
from shopsight.config.recipe import Recipe
from shopsight.datasets.synthetic import draw_catalog
from shopsight.errors import ConfigError
from shopsight.metrics.families import Families
from shopsight.runs.run_folder import RunFolder
from shopsight.training.fit import fit, resume
from shopsight.training.framing_stage import settle_framing
from shopsight.training.prepare import prepare
from shopsight.training.race import Contestant, Race, halving
from shopsight.training.race_losses import RaceLosses
from shopsight.training.race_sample import RaceSample, judging_images
from shopsight.training.resolve import resolve
from shopsight.training.short_training import WORST, ShortTraining
from shopsight.training.tune_stage import GROWTH, OWN, most_in_rounds, settle_tuning
from shopsight.training.tune_values import other_values, with_values
from tests.training.test_framing_search import small_products

CPU = torch.device("cpu")
SMALL = (
    "model.backbone=embedded:tf_efficientnet_lite0",
    "preprocess.size_px=64",
    "training.progressive_scales=[]",
    "training.precision=32",
    "training.batch_size=16",
    "training.epochs=2",
    # Else twelve steps have a sixth of the rate.
    "schedule.full_rate_steps=0",
    # A head that knows little: there is something to learn in few steps.
    "probe.penalties=[10.0]",
    "tune.images=160",
    "hardware.accelerator=cpu",
)


def balanced(*settings: str) -> Recipe:
    return recipe_with("balanced", [*SMALL, *settings])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is about to race, in a folder of its own; copy it."""
    root = tmp_path_factory.mktemp("race")
    catalog = draw_catalog(root / "photos", products_per_class=12)
    prepare(catalog, balanced("tune.time_s=600"), RunFolder(root / "run"))
    return root / "run"


@pytest.fixture
def run(prepared: Path, tmp_path: Path) -> RunFolder:
    shutil.copytree(prepared, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    # What a race finds does not hang on how fast this machine is: the plan is in the run.
    plan = {
        "keys": ["optimizer.lr"],
        "rounds": [1, 3],
        "step_s": 1.0,
        "judge_s": 1.0,
        "needed_s": 1.0,
    }
    run.update_state(tune_plan={"batch": [16], "plan": plan})
    return run


def sample_of(run: RunFolder) -> RaceSample:
    audited, recipe = run.audited_catalog(), run.recipe()
    rows = audited.catalog.rows_of("train")
    return RaceSample(audited, recipe, rows, images=recipe.tune.images, device=CPU)


def test_the_right_rate_wins(run: RunFolder) -> None:
    race = Race("Racing", sample_of(run), RaceLosses(run.race_file), CPU)
    own = run.recipe()
    some = {
        rate: Contestant(f"lr {rate:g}", own.replace(optimizer={"lr": rate}))
        for rate in (1e-8, 1e-3, 10.0)
    }
    found = halving(race, list(some.values()), rounds=(1, 12), own=some[1e-8])
    assert [one.contestant.name for one in found] == ["lr 0.001", "lr 1e-08", "lr 10"]
    best, none, wild = found
    assert (best.steps, none.steps, wild.steps) == (12, 12, 1)
    assert best.worse == best.error == 0.0
    assert none.worse > 2 * none.error > 0.0
    assert wild.loss > none.loss


def test_the_run_takes_what_won_and_says_so(run: RunFolder) -> None:
    run.write_recipe(run.recipe().replace(optimizer={"lr": 1e-8}))
    # A third and three times of nothing are nothing: the recipe stays.
    settle_tuning(run)
    found = run.state()["tune"]
    assert run.recipe().optimizer.lr == 1e-8
    assert run.recipe().tune.time_s is None
    assert found["chosen"] == OWN
    assert "stays" in found["line"]
    assert {one["contestant"] for one in found["tried"]} == {
        OWN, "optimizer.lr = 3.33e-09", "optimizer.lr = 3e-08",
    }  # fmt: skip
    assert run.seconds()["tune"]["wall"] > 0
    # Settled, it does not race again.
    run.race_file.unlink()
    settle_tuning(run)
    assert not run.race_file.exists()


def test_what_is_clearly_better_is_taken(run: RunFolder) -> None:
    run.write_recipe(run.recipe().replace(optimizer={"lr": 3e-3}))
    plan = run.state()["tune_plan"]
    run.update_state(tune_plan=plan | {"plan": plan["plan"] | {"rounds": [1, 12]}})
    settle_tuning(run)
    found = run.state()["tune"]
    assert run.recipe().optimizer.lr == 1e-3
    assert found["chosen"] == "optimizer.lr = 0.001"
    assert "the recipe: worse by" in found["line"]
    assert found["tried"][0]["contestant"] == "optimizer.lr = 0.001"


def test_a_race_that_was_stopped_ends_as_if_it_had_not(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = RunFolder(tmp_path / "other")
    shutil.copytree(run.path, other.path)
    settle_tuning(run)

    whole = ShortTraining.losses
    trained: list[int] = []

    def stopped(self: ShortTraining, steps: int, advance: Any) -> Any:
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(steps)
        return whole(self, steps, advance)

    monkeypatch.setattr(ShortTraining, "losses", stopped)
    with pytest.raises(KeyboardInterrupt):
        settle_tuning(other)
    assert other.recipe().tune.time_s == 600
    assert other.seconds()["tune"]["wall"] > 0

    def counted(self: ShortTraining, steps: int, advance: Any) -> Any:
        trained.append(steps)
        return whole(self, steps, advance)

    monkeypatch.setattr(ShortTraining, "losses", counted)
    settle_tuning(other)
    # Nothing was trained twice, and the result is the same.
    assert trained[:3] == [1, 1, 1]
    assert set(trained[3:-1]) == {3}
    # What they began with.
    assert trained[-1] == 0
    assert other.state()["tune"] == run.state()["tune"]
    assert other.recipe() == run.recipe()


def test_validation_and_test_images_decide_nothing(run: RunFolder) -> None:
    catalog = run.catalog()
    train = set(catalog.take(catalog.rows_of("train")).refs())
    sample = sample_of(run)
    assert set(sample.catalog.refs()) <= train
    assert not set(sample.train_rows) & set(sample.judged_rows)
    # Neither their pixels nor their files: the race ends without them.
    for part in ("val", "test"):
        for ref in catalog.take(catalog.rows_of(part)).refs():
            moved = Path(ref).with_suffix(".away")
            Path(ref).rename(moved)
    try:
        settle_tuning(run)
    finally:
        for moved in Path(ref).parents[1].rglob("*.away"):
            moved.rename(moved.with_suffix(Path(ref).suffix))
    assert run.state()["tune"]["tried"]


def test_families_of_a_class_are_divided_and_none_is_cut() -> None:
    families = Families.by(np.repeat(np.arange(31), 3))
    classes = np.repeat(np.arange(31) % 5, 3)
    classes[-3:] = 5
    judging = judging_images(families, classes, seed=0)
    assert all(len(set(judging[families.of_image == one])) == 1 for one in range(31))
    for label in range(5):
        assert judging[classes == label].sum() == 6
    # The only family of its class trains.
    assert not judging[-3:].any()


def test_a_contestant_begins_with_a_probe_that_saw_no_judging_image(run: RunFolder) -> None:
    sample = sample_of(run)
    recipe = run.recipe()
    sample.prepare(recipe)
    first = sample.probe(recipe)
    assert first is not None
    still = ShortTraining(
        recipe.replace(optimizer={"lr": 1e-12}), sample.data(recipe), CPU, probe=first
    )
    losses = still.losses(1, lambda _count: None)
    assert losses.shape == (len(sample.judged_rows),)
    assert losses.mean() < np.log(sample.num_classes)
    assert first.weight.abs().sum() > 0
    # Without a probe nothing is known yet.
    new = ShortTraining(
        recipe.replace(optimizer={"lr": 1e-12}), sample.data(recipe), CPU, probe=None
    )
    assert new.losses(1, lambda _count: None).mean() > losses.mean()


def test_weights_that_are_no_longer_finite_lose(run: RunFolder) -> None:
    race = Race("Racing", sample_of(run), RaceLosses(run.race_file), CPU)
    recipe = run.recipe()
    wild = Contestant("wild", recipe.replace(optimizer={"lr": 1e12, "name": "sgd"}))
    own = Contestant(OWN, recipe)
    found = race.compare([wild, own], 3)
    assert [one.contestant.name for one in found] == [OWN, "wild"]
    assert 5.0 < found[1].loss <= WORST


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (["training.mode=probe"], "training.mode = 'probe'"),
        (["training.mode=scratch"], "training.mode = 'scratch'"),
        (["model.weights=random"], "model.weights = 'random'"),
        (["training.sampling=pxk"], "training.sampling = 'pxk'"),
        (["training.time_limit_s=60"], "training.time_limit_s = 60"),
        (["training.loss=arcface", "training.mode=finetune", "model.head.kind=cosine",
          "training.label_smoothing=0.0"], "training.loss = 'arcface'"),
        (["training.mode=zero-shot-then-finetune", "model.head.kind=direction"],
         "training.mode = 'zero-shot-then-finetune'"),
    ],
)  # fmt: skip
def test_where_a_race_makes_no_sense_it_is_refused_at_once(
    tmp_path: Path, settings: list[str], name: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        api.train("nowhere", out=tmp_path / "run", recipe="balanced", tune_s=300, settings=settings)
    assert f"tune.time_s (--tune) does not go with {name}" in "\n".join(caught.value.details)
    assert not (tmp_path / "run").exists()


def test_what_was_set_by_hand_does_not_race(tmp_path: Path) -> None:
    catalog = draw_catalog(tmp_path / "photos", products_per_class=4)
    settings = [*SMALL, "optimizer.lr=1e-4", "training.frozen_stages=3"]
    with pytest.raises(ConfigError, match="nothing is left to race for"):
        api.train(
            catalog,
            out=tmp_path / "run",
            tune_s=60,
            settings=[*settings, "augment.scale=[0.5, 1.0]"],
        )
    result = api.train(catalog, out=tmp_path / "run", tune_s=1, epochs=1, settings=settings)
    run = RunFolder(result.run)
    recipe = run.recipe()
    assert recipe.tune.keys == ("augment.scale",)
    assert (recipe.optimizer.lr, recipe.training.frozen_stages) == (1e-4, 3)


def test_candidates_lie_around_the_recipe(run: RunFolder) -> None:
    recipe = run.recipe().replace(optimizer={"lr": 6e-4}, augment={"scale": (0.6, 1.0)})
    stages = tuple((str(number),) for number in range(9))
    assert other_values(recipe, "optimizer.lr", stages) == [2e-4, 1.8e-3]
    assert other_values(recipe, "augment.scale", stages) == [(0.35, 1.0), (0.8, 1.0)]
    assert other_values(recipe, "training.frozen_stages", stages) == [2, 6]
    few = stages[:5]
    assert other_values(recipe, "training.frozen_stages", few) == [2]
    whole = recipe.replace(augment={"affine_prob": 0.0}, training={"mode": "frozen"})
    assert other_values(whole, "augment.scale", stages) == []
    assert other_values(whole, "training.frozen_stages", stages) == []
    near = recipe.replace(augment={"scale": (0.33, 1.0)})
    assert other_values(near, "augment.scale", stages) == [(0.8, 1.0)]
    changed = with_values(recipe, {"augment.scale": (0.35, 1.0), "optimizer.lr": 2e-4})
    assert changed.augment.scale == (0.35, 1.0)
    assert changed.optimizer.lr == 2e-4
    assert changed.replace(augment={"scale": (0.6, 1.0)}, optimizer={"lr": 6e-4}) == recipe


def interrupted(*_: object) -> None:
    """What Ctrl-C does."""
    raise KeyboardInterrupt


def test_a_plan_keeps_its_time(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    assert most_in_rounds(7, joint=True) == [7, 6]
    assert most_in_rounds(3, joint=False) == [3, 3]
    run.update_state(tune_plan=None)
    monkeypatch.setattr(Race, "seconds", lambda *_: (1.0, 2.0))
    run.write_recipe(run.recipe().replace(training={"epochs": 8}))
    with monkeypatch.context() as patch:
        patch.setattr(Race, "compare", interrupted)
        with pytest.raises(KeyboardInterrupt):
            settle_tuning(run)
    plan = run.state()["tune_plan"]["plan"]
    assert plan["keys"] == ["optimizer.lr", "augment.scale", "training.frozen_stages"]
    first, last = plan["rounds"]
    assert last == GROWTH[-1] * first
    needed = 13 * 2.0 + 7 * first + 6 * last
    assert 0.8 * 600 < needed < 600
    # Of a training that is far longer, this race would be too short a part.
    run.update_state(tune_plan=None)
    run.write_recipe(run.recipe().replace(training={"epochs": 1000}))
    settle_tuning(run)
    about = run.state()["tune"]
    assert "too short to learn anything" in about["line"]
    assert about["planned"]["needed_s"] > 3 * 0.2 * 1000 * 10


def test_where_nothing_was_learned_the_recipe_stays(run: RunFolder) -> None:
    # All of them ruin what the probe knows, the lower rate less.
    run.write_recipe(run.recipe().replace(optimizer={"lr": 30.0}))
    settle_tuning(run)
    found = run.state()["tune"]
    assert run.recipe().optimizer.lr == 30.0
    assert found["tried"][0]["loss"] > found["start_loss"]
    assert "no training is better than what it began with" in found["line"]


def test_too_little_time_leaves_the_recipe(run: RunFolder) -> None:
    run.update_state(tune_plan=None)
    run.write_recipe(run.recipe().replace(tune={"time_s": 1.0}))
    settle_tuning(run)
    assert "too short" in run.state()["tune"]["line"]
    assert run.recipe().optimizer.lr == balanced().optimizer.lr


@pytest.mark.slow
def test_a_whole_training_reports_its_race(run: RunFolder) -> None:
    run.write_recipe(run.recipe().replace(training={"epochs": 1}))
    resume(run.path)
    assert run.reached("bundled")
    result = api.resume(run.path)
    assert result.report is not None
    page = result.report.read_text(encoding="utf-8")
    assert "Settings that raced before the training" in page
    assert "optimizer.lr = 0.0015" in page


def test_framings_race_where_steps_are_given(tmp_path: Path) -> None:
    catalog = small_products(tmp_path / "photos")
    some = ("framing.sizes=[1.0]", "framing.images=100", "framing.crops=[0.9, 0.7, 0.5]")
    own_size = [one for one in SMALL if not one.startswith("preprocess")]
    recipe = recipe_with("balanced", [*own_size, *some, "framing.race_steps=1"])
    run = RunFolder(tmp_path / "run")
    prepare(catalog, recipe, run)
    settle_framing(run)
    found = run.state()["framing"]
    assert found["by_probe"].startswith("middle 50 %")
    raced = found["raced"]
    assert {one["contestant"] for one in raced} == {
        f"middle {percent} %, 224 px" for percent in (50, 70, 90)
    }
    assert [one["steps"] for one in raced[:2]] == [2, 2]
    assert found["chosen"] in {one["contestant"] for one in raced}
    assert "race of 2 steps" in found["line"]
    recipe = run.recipe()
    assert recipe.preprocess.crop_fraction in (0.5, 0.7, 0.9)
    assert not recipe.framing.search
    # The sample of a race, too, is of the training part.
    assert run.race_file.is_file()


def test_a_fold_races_on_its_own_images(tmp_path: Path) -> None:
    catalog = draw_catalog(tmp_path / "photos", products_per_class=4)
    recipe = balanced("tune.time_s=1", "folds.count=2", "training.epochs=1")
    fit(catalog, recipe, tmp_path / "run", fold=1)
    run = RunFolder(tmp_path / "run")
    assert "tune" in run.state()
    assert run.recipe().tune.time_s is None


def test_a_resolved_recipe_still_races(tmp_path: Path) -> None:
    catalog = draw_catalog(tmp_path / "photos", products_per_class=2)
    resolved, _ = resolve(balanced("tune.time_s=5"), catalog)
    assert resolved.tune.time_s == 5
