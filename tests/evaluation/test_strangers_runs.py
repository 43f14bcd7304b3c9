"""A run from somebody else: nothing is read on its word, here or elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from shopsight import api
from shopsight.errors import (
    CatalogError,
    ChangedFilesError,
    LocationError,
    UntrustedRecipeError,
)
from shopsight.io.access import Access
from shopsight.read_options import ReadOptions
from shopsight.runs.run_access import NOTHING, RunAccess, use_run_access
from shopsight.runs.run_folder import RunFolder
from shopsight.user_key import STATE_VARIABLE
from tests.helpers import edit_json, make_products, train_small
from tests.web_server import WebServer, serving


@pytest.fixture(scope="module")
def own_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strangers")
    return Path(train_small(make_products(folder / "photos", per_class=8).folder, folder / "run"))


@pytest.fixture
def run(own_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """The run as a stranger's: the key of its seal is not that of this user."""
    copied = Path(shutil.copytree(own_run, tmp_path / "run"))
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "another"))
    return RunFolder(copied)


def test_ones_own_run_needs_no_flag(own_run: Path) -> None:
    assert RunFolder(own_run).is_own()
    assert api.evaluate(own_run).counts["images"] > 0


def test_the_images_of_a_strangers_run_are_read_where_one_says(
    run: RunFolder, own_run: Path
) -> None:
    photos = own_run.parent / "photos"
    assert not run.is_own()
    assert run.audited_catalog().catalog.access == NOTHING
    with pytest.raises(CatalogError, match="not made by your shopsight") as caught:
        api.evaluate(run.path)
    assert f"evaluate {run.path} --images-root FOLDER" in str(caught.value)
    allowed = api.evaluate(run.path, read=ReadOptions(allow_outside=True))
    # The folder is kept, and is all that is read from now on.
    named = api.evaluate(run.path, read=ReadOptions(images_root=photos))
    again = api.evaluate(run.path)
    assert allowed.counts == named.counts == again.counts
    assert RunFolder(run.path).audited_catalog().catalog.access.roots == (str(photos.resolve()),)


def test_files_outside_of_the_named_folder_are_not_read(
    run: RunFolder, own_run: Path, tmp_path: Path
) -> None:
    photos = Path(shutil.copytree(own_run.parent / "photos", tmp_path / "photos"))
    secret = tmp_path / "secret.jpg"
    with use_run_access(RunAccess(made_here=True)):
        audited = run.audited_catalog()
    names = audited.catalog.table["image"].to_list()
    (photos / names[0]).rename(secret)
    table = audited.catalog.table.with_columns(image=pl.Series([str(secret), *names[1:]]))
    audited.with_catalog(audited.catalog.with_table(table)).write(run.catalog_file)
    shutil.rmtree(tmp_path / "another")
    with pytest.raises(ChangedFilesError, match="1 vanished") as caught:
        api.evaluate(run.path, read=ReadOptions(images_root=photos))
    assert str(secret) in str(caught.value)
    assert api.evaluate(run.path, read=ReadOptions(images_root=photos, allow_outside=True))


@pytest.fixture
def server() -> Iterator[WebServer]:
    with serving() as one:
        yield one


@pytest.mark.enable_socket
@pytest.mark.parametrize("own", [True, False])
def test_nothing_remote_is_asked_on_a_runs_word(
    run: RunFolder, server: WebServer, own: bool
) -> None:
    with use_run_access(RunAccess(made_here=True)):
        audited = run.audited_catalog()
    names = [f"{server.url}/{n}.jpg" for n in range(len(audited))]
    table = audited.catalog.table.with_columns(image=pl.Series(names))
    catalog = replace(audited.catalog, table=table, access=Access(private=True))
    audited.with_catalog(catalog).write(run.catalog_file)
    if not own:
        shutil.rmtree(run.path.parent / "another")
    assert run.is_own() == own
    for read in (None, ReadOptions(allow_private=True), ReadOptions(allow_outside=True)):
        with pytest.raises(CatalogError, match="--allow-remote"):
            api.evaluate(run.path, read=read)
    assert not server.asked


def test_a_strangers_run_is_resumed_by_permission_alone(run: RunFolder, own_run: Path) -> None:
    run.report_file.unlink()
    recipe = run.recipe()
    evil = recipe.replace(tracking={"tracker": "mlflow", "location": "http://evil"})
    run.recipe_file.write_text(evil.to_toml(), encoding="utf-8")
    with pytest.raises(UntrustedRecipeError, match=r"tracking\.location = 'http://evil'"):
        api.resume(run.path)
    evil = recipe.replace(model={"weights": "/etc/passwd"})
    run.recipe_file.write_text(evil.to_toml(), encoding="utf-8")
    with pytest.raises(UntrustedRecipeError, match=r"model\.weights"):
        api.resume(run.path)
    run.write_recipe(recipe)
    with pytest.raises(CatalogError, match=r"--resume .* --images-root FOLDER"):
        api.resume(run.path)
    done = api.resume(run.path, read=ReadOptions(images_root=own_run.parent / "photos"))
    assert done.report.is_file()


def test_the_cache_that_a_stranger_names_is_not_written(
    run: RunFolder, own_run: Path, tmp_path: Path
) -> None:
    named = tmp_path / "of-somebody"
    named.mkdir()
    edit_json(run.state_file, cache=str(named), stage="probed")
    run.report_file.unlink()
    api.resume(run.path, read=ReadOptions(images_root=own_run.parent / "photos"))
    assert not any(named.iterdir())


@pytest.mark.posix("not everybody may make links on Windows")
def test_links_out_of_a_strangers_run(run: RunFolder, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(run.predictions)
    run.predictions.symlink_to(elsewhere)
    for work in (api.evaluate, api.resume):
        with pytest.raises(LocationError, match="leads out of the folder"):
            work(run.path, read=ReadOptions(allow_outside=True))
    assert not any(elsewhere.iterdir())


def test_names_that_were_put_into_ones_own_catalog(own_run: Path, tmp_path: Path) -> None:
    run = RunFolder(Path(shutil.copytree(own_run, tmp_path / "run")))
    assert run.is_own()
    metadata = pl.read_parquet_metadata(run.catalog_file)
    table = pl.read_parquet(run.catalog_file)
    table = table.with_columns(image=pl.col("image").reverse())
    table.write_parquet(run.catalog_file, metadata={"shopsight": metadata["shopsight"]})
    assert not run.is_own()
    with pytest.raises(CatalogError, match="not made by your shopsight"):
        api.evaluate(run.path)


def test_a_recipe_that_was_put_into_ones_own_run(own_run: Path, tmp_path: Path) -> None:
    run = RunFolder(Path(shutil.copytree(own_run, tmp_path / "run")))
    run.report_file.unlink()
    text = run.recipe_text()
    sends = text.replace('tracker = "none"', 'tracker = "mlflow"\nlocation = "http://evil"')
    assert sends != text
    run.recipe_file.write_text(sends, encoding="utf-8")
    with pytest.raises(UntrustedRecipeError, match=r"tracking\.location = 'http://evil'"):
        api.resume(run.path)
    run.recipe_file.write_text(text, encoding="utf-8")
    assert api.resume(run.path).report.is_file()


def test_what_each_kind_of_run_may_read() -> None:
    kept = Access(
        private=True, hosts=frozenset({("shop.example", 443)}), web=True, remote=True, roots=("/p",)
    )
    default, remote = RunAccess(), RunAccess.by_flags(ReadOptions(allow_remote=True))
    assert default.of(kept, is_own=False) == NOTHING
    assert default.of(kept, is_own=True) == replace(NOTHING, roots=("/p",))
    assert RunAccess(made_here=True).of(kept, is_own=False) == kept
    of_own = remote.of(kept, is_own=True)
    assert of_own.remote
    assert of_own.hosts == kept.hosts
    assert not of_own.private
    assert remote.of(kept, is_own=False) == Access(web=False, remote=True, roots=())
    outside = RunAccess.by_flags(ReadOptions(allow_outside=True))
    assert outside.of(kept, is_own=False) == Access(web=False)
    assert RunAccess.from_json(remote.to_json()) == remote
