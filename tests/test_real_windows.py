"""What only Windows itself can show. These tests are skipped elsewhere."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shopsight.catalog.catalog import Catalog
from shopsight.datasets.open import open_catalog
from shopsight.errors import WriteError
from shopsight.files import write_json
from shopsight.image_files.scan import scan_folder
from shopsight.io.json_files import read_json
from shopsight.safe_names import unique_names
from tests.helpers import make_products
from tests.not_portable import CALLS, outcome
from tests.windows import MAX_PATH

pytestmark = pytest.mark.windows

SAID_BY_WINDOWS = {
    *("sync_a_file_open_for_reading", "remove_an_open_file", "replace_an_open_file"),
    *("rename_a_folder_with_an_open_file", "rename_over_a_file", "replace_an_empty_folder"),
    *("remove_a_read_only_file", "make_a_folder_that_differs_by_case", "expect_line_feeds"),
    *("import_a_module_of_posix", "use_a_function_of_posix", "import_a_function_of_posix"),
    *("use_a_signal_of_posix", "interrupt_a_process"),
}
"""Calls whose error is Windows' own, whatever its version and settings."""


def test_windows_says_what_is_imposed_elsewhere(tmp_path: Path) -> None:
    calls = [call for call in CALLS if call.__name__ in SAID_BY_WINDOWS]
    found = {call.__name__: outcome(call, tmp_path / call.__name__) for call in calls}
    assert found == {call.__name__: CALLS[call] for call in calls}


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Path]:
    """A JSON file that another process reads."""
    path = tmp_path / "held.json"
    write_json(path, {"version": 1})
    program = "import sys; file = open(sys.argv[1], 'rb'); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"open"
        yield path
        process.kill()


def test_a_file_that_another_process_holds_stays_as_it_was(held: Path) -> None:
    with pytest.raises(WriteError):
        write_json(held, {"version": 2})
    assert read_json(held) == {"version": 1}


def test_folders_of_labels_that_windows_cannot_name(tmp_path: Path) -> None:
    labels = ("aux", "CON", "nul.v2", "3:4", "hat.", "hat ", "Shirt", "shirt", "a/b", "what?")
    names = unique_names(labels)
    for name in names.values():
        (tmp_path / name).mkdir()
    assert {path.name for path in tmp_path.iterdir()} == set(names.values())


def test_a_long_path_is_written_or_refused_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["n" * 50] * (MAX_PATH // 50))
    allowed = bool(ctypes.windll.ntdll.RtlAreLongPathsEnabled())  # type: ignore[attr-defined]
    if allowed:
        write_json(folder / "a.json", 1)
        assert read_json(folder / "a.json") == 1
    else:
        with pytest.raises(WriteError):
            write_json(folder / "a.json", 1)


def test_a_junction_that_leads_in_a_circle_ends(tmp_path: Path) -> None:
    photos = make_products(tmp_path / "photos", per_class=2)
    link = photos.folder / "hat" / "up"
    subprocess.run(["cmd", "/c", "mklink", "/J", str(link), str(photos.folder)], check=True)
    assert len(scan_folder(str(photos.folder)).images) == photos.count


def test_photos_on_another_drive(tmp_path: Path) -> None:
    photos = make_products(tmp_path / "photos", per_class=2)
    free = [f"{letter}:" for letter in "QRSTUVWXYZ" if not Path(f"{letter}:\\").exists()]
    subprocess.run(["subst", free[0], str(photos.folder)], check=True)
    try:
        catalog = open_catalog(Path(f"{free[0]}\\"))
        catalog.write(tmp_path / "catalog.parquet")
        assert len(Catalog.read(tmp_path / "catalog.parquet")) == photos.count
    finally:
        subprocess.run(["subst", free[0], "/D"], check=True)
