"""Where the model looked in the images that a report shows.

Only exact maps are made: those of a few dozen images cost one pass of the network. Covering parts
takes fifty, which nobody waits for at the end of a training; the page then says how to get them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from shopsight.catalog.catalog import Catalog
from shopsight.errors import ImageError, ShopsightError
from shopsight.images.decode import header, read_bytes
from shopsight.images.heat_overlay import heat_layer
from shopsight.images.model_input import Crop, box_at, crop_of_box, preprocess_image
from shopsight.images.undo_preprocess import place_in_square, undone
from shopsight.inference.class_activation import ClassActivationEngine
from shopsight.inference.deletion import TOP, heat_in_square, top_share
from shopsight.inference.load import load
from shopsight.inference.predictor import Predictor
from shopsight.pages import layer_image, percent_text
from shopsight.runs.run_folder import RunFolder

MAP_PX = 64
"""Of a map's longer side: the network's cells are coarser, and the browser enlarges it smoothly."""
BATCH = 8
COVERING_NOTE = (
    "Where the model looked is not shown: this network has no exact map, and covering parts one "
    "after another is too slow for a report. Of single images: "
    "shopsight explain MODEL IMAGE --out FOLDER"
)
_ROWS, _COLUMNS = ("top", "middle", "bottom"), ("left", "center", "right")


@dataclass(frozen=True)
class Network:
    """Who answered some rows of a catalog.

    Attributes:
        load: opens it.
        rows: those that it answered; None: all.
    """

    load: Callable[[], Predictor]
    rows: frozenset[int] | None = None


@dataclass(frozen=True)
class ExampleMap:
    """Where the model looked in one image.

    Attributes:
        image: data URI of a transparent layer of the photo's shape.
        words: what it shows.
    """

    image: str
    words: str


@dataclass(frozen=True, eq=False)
class ExampleMaps:
    """The maps of some images.

    Attributes:
        of_row: by the catalog's row; images that cannot be read now have none.
        note: why there are none; empty where there are.
    """

    of_row: Mapping[int, ExampleMap]
    note: str = ""


NO_MAPS = ExampleMaps({})


@dataclass(frozen=True, eq=False)
class _Shown:
    """An image before the network."""

    row: int
    label: str | None
    square: UInt8[np.ndarray, "s s 3"]
    crop: Crop


def networks_of_run(run: RunFolder, *, device: str = "auto") -> tuple[Network, ...]:
    """The network of a run, or of a K-fold run those of its folds, each for what it never saw.

    Args:
        run: a finished run.
        device: see `shopsight.devices`.
    """

    def opens(one: RunFolder) -> Callable[[], Predictor]:
        # Whoever scored these images has just verified the bundle.
        return partial(load, one.path, device=device, engine="torch", verify=False)

    if not run.is_folds_run():
        return (Network(opens(run)),)
    fold_of = run.catalog().table["fold"].to_numpy()
    return tuple(
        Network(opens(fold), frozenset(np.flatnonzero(fold_of == number).tolist()))
        for number, fold in enumerate(run.folds())
    )


def map_examples(
    labels: Mapping[int, str | None], catalog: Catalog, networks: Sequence[Network]
) -> ExampleMaps:
    """Look where the networks looked.

    Args:
        labels: of each row the label that is explained; None: the most probable one.
        catalog: the images.
        networks: that answered them.

    Returns:
        No maps, and why, where a network has no exact ones or cannot be opened.
    """
    found: dict[int, ExampleMap] = {}
    try:
        for network in networks:
            rows = [row for row in labels if network.rows is None or row in network.rows]
            if rows:
                predictor = network.load()
                found |= _maps_of(predictor, catalog, {row: labels[row] for row in rows})
    except _NoExactMapError:
        return ExampleMaps({}, COVERING_NOTE)
    except ShopsightError as error:
        return ExampleMaps({}, f"Where the model looked is not shown: {error.what}.")
    return ExampleMaps(found)


class _NoExactMapError(Exception):
    """The logits are no linear function of the mean over a feature map."""


def _maps_of(
    predictor: Predictor, catalog: Catalog, labels: Mapping[int, str | None]
) -> dict[int, ExampleMap]:
    engine = predictor.engine
    if not isinstance(engine, ClassActivationEngine):
        raise _NoExactMapError
    found: dict[int, ExampleMap] = {}
    shown = list(_readable(predictor, catalog, labels))
    for first in range(0, len(shown), BATCH):
        some = shown[first : first + BATCH]
        squares = np.stack([one.square for one in some])
        numbers = _numbers(predictor, some, squares)
        maps = engine.class_activation(squares, numbers)
        if maps is None:
            raise _NoExactMapError
        for one, number, cells in zip(some, numbers.tolist(), maps, strict=True):
            found[one.row] = _example_map(predictor, one, predictor.labels[number], cells)
    return found


def _readable(
    predictor: Predictor, catalog: Catalog, labels: Mapping[int, str | None]
) -> Iterator[_Shown]:
    part = catalog.take(list(labels))
    boxes = part.boxes()
    for place, (row, label) in enumerate(labels.items()):
        box = box_at(boxes, place)
        try:
            data = read_bytes(part.refs()[place], part.access)
            square = preprocess_image(data, predictor.preprocess, box=box)
            known = header(data)
            yield _Shown(row, label, square, crop_of_box(box, known.width, known.height, None))
        except ImageError:
            continue


def _numbers(
    predictor: Predictor, some: Sequence[_Shown], squares: UInt8[np.ndarray, "b s s 3"]
) -> Int64[np.ndarray, "b"]:
    """The labels that are explained, by their numbers."""
    numbers = [-1 if one.label is None else predictor.labels.index(one.label) for one in some]
    found = np.array(numbers, np.int64)
    if (found < 0).any():
        found = np.where(found < 0, predictor.predict_batch(squares)[1].argmax(axis=1), found)
    return found


def _example_map(
    predictor: Predictor, one: _Shown, label: str, cells: Float32[np.ndarray, "r c"]
) -> ExampleMap:
    """The map over what the page shows of the image: its box, where it has one."""
    preprocess, (width, height) = predictor.preprocess, (one.crop.w, one.crop.h)
    scale = MAP_PX / max(width, height)
    shape = max(1, round(scale * height)), max(1, round(scale * width))
    heat = undone(cells, width, height, preprocess, shape=shape)
    place = place_in_square(width, height, preprocess)
    share = top_share(heat_in_square(cells, place, preprocess.size_px))
    return ExampleMap(layer_image(heat_layer(heat)), _words(label, heat, share))


def _words(label: str, heat: Float32[np.ndarray, "h w"], share: float | None) -> str:
    """What a map shows, for those who do not see it."""
    if share is None:
        return f"No place of the photo speaks for {label}."
    row, column = divmod(int(np.nanargmax(heat)), heat.shape[1])
    places = _ROWS[3 * row // heat.shape[0]], _COLUMNS[3 * column // heat.shape[1]]
    place = "center" if places == ("middle", "center") else " ".join(places)
    return (
        f"What speaks for {label} is strongest at the {place}: {percent_text(TOP, 0)} of the photo "
        f"hold {percent_text(share, 0)} of it."
    )
