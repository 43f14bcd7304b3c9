from __future__ import annotations

from pathlib import Path

import pytest

from shopsight.errors import LocationError
from shopsight.io.own_folder import file_within


@pytest.mark.posix("not everybody may make links on Windows")
def test_links_may_lead_to_files_of_the_folder_alone(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "a.json").write_text("{}", encoding="utf-8")
    (tmp_path / "model-2").mkdir()
    (tmp_path / "model-2" / "a.json").write_text("{}", encoding="utf-8")
    (folder / "within").symlink_to("a.json")
    (folder / "out").symlink_to("../model-2/a.json")
    (folder / "parent").symlink_to("..")
    assert file_within(folder, "a.json") == folder / "a.json"
    assert file_within(folder, "within") == folder / "within"
    assert file_within(folder, "missing") == folder / "missing"
    for name in ("out", "parent", "parent/model-2/a.json", "../model-2/a.json"):
        with pytest.raises(LocationError, match="leads out of the folder"):
            file_within(folder, name)


@pytest.mark.posix("not everybody may make links on Windows")
def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a.json").write_text("{}", encoding="utf-8")
    (tmp_path / "latest").symlink_to("model")
    assert file_within(tmp_path / "latest", "a.json").is_file()
