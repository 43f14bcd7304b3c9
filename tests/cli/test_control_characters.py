"""Names and labels that hold what a terminal obeys: through every verb, shown and never sent."""

from __future__ import annotations

import io
import json
import logging
import shutil
import sys
import warnings
from pathlib import Path

import polars as pl
import pytest
from rich.console import Console

from shopsight import api, progress
from shopsight.cli import streams, wizard
from shopsight.cli.output import Column, print_line, print_note, print_table
from shopsight.cli.progress import shown_progress
from shopsight.read_options import ReadOptions
from tests.helpers import HOSTILE, SMALL, ProductPhotos, Shopsight, sent_raw

# A slash divides folders, and NUL ends a name.
NAMES = tuple(text.replace("/", "|").replace("\0", "") for text in HOSTILE)
MARKUP = "[red]x[/red] [link=http://example.com]here[/link] :boom:"

pytestmark = pytest.mark.posix("names with control characters")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, product_photos: ProductPhotos) -> Path:
    """A folder per class and a table, all of whose names are hostile; a broken file, a copy."""
    data = tmp_path_factory.mktemp("shop") / "shop\x1b[2J\u202e"
    photos = sorted(product_photos.folder.rglob("*.jpg"))
    rows = []
    for number, label in enumerate((*HOSTILE[:2], MARKUP)):
        folder = data / f"{number}{NAMES[number]}"
        folder.mkdir(parents=True)
        for index, photo in enumerate(photos[number * 20 : number * 20 + 20]):
            name = f"{index}{NAMES[index % len(NAMES)]}.jpg"
            shutil.copy(photo, folder / name)
            rows.append((str(photo), label, "\x1b[1mfree", HOSTILE[index % len(HOSTILE)]))
        (folder / f"broken{NAMES[2]}.jpg").write_bytes(b"\x1b[31m no image")
        shutil.copy(folder / name, folder / f"copy{NAMES[3]}.jpg")
    rows.append(("gone\x1b[31m.jpg", HOSTILE[0], "", ""))
    table = pl.DataFrame(rows, schema=["image", "label", "odd\x1b[5m", "text"], orient="row")
    table.write_parquet(data.parent / "table\x07.parquet")
    return data


@pytest.fixture(scope="module")
def run(hostile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the hostile folder; a second one of its name is to be compared with."""
    runs = tmp_path_factory.mktemp("runs")
    api.train(
        hostile.parent / "table\x07.parquet",
        out=runs / "one\x1b[7m",
        recipe="fashion-mnist-cnn",
        settings=["training.epochs=1"],
        read=ReadOptions(allow_outside=True),
    )
    shutil.copytree(runs / "one\x1b[7m", runs / "two\u202e")
    return runs / "one\x1b[7m"


COMMANDS = (
    ("audit", "DATA", "--out", "OUT\x1b[1m"),
    ("audit", "TABLE"),
    ("audit", "TABLE", "--json"),
    ("audit", "TABLE", "--label", "no\x1b[5m"),
    ("audit", "\x1b]0;x\x07"),
    ("audit", "DATA", "--\x1b]0;x\x07"),
    ("--\x1b]0;x\x07",),
    ("\x1b]0;x\x07",),
    ("audit", "DATA", "--drop", "\x1b[5m"),
    ("split", "DATA", "--out", "OUT.csv"),
    ("split", "TABLE", "--out", "OUT.csv", "--json"),
    ("split", "TABLE", "--out", "OUT\x07.no\x1b[5m"),
    ("train", "DATA", "--out", "OUT\x1b[1m", *SMALL),
    ("train", "DATA", "--out", "OUT", "--recipe", "a\x1b[5m"),
    ("train", "--resume", "RUN", "--json"),
    ("evaluate", "RUN"),
    ("evaluate", "RUN", "--json"),
    ("evaluate", "RUN", "TABLE", "--accept", "damaged", "--split", "all"),
    ("evaluate", "RUN", "--split", "\x1b[5m"),
    ("predict", "RUN", "DATA"),
    ("predict", "RUN", "TABLE"),
    ("predict", "RUN", "TABLE", "--json"),
    ("predict", "RUN", "DATA", "--sort-into", "OUT\x1b[1m", "--out", "OUT.jsonl"),
    ("predict", "RUN", "TABLE", "--out", "OUT[1]*/a.parquet"),
    ("compare", "RUN", "OTHER", "--no-measure", "--out", "OUT\x1b[1m"),
    ("compare", "RUN", "OTHER", "--no-measure", "--json"),
    ("recommend", "TABLE", "--latency-ms", "5", "--backbones", "no:\x1b[5m", "--out", "OUT"),
    ("profile", "local:\x1b[5m"),
    ("data", "\x1b[5m"),
    ("recipes", "\x1b[5m"),
    ("audit", "\x1b[5m", "--debug"),
)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(map(repr, words)))
def test_every_verb_shows_them(
    words: tuple[str, ...], hostile: Path, run: Path, shopsight: Shopsight, tmp_path: Path
) -> None:
    places = {
        "DATA": hostile,
        "TABLE": hostile.parent / "table\x07.parquet",
        "RUN": run,
        "OTHER": run.with_name("two\u202e"),
    }
    filled = [str(places.get(word, word)).replace("OUT", str(tmp_path / "out")) for word in words]
    ended = shopsight(*filled, *["--allow-outside"] * ("TABLE" in words))
    assert sent_raw(ended.out + ended.err) == set()
    assert ended.code in {0, 1, 2}
    if "--json" in words and ended.code != 2:
        assert json.loads(ended.out)
    for path in tmp_path.rglob("*"):
        if path.suffix in {".json", ".jsonl", ".html", ".svg", ".md"}:
            assert sent_raw(path.read_text(encoding="utf-8")) == set(), path


def test_what_is_found_is_shown(hostile: Path, shopsight: Shopsight) -> None:
    ended = shopsight("audit", hostile.parent / "table\x07.parquet", "--allow-outside")
    assert r"table\x07.parquet" in ended.out
    assert r"title\x1b]0;owned\x07" in ended.err


def test_a_line_has_one_line_and_a_cell_too(capsys: pytest.CaptureFixture[str]) -> None:
    print_line("a\nb\x1b")
    print_note("error: a\n  fix: b\x1b")
    print_table([Column("x\n"), Column(MARKUP)], [["a\nb\tc", MARKUP]], title="t\nu")
    shown = capsys.readouterr()
    assert shown.out.splitlines()[:2] == [r"a\nb\x1b", r"t\nu"]
    assert r"a\nb\tc" in shown.out
    assert shown.out.count(MARKUP) == 2
    assert shown.err == "error: a\n  fix: b\\x1b\n"


def test_what_libraries_print_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with streams.shown():
        print("a\tb\x1b[2J")  # noqa: T201
        sys.stderr.writelines(["c\x9b", "\rdone 10 %\n"])
        sys.stderr.write(warnings.formatwarning("odd \x1b]0;x\x07", UserWarning, "\x1b.py", 1))
        handler = logging.StreamHandler(sys.stderr)
        handler.emit(logging.LogRecord("x", 30, "x.py", 1, "log \u202e", None, None))
        print_line("again")
    shown = capsys.readouterr()
    assert shown.out == "a\tb\\x1b[2J\nagain\n"
    assert shown.err.startswith("c\\x9b\rdone 10 %\n")
    assert r"odd \x1b]0;x\x07" in shown.err
    assert shown.err.endswith("log \\u202e\n")
    assert not isinstance(sys.stdout, streams._Shown)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _terminal(monkeypatch: pytest.MonkeyPatch) -> _Terminal:
    terminal = _Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def test_bars_show_names_and_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)
    title = f"Reading \x1b]0;x\x07{MARKUP}"
    with streams.shown(), shown_progress(), progress.task(title, 2, "[red]images") as advance:
        progress.notify(f"found \x1b[5m\n{MARKUP}")
        print_note("beside \x9b")
        print("others \x1b]8;;http://example.com\x1b\\", file=sys.stderr)  # noqa: T201
        advance(1)
    text = terminal.getvalue()
    assert rf"found \x1b[5m\n{MARKUP}" in text
    assert r"beside \x9b" in text
    assert r"others \x1b]8;;http://example.com\x1b" in text
    assert rf"Reading \x1b]0;x\x07{MARKUP[:10]}" in text
    assert "\x1b]" not in text
    assert sent_raw(text) <= {"\x1b", "\r"}


def test_questions_of_the_wizard(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)
    monkeypatch.setattr(Console, "input", lambda self, prompt, **_: self.print(prompt) or "")
    assert wizard._ask(f"Where\x1b[5m {MARKUP}", default="\x1b[7mhere") == "\x1b[7mhere"
    assert wizard._confirm(f"Leave out \x1b[5m {MARKUP}?", default=True)
    shown = terminal.getvalue().replace("\n", " ")
    assert rf"Where\x1b[5m {MARKUP} (\x1b[7mhere)" in shown
    assert "\x1b[5m" not in shown
    assert "\x1b[7m" not in shown
