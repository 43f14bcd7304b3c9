"""Predict: label images with a bundle, while they stream."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from shopsight import progress
from shopsight.commands.early_checks import check_model
from shopsight.datasets.result_places import refuse_output_over_data
from shopsight.errors import SHOWN_DETAILS, ShopsightError, WriteError
from shopsight.extras import is_installed
from shopsight.inference.answer_journal import AnswerJournal, about_model
from shopsight.inference.engine import PrecisionChoice
from shopsight.inference.exported_engines import EngineChoice
from shopsight.inference.image_stream import ImageInputs, NamedImage, open_images
from shopsight.inference.load import load
from shopsight.inference.predictor import Prediction, Predictor
from shopsight.inference.sorted_copies import SortedCopies
from shopsight.inference.writers import write_predictions
from shopsight.output_locks import only_writer_of_file, only_writer_of_folder
from shopsight.output_paths import TABLE_SUFFIXES, check_output_path, check_suffix
from shopsight.read_options import ReadOptions
from shopsight.safe_names import unique_names
from shopsight.text import counted

LONGEST_IMAGE_NAME = 60
"""Characters to allow for the name of an image that is copied; longer ones are copied as far as
the system takes them."""


def predict(
    model: str | Path | Predictor,
    images: ImageInputs,
    *,
    read: ReadOptions | None = None,
    top: int = 5,
    confidence: float | None = None,
    batch_size: int | None = None,
    out: str | Path | None = None,
    sort_into: str | Path | None = None,
    on_error: Literal["report", "raise"] = "report",
    device: str = "auto",
    engine: EngineChoice = "auto",
    precision: PrecisionChoice = "auto",
) -> Iterator[Prediction]:
    """Label images, folders, tables, bytes, PIL images or arrays, while they stream.

    Order is kept. The model is opened at once, and so are tables; images are read, and `out` and
    `sort_into` written, as the predictions are taken from the iterator: copies appear by the
    thousand, the last ones at the end.

    Args:
        model: a run folder, a bundle, or one that `load` opened.
        images: one image or many. A folder stands for all images in it; a table, a list or the
            name of a data set for its rows, each with its box where it has one, labeled or not.
        read: how DATA is read, as for the other verbs; None guesses everything.
        top: how many labels to give, at most as many as the model has.
        confidence: where labels are paths, give the deepest path that is at least so probable too,
            by the probabilities of all labels at it and below it; one half to 1.
        batch_size: images that the network sees at once; None: as many as fill the device.
        out: a .csv, .parquet or .jsonl file for the predictions, which appears at the end. When
            the command is interrupted, the same one continues after the images that it recorded.
        sort_into: a folder; each image is copied into its sub-folder LABEL/, named so that every
            file system takes it and no two labels share one.
        on_error: "report" gives an image that cannot be read as a `Prediction` with an `error`.
        device: of a model that is not open yet: its name, see `shopsight.devices`.
        engine: likewise, what runs it, see `shopsight.load`.
        precision: likewise, its number format.

    Raises:
        BundleError: the model cannot be opened.
        CatalogError: DATA cannot be read, there is no image at all, or an option of `read` would
            change nothing.
        ImageError: an image cannot be read and `on_error` is "raise".
        ConfigError: `out` has another suffix, or `confidence` asks for a path that cannot be given.
        LockedError: another process writes `out` or `sort_into`.
        WriteError: `out` is what is read, or cannot be written; or images could not be copied; all
            others were.
    """
    if out is not None:
        check_output_path(check_suffix(out, TABLE_SUFFIXES, things="predictions"))
        refuse_output_over_data(images, out)
    predictor = model
    if not isinstance(predictor, Predictor):
        predictor = open_predictor(predictor, device, engine=engine, precision=precision)
    predictor.check_confidence(confidence)
    top = min(top, len(predictor.labels))
    opened = open_images(images, read)
    copies = None if sort_into is None else _sorted_copies(predictor, sort_into)
    if copies is not None:
        opened = _without_copies(opened, images, copies.folder)
    label = partial(
        predictor.predict,
        top=top,
        confidence=confidence,
        batch_size=batch_size,
        on_error=on_error,
    )
    if out is None and copies is None:
        return label(opened)
    options = {"top": top, "batch_size": batch_size, "confidence": confidence}
    about = about_model(predictor) | options
    path = None if out is None else Path(out)
    names = () if predictor.attributes is None else predictor.attributes.names
    return _written(
        opened,
        label,
        about,
        out=path,
        copies=copies,
        unknown=predictor.unknown is not None,
        attributes=names,
    )


def _sorted_copies(predictor: Predictor, folder: str | Path) -> SortedCopies:
    """Where copies go, by label.

    Raises:
        WriteError: the longest name of one would be too long there.
    """
    names = unique_names(predictor.labels)
    longest = max(map(len, names.values())) + LONGEST_IMAGE_NAME + 2
    check_output_path(Path(folder), reserve=longest)
    return SortedCopies(folder, names)


def _without_copies(
    opened: Iterator[NamedImage], images: ImageInputs, folder: str | Path
) -> Iterator[NamedImage]:
    """Leave out what an earlier command copied into `folder`, where that lies in one of DATA."""
    copies = Path(os.path.abspath(folder))  # noqa: PTH100 - without ".."
    given = images if isinstance(images, list | tuple) else [images]
    paths = [Path(os.path.abspath(one)) for one in given if isinstance(one, str | Path)]  # noqa: PTH100
    if any(path.is_relative_to(copies) for path in paths):
        # The copies themselves are asked for.
        return opened
    return _others_than(opened, f"{copies}{os.sep}")


def _others_than(opened: Iterator[NamedImage], start: str) -> Iterator[NamedImage]:
    left_out = 0
    for one in opened:
        if os.path.abspath(one.source).startswith(start):  # noqa: PTH100
            left_out += 1
        else:
            yield one
    if left_out:
        progress.notify(f"left out, copied there before: {counted(left_out, 'image')} in {start}")


def open_predictor(
    model: str | Path,
    device: str,
    *,
    engine: EngineChoice = "auto",
    precision: PrecisionChoice = "auto",
) -> Predictor:
    """Open a model, and say it where a GPU is there and not used.

    Raises:
        BundleError: it cannot be opened.
    """
    # Before torch is imported, which takes seconds.
    check_model(model)
    if is_installed("torch"):
        from shopsight.devices import unused_gpu_note

        note = unused_gpu_note(device)
        if note is not None:
            progress.notify(note)
    return load(model, device=device, engine=engine, precision=precision)


def _written(
    images: Iterator[NamedImage],
    label: Callable[[Iterator[NamedImage]], Iterator[Prediction]],
    about: dict[str, Any],
    *,
    out: Path | None,
    copies: SortedCopies | None,
    unknown: bool,
    attributes: Sequence[str],
) -> Iterator[Prediction]:
    """Hand the predictions on, each after it was recorded and its image copied.

    Those that an interrupted command of the same kind recorded are not made again.
    """
    failed = _Failures()
    with ExitStack() as stack:
        journal = stack.enter_context(_journal(about, out, copies))

        def settle() -> None:
            for error in copies.settle() if copies is not None else ():
                failed.add(f"{error.where}: {error.what}")
                journal.stop_recording()

        # What was copied stays when the command is interrupted.
        stack.callback(settle)
        answers = stack.enter_context(closing(journal.predictions(images, label, settle)))
        for prediction, is_new in answers:
            if copies is not None and is_new:
                try:
                    copies.add(prediction)
                except (ShopsightError, OSError) as error:
                    # One image must not cost the predictions of all others.
                    failed.add(_why_not_copied(prediction, error))
                    journal.stop_recording()
            yield prediction
        if out is not None:
            nodes = about["confidence"] is not None
            write_predictions(
                journal.answers,
                out,
                top=about["top"],
                nodes=nodes,
                unknown=unknown,
                attributes=attributes,
            )
        journal.remove()
    if failed.count:
        assert copies is not None
        raise WriteError(
            f"{counted(failed.count, 'image')} could not be copied",
            where=str(copies.folder),
            details=failed.shown,
            fix="run the same command again when that is settled; copies that are there stay",
        )


@dataclass
class _Failures:
    """Images that could not be copied: how many, and why the first could not."""

    count: int = 0
    shown: list[str] = field(default_factory=list)

    def add(self, why: str) -> None:
        self.count += 1
        if self.count <= SHOWN_DETAILS:
            self.shown.append(why)


@contextmanager
def _journal(
    about: dict[str, Any], out: Path | None, copies: SortedCopies | None
) -> Iterator[AnswerJournal]:
    """Have this process alone write the results, and open what an interrupted one recorded."""
    with ExitStack() as stack:
        if out is not None:
            stack.enter_context(only_writer_of_file(out))
        if copies is not None:
            stack.enter_context(only_writer_of_folder(copies.folder))
        if copies is None:
            assert out is not None
            journal = AnswerJournal(out, out.parent, about)
        else:
            # Among the copies: whoever removes them begins anew.
            journal = AnswerJournal(copies.folder, copies.folder, about | {"out": str(out)})
        yield stack.enter_context(journal)


def _why_not_copied(prediction: Prediction, error: ShopsightError | OSError) -> str:
    if isinstance(error, ShopsightError):
        return f"{error.where}: {error.what}"
    return f"{prediction.source}: {error.strerror or error}"
