from __future__ import annotations

import doctest
import json
from collections.abc import Collection
from pathlib import Path

import pytest

from shopsight.errors import CatalogError
from shopsight.labels import label_name_files
from shopsight.labels.label_names import read_label_map

NAMES = {"0": "disc", "1": "long box", "2": "bars"}
IDS = ("0", "1", "2")


def names_in(
    folder: Path, text: str, labels: Collection[str] = IDS, *, name: str = "names.txt"
) -> dict[str, str]:
    (folder / name).write_bytes(text.encode())
    return read_label_map(folder / name, labels)[0]


def test_names_where_no_image_has_a_label(tmp_path: Path) -> None:
    assert names_in(tmp_path, "0 disc\n1 long box\n", []) == {"0": "disc", "1": "long box"}


def test_a_map_of_labels(tmp_path: Path) -> None:
    text = "label,to\ncap,hat\n007,bond\nSkip,\ncap,hat\n"
    found = names_in(tmp_path, text, ["cap"], name="map.csv")
    assert found == {"cap": "hat", "007": "bond", "Skip": ""}
    assert names_in(tmp_path, "Label,To\ncap,hat\n", ["cap"], name="m.csv") == {"cap": "hat"}
    with pytest.raises(CatalogError, match="mapped twice"):
        names_in(tmp_path, "label,to\na,b\na,c\n", ["a"], name="map.csv")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("names.txt", "disc\nlong box\nbars\n"),
        ("names.txt", "0 disc\n1 long box\n2 bars\n"),
        ("names.txt", "2: bars\n0: disc\n1: long box\n"),
        ("names.txt", "0,disc\n1,long box\n2,bars"),
        ("names.txt", "disc 0\nlong box 1\nbars 2\n"),
        ("names.txt", "\ufeff0\tdisc\r\n1\tlong box\r\n2\tbars\r\n"),
        ("obj.names", "disc\nlong box\nbars"),
        ("names.csv", "id,name\n0,disc\n1,long box\n2,bars\n"),
        ("names.csv", "0,disc\n1,long box\n2,bars\n"),
        ("names.tsv", "name\tid\ndisc\t0\nlong box\t1\nbars\t2\n"),
        ("data.yaml", "path: x\nnc: 3\nnames:\n  0: disc\n  1: long box\n  2: bars\n"),
        ("data.yaml", "names:\n- disc\n- 'long box'\n- bars\nnc: 3\n"),
        ("data.yaml", "names: ['disc', 'long box', 'bars']\nnc: 3\n"),
        ("data.yaml", "names: {0: disc, 1: long box, 2: bars}\n"),
        ("data.yaml", "0: disc\n1: long box\n2: bars\n"),
        ("names.json", json.dumps(list(NAMES.values()))),
        ("names.json", json.dumps(NAMES)),
        ("names.json", json.dumps({"disc": 0, "long box": 1, "bars": 2})),
        ("names.json", json.dumps({k: [f"n{k}", name] for k, name in NAMES.items()})),
        ("config.json", json.dumps({"model": "x", "id2label": NAMES})),
        ("names.json", json.dumps({"classes": list(NAMES.values())})),
        (
            "coco.json",
            json.dumps(
                {
                    "images": [],
                    "categories": [{"id": int(k), "name": name} for k, name in NAMES.items()],
                }
            ),
        ),
        ("names.txt", "{0: 'disc',\n 1: 'long box',\n 2: 'bars'}"),
        ("names.txt", "0=disc\n1=long box\n2=bars"),
        ("map.pbtxt", "".join(f"item {{\n id: {k}\n name: '{v}'\n}}\n" for k, v in NAMES.items())),
        ("names.csv", "label_id,name\n0.0,disc\n1.0,long box\n2.0,bars\n"),
    ],
)
def test_lists_of_names(tmp_path: Path, name: str, text: str) -> None:
    assert names_in(tmp_path, text, name=name) == NAMES


def test_the_labels_tell_whether_lines_count_from_0_or_1(tmp_path: Path) -> None:
    text = "disc\nbox\nbars\n"
    path = tmp_path / "names.txt"
    assert names_in(tmp_path, text, ["1", "2", "3"])["1"] == "disc"
    assert read_label_map(path, ["0", "2"])[1] == (
        "names of labels by their line, counted from 0: 0 is 'disc'"
    )
    with pytest.raises(CatalogError, match="counted from 0 or from 1"):
        read_label_map(path, ["1", "2"])
    with pytest.raises(CatalogError, match="3 names, but label 7"):
        read_label_map(path, ["0", "7"])
    with pytest.raises(CatalogError, match="goes with labels that are numbers"):
        read_label_map(path, ["hat"])


def test_synsets_have_names_with_commas(tmp_path: Path) -> None:
    text = "n01440764 tench, Tinca tinca\nn01443537 goldfish, Carassius auratus\n"
    found = names_in(tmp_path, text, ["n01443537"])
    assert found["n01443537"] == "goldfish, Carassius auratus"


GROCERIES = """Class Name (str),Class ID (int),Coarse Class Name (str),Coarse Class ID (int),Path
Golden-Delicious,0,Apple,0,/a/0.jpg
Granny-Smith,1,Apple,0,/a/1.jpg
Avocado,2,Avocado,1,/a/2.jpg
Banana,3,Banana,2,/a/3.jpg
"""


def test_the_column_of_ids_is_the_one_that_fits_the_labels(tmp_path: Path) -> None:
    fine = names_in(tmp_path, GROCERIES, ["0", "1", "2", "3"], name="classes.csv")
    assert fine["1"] == "Granny-Smith"
    coarse = names_in(tmp_path, GROCERIES, ["0", "1", "2"], name="classes.csv")
    assert coarse == {"0": "Apple", "1": "Avocado", "2": "Banana"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("names.txt", "0 crane\n1 crane\n2 hat\n", "several labels get one name"),
        ("names.txt", "disc\n\nbars\n", "line 2 is empty"),
        ("names.txt", "", "no names in it"),
        ("names.json", "{x}", "not JSON"),
        ("names.json", '{"7": "x"}', "no names of these labels"),
        ("names.csv", "a,b\n7,8\n", "a label map needs the columns"),
    ],
)
def test_files_that_name_nothing(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        names_in(tmp_path, text, name=name)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="No such file"):
        read_label_map(tmp_path / "absent.txt", IDS)


def test_a_count_and_a_header_before_names(tmp_path: Path) -> None:
    text = "2\ncategory_name  category_type\nAnorak  1\nPea coat  1\n"
    assert names_in(tmp_path, text, ["1", "2"]) == {"1": "Anorak", "2": "Pea coat"}


def test_ids_of_other_labels_are_no_names(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="the ids on the lines, from 1 to 3, are not the labels"):
        names_in(tmp_path, "1 disc\n2 long box\n3 bars\n")


def test_a_map_of_whole_numbers_with_decimals(tmp_path: Path) -> None:
    assert names_in(tmp_path, "label,to\n0.0,disc\n1.0,\n", name="map.csv") == {
        "0": "disc", "1": "",
    }  # fmt: skip


def test_the_examples_of_files_of_names() -> None:
    found = doctest.testmod(label_name_files)
    assert (found.failed, found.attempted > 0) == (0, True)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, '{"0": ' + "9" * 5000 + "}"])
def test_json_that_no_parser_takes(text: str, tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CatalogError, match="not JSON"):
        read_label_map(path, ["0"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 " + "9" * 200_000 + "x", "a line of 200,003 characters"),
        ("item {id: 0 " * 30_000, "a line of 359,999 characters"),
    ],
)
def test_lines_without_an_end(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CatalogError, match=said):
        read_label_map(path, ["0"])
