"""The verb: what it writes, what it refuses, and what it is compared with."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from shopsight import api
from shopsight.commands import explain as command
from shopsight.errors import ConfigError, EmbeddingError, WriteError
from shopsight.explanations.explain_journal import JOURNAL_FILE
from shopsight.models.heads import LinearHead, MlpHead
from shopsight.preprocess import Preprocess
from shopsight.progress import Advance, use_listener
from tests.explanations.spots import predictor_of
from tests.helpers import ProductPhotos, Recorder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_picture_each_a_page_and_a_table(
    tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    images = [product_photos.folder / "hat" / f"hat-00{number}-0.jpg" for number in range(3)]
    done = api.explain(tiny_run, images, out=tmp_path / "why")
    pictures = [f"000{number + 1}-hat-00{number}-0.jpg" for number in range(3)]
    assert names(tmp_path / "why") == [*pictures, "explanations.csv", "explanations.html"]
    predicted = list(api.predict(tiny_run, images))
    table = pl.read_csv(tmp_path / "why" / "explanations.csv")
    assert table["image"].to_list() == [str(image) for image in images]
    assert table["overlay"].to_list() == pictures
    assert table["label"].to_list() == [one.labels[0] for one in predicted]
    assert table["probability"].to_list() == pytest.approx(
        [one.probabilities[0] for one in predicted], abs=2e-3
    )
    page = done.page.read_text(encoding="utf-8")
    assert page.count('class="card explained"') == 3
    # Photo and map of each, and five training photos: all in the file.
    assert page.count("data:image/webp") == 3 * 7
    assert not re.search(r"(src|href)=\"?https?:", page)
    json.dumps(done.to_json())


def test_nearest_are_training_photos_of_other_files(
    tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    catalog = api.RunFolder(tiny_run).catalog()
    train = catalog.table.filter(pl.col("split") == "train")
    own = train.row(0, named=True)
    image = product_photos.folder / own["image"]
    (one,) = api.explain(tiny_run, image, out=tmp_path).images
    found = [photo.name for photo in one.nearest.photos]
    assert len(found) == 5
    assert set(found) <= set(train["image"]) - {own["image"]}
    assert one.nearest.own_labels == (own["label"],)
    similar = [photo.similarity for photo in one.nearest.photos]
    assert similar == sorted(similar, reverse=True)
    # The same by hand: the cosine of the embeddings.
    predictor = api.load(tiny_run)
    paths = [str(product_photos.folder / name) for name in [own["image"], *found]]
    vectors = [row.vector for row in predictor.embed(paths)]
    query, *others = [vector / np.linalg.norm(vector) for vector in vectors if vector is not None]
    assert similar == pytest.approx([float(query @ other) for other in others], abs=5e-3)
    labels = dict(train.select("image", "label").iter_rows())
    assert [photo.label for photo in one.nearest.photos] == [labels[name] for name in found]


def test_neighbors_from_embeddings_and_from_an_index(
    tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    photos = product_photos.folder
    api.embed(tiny_run, photos, out=tmp_path / "vectors")
    api.embed(tiny_run, photos, out=tmp_path / "vectors.npz")
    api.build_index(tiny_run, photos, out=tmp_path / "index")
    image = photos / "shoe" / "shoe-001-0.jpg"
    found = {}
    for place in ("vectors", "vectors.npz", "index"):
        out = tmp_path / f"why-{place}"
        (one,) = api.explain(tiny_run, image, out=out, train=tmp_path / place).images
        found[place] = [photo.similarity for photo in one.nearest.photos]
        assert len(found[place]) == 5
        assert "shoe/shoe-001-0.jpg" not in {photo.name for photo in one.nearest.photos}
        known = place != "vectors.npz"
        assert one.nearest.own_labels == ("shoe" if known else "no label",)
        assert all(bool(photo.label) == known for photo in one.nearest.photos)
        # Pictures: whoever wrote a folder of embeddings may name photos below its own parent only.
        assert all(bool(photo.image) == (place == "index") for photo in one.nearest.photos)
    assert found["vectors"] == pytest.approx(found["vectors.npz"], abs=1e-6)
    assert found["vectors"] == pytest.approx(found["index"], abs=1e-4)


def test_pictures_of_embeddings_that_lie_with_their_photos(
    tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    for number in range(6):
        source = product_photos.folder / "hat" / f"hat-00{number}-0.jpg"
        (tmp_path / "photos" / "hat").mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / "hat" / source.name).write_bytes(source.read_bytes())
    api.embed(tiny_run, tmp_path / "photos", out=tmp_path / "vectors")
    image = tmp_path / "photos" / "hat" / "hat-000-0.jpg"
    done = api.explain(tiny_run, image, out=tmp_path / "why", train=tmp_path / "vectors")
    assert all(photo.image for photo in done.images[0].nearest.photos)


def test_photos_of_another_space(
    tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    image = product_photos.folder / "hat" / "hat-000-0.jpg"
    api.embed("embedded:tf_efficientnet_lite0", image, out=tmp_path / "vectors")
    with pytest.raises(EmbeddingError, match="of another space"):
        api.explain(tiny_run, image, out=tmp_path / "why", train=tmp_path / "vectors")
    with pytest.raises(ConfigError, match="neither a finished run nor embeddings nor an index"):
        api.explain(tiny_run, image, out=tmp_path / "why", train=tmp_path)


def test_own_training_photos_that_are_gone(
    own_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    """Nobody asked for them: the maps are made, and the page says what is missing."""
    (own_run / "catalog.parquet").unlink()
    image = product_photos.folder / "hat" / "hat-000-0.jpg"
    done = api.explain(own_run, image, out=tmp_path / "why")
    assert done.images[0].nearest.photos == ()
    (note,) = done.notes
    assert note.startswith("no nearest training photos: ")
    assert "no nearest training photos" in done.page.read_text(encoding="utf-8")


def test_a_bundle_outside_a_run_is_compared_with_nothing(
    tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    image = product_photos.folder / "hat" / "hat-000-0.jpg"
    (tmp_path / "copied").mkdir()
    for file in (tiny_run / "model").iterdir():
        (tmp_path / "copied" / file.name).write_bytes(file.read_bytes())
    done = api.explain(tmp_path / "copied", image, out=tmp_path / "why")
    assert done.images[0].nearest.photos == ()
    assert done.notes == ()


def test_a_label_that_is_none_names_near_ones(
    tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    image = product_photos.folder / "hat" / "hat-000-0.jpg"
    with pytest.raises(ConfigError, match="'Shoes' is no label") as found:
        api.explain(tiny_run, image, out=tmp_path / "why", label="Shoes")
    assert "did you mean 'shoe'?" in found.value.details
    assert not (tmp_path / "why").exists()


@pytest.mark.parametrize(
    ("kind", "what"),
    [("backbone", "is a backbone by name"), ("embeddings", "is a folder of embeddings")],
)
def test_what_has_no_labels(
    kind: str, what: str, tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    image = product_photos.folder / "hat" / "hat-000-0.jpg"
    model = "embedded:tf_efficientnet_lite0"
    if kind == "embeddings":
        model = str(tmp_path / "vectors")
        api.embed(tiny_run, image, out=model)
    with pytest.raises(ConfigError, match=f"{what}: it has no labels"):
        api.explain(model, image, out=tmp_path / "why")


def test_what_cannot_be_read_is_listed_and_the_rest_done(
    tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, name in enumerate(("a.jpg", "c.jpg")):
        source = product_photos.folder / "hat" / f"hat-00{number}-0.jpg"
        (photos / name).write_bytes(source.read_bytes())
    (photos / "b.jpg").write_bytes(b"\xff\xd8\xff no photo")
    done = api.explain(tiny_run, [photos, tmp_path / "gone.jpg"], out=tmp_path / "why")
    assert [one.error is None for one in done.images] == [True, False, True, False]
    assert [Path(one.source).name for one in done.failed] == ["b.jpg", "gone.jpg"]
    table = pl.read_csv(done.table)
    assert table["error"].is_null().to_list() == [True, False, True, False]
    assert table["label"].is_null().to_list() == [False, True, False, True]
    page = done.page.read_text(encoding="utf-8")
    assert page.count('class="card explained"') == 2
    assert "b.jpg" in page.partition('id="failed"')[2]


def test_more_images_than_are_explained(
    tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path, said: list[str]
) -> None:
    done = api.explain(tiny_run, product_photos.folder, out=tmp_path / "why", most=4)
    assert len(done.images) == 4
    line = "explained: the first 4 images; there are more: --most N"
    assert done.notes == (line,)
    assert line in said
    whole = api.explain(tiny_run, product_photos.folder / "hat", out=tmp_path / "all", most=20)
    assert len(whole.images) == 20
    assert whole.notes == ()


def test_results_among_the_images(tiny_run: Path, product_photos: ProductPhotos) -> None:
    with pytest.raises(WriteError, match="lies in the folder of the images"):
        api.explain(tiny_run, product_photos.folder, out=product_photos.folder / "why")


class _Stopped(Recorder):
    """Interrupts after the second image."""

    @contextmanager
    def task(self, title: str, total: int | None, unit: str) -> Iterator[Advance]:  # type: ignore[override]
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            if title == "Explaining" and done == 2:
                raise KeyboardInterrupt

        yield advance


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The images that are explained, not taken from an interrupted command."""
    sources = list[str]()
    explain_one = command.explain_one

    def counted(predictor: Any, one: Any, **settings: Any) -> Any:
        sources.append(Path(one.source).name)
        return explain_one(predictor, one, **settings)

    monkeypatch.setattr(command, "explain_one", counted)
    return sources


@pytest.fixture
def interrupted(tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path) -> tuple[Path, Path]:
    """Five photos of which two were explained: their folder, and that of the results."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in sorted(product_photos.folder.rglob("*.jpg"))[:5]:
        shutil.copy(path, photos)
    out = tmp_path / "why"
    with use_listener(_Stopped()), pytest.raises(KeyboardInterrupt):
        api.explain(tiny_run, photos, out=out)
    return photos, out


def seen_in(page: Path) -> str:
    """A page without the time at which it was written."""
    return re.sub(r"Written by.*", "", page.read_text(encoding="utf-8"))


def test_an_interrupted_command_continues(
    tiny_run: Path, interrupted: tuple[Path, Path], worked: list[str], tmp_path: Path
) -> None:
    photos, out = interrupted
    left = names(out)
    assert left == [JOURNAL_FILE, "0001-dress-000-0.jpg", "0002-dress-000-1.jpg"]
    for name in left[1:]:
        with Image.open(out / name) as picture:
            picture.load()  # Whole.
    done = api.explain(tiny_run, photos, out=out)
    assert worked == ["dress-001-0.jpg", "dress-001-1.jpg", "dress-002-0.jpg"]
    assert JOURNAL_FILE not in names(out)
    assert len(names(out)) == 5 + 2
    whole = api.explain(tiny_run, photos, out=tmp_path / "at once")
    assert done.to_json()["images"] == whole.to_json()["images"]
    assert done.table.read_bytes() == whole.table.read_bytes()
    assert seen_in(done.page) == seen_in(whole.page)
    # A command that was not interrupted leaves nothing to continue from.
    assert len(worked) == 3 + 5


def test_what_changed_meanwhile_is_explained_anew(
    tiny_run: Path, interrupted: tuple[Path, Path], worked: list[str]
) -> None:
    photos, out = interrupted
    (out / "0001-dress-000-0.jpg").unlink()
    Image.new("RGB", (40, 60), "red").save(photos / "dress-000-1.jpg")
    api.explain(tiny_run, photos, out=out)
    assert len(worked) == 5


def test_other_options_begin_anew(
    tiny_run: Path, interrupted: tuple[Path, Path], worked: list[str]
) -> None:
    photos, out = interrupted
    api.explain(tiny_run, photos, out=out, label="hat")
    assert len(worked) == 5


@pytest.mark.parametrize("damage", [b"", b"not JSON\n", b'{"stamp": 5, "explanation": []}\n'])
def test_a_damaged_journal_costs_time_alone(
    tiny_run: Path, interrupted: tuple[Path, Path], worked: list[str], damage: bytes
) -> None:
    photos, out = interrupted
    journal = out / JOURNAL_FILE
    first, second, _ = journal.read_bytes().splitlines(keepends=True)
    # The second image's line is cut off, or another's.
    journal.write_bytes(first + second + (damage or second[:99]))
    assert len(api.explain(tiny_run, photos, out=out).images) == 5
    assert len(worked) == 4


def test_images_without_a_name(tiny_run: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    array = rng.integers(0, 255, (60, 40, 3), np.uint8)
    images = [array, Image.fromarray(array[:, :, 0]), np.dstack([array, array[:, :, :1]])]
    done = api.explain(tiny_run, images, out=tmp_path)
    assert [one.source for one in done.images] == ["image 1", "image 2", "image 3"]
    assert [one.error for one in done.images] == [None] * 3
    assert done.images[0].overlay == "0001-image 1.jpg"


def test_a_network_without_an_exact_map(tmp_path: Path) -> None:
    torch.manual_seed(0)
    head = MlpHead(1280, 3, hidden_dim=8, hidden_dropout=(0.0, 0.0))
    predictor = predictor_of(head, Preprocess(size_px=96), ("a", "b", "c"))
    image = np.random.default_rng(0).integers(0, 255, (60, 40, 3), np.uint8)
    assert api.explain(predictor, image, out=tmp_path).images[0].method == "occlusion"
    with pytest.raises(ConfigError, match="this network has no exact map") as found:
        api.explain(predictor, image, out=tmp_path, method="cam")
    assert found.value.fix == "--method occlusion"


def test_ten_thousand_labels(tmp_path: Path) -> None:
    torch.manual_seed(0)
    labels = tuple(f"Product {number:05d}" for number in range(10_000))
    predictor = predictor_of(LinearHead(1280, 10_000), Preprocess(size_px=96), labels)
    image = np.random.default_rng(0).integers(0, 255, (60, 40, 3), np.uint8)
    done = api.explain(predictor, image, out=tmp_path, label=labels[-1])
    (one,) = done.images
    assert one.label == "Product 09999"
    assert one.method == "class activation"
    assert one.probability == pytest.approx(1e-4, rel=1)
    assert done.page.stat().st_size < 100_000
    with pytest.raises(ConfigError, match="'Product 1'") as found:
        api.explain(predictor, image, out=tmp_path, label="Product 1")
    assert len(found.value.details) == 4


def test_labels_of_a_stranger(tmp_path: Path) -> None:
    """Labels and file names are text, on the page and in the table."""
    labels = ("<script>alert(1)</script>", "=1+1")
    predictor = predictor_of(LinearHead(1280, 2), Preprocess(size_px=96), labels)
    Image.new("RGB", (30, 30)).save(tmp_path / "a&b 'c'.png")
    done = api.explain(predictor, tmp_path / "a&b 'c'.png", out=tmp_path / "why", label=labels[1])
    page = done.page.read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "a&amp;b &#39;c&#39;.png" in page
    assert "'=1+1" in done.table.read_text(encoding="utf-8")


def test_unknown_is_said(tiny_run: Path, product_photos: ProductPhotos, tmp_path: Path) -> None:
    """Of a bundle that may answer "unknown", the page says of which image it does."""
    image = product_photos.folder / "hat" / "hat-000-0.jpg"
    done = api.explain(tiny_run, image, out=tmp_path / "before")
    assert done.images[0].is_unknown is None
    model = tmp_path / "run"
    for file in sorted(tiny_run.rglob("*")):
        if file.is_file():
            target = model / file.relative_to(tiny_run)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    api.calibrate(model, product_photos.folder, coverage=0.8)
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    done = api.explain(model, [image, noise], out=tmp_path / "after")
    answers = list(api.predict(model, [image, noise]))
    expected = [one.unknown.is_unknown for one in answers if one.unknown is not None]
    assert [one.is_unknown for one in done.images] == expected
    page = done.page.read_text(encoding="utf-8")
    assert page.count('<span class="badge warning">unknown</span>') == sum(expected)
    assert pl.read_csv(done.table)["unknown"].to_list() == [
        "yes" if one else "no" for one in expected
    ]
