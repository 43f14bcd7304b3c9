"""`shopsight predict`: label images with a trained model."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from shopsight import api
from shopsight.cli.options import (
    DataOptions,
    DeviceOption,
    EngineOption,
    PrecisionOption,
    takes_data,
)
from shopsight.cli.output import print_line, print_note
from shopsight.cli.products import node_text, show_products
from shopsight.cli.progress import shown_progress
from shopsight.cli.wildcards import expanded
from shopsight.control_characters import json_text
from shopsight.errors import ConfigError


@takes_data
def predict(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Use this run or bundle.")],
    options: DataOptions,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA...",
            help="Label these images, folders, tables, named data sets and URLs.",
        ),
    ],
    top: Annotated[int, typer.Option("--top", min=1, help="Give this many labels.")] = 5,
    confidence: Annotated[
        float | None,
        typer.Option(
            "--confidence",
            metavar="P",
            help="Where labels are paths, give the deepest path that is so probable too, from 0.5 "
            "to 1, such as 0.9.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write this .csv, .parquet or .jsonl."),
    ] = None,
    sort_into: Annotated[
        Path | None,
        typer.Option("--sort-into", metavar="FOLDER", help="Copy each image into FOLDER/LABEL/."),
    ] = None,
    by: Annotated[
        Literal["image", "product"],
        typer.Option(
            "--by", help="Label each image, or each product (the column group) from all its photos."
        ),
    ] = "image",
    device: DeviceOption = "auto",
    engine: EngineOption = "auto",
    precision: PrecisionOption = "auto",
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            min=1,
            help="Give the network this many images at once; without it 32, and 256 on CUDA.",
        ),
    ] = None,
) -> None:
    """Label images with a trained model.

    A folder stands for all images in it, a table for its rows, labeled or not.
    Exits with 1 if some could not be read.
    """
    if by == "product":
        runs = {"device": device, "engine": engine, "precision": precision}
        _predict_products(model, options, images, top, confidence, out, runs, batch_size)
        return
    with shown_progress():
        predictions = api.predict(
            model,
            expanded(images),
            read=options.read,
            top=top,
            confidence=confidence,
            batch_size=batch_size,
            out=out,
            sort_into=sort_into,
            device=device,
            engine=engine,
            precision=precision,
        )
        failed = _print_json(predictions) if options.json else show(predictions, lines=out is None)
    for written in (out, sort_into):
        if written is not None:
            print_note(f"written: {written}")
    if failed:
        raise typer.Exit(1)


def _predict_products(
    model: str,
    options: DataOptions,
    data: list[str],
    top: int,
    confidence: float | None,
    out: Path | None,
    runs: Mapping[str, Any],
    batch_size: int | None,
) -> None:
    options.refuse(
        ["--sort-into"],
        why="images are copied by their own labels",
        fix="--sort-into FOLDER --by image",
    )
    if len(data) > 1:
        raise ConfigError(
            f"--by product takes one DATA, and was given {len(data)}",
            fix="shopsight merge DATA... --out FILE   (joins them, and says what they share)",
        )
    with shown_progress():
        predictions = api.predict_products(
            model,
            data[0],
            read=options.read,
            top=top,
            confidence=confidence,
            batch_size=batch_size,
            out=out,
            **runs,
        )
        failed = show_products(predictions, lines=out is None, json=options.json)
    if out is not None:
        print_note(f"written: {out}")
    if failed:
        raise typer.Exit(1)


def show(predictions: Iterator[api.Prediction], *, lines: bool) -> int:
    """Take all predictions, print a line for each if wanted, and count unreadable images."""
    counted = _Counted(predictions)
    for prediction in counted:
        if lines and prediction.error is None:
            pairs = zip(prediction.labels, prediction.probabilities, strict=True)
            guesses = ", ".join(f"{label} {api.percent_text(value)}" for label, value in pairs)
            line = f"{_name(prediction)}: {node_text(prediction)}{guesses}{_attributes(prediction)}"
            line = f"{line}{_unknown(prediction)}"
            line += _damage(prediction)
            print_line(line)
    return counted.summary()


def _print_json(predictions: Iterator[api.Prediction]) -> int:
    """Print a JSON list while it grows, and count unreadable images."""
    counted = _Counted(predictions)
    for prediction in counted:
        sys.stdout.write(",\n" if counted.done > 1 else "[\n")
        sys.stdout.write(json_text(api.as_row(prediction)))
    sys.stdout.write("\n]\n" if counted.done else "[]\n")
    return counted.summary()


def _name(prediction: api.Prediction) -> str:
    """The path; of a table also the row, because several may be about one image."""
    row = "" if prediction.row is None else f" (row {prediction.row})"
    return f"{prediction.source}{row}"


def _attributes(prediction: api.Prediction) -> str:
    """The attributes that the image was given."""
    return "".join(
        f"; {one.name}: {one.text} {api.percent_text(one.confidence)}"
        for one in prediction.attributes
        if one.values
    )


def _unknown(prediction: api.Prediction) -> str:
    """Whether the image is unknown; else the set of labels, where one was asked for."""
    found = prediction.unknown
    if found is None:
        return ""
    if found.is_unknown:
        return f"; unknown (score {found.score:.3f})"
    return f"; one of {', '.join(found.label_set)}" if len(found.label_set) > 1 else ""


def _damage(prediction: api.Prediction) -> str:
    return f" (damaged: {prediction.damaged})" if prediction.damaged else ""


class _Counted:
    """Predictions, counted while they pass; those that failed are noted on stderr."""

    def __init__(self, predictions: Iterator[api.Prediction]) -> None:
        self._predictions = predictions
        self.done = self.damaged = 0
        self.reasons: Counter[str] = Counter()

    def __iter__(self) -> Iterator[api.Prediction]:
        for prediction in self._predictions:
            self.done += 1
            self.damaged += prediction.damaged is not None
            if prediction.error is not None:
                self.reasons[prediction.reason or "unreadable"] += 1
                print_note(f"not read: {prediction.error}")
            yield prediction

    def summary(self) -> int:
        failed = self.reasons.total()
        labeled = f"{api.counted(self.done - failed, 'image')} labeled"
        if self.damaged:
            labeled += f" ({api.count_text(self.damaged)} damaged)"
        why = ", ".join(f"{count:,} {reason}" for reason, count in self.reasons.most_common())
        unread = f"{api.count_text(failed)} not readable" + (f" ({why})" if why else "")
        print_note(f"{labeled}, {unread}")
        return failed
