"""A student and its teacher: the same views, its space, its head, its answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from shopsight import api
from shopsight.bundle.read import read_bundle
from shopsight.commands.recipe_trust import check_recipe
from shopsight.config.augment_settings import AugmentSettings
from shopsight.config.recipe import load_recipe, parse_recipe
from shopsight.datasets.open import open_catalog
from shopsight.errors import ConfigError, UntrustedRecipeError
from shopsight.inference.load import load
from shopsight.inference.open_embedder import open_embedder
from shopsight.inference.open_network import OpenedNetwork, open_network
from shopsight.loading.loader import TrainingBatches
from shopsight.models.build import build_model
from shopsight.progress import use_listener
from shopsight.runs.run_folder import RunFolder
from shopsight.training.distill_loss import embedding_loss, soft_loss
from shopsight.training.embeds_into import recall_in_space
from shopsight.training.teacher_outputs import ViewSource
from shopsight.training.training_run import TrainingRun
from tests.helpers import Recorder, make_products, train_small

LEARNS = ("training.epochs=12", "optimizer.lr=3e-3")
"""Enough to tell the classes apart."""
STUDENT = ("model.backbone=shopsight:fashion_net", "training.mode=scratch", "optimizer.lr=3e-3")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_products(tmp_path_factory.mktemp("data") / "photos", per_class=40).folder


@pytest.fixture(scope="module")
def teacher(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_small(photos, tmp_path_factory.mktemp("runs") / "teacher", *LEARNS)


def test_soft_targets_are_the_divergence_at_a_temperature() -> None:
    torch.manual_seed(0)
    own, teacher = torch.randn(5, 4), torch.randn(5, 4)
    right = (teacher / 3).softmax(1)
    wanted = 9 * (right * ((teacher / 3).log_softmax(1) - (own / 3).log_softmax(1))).sum(1).mean()
    torch.testing.assert_close(soft_loss(own, teacher, 3.0), wanted)
    assert soft_loss(teacher, teacher, 3.0) == pytest.approx(0.0, abs=1e-6)
    several = soft_loss(teacher, teacher, 2.0, multilabel=True)
    assert several == pytest.approx(0.0, abs=1e-6)
    assert soft_loss(own, teacher, 2.0, multilabel=True) > 0.01


@pytest.mark.parametrize("kind", ["cosine", "mse", "relational"])
def test_embedding_losses_are_zero_at_the_teacher_and_have_finite_slopes(kind: str) -> None:
    torch.manual_seed(1)
    teacher = torch.randn(6, 8)
    teacher[1] = teacher[0]
    own = teacher.clone().requires_grad_()
    loss = embedding_loss(kind, own, teacher)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-6)
    assert torch.isfinite(own.grad).all()
    assert embedding_loss(kind, torch.randn(6, 8), teacher) > 0.01


def test_relations_ignore_width_rotation_and_scale() -> None:
    torch.manual_seed(2)
    teacher = torch.randn(7, 8)
    rotation, _ = torch.linalg.qr(torch.randn(12, 8))
    assert embedding_loss("relational", 3 * teacher @ rotation.T, teacher) < 1e-6
    assert embedding_loss("relational", teacher[:2, :3], teacher[:2]) == 0


def test_recall_in_the_teacher_s_gallery() -> None:
    rng = np.random.default_rng(0)
    gallery, queries = (rng.normal(size=(n, 6)).astype(np.float32) for n in (200, 30))
    assert recall_in_space(queries, queries, gallery) == 1.0
    assert recall_in_space(2 * queries, queries, gallery) == 1.0
    assert recall_in_space(-queries, queries, gallery) == 0.0
    assert recall_in_space(queries, queries, gallery[:3]) == 1.0


def test_a_view_is_what_training_shows_in_its_epochs(photos: Path, teacher: Path) -> None:
    training = TrainingRun(RunFolder(teacher))
    rows = training.catalog.rows_of("train")
    settings, fill = AugmentSettings(), training.preprocess.pad_color
    batches = TrainingBatches(
        training.source, rows, augment=settings, seed=4, batch_size=8, fill=fill, views=2
    )
    shown: dict[int, dict[int, np.ndarray]] = {}
    for epoch in range(3):
        batches.set_epoch(epoch)
        shown[epoch] = {
            int(row): image.numpy()
            for batch in batches
            for row, image in zip(batch.rows, batch.images, strict=True)
        }
    for epoch, view in ((0, 0), (1, 1), (2, 0)):
        source = ViewSource(training.source, settings, 4, view, fill)
        for row, image in shown[epoch].items():
            assert np.array_equal(source.gather(np.array([row]))[0], image)
    both = shown[0].keys() & shown[1].keys()
    assert any(not np.array_equal(shown[0][row], shown[1][row]) for row in both)


def test_a_student_s_queries_search_the_teacher_s_gallery(
    photos: Path, teacher: Path, tmp_path: Path
) -> None:
    out = tmp_path / "student"
    settings = ("training.epochs=4", f"distill.teacher={teacher}", "distill.views=2")
    train_small(photos, out, *STUDENT, *settings)
    info = read_bundle(out / "model").info
    theirs = open_embedder(teacher, device="cpu")
    assert info.embedding_dim == theirs.space.embedding_dim
    assert info.neck.kind == "linear"
    (into,) = info.embeds_into
    assert into.space == theirs.space.fingerprint
    assert into.num_queries > 0
    own = open_embedder(out, device="cpu")
    catalog = open_catalog(photos)
    by_student, by_teacher = (
        np.stack([one.vector for one in embedder.embed(catalog, on_error="raise")])
        for embedder in (own, theirs)
    )
    cosines = np.einsum("nd,nd->n", by_student, by_teacher)
    # Of networks that know nothing of each other, 0 on average.
    assert cosines.mean() > 0.5
    assert load(out, device="cpu").verify().ok
    # Nothing is computed again where the run is trained anew: its views are kept.
    notes = Recorder()
    with use_listener(notes):
        train_small(photos, tmp_path / "again", *STUDENT, *settings)
    assert not [line for line in notes.lines if line.startswith("teacher: view")]


def test_a_teacher_by_name_is_opened_once_to_measure_the_recall(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shopsight.training import embeds_into

    name, opened = "embedded:tf_efficientnet_lite0", list[object]()

    def count(*args: object, **options: object) -> OpenedNetwork:
        opened.append(args)
        return open_network(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(embeds_into, "open_network", count)
    settings = ("training.epochs=1", f"distill.teacher={name}", "distill.soft_weight=0")
    train_small(photos, tmp_path / "student", *STUDENT, *settings, "distill.views=1")
    (into,) = read_bundle(tmp_path / "student" / "model").info.embeds_into
    assert into.space == open_embedder(name, device="cpu").space.fingerprint
    assert len(opened) == 1


def test_the_teacher_s_head_is_copied_and_stays(
    photos: Path, teacher: Path, tmp_path: Path
) -> None:
    heads = {}
    for frozen in (1, 0):
        out = tmp_path / f"frozen-{frozen}"
        train_small(
            photos,
            out,
            *STUDENT,
            f"distill.teacher={teacher}",
            "distill.embedding=mse",
            "distill.embedding_weight=10",
            "distill.soft_weight=0",
            "distill.copy_head=true",
            f"distill.frozen_head_epochs={frozen}",
        )
        heads[frozen] = build_model(read_bundle(out / "model")).head.state_dict()
    wanted = build_model(read_bundle(teacher / "model")).head.state_dict()
    for name, value in wanted.items():
        assert torch.equal(heads[1][name], value)
        assert not torch.equal(heads[0][name], value)
        assert functional.cosine_similarity(heads[0][name].flatten(), value.flatten(), dim=0) > 0.9


def test_photos_without_labels_get_the_teacher_s(
    photos: Path, teacher: Path, tmp_path: Path
) -> None:
    catalog = open_catalog(photos)
    bare = catalog.with_table(catalog.table.drop("label"))
    out = train_small(bare, tmp_path / "student", *STUDENT, f"distill.teacher={teacher}")
    found = RunFolder(out).audited_catalog().catalog
    answers = load(teacher, device="cpu").predict(found)
    assert [one.labels[0] for one in answers] == found.table["label"].to_list()
    assert any("teacher's answers" in note for note in RunFolder(out).state()["notes"])


def test_relational_distillation_keeps_the_student_s_own_space(
    photos: Path, teacher: Path, tmp_path: Path
) -> None:
    settings = (f"distill.teacher={teacher}", "distill.embedding=relational")
    out = train_small(photos, tmp_path / "student", *STUDENT, *settings)
    info = read_bundle(out / "model").info
    assert info.embeds_into == ()
    assert info.neck.is_none


def test_other_labels_are_an_error_before_anything_is_read(teacher: Path, tmp_path: Path) -> None:
    other = make_products(tmp_path / "other", per_class=8, classes=("bag", "hat", "glasses")).folder
    with pytest.raises(ConfigError, match="does not know 2 labels"):
        train_small(other, tmp_path / "run", *STUDENT, f"distill.teacher={teacher}")
    with pytest.raises(ConfigError, match="has no classes"):
        train_small(
            other,
            tmp_path / "run",
            *STUDENT,
            "distill.teacher=embedded:tf_efficientnet_lite0",
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["augment.mixup=0.2"], "mixup"),
        (["training.sampling=balanced"], "sampling"),
        (["training.mode=probe"], "mode"),
        (["distill.frozen_head_epochs=2"], "copy_head"),
        (["distill.soft_weight=0", "distill.hard_weight=0", "distill.embedding_weight=0"], "are 0"),
    ],
)
def test_settings_that_do_not_go_together(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_recipe("balanced", ["distill.teacher=run", *settings])
    assert message in " ".join(error.value.details)


def test_a_stranger_s_recipe_asks_about_its_teacher(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    for teacher, asked in (("/elsewhere/run", True), ("embedded:tf_efficientnet_lite0", False)):
        recipe.write_text(f'[distill]\nteacher = "{teacher}"\n', encoding="utf-8")
        if asked:
            with pytest.raises(UntrustedRecipeError, match="reaches") as error:
                check_recipe(recipe)
            assert "distill.teacher" in " ".join(error.value.details)
        else:
            check_recipe(recipe)
    assert parse_recipe('[distill]\nteacher = ""\n').distill.teacher == ""


def test_a_distillation_token_learns_from_the_teacher(
    photos: Path, teacher: Path, tmp_path: Path
) -> None:
    token = ("model.backbone=timm:deit_tiny_distilled_patch16_224", "preprocess.size_px=32")
    out = tmp_path / "student"
    train_small(
        photos,
        out,
        *token,
        "training.mode=scratch",
        "distill.token=true",
        f"distill.teacher={teacher}",
    )
    assert load(out, device="cpu").verify().ok
    with pytest.raises(ConfigError, match="no distillation token"):
        api.train(
            photos,
            out=tmp_path / "other",
            recipe="fashion-mnist-cnn",
            settings=["distill.token=true", f"distill.teacher={teacher}"],
        )
