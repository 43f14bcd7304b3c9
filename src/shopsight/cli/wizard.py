"""`shopsight wizard`: the main job by question and answer.

Each step prints the command line that does the same, and runs that very line.
"""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import typer

from shopsight.api import DEFAULT_RECIPE
from shopsight.cli.output import Column, count, percent, print_line, print_note, print_table
from shopsight.files import read_json

INTERRUPTED = 130
# Of the images that the model is less sure of than that, the least sure ones.
SHOWN_IMAGES, SURE = 5, 0.995
# A run or a bundle lies at most this deep below the folder where the wizard is started.
SEARCH_DEPTH = 4
RECIPES = {
    "fast": "a linear probe: about a minute for five thousand photos",
    "balanced": "probe, then fine-tuning: better, and takes longer",
    "best": "every trick, and the longest",
}
# What a named data set that is not at hand may need, in that order.
FOLDERS = {
    "--root": "Folder of a local copy of it",
    "--images-root": "Folder of its images, if they lie elsewhere",
}


def wizard() -> None:
    """Choose or train a model, label a folder of images, and see the results."""
    print_note("Enter takes what stands in brackets; Ctrl-C ends the wizard.")
    try:
        model = _model()
        while True:
            _label_images(model)
            if not _confirm("Another folder?", default=False):
                return
    except (KeyboardInterrupt, EOFError):
        print_note("\nended")
        raise typer.Exit(INTERRUPTED) from None


def _model() -> str:
    """The run or bundle to use, trained first if need be."""
    found = known_models(Path.cwd())
    for number, folder in enumerate(found, start=1):
        print_note(f"  {number}  {folder}: {_classes(folder)}")
    print_note("  t  train a new model")
    while True:
        answer = _ask("Model: its number, t, or a path", default="1" if found else "t")
        if answer == "t":
            return _train()
        if answer.isdigit() and 0 < int(answer) <= len(found):
            return str(found[int(answer) - 1])
        if _info_file(Path(answer)).is_file():
            return answer
        print_note(f"no model at {answer}")


def known_models(folder: Path) -> list[Path]:
    """Runs and bundles below `folder`, latest first, relative to it."""
    patterns = ["/".join(["*"] * depth + ["model.json"]) for depth in range(1, SEARCH_DEPTH + 1)]
    files = [file for pattern in patterns for file in folder.glob(pattern)]
    files.sort(key=lambda file: file.stat().st_mtime, reverse=True)
    places = [file.parent.relative_to(folder) for file in files]
    # A run is named by its own folder, not by the bundle inside.
    return [place.parent if place.name == "model" else place for place in places]


def _info_file(model: Path) -> Path:
    inside = model / "model" / "model.json"
    return inside if inside.is_file() else model / "model.json"


def _labels(model: Path | str) -> list[str]:
    info: dict[str, Any] = read_json(_info_file(Path(model)))
    return [str(label) for label in info["labels"]]


def _classes(model: Path) -> str:
    labels = _labels(model)
    return f"{len(labels)} classes: {', '.join(labels[:6])}" + ", ..." * (len(labels) > 6)


def _train() -> str:
    """Audit and train until a run is finished; its folder."""
    while True:
        data = _ask("Photos: a folder with a sub-folder per class, a table, or a data set's name")
        out = _ask("Folder for the run", default=_free_name(Path("runs") / Path(data).stem))
        audited = f"{out}-audit"
        folders = _audited(data, audited)
        mended = None if folders is None else _mended(Path(audited))
        if folders is None or mended is None:
            continue
        for name, meaning in RECIPES.items():
            print_note(f"  {name:9} {meaning}")
        recipe = _ask("Recipe, of these or of `shopsight recipes`", default=DEFAULT_RECIPE)
        limit = _ask("Time limit, such as 10m", default="none")
        limited = [] if limit == "none" else ["--time-limit", limit]
        flags = [*folders, "--out", out, "--recipe", recipe, *limited, *mended]
        if _run("train", data, *flags) == 0:
            return out


def _audited(data: str, audited: str) -> list[str] | None:
    """Audit DATA; the flags that say where it lies, or None when it cannot be read."""
    from shopsight.datasets.registry import DATASETS

    flags: list[str] = []
    questions = iter(FOLDERS.items() if data in DATASETS else ())
    while _run("audit", data, *flags, "--out", audited) > 1:
        flag, question = next(questions, ("", ""))
        folder = _ask(question, default="none") if flag else "none"
        if folder == "none":
            return None
        flags += [flag, folder]
    return flags


def _mended(audited: Path) -> list[str] | None:
    """The flags that leave out what would corrupt the score; None when the user mends it."""
    from shopsight.audit.gate import FIXABLE

    found: dict[str, int] = read_json(audited / "audit.json")["counts"]
    if "most-missing" in found:
        print_note("most of the images are not there: name another folder")
        return None
    kinds = [kind for kind in found if kind in FIXABLE]
    if not kinds:
        return []
    print_note(f"{audited / 'audit.html'} shows them")
    if not _confirm(f"Leave out the images with {', '.join(kinds)}?", default=True):
        return None
    return [word for kind in kinds for word in ("--exclude", kind)]


def _label_images(model: str) -> None:
    images = Path(_ask("Images to label: a folder or a file"))
    if not images.exists():
        print_note(f"nothing at {images}")
        return
    out = _ask("Table to write (.csv, .parquet, .jsonl)", default=f"{images.stem}-predictions.csv")
    if _run("predict", model, str(images), "--out", out) > 1:
        return
    if Path(out).suffix == ".csv":
        _show_predictions(Path(out))
    inside = {path.name for path in images.iterdir() if path.is_dir()} if images.is_dir() else set()
    if inside and inside <= set(_labels(model)):
        print_note("Its sub-folders are named as the classes.")
        if _learned_from(model, images):
            print_note(
                "The model learned from these very images, so a score on them would say nothing; "
                f"its test score is of those held out: shopsight evaluate {shlex.quote(model)}"
            )
            return
        if _confirm("Take them as the truth, and score the model on it?", default=True):
            _run("evaluate", model, str(images))


def _learned_from(model: str, images: Path) -> bool:
    """Whether the run's own images lie in this folder; a bundle does not tell."""
    from shopsight.catalog.catalog import Catalog

    kept = Path(model) / "catalog.parquet"
    if not kept.is_file():
        return False
    folders = {Path(ref).parent for ref in Catalog.read(kept).refs()}
    return any(folder.resolve().is_relative_to(images.resolve()) for folder in folders)


def _show_predictions(file: Path) -> None:
    """How many images got each label, and the ones the model is least sure of."""
    import polars as pl

    table = pl.read_csv(file, schema_overrides={"label": pl.String}).drop_nulls("label")
    labels = Counter(table["label"].to_list())
    rows = [[label, count(number)] for label, number in labels.most_common()]
    print_table([Column("label"), Column("images", right=True)], rows)
    doubtful = table.filter(pl.col("probability") < SURE).sort("probability").head(SHOWN_IMAGES)
    if doubtful.is_empty():
        print_line(f"sure of all of them: {percent(SURE)} or more")
        return
    print_table(
        [Column("least sure of"), Column("label"), Column("probability", right=True)],
        [
            [image, label, percent(share)]
            for image, label, share in doubtful.select("image", "label", "probability").iter_rows()
        ],
    )


def _free_name(path: Path) -> str:
    number, free = 2, path
    while free.exists():
        free = path.with_name(f"{path.name}-{number}")
        number += 1
    return str(free)


def _run(*words: str) -> int:
    """Print the command line and run it; its exit code."""
    from shopsight.cli.app import main

    print_line(f"$ {shlex.join(['shopsight', *words])}")
    sys.stdout.flush()
    try:
        main(words)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return code


def _ask(question: str, *, default: str | None = None) -> str:
    from rich.console import Console
    from rich.prompt import Prompt

    screen = Console(stderr=True)
    while True:
        # Without a default, rich takes an empty answer: ask again.
        if default is None:
            answer = Prompt.ask(question, console=screen)
        else:
            answer = Prompt.ask(question, default=default, console=screen)
        if answer.strip():
            return answer.strip()


def _confirm(question: str, *, default: bool) -> bool:
    from rich.console import Console
    from rich.prompt import Confirm

    return Confirm.ask(question, default=default, console=Console(stderr=True))
