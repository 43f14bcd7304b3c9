"""Folders, tables and single files go through every verb that reads DATA."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopsight.commands.audit import FINDING_KINDS
from tests.fuzz.budget import inputs
from tests.fuzz.delimited import Table
from tests.fuzz.file_bytes import contents, damaged, files, photo
from tests.fuzz.folders import SUFFIXES, Tree, file_names, make, trees
from tests.fuzz.harness import Case, Fuzz
from tests.fuzz.options import flags, make_maps
from tests.fuzz.own_tables import OwnTable, own_tables
from tests.fuzz.tables import tables

pytestmark = pytest.mark.slow

KINDS = (*FINDING_KINDS, "lost-class", "lost-class", "warning", "no such kind")


@st.composite
def commands(draw: st.DrawFn, data: str) -> list[str]:
    """A command line about DATA; RUN stands for a run that is trained."""
    verb = draw(st.sampled_from(["audit", "audit", "split", "predict", "evaluate"]))
    words = {
        "audit": ["audit", data],
        "split": ["split", data, "--out", draw(st.sampled_from(["OUT/s.csv", "OUT/s.parquet"]))],
        "predict": ["predict", "RUN", data],
        "evaluate": ["evaluate", "RUN", data],
    }[verb]
    if verb == "audit":
        words += draw(st.sampled_from([[], ["--out", "OUT/audit"]]))
        words += draw(st.sampled_from([[], [], ["--fail-on", draw(st.sampled_from(KINDS))]]))
    elif verb == "split":
        words += draw(st.sampled_from([[], [], ["--folds", "3"], ["--val", "0.5", "--test", "0"]]))
    elif verb == "predict":
        names = ["OUT/p.csv", "OUT/p.parquet", "OUT/p.jsonl"]
        outs = [[], ["--out", draw(st.sampled_from(names))], ["--sort-into", "OUT/sorted"]]
        words += draw(st.sampled_from(outs))
    else:
        words += draw(st.sampled_from([[], ["--split", "all"], ["--out", "OUT/report.html"]]))
    accepted = {"audit": KINDS, "split": ("lost-class",), "evaluate": ("damaged", "changed-file")}
    if verb in accepted:
        kind = draw(st.sampled_from(accepted[verb]))
        words += draw(st.sampled_from([[], [], ["--accept", kind]]))
    words += draw(st.sampled_from([[], ["--json"]]))
    return words


def run(case: Case, tiny_run: Path, words: list[str]) -> None:
    make_maps(case.inputs)
    places = {"RUN": str(tiny_run)}
    filled = [places.get(word, word) for word in words]
    case.run(*(word.replace("OUT/", f"{case.outputs}/") for word in filled))


@given(tree=trees(), words=commands("photos"), options=flags("folder"))
@inputs("folders")
def test_folders(
    fuzz: Fuzz, tiny_run: Path, tree: Tree, words: list[str], options: list[str]
) -> None:
    with fuzz.input() as case:
        make(tree, case.inputs)
        run(case, tiny_run, words + options)


@given(table=tables(), words=commands("TABLE"), options=flags("table"))
@inputs("tables")
def test_tables(
    fuzz: Fuzz, tiny_run: Path, table: Table, words: list[str], options: list[str]
) -> None:
    with fuzz.input() as case:
        table.make(case.inputs)
        named = [table.name if word == "TABLE" else word for word in words]
        run(case, tiny_run, named + options)


@given(table=own_tables(), words=commands("TABLE"), options=flags("own table"))
@inputs("own tables")
def test_own_tables(
    fuzz: Fuzz, tiny_run: Path, table: OwnTable, words: list[str], options: list[str]
) -> None:
    with fuzz.input() as case:
        table.make(case.inputs)
        named = [table.name if word == "TABLE" else word for word in words]
        run(case, tiny_run, named + options)


@given(
    name=st.one_of(st.sampled_from(SUFFIXES).map(lambda suffix: f"file{suffix}"), file_names()),
    data=st.one_of(files(good=0).map(lambda name: contents()[name]), damaged()),
    words=commands("FILE"),
)
@inputs("files")
def test_single_files(fuzz: Fuzz, tiny_run: Path, name: str, data: bytes, words: list[str]) -> None:
    with fuzz.input() as case:
        try:
            (case.inputs / name).write_bytes(data)
        except (OSError, ValueError):
            return  # no name on this system
        # A leading dash is a flag, wherever it comes from.
        written = f"./{name}" if name.startswith("-") else name
        run(case, tiny_run, [written if word == "FILE" else word for word in words])


@given(
    good=st.integers(0, 9).map(bool),
    words=st.one_of(
        st.tuples(commands("photos"), flags("folder", most=4)),
        st.tuples(commands("t.csv"), flags("table", most=4)),
    ),
)
@inputs("options")
def test_flags_of_data(
    fuzz: Fuzz, tiny_run: Path, good: bool, words: tuple[list[str], list[str]]
) -> None:
    rows = "".join(
        f"images/{number}.jpg,{'shoe' if number < 4 else 'hat'}\n" for number in range(8)
    )
    end = "" if good else "images/1.jpg\n\xe9"
    with fuzz.input() as case:
        Table("t.csv", f"image,label\n{rows}{end}".encode("latin-1")).make(case.inputs)
        for label in ("shoe", "hat"):
            folder = case.inputs / "photos" / label
            folder.mkdir(parents=True)
            for number in range(4):
                (folder / f"{label}_{number}.jpg").write_bytes(photo(number + 6 * len(label)))
        run(case, tiny_run, [*words[0], *words[1]])
