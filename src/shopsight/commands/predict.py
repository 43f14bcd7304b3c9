"""Predict: label images with a bundle, while they stream."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from shopsight import progress
from shopsight.datasets.open import refuse_output_over_data
from shopsight.errors import SHOWN_DETAILS, ShopsightError, WriteError
from shopsight.inference.image_stream import ImageInputs, NamedImage, open_images
from shopsight.inference.load import load
from shopsight.inference.predictor import Prediction, Predictor
from shopsight.inference.sorted_copies import SortedCopies
from shopsight.inference.writers import check_suffix, recorded
from shopsight.output_paths import check_output_path
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
    batch_size: int | None = None,
    out: str | Path | None = None,
    sort_into: str | Path | None = None,
    on_error: Literal["report", "raise"] = "report",
    device: str = "auto",
) -> Iterator[Prediction]:
    """Label images, folders, tables, bytes, PIL images or arrays, while they stream.

    Order is kept. The model is opened at once, and so are tables; images are read, and `out` and
    `sort_into` written, as the predictions are taken from the iterator.

    Args:
        model: a run folder, a bundle, or one that `load` opened.
        images: one image or many. A folder stands for all images in it; a table, a list or the
            name of a data set for its rows, each with its box where it has one, labeled or not.
        read: how DATA is read, as for the other verbs; None guesses everything.
        top: how many labels to give, at most as many as the model has.
        batch_size: images that the network sees at once; None: as many as fill the device.
        out: a .csv, .parquet or .jsonl file for the predictions, which appears at the end.
        sort_into: a folder; each image is copied into its sub-folder LABEL/, named so that every
            file system takes it and no two labels share one.
        on_error: "report" gives an image that cannot be read as a `Prediction` with an `error`.
        device: of a model that is not open yet: its name, see `shopsight.devices`.

    Raises:
        BundleError: the model cannot be opened.
        CatalogError: DATA cannot be read, there is no image at all, or an option of `read` would
            change nothing.
        ImageError: an image cannot be read and `on_error` is "raise".
        ShopsightError: `out` has another suffix.
        WriteError: `out` is what is read, or cannot be written; or images could not be copied; all
            others were.
    """
    if out is not None:
        check_output_path(check_suffix(out))
        refuse_output_over_data(images, out)
    predictor = _open(model, device) if isinstance(model, str | Path) else model
    top = min(top, len(predictor.labels))
    opened = open_images(images, read)
    folder_names = unique_names(predictor.labels)
    if sort_into is not None:
        longest = max(map(len, folder_names.values())) + LONGEST_IMAGE_NAME + 2
        check_output_path(Path(sort_into), reserve=longest)
        opened = _without_copies(opened, images, sort_into)
    copies = None if sort_into is None else SortedCopies(sort_into, folder_names)
    predictions = predictor.predict(opened, top=top, batch_size=batch_size, on_error=on_error)
    return _written(predictions, top=top, out=out, copies=copies)


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


def _open(model: str | Path, device: str) -> Predictor:
    from shopsight.devices import unused_gpu_note

    note = unused_gpu_note(device)
    if note is not None:
        progress.notify(note)
    return load(model, device=device)


def _written(
    predictions: Iterator[Prediction],
    *,
    top: int,
    out: str | Path | None,
    copies: SortedCopies | None,
) -> Iterator[Prediction]:
    """Hand the predictions on, each after it was recorded and its image copied."""
    failed, shown = 0, list[str]()
    with ExitStack() as stack:
        record = None if out is None else stack.enter_context(recorded(out, top=top))
        for prediction in predictions:
            if record is not None:
                record(prediction)
            if copies is not None:
                try:
                    copies.add(prediction)
                except (ShopsightError, OSError) as error:
                    # One image must not cost the predictions of all others.
                    failed += 1
                    shown += [_why_not_copied(prediction, error)][: SHOWN_DETAILS - len(shown)]
            yield prediction
    if failed:
        raise WriteError(
            f"{counted(failed, 'image')} could not be copied",
            where=str(copies and copies.folder),
            details=shown,
            fix="run the same command again when that is settled; copies that are there stay",
        )


def _why_not_copied(prediction: Prediction, error: ShopsightError | OSError) -> str:
    if isinstance(error, ShopsightError):
        return f"{error.where}: {error.what}"
    return f"{prediction.source}: {error.strerror or error}"
