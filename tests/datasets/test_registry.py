"""The named data sets, each in its real layout, small."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from PIL import Image

from shopsight.datasets import clothing, kaggle
from shopsight.datasets.clothing import digest_of_images
from shopsight.datasets.kaggle import fetch_from_kaggle
from shopsight.datasets.registry import DATASETS, dataset, open_dataset
from shopsight.errors import CatalogError, SourceError
from shopsight.files import sha256_file
from tests.web_server import files_below, serving

# A folder with real data sets under their names, for those who have them.
REAL_DATA = Path(os.environ.get("SHOPSIGHT_TEST_DATA", "no-such-folder"))


def photos(folder: Path, *names: str) -> None:
    rng = np.random.default_rng(0)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (12, 9, 3), np.uint8)).save(folder / name, "JPEG")


def test_the_table_of_data_sets_names_itself() -> None:
    assert all(name == found.name for name, found in DATASETS.items())
    assert all(found.source and found.license for found in DATASETS.values())


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(SourceError, match="did you mean 'products-10k'"):
        dataset("product-10k")


def test_an_absent_root(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no such folder"):
        open_dataset("clothing", root=tmp_path / "absent")


@pytest.mark.parametrize("folder", ["images", "images_compressed"])
def test_clothing(tmp_path: Path, folder: str) -> None:
    photos(tmp_path, *(f"{folder}/id{i}.jpg" for i in range(6)), f"{folder}/extra.jpg")
    lines = [f"id{i},{i % 3},{'Hat' if i % 2 else 'Not sure'},False" for i in range(7)]
    (tmp_path / "images.csv").write_text(
        "\n".join(["image,sender_id,label,kids", *lines]), encoding="utf-8"
    )
    catalog = open_dataset("clothing", root=tmp_path)
    assert catalog.name == "clothing"
    assert len(catalog) == 7
    assert catalog.labels == ("Hat", "Not sure")
    assert catalog.unlisted == ("extra.jpg",)
    # The contributor is offered as a group, not imposed.
    assert "group" not in catalog.table.columns
    assert catalog.table["sender_id"][1] == "1"
    assert any("--group sender_id" in line for line in catalog.notes)


def test_clothing_in_another_layout(tmp_path: Path) -> None:
    photos(tmp_path, "images/a.jpg")
    with pytest.raises(SourceError, match=r"images\.csv"):
        open_dataset("clothing", root=tmp_path)


@pytest.mark.skipif(
    not (REAL_DATA / "clothing-dataset").is_dir(),
    reason="SHOPSIGHT_TEST_DATA names no folder with clothing-dataset",
)
def test_the_real_clothing_data_set() -> None:
    catalog = open_dataset("clothing", root=REAL_DATA / "clothing-dataset")
    assert len(catalog) == 5_403
    assert len(catalog.labels) == 20
    assert len(catalog.unlisted) == 358
    assert any("5 rows of 5,403 without a file" in line for line in catalog.notes)


def test_clothing_small(tmp_path: Path) -> None:
    photos(
        tmp_path, "train/hat/1.jpg", "train/dress/2.jpg", "validation/hat/3.jpg", "test/dress/4.jpg"
    )
    catalog = open_dataset("clothing-small", root=tmp_path)
    assert catalog.labels == ("dress", "hat")
    assert catalog.rows_of("val").tolist() == [3]


def test_the_digest_of_images_sees_names_and_bytes() -> None:
    before = digest_of_images({"train/hat/1.jpg": "aa", "train/hat/2.jpg": "bb"})
    renamed = digest_of_images({"train/hat/1.jpg": "aa", "train/hat/3.jpg": "bb"})
    changed = digest_of_images({"train/hat/1.jpg": "aa", "train/hat/3.jpg": "cc"})
    assert len({before, renamed, changed}) == 3
    other_order = {"train/hat/2.jpg": "bb", "README.md": "dd", "train/hat/1.jpg": "aa"}
    assert digest_of_images(other_order) == before


def products(folder: Path) -> None:
    photos(folder, *(f"train/{i}.jpg" for i in range(4)), *(f"test/{i}.jpg" for i in range(10, 14)))
    train = [f"{i}.jpg,{i % 2},7" for i in range(4)]
    (folder / "train.csv").write_text("\n".join(["name,class,group", *train]), encoding="utf-8")
    test = [f"{i}.jpg,{i % 2},{'Public' if i < 12 else 'Private'}" for i in range(10, 14)]
    (folder / "test_kaggletest.csv").write_text(
        "\n".join(["name,class,Usage", *test]), encoding="utf-8"
    )


def test_products_10k(tmp_path: Path) -> None:
    products(tmp_path)
    catalog = open_dataset("products-10k", root=tmp_path)
    assert catalog.table["split"].to_list() == ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    assert catalog.labels == ("0", "1")
    assert "group" not in catalog.table.columns
    assert catalog.table["category"][0] == "7"
    assert all(Path(ref).is_file() for ref in catalog.refs())


def test_products_10k_without_test_labels_is_not_split(tmp_path: Path) -> None:
    products(tmp_path)
    (tmp_path / "test_kaggletest.csv").unlink()
    catalog = open_dataset("products-10k", root=tmp_path)
    assert len(catalog) == 4
    assert "split" not in catalog.table.columns


def test_products_10k_still_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOPSIGHT_CACHE", str(tmp_path / "cache"))
    products(tmp_path / "data")
    for part in ("train", "test"):
        with zipfile.ZipFile(tmp_path / "data" / f"{part}.zip", "w") as packed:
            for image in sorted((tmp_path / "data" / part).iterdir()):
                packed.write(image, f"{part}/{image.name}")
                image.unlink()
        (tmp_path / "data" / part).rmdir()
    for _ in range(2):
        catalog = open_dataset("products-10k", root=tmp_path / "data")
        assert all(Path(ref).is_file() for ref in catalog.refs())


def test_products_10k_without_images(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("name,class,group\n1.jpg,1,1\n", encoding="utf-8")
    with pytest.raises(SourceError, match=r"neither train/ nor train\.zip"):
        open_dataset("products-10k", root=tmp_path)


def mapping_tables(folder: Path, *, second_name: str = "pen") -> None:
    folder.mkdir(exist_ok=True)
    (folder / "reduced_train.csv").write_text(
        "name,class,group,label,newid\n0.jpg,5,1,green ,50\n1.jpg,6,1,pen,51\n2.jpg,6,1,pen,51\n",
        encoding="utf-8",
    )
    (folder / "reduced_test.csv").write_text(
        'name,class,Usage,label,newid\n10.jpg,5,Public,green ,"50 "\n'
        f"12.jpg,6,Private,{second_name},51\n",
        encoding="utf-8",
    )


@pytest.mark.parametrize("together", [True, False])
def test_product_650_cleans_blanks_and_notes_it(tmp_path: Path, together: bool) -> None:
    images = tmp_path / "tables" if together else tmp_path / "products"
    mapping_tables(tmp_path / "tables")
    products(images)
    catalog = open_dataset(
        "product-650", root=tmp_path / "tables", images_root=None if together else str(images)
    )
    assert catalog.labels == ("green", "pen")
    assert catalog.table["label_id"].to_list() == ["50", "51", "51", "50", "51"]
    assert catalog.table["split"].to_list() == ["train", "train", "train", "val", "test"]
    assert all(Path(ref).is_file() for ref in catalog.refs())
    assert "newid with blanks around it in 1 row (e.g. 10.jpg): read '50 ' as '50'" in catalog.notes
    assert sum("label with blanks" in line for line in catalog.notes) == 2


def test_product_650_refuses_names_that_contradict_numbers(tmp_path: Path) -> None:
    mapping_tables(tmp_path, second_name="crayon")
    products(tmp_path)
    with pytest.raises(SourceError, match="disagree"):
        open_dataset("product-650", root=tmp_path)


def test_product_650_needs_its_tables(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="two mapping tables"):
        open_dataset("product-650")
    with pytest.raises(SourceError, match=r"reduced_train\.csv is missing"):
        open_dataset("product-650", root=tmp_path)


@pytest.mark.skipif(
    not (REAL_DATA / "product-650").is_dir(),
    reason="SHOPSIGHT_TEST_DATA names no folder with product-650",
)
def test_the_real_tables_of_product_650(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    catalog = open_dataset("product-650", root=REAL_DATA / "product-650", images_root=str(tmp_path))
    assert len(catalog) == 35_321
    assert len(catalog.labels) == 649
    assert catalog.table["label_id"].n_unique() == 649
    parts = dict(catalog.table["split"].value_counts().iter_rows())
    assert parts == {"train": 29_243, "val": 2_026, "test": 4_052}
    assert any("7844781.jpg" in line for line in catalog.notes)


def test_lamoda(tmp_path: Path) -> None:
    photos(tmp_path, "train/1_bluzy.jpg", "train/2_bryuki.jpg", "3_bluzy.jpg", "test/4.jpg")
    catalog = open_dataset("lamoda", root=tmp_path)
    assert sorted(catalog.table.select("image", "label").iter_rows()) == [
        ("3_bluzy.jpg", "blouse"),
        ("train/1_bluzy.jpg", "blouse"),
        ("train/2_bryuki.jpg", "trousers"),
    ]
    assert catalog.unlisted == ("test/4.jpg",)


def test_lamoda_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no public host"):
        open_dataset("lamoda")
    photos(tmp_path, "1.jpg")
    with pytest.raises(CatalogError, match="matches none"):
        open_dataset("lamoda", root=tmp_path)


@pytest.mark.parametrize("name", ["clothing", "products-10k"])
def test_without_root_and_kaggle_the_steps_are_listed(name: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_dataset(name)
    text = str(caught.value)
    assert "shopsight[kaggle]" in text
    assert "https://www.kaggle.com/" in text
    assert "--root" in text


def test_product_650_without_images_names_what_it_needs_and_its_flag(tmp_path: Path) -> None:
    mapping_tables(tmp_path)
    with pytest.raises(SourceError) as caught:
        open_dataset("product-650", root=tmp_path)
    text = str(caught.value)
    assert text.startswith(
        "product-650: needs the images of products-10k, which are not on this machine"
    )
    assert "with --images-root" in text
    assert "with --root" not in text
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="test/ with --images-root"):
        open_dataset("product-650", root=tmp_path, images_root=str(tmp_path / "empty"))


def _kagglehub(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """A kagglehub that is installed, and fails so."""

    def refuse(handle: str) -> str:
        raise error

    fake = SimpleNamespace(dataset_download=refuse, competition_download=refuse)
    monkeypatch.setattr(kaggle, "require", lambda _: fake)


def test_steps_that_are_done_are_not_in_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    with pytest.raises(SourceError, match="create an API token"):
        open_dataset("clothing")
    (tmp_path / "kaggle.json").write_text("{}", encoding="utf-8")
    with pytest.raises(SourceError, match="not installed") as caught:
        open_dataset("clothing")
    assert "shopsight[kaggle]" in str(caught.value)
    assert "API token" not in str(caught.value)
    # As requests names its own, which is not the built-in ConnectionError.
    no_network = type("ConnectionError", (OSError,), {})
    _kagglehub(monkeypatch, no_network("HTTPSConnectionPool(host='x', port=443): no route"))
    with pytest.raises(SourceError, match="Kaggle cannot be reached") as caught:
        open_dataset("products-10k")
    assert "HTTPSConnectionPool" not in str(caught.value)
    assert "shopsight[kaggle]" not in str(caught.value)
    assert "API token" not in str(caught.value)
    assert "1. connect to the network" in str(caught.value)


def test_the_reason_of_kaggle_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    _kagglehub(monkeypatch, ValueError("403 Client Error.\nmore"))
    with pytest.raises(SourceError, match=r"Kaggle did not give them: 403 Client Error\.\n"):
        open_dataset("products-10k")


def test_competitions_ask_for_their_rules() -> None:
    with pytest.raises(SourceError, match="accept the rules"):
        fetch_from_kaggle("competitions", "products-10k")


def hashes_in(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in files}


def small_archive(folder: Path) -> Path:
    """The repository's archive as GitHub packs it; the folder to serve."""
    photos(folder / "repo-123", "train/hat/1.jpg", "train/dress/2.jpg", "test/hat/3.jpg")
    (folder / "repo-123" / "README.md").write_text("read me", encoding="utf-8")
    archive = folder / "archive" / f"{clothing.SMALL_COMMIT}.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted((folder / "repo-123").rglob("*")):
            packed.write(path, path.relative_to(folder))
    return folder


@pytest.mark.enable_socket
def test_clothing_small_is_fetched_checked_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOPSIGHT_CACHE", str(tmp_path / "cache"))
    with serving() as server:
        server.routes = files_below(small_archive(tmp_path))
        monkeypatch.setattr(clothing, "SMALL_REPOSITORY", server.url)
        with pytest.raises(SourceError, match="not the published ones"):
            open_dataset("clothing-small")
        assert not (tmp_path / "cache" / "datasets" / "clothing-small").exists()
        monkeypatch.setattr(
            clothing, "SMALL_SHA256", digest_of_images(hashes_in(tmp_path / "repo-123"))
        )
        assert open_dataset("clothing-small").labels == ("dress", "hat")
    # Nobody is asked again.
    assert len(open_dataset("clothing-small")) == 3


@pytest.mark.enable_socket
def test_clothing_small_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOPSIGHT_CACHE", str(tmp_path))
    with serving() as server:
        monkeypatch.setattr(clothing, "SMALL_REPOSITORY", server.url)
    with pytest.raises(SourceError, match=r"its download failed: .* refused the conn") as caught:
        open_dataset("clothing-small")
    assert "git clone" in str(caught.value)


def test_hugging_face_data_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets", reason="the extra `huggingface` is not installed")
    monkeypatch.setenv("SHOPSIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    photos(tmp_path / "data", "train/hat/1.jpg", "train/shoe/2.jpg", "test/hat/3.jpg")
    for _ in range(2):
        catalog = open_dataset(f"hf:{tmp_path}/data")
        assert catalog.labels == ("hat", "shoe")
        assert sorted(catalog.table["split"]) == ["test", "train", "train"]
        kept = {Path(ref).read_bytes() for ref in catalog.refs()}
        assert kept == {path.read_bytes() for path in (tmp_path / "data").rglob("*.jpg")}


def test_a_hugging_face_data_set_that_cannot_be_loaded() -> None:
    with pytest.raises(SourceError, match=r"datasets is not installed|cannot be loaded"):
        open_dataset("hf:no-such-owner/no-such-name")


def test_tables_of_data_sets_are_plain(tmp_path: Path) -> None:
    products(tmp_path)
    assert open_dataset("products-10k", root=tmp_path).table.schema["label"] == pl.String
