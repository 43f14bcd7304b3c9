"""`shopsight wizard`: the main job by question and answer.

Each step prints the command line that does the same.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from shopsight import api
from shopsight.cli import audit, evaluate, predict, streams, train
from shopsight.cli.options import parsed_seconds
from shopsight.cli.output import (
    INTERRUPTED,
    Column,
    print_line,
    print_note,
    print_table,
)
from shopsight.cli.progress import shown_progress
from shopsight.control_characters import one_line
from shopsight.errors import ShopsightError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

RECIPES = {
    "fast": "a linear probe: about a minute for five thousand photos",
    "balanced": "probe, then fine-tuning: better, and takes longer",
    "best": "every trick, and the longest",
}
# What a named data set that is not found may need, in that order.
FOLDERS = {
    "root": "Folder that holds a local copy of it",
    "images_root": "Folder of its images, if they lie elsewhere",
}
# Findings after which there is nothing to train.
NO_TRAINING = {
    "most-missing": "most of the images are not there: name another folder",
    "unreachable": "most images of a host were not read: begin again when it answers",
    "one-class": "there is only one class: name a folder with at least two",
}


def wizard() -> None:
    """Choose or train a model, label a folder of images, and see the results."""
    print_note("Press Enter for the default, which is in brackets. Ctrl-C ends the wizard.")
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
    """Ask for the run or bundle to use; train one if wanted."""
    found = api.models_below(Path.cwd())
    for number, folder in enumerate(found, start=1):
        print_note(f"  {number}  {folder}: {_classes(folder)}")
    print_note("  t  train a new model")
    while True:
        answer = _ask("Model: its number, t, or a path", default="1" if found else "t")
        if answer == "t":
            return _train()
        if answer.isdigit() and 0 < int(answer) <= len(found):
            return str(found[int(answer) - 1])
        if api.is_model(answer):
            return answer
        print_note(f"no model at {answer}")


def _classes(model: Path) -> str:
    labels = api.model_labels(model)
    return f"{len(labels)} classes: {', '.join(labels[:6])}" + ", ..." * (len(labels) > 6)


def _train() -> str:
    """Audit and train until a run is finished, and give its folder."""
    while True:
        data = _ask("Photos: a folder with a sub-folder per class, a table, or a data set's name")
        out = Path(_ask("Folder for the run", default=_free_name(Path("runs") / run_name(data))))
        audited = _audited(data, Path(f"{out}-audit"))
        if audited is None:
            continue
        report, read = audited
        decided = _decided(report, Path(f"{out}-audit"))
        if decided is None:
            continue
        for name, meaning in RECIPES.items():
            print_note(f"  {name:9} {meaning}")
        recipe = _ask("Recipe, of these or of `shopsight recipes`", default=api.DEFAULT_RECIPE)
        limit = _ask("Time limit, such as 10m", default="none")
        if _trained(data, read, out, recipe=recipe, limit=limit, decided=decided):
            return str(out)


def _audited(data: str, out: Path) -> tuple[api.AuditReport, api.ReadOptions] | None:
    """Audit DATA; give the report and how DATA was read, or None when it cannot be read."""
    read = api.ReadOptions()
    named = any(data == known.name for known in api.data_sets())
    questions = iter(FOLDERS.items() if named else ())
    while True:
        _show_command("audit", data, *_flags(read), "--out", str(out))
        with _errors_noted(), shown_progress():
            report = api.audit(data, read=read, out=out)
            audit.show(report, out)
            return report, read
        field, question = next(questions, ("", ""))
        folder = _ask(question, default="none") if field else "none"
        if folder == "none":
            return None
        read = replace(read, **{field: folder})


def _decided(report: api.AuditReport, out: Path) -> dict[str, list[str]] | None:
    """Ask which kinds to accept or to exclude; None when the user fixes the data."""
    for kind, advice in NO_TRAINING.items():
        if kind in report.counts:
            print_note(advice)
            return None
    kinds = [kind for kind in report.counts if kind in api.FIXABLE_KINDS]
    lost = [kind for kind in kinds if kind == "lost-class"]
    others = [kind for kind in kinds if kind not in lost]
    if kinds:
        print_note(f"{out / 'audit.html'} shows them")
    if lost and not _confirm("Train on what is left of the classes that lose files?", default=True):
        return None
    if others and not _confirm(f"Leave out the images with {', '.join(others)}?", default=True):
        return None
    return {"accept": lost, "exclude": others}


def _trained(
    data: str,
    read: api.ReadOptions,
    out: Path,
    *,
    recipe: str,
    limit: str,
    decided: dict[str, list[str]],
) -> bool:
    """Train, and give whether the run was finished."""
    limited = [] if limit == "none" else ["--time-limit", limit]
    kinds = [(f"--{flag}", kind) for flag, kinds in decided.items() for kind in kinds]
    flags = [*_flags(read), "--out", str(out), "--recipe", recipe, *limited, *chain(*kinds)]
    _show_command("train", data, *flags)
    with _errors_noted():
        limit_s = parsed_seconds(limit) if limited else None
        with train.resumable(out), shown_progress():
            result = api.train(
                data,
                out=out,
                read=read,
                recipe=recipe,
                time_limit_s=limit_s,
                accept=decided["accept"],
                exclude=decided["exclude"],
            )
        train.show(result)
        return True
    return False


def _label_images(model: str) -> None:
    images = Path(_ask("Images to label: a folder or a file"))
    if not images.exists():
        print_note(f"nothing at {images}")
        return
    name = images.absolute().stem or "images"
    out = _ask("Table to write (.csv, .parquet, .jsonl)", default=f"{name}-predictions.csv")
    if not _predicted(model, images, Path(out)):
        return
    if Path(out).suffix == ".csv":
        show_predictions(Path(out))
    inside = {path.name for path in images.iterdir() if path.is_dir()} if images.is_dir() else set()
    if inside and inside <= set(api.model_labels(model)):
        _offer_score(model, images)


def _predicted(model: str, images: Path, out: Path) -> bool:
    _show_command("predict", model, str(images), "--out", str(out))
    with _errors_noted(), shown_progress():
        predict.show(api.predict(model, [str(images)], out=out), lines=False)
        print_note(f"written: {out}")
        return True
    return False


def _offer_score(model: str, images: Path) -> None:
    """Score the model on sub-folders named as its classes, unless it learned from these images."""
    print_note("Its sub-folders are named as the classes.")
    if api.learned_from(model, images):
        command = api.command_line(["shopsight", "evaluate", model])
        print_note(
            "The model learned from these very images, so a score on them would mean nothing; "
            f"its test score is on those held out: {command}"
        )
        return
    if not _confirm("Take them as the truth, and score the model on it?", default=True):
        return
    _show_command("evaluate", model, str(images))
    with _errors_noted():
        with shown_progress():
            evaluation = api.evaluate(model, images)
        evaluate.headline_table({evaluation.split: evaluation})


def show_predictions(file: Path) -> None:
    """Print how many images got each label, and the ones the model is least sure of."""
    found = api.summarize_predictions(file)
    rows = [[label, api.count_text(number)] for label, number in found.counts.items()]
    print_table([Column("label"), Column("images", right=True)], rows)
    if not found.least_sure:
        print_line(f"sure of all of them: {api.percent_text(found.sure)} or more")
        return
    print_table(
        [Column("least sure of"), Column("label"), Column("probability", right=True)],
        [[image, label, api.percent_text(value)] for image, label, value in found.least_sure],
    )


def _flags(read: api.ReadOptions) -> list[str]:
    pairs = ((api.flag_of(field), str(getattr(read, field))) for field in read.given())
    return [word for pair in pairs for word in pair]


def _show_command(*words: str) -> None:
    print_line(f"$ {api.command_line(['shopsight', *words])}")
    sys.stdout.flush()


@contextmanager
def _errors_noted() -> Iterator[None]:
    """Print what the user got wrong; the wizard continues with its next question."""
    try:
        yield
    except ShopsightError as error:
        print_note(f"error: {error}")


def run_name(data: str) -> str:
    r"""`"D:\photos\shoes.csv"` -> `"shoes"`; `"hf:owner/name:config"` -> `"name-config"`."""
    last = re.split(r"[/\\]", data.rstrip("/\\"))[-1].strip(":").replace(":", "-")
    return api.safe_name(Path(last).stem or "run")


def _free_name(path: Path) -> str:
    number, free = 2, path
    while free.exists():
        free = path.with_name(f"{path.name}-{number}")
        number += 1
    return str(free)


def _ask(question: str, *, default: str | None = None) -> str:
    from rich.prompt import Prompt

    offered = "" if default is None else f" ({default})"
    prompt = Prompt(_question(question + offered), console=_screen(), show_default=False)
    while True:
        # Without a default, rich takes an empty answer: ask again.
        answer = prompt() if default is None else prompt(default=default)
        # "Copy as path" of Windows puts quotes around it.
        answer = answer.strip().strip('"')
        if answer:
            return answer


def _confirm(question: str, *, default: bool) -> bool:
    from rich.prompt import Confirm

    return Confirm.ask(_question(question), default=default, console=_screen())


def _question(text: str) -> Text:
    from rich.text import Text

    return Text(one_line(text), style="prompt")


def _screen() -> Console:
    from rich.console import Console

    return Console(file=streams.terminal(sys.stderr))
