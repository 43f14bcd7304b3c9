from __future__ import annotations

from pathlib import Path

import pytest

from shopsight.audit.row_decisions import dropped_rows
from shopsight.commands.audit import audit
from shopsight.datasets.synthetic import draw_catalog
from shopsight.errors import ConfigError

NAMES = ("bag/bag-0000-0.jpg", "bag/bag-0000-1.jpg")


def listed(folder: Path, *lines: str) -> Path:
    file = folder / "decisions.csv"
    file.write_text("\n".join(["cluster,decision,id", *lines]) + "\n", encoding="utf-8")
    return file


def test_rows_marked_drop_are_left_out(tmp_path: Path) -> None:
    catalog = draw_catalog(tmp_path / "photos", products_per_class=1)
    file = listed(tmp_path, f"1,keep,{NAMES[0]}", f"1, Drop ,{NAMES[1]}", "2,,bag/bag-0000-0.jpg")
    dropped = dropped_rows(file, catalog)
    assert catalog.table["image"].filter(dropped).to_list() == [NAMES[1]]
    report = audit(catalog, decisions=file)
    assert len(report.catalog) == len(catalog) - 1
    assert NAMES[1] not in report.catalog.table["image"]


def test_names_that_a_spreadsheet_would_run_are_found(tmp_path: Path) -> None:
    catalog = draw_catalog(tmp_path / "photos", products_per_class=1)
    first = catalog.table["image"][0]
    (tmp_path / "photos" / first).rename(tmp_path / "photos/=1+1.jpg")
    catalog = catalog.with_table(
        catalog.table.with_columns(catalog.table["image"].replace(first, "=1+1.jpg"))
    )
    assert dropped_rows(listed(tmp_path, "1,drop,'=1+1.jpg"), catalog)[0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1,drop,other.jpg"], "other.jpg"),
        (["1,perhaps,bag/bag-0000-0.jpg"], "'keep' or 'drop'"),
        (["1,drop,bag/bag-0000-0.jpg", "2,keep,bag/bag-0000-0.jpg"], "two decisions"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    catalog = draw_catalog(tmp_path / "photos", products_per_class=1)
    with pytest.raises(ConfigError, match=message):
        dropped_rows(listed(tmp_path, *lines), catalog)


def test_another_table_is_no_list(tmp_path: Path) -> None:
    file = tmp_path / "images.csv"
    file.write_text("image,label\na.jpg,bag\n", encoding="utf-8")
    catalog = draw_catalog(tmp_path / "photos", products_per_class=1)
    with pytest.raises(ConfigError, match="column 'id'"):
        dropped_rows(file, catalog)
    with pytest.raises(ConfigError, match="no such list"):
        dropped_rows(tmp_path / "none.csv", catalog)
    everything = [f"1,drop,{name}" for name in catalog.table["image"]]
    with pytest.raises(ConfigError, match="no image"):
        dropped_rows(listed(tmp_path, *everything), catalog)
