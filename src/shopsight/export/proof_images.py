"""The images that an export is proven and calibrated on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from shopsight import progress
from shopsight.bundle.format import Bundle
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.used_boxes import with_used_boxes
from shopsight.datasets.open import open_catalog
from shopsight.errors import ExportError
from shopsight.export.parity import Proof, run_all
from shopsight.images.decode import read_bytes
from shopsight.images.model_input import preprocess_image
from shopsight.inference.engine import Engine, Images
from shopsight.inference.predictor import readout_of
from shopsight.io.access import Access
from shopsight.loading.pixel_sources import ImageSet
from shopsight.metrics.families import Families
from shopsight.prefetch import core_count, prefetch
from shopsight.preprocess import Preprocess
from shopsight.read_options import ReadOptions
from shopsight.runs.discover import run_of
from shopsight.runs.run_folder import RunFolder

MOST_PROVEN = 2_000
"""Images: what 2,000 do not show takes some ten thousand."""
MOST_CALIBRATING = 300
FEWEST_CALIBRATING = 16
_SEED = 0


@dataclass(frozen=True, eq=False)
class Source:
    """Images to choose from.

    Attributes:
        refs: paths or addresses.
        labels: of each image; None where it is not known.
        families: which of them vary together.
        access: which hosts may be asked for them.
        name: for people.
        boxes: the parts of them that the network sees; None where it sees whole images.
    """

    refs: list[str]
    labels: list[str | None]
    families: Families
    access: Access
    name: str
    boxes: Float64[np.ndarray, "n 4"] | None = None

    def sample(self, most: int) -> Source:
        """At most so many of them, always the same."""
        if len(self.refs) <= most:
            return self
        rows = np.sort(np.random.default_rng(_SEED).permutation(len(self.refs))[:most])
        return Source(
            [self.refs[row] for row in rows],
            [self.labels[row] for row in rows],
            self.families.take(rows),
            self.access,
            self.name,
            None if self.boxes is None else self.boxes[rows],
        )


@dataclass(frozen=True, eq=False)
class Sources:
    """What an export is proven on, and what ranges of eight bits are measured on.

    Attributes:
        proving: not learned from, where there are such images.
        calibrating: learned from.
    """

    proving: Source
    calibrating: Source


def find_sources(
    bundle: Bundle, data: str | Path | None, read: ReadOptions | None
) -> Sources | None:
    """The images of the bundle's run, or those of DATA; None where there is neither.

    Of a run, the validation images prove (the test images when there are no others) and training
    images calibrate. What chooses a file must not be what scores it: test images decide nothing
    where there are validation images.

    Args:
        bundle: that is exported.
        data: whatever `open_catalog` reads; every second image proves, the others calibrate.
        read: how DATA is read.

    Raises:
        CatalogError: DATA cannot be read.
        ExportError: it has fewer than two images.
    """
    if data is not None:
        catalog = with_used_boxes(open_catalog(data, read), used=bundle.info.preprocess.boxes)
        if len(catalog) < 2:
            raise ExportError("one image proves nothing", where=str(data), fix="--data FOLDER")
        rows = np.random.default_rng(_SEED).permutation(len(catalog))
        halves = np.sort(rows[::2]), np.sort(rows[1::2])
        proving, calibrating = (_of_catalog(catalog.take(half), str(data)) for half in halves)
        return Sources(proving, calibrating)
    run = run_of(bundle.folder)
    return None if run is None else _of_run(run)


def _of_run(run: RunFolder) -> Sources | None:
    audited = run.audited_catalog()
    catalog, families = audited.catalog, audited.families()
    if "split" not in catalog.table.columns:
        return None
    splits = catalog.table["split"].to_numpy()

    def part(name: str) -> Source | None:
        rows = np.flatnonzero(splits == name)
        if not len(rows):
            return None
        some = _of_catalog(catalog.take(rows), f"{name} images of {catalog.name}")
        return replace(some, families=families.take(rows))

    train = part("train")
    proving = part("val") or part("test") or train
    return None if proving is None else Sources(proving, train or proving)


def _of_catalog(catalog: Catalog, name: str) -> Source:
    known = catalog.has("label") and not catalog.multilabel
    labels = catalog.table["label"].to_list() if known else [None] * len(catalog)
    families = (
        Families.by(catalog.table["group"].fill_null("").to_numpy())
        if catalog.has("group") and not catalog.table["group"].null_count()
        else Families.alone(len(catalog))
    )
    return Source(catalog.refs(), labels, families, catalog.access, name, catalog.boxes())


def prove_with(bundle: Bundle, exact: Engine, source: Source | None) -> Proof:
    """Prepare the images that an export is proven on, and run torch on them.

    Args:
        bundle: that is exported.
        exact: torch in fp32.
        source: the images; None: the bundle's golden ones.

    Raises:
        ImageError: a file cannot be decoded.
    """
    info = bundle.info
    if source is None:
        pixels = np.stack(
            [
                preprocess_image(data, info.preprocess.of_whole_images, where=f"golden {number}")
                for number, data in enumerate(bundle.golden.images)
            ]
        )
        families, targets = Families.alone(len(pixels)), None
        name = "the bundle's golden images"
    else:
        some = source.sample(MOST_PROVEN)
        pixels, _ = prepared(some, info.preprocess, "Preparing images")
        families, name = some.families, some.name
        targets = None if info.multilabel else _targets(some.labels, info.labels)
    return Proof(
        pixels=pixels,
        exact=run_all(exact, pixels),
        readout=readout_of(info),
        source=name,
        targets=targets,
        families=families,
    )


def prepared(source: Source, preprocess: Preprocess, title: str) -> tuple[Images, tuple[str, ...]]:
    """The squares of images, and the SHA-256 of each file.

    Raises:
        ImageError: a file cannot be decoded.
    """
    images = ImageSet(source.refs, source.boxes, preprocess, source.access)

    def make(row: int) -> tuple[Images, str]:
        ref = source.refs[row]
        data = read_bytes(ref, source.access)
        square = preprocess_image(data, preprocess, box=images.box(row), where=ref)
        return square, sha256(data).hexdigest()

    squares, shas = [], []
    with progress.task(title, total=len(source.refs)) as advance:
        for square, sha in prefetch(make, range(len(source.refs)), threads=core_count()):
            squares.append(square)
            shas.append(sha)
            advance(1)
    return np.stack(squares), tuple(shas)


def _targets(labels: list[str | None], known: tuple[str, ...]) -> Int64[np.ndarray, "n"]:
    index = {label: at for at, label in enumerate(known)}
    return np.array([-1 if one is None else index.get(one, -1) for one in labels], np.int64)
