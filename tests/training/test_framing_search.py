from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shopsight import api
from shopsight.bundle.read import read_bundle
from shopsight.cache_place import use_cache_dir
from shopsight.catalog.catalog import Catalog
from shopsight.commands.recipes import recipe_with
from shopsight.config.framing_settings import FramingSettings
from shopsight.config.recipe import Recipe
from shopsight.datasets.synthetic import draw_catalog
from shopsight.evaluation.evaluate import evaluate_run
from shopsight.evaluation.report_data import repeat_section
from shopsight.evaluation.run_info import read_run
from shopsight.images.decode import read_bytes
from shopsight.images.model_input import preprocess_each, preprocess_image
from shopsight.inference.load import load
from shopsight.metrics.families import Families
from shopsight.preprocess import Preprocess
from shopsight.runs.run_folder import RunFolder
from shopsight.training.fit import fit, resume
from shopsight.training.fold_heads import deal_folds
from shopsight.training.framing_losses import compared
from shopsight.training.framing_search import looser
from shopsight.training.framing_stage import SPARES_SEARCH_BELOW_S

LITE0 = "embedded:tf_efficientnet_lite0"
NEEDED = ("framing.sizes=[1.0]", "framing.images=100", "framing.crops=[0.875, 0.5]")


def fast(*settings: str) -> Recipe:
    return recipe_with("fast", [f"model.backbone={LITE0}", *NEEDED, *settings])


def small_products(folder: Path) -> Catalog:
    """Products in the middle third of wide scenes, whose edges are other for each photo."""
    catalog = draw_catalog(folder, products_per_class=8)
    rng = np.random.default_rng(0)
    for ref in catalog.refs():
        with Image.open(ref) as image:
            photo = image.convert("RGB").resize((150, 150))
        noise = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        scene = Image.fromarray(noise).resize((450, 450), Image.Resampling.BICUBIC)
        scene.paste(photo, (150, 150))
        scene.save(ref, quality=92)
    return catalog


def test_small_products_are_looked_at_from_near(tmp_path: Path) -> None:
    fit(small_products(tmp_path / "photos"), fast(), tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    recipe, found = run.recipe(), run.state()["framing"]
    assert recipe.preprocess.resize == "crop"
    assert recipe.preprocess.crop_fraction <= 0.6
    assert not recipe.framing.search
    assert found["line"].startswith("framing: middle")
    assert len(found["tried"]) == 4
    # What was chosen is what the bundle says and does.
    info = load(tmp_path / "run" / "model").info
    assert info.preprocess.resize == "crop"
    assert info.preprocess.crop_fraction == recipe.preprocess.crop_fraction
    assert "framing" in run.seconds()
    # The line is in the card and the table in the bundle and the report, as in the run.
    bundle = read_bundle(tmp_path / "run" / "model")
    assert bundle.metrics["framing"] == found
    card = (bundle.folder / "README.md").read_text(encoding="utf-8")
    assert f"\nFraming: {bundle.info.preprocess.framing}; log loss" in card
    facts = read_run(run)
    section = repeat_section(next(iter(evaluate_run(run).values())), facts)
    assert section is not None
    assert [row[0] for row in section.framings] == [one["framing"] for one in found["tried"]]
    assert section.framings[0][3] == "best"


def of_visits(folder: Path) -> Catalog:
    """Products in the middle of scenes; three scenes for each class, which other classes lack."""
    catalog = draw_catalog(folder, products_per_class=12)
    rng = np.random.default_rng(0)
    scenes: dict[tuple[str, int], Image.Image] = {}
    for row, ref in enumerate(catalog.refs()):
        key = str(catalog.table["label"][row]), row // 2 % 3
        noise = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        made = Image.fromarray(noise).resize((450, 450), Image.Resampling.BICUBIC)
        scene = scenes.setdefault(key, made).copy()
        with Image.open(ref) as image:
            scene.paste(image.convert("RGB").resize((150, 150)), (150, 150))
        scene.save(ref, quality=92)
    return catalog.with_table(catalog.table.drop("group"))


def test_what_photos_of_a_visit_share_is_no_reason_to_show_it(tmp_path: Path) -> None:
    """Scenes name the class of photos like those in training, and of no other photo."""
    fit(of_visits(tmp_path / "photos"), fast("data.test=0.0"), tmp_path / "run")
    preprocess = RunFolder(tmp_path / "run").recipe().preprocess
    assert (preprocess.resize, preprocess.crop_fraction) == ("crop", 0.5)


def test_products_that_fill_their_photos_are_seen_whole(tmp_path: Path) -> None:
    catalog = draw_catalog(tmp_path / "photos", products_per_class=8)
    for ref in catalog.refs():
        with Image.open(ref) as image:
            side = image.width
            cut = image.convert("RGB").crop((side // 4, side // 4, side * 3 // 4, side * 3 // 4))
        cut.save(ref, quality=92)
    fit(catalog, fast(), tmp_path / "run")
    preprocess = RunFolder(tmp_path / "run").recipe().preprocess
    assert preprocess.resize in ("pad", "squash") or preprocess.crop_fraction >= 0.875


@pytest.mark.parametrize(
    "setting", ["preprocess.size_px=96", "preprocess.resize=pad", "preprocess.crop_fraction=0.9"]
)
def test_who_chooses_a_framing_has_chosen(tmp_path: Path, setting: str) -> None:
    fit(draw_catalog(tmp_path / "photos", products_per_class=3), fast(setting), tmp_path / "run")
    assert "framing" not in RunFolder(tmp_path / "run").state()


def test_neither_search_nor_probe_keep_decoded_pixels(tmp_path: Path) -> None:
    """Nor does what follows them: scores, and the promise of "unknown"."""
    catalog = draw_catalog(tmp_path / "photos", products_per_class=8)
    settings = [f"model.backbone={LITE0}", *NEEDED, "cache.mode=auto", "data.val=0.4"]
    with use_cache_dir(tmp_path / "cache"):
        api.train(catalog, recipe="fast", settings=settings, out=tmp_path / "run")
        assert (tmp_path / "cache" / "features").is_dir()
        assert not (tmp_path / "cache" / "pixels").exists()
    run = RunFolder(tmp_path / "run")
    assert run.state()["framing"]["tried"]
    assert "unknown" in run.seconds()


def test_a_short_time_limit_spares_the_search(tmp_path: Path) -> None:
    limit = SPARES_SEARCH_BELOW_S - 1
    recipe = fast(f"training.time_limit_s={limit}")
    fit(draw_catalog(tmp_path / "photos", products_per_class=3), recipe, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    assert "framing" not in run.state()
    assert run.recipe().preprocess.resize == "pad" or run.recipe().preprocess.size_px


def test_a_search_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shopsight.training.framing_search as searched

    catalog = small_products(tmp_path / "photos")
    whole = searched.out_of_fold_losses
    calls = 0

    def stopped(*args: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return whole(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(searched, "out_of_fold_losses", stopped)
    with pytest.raises(KeyboardInterrupt):
        fit(catalog, fast(), tmp_path / "run")
    monkeypatch.setattr(searched, "out_of_fold_losses", whole)
    resume(tmp_path / "run")
    assert RunFolder(tmp_path / "run").recipe().preprocess.resize == "crop"


def test_one_decoding_gives_what_each_alone_gives(tmp_path: Path) -> None:
    ref = draw_catalog(tmp_path / "photos", products_per_class=1).refs()[0]
    with Image.open(ref) as image:
        image.resize((900, 700)).save(ref, quality=90)
    data = read_bytes(ref)
    framings = [
        Preprocess(size_px=size, resize=resize, crop_fraction=fraction)
        for size in (96, 224)
        for resize in ("pad", "crop", "squash")
        for fraction in (0.5, 1.0)
    ]
    for framing, square in zip(framings, preprocess_each(data, framings), strict=True):
        np.testing.assert_array_equal(square, preprocess_image(data, framing))


def test_fine_tuning_shows_a_step_more_of_the_image_up_to_all_of_it() -> None:
    settings = FramingSettings(crops=(1.0, 0.5, 0.75))
    framings = [
        Preprocess(size_px=96, resize="crop", crop_fraction=fraction) for fraction in (0.5, 0.75, 1)
    ]
    whole = framings[0].model_copy(update={"resize": "pad"})
    assert [looser(framings[0], settings, steps) for steps in (0, 1, 2)] == framings
    assert {looser(framings[0], settings, steps).resize for steps in (3, 9)} == {"pad"}
    assert looser(framings[2], settings, 1).resize == "pad"
    assert looser(whole, settings, 1) == whole
    # Where the largest crop is a middle, nobody asked for the whole image.
    assert looser(framings[1], FramingSettings(crops=(0.5, 0.75)), 1) == framings[1]


def test_families_share_a_fold_and_an_error() -> None:
    families = Families.by(np.repeat(np.arange(40), 3))
    folds = deal_folds(np.zeros(120, np.int64), families, seed=0, count=3)
    assert all(len(set(folds[families.of_image == one])) == 1 for one in range(40))
    assert np.bincount(folds).tolist() == [42, 39, 39]
    rng = np.random.default_rng(0)
    shared = np.repeat(rng.standard_normal(40), 3)
    mean, error = compared(shared, np.zeros(120), families)
    assert mean == pytest.approx(shared.mean())
    # Three equal values count once.
    assert error == pytest.approx(shared[::3].std() / np.sqrt(40))
