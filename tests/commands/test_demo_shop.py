from __future__ import annotations

import csv
from pathlib import Path

import pytest

from shopsight.commands.demo_shop import demo_shop
from shopsight.errors import ShopsightError


@pytest.mark.enable_socket
def test_an_export_goes_in_and_comes_out_corrected_as_promised(tmp_path: Path) -> None:
    done = demo_shop(out=tmp_path / "demo", precision=0.6, products_per_kind=16)
    # One address is dead, one product has no photo: nothing else is lost.
    assert [one.url for one in done.fetched.failed] == [done.shop.dead]
    assert done.num_filled > 0
    assert done.num_right / done.num_filled >= 0.6
    (written,) = done.reviewed.imports
    before = _rows(done.shop.export)
    after = _rows(written.path)
    assert len(before) == len(after)
    column = before[0].index("Product Category")
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert len(changed) == done.num_filled
    for old, new in changed:
        assert old[0] in done.shop.missing
        assert old[column] in ("", "Uncategorized")
        assert new[:column] + new[column + 1 :] == old[:column] + old[column + 1 :]


def test_somebody_elses_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(ShopsightError, match="not a shop demo"):
        demo_shop(out=tmp_path)
    assert (tmp_path / "photos").is_dir()


def _rows(file: Path) -> list[list[str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.reader(lines))
