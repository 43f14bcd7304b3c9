"""Explain: where a model looked in each image, and which training photos it takes it for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image

from shopsight import paths, progress
from shopsight.backbones.presets import PRESETS
from shopsight.commands.predict import open_predictor
from shopsight.datasets.result_places import refuse_output_over_data
from shopsight.embeddings.store import EmbeddingFolder
from shopsight.errors import ConfigError, ShopsightError, WriteError
from shopsight.explanations.explain_journal import DoneImage, ExplainJournal
from shopsight.explanations.explained_image import ImageExplanation, PhotoAndMap, explain_one
from shopsight.explanations.explanations_page import page_images, shown, write_explanations_page
from shopsight.explanations.explanations_table import write_explanation_table
from shopsight.explanations.training_photos import (
    TrainingPhotos,
    open_training_photos,
    own_run,
)
from shopsight.extras import is_installed
from shopsight.files import atomic_file
from shopsight.inference.answer_journal import about_model, image_stamp
from shopsight.inference.explain import MethodChoice, check_label
from shopsight.inference.exported_engines import EngineChoice
from shopsight.inference.image_stream import (
    ImageInputs,
    NamedImage,
    open_images,
    with_used_boxes,
)
from shopsight.inference.predictor import Predictor
from shopsight.output_locks import only_writer_of_folder
from shopsight.output_paths import check_output_path
from shopsight.read_options import ReadOptions
from shopsight.runs.run_access import RunAccess, use_run_access
from shopsight.safe_names import LONGEST_BYTES, safe_name
from shopsight.search.index_folder import IndexFolder
from shopsight.text import counted

PAGE_FILE, TABLE_FILE = "explanations.html", "explanations.csv"
MOST_IMAGES = 100
"""Images that are explained where no other number is asked for: a page of more is slow to open."""
JPEG_QUALITY = 88


@dataclass(frozen=True, eq=False)
class ExplainResult:
    """What was explained.

    Attributes:
        images: in their order; those that could not be read have an error.
        page: explanations.html.
        table: explanations.csv.
        notes: what was left out, a line each.
    """

    images: tuple[ImageExplanation, ...]
    page: Path
    table: Path
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[ImageExplanation, ...]:
        """The images that could not be read."""
        return tuple(one for one in self.images if one.error is not None)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "images": [one.to_json() for one in self.images],
            "page": str(self.page),
            "table": str(self.table),
            "notes": list(self.notes),
        }


def explain(
    model: str | Path | Predictor,
    images: ImageInputs,
    *,
    out: str | Path,
    label: str | None = None,
    method: MethodChoice = "auto",
    train: str | Path | None = None,
    most: int = MOST_IMAGES,
    read: ReadOptions | None = None,
    device: str = "auto",
    engine: EngineChoice = "auto",
) -> ExplainResult:
    """Show where a model looked in images, and the training photos that are most like them.

    Each image gets a file OUT/NUMBER-NAME.jpg, the map over the upright photo. The page
    OUT/explanations.html has all of them, and OUT/explanations.csv a row for each. When the command
    is interrupted, the maps that were made stay, and the same command continues after them.

    Args:
        model: a run folder, a bundle, or one that `load` opened.
        images: as `predict` takes them; a folder stands for all images in it.
        out: the folder for the results; not within a folder of images.
        label: what is explained in every image; None: each image's most probable label.
        method: "cam" is the exact class-activation map of a network that pools its features and has
            a linear head, "occlusion" covers parts and works with any; "auto" takes the exact one
            where there is one.
        train: what nearest photos are looked for in: a run, embeddings or an index. None: the run
            that the model lies in, where there is one.
        most: explain so many images, the first ones.
        read: how DATA is read; None guesses everything.
        device: of a model that is not open yet, see `shopsight.devices`.
        engine: likewise, what runs it; "auto" is torch where it is installed, which has exact maps.

    Raises:
        BundleError: the model cannot be opened.
        CatalogError: DATA cannot be read, or there is no image at all.
        ConfigError: the model has no labels, or not this one; or no exact map where one is asked
            for; or `train` is none of the three.
        EmbeddingError: `train` holds embeddings of another space.
        LockedError: another process writes `out`.
        WriteError: `out` lies in a folder of images, or cannot be written.
    """
    folder = Path(out)
    check_output_path(folder, reserve=LONGEST_BYTES + 16)
    _refuse_among_images(images, folder)
    refuse_output_over_data(images, folder / TABLE_FILE)
    predictor = model if isinstance(model, Predictor) else _opened(model, device, engine)
    if label is not None:
        check_label(predictor, label)
    opened = with_used_boxes(open_images(images, read), used=predictor.preprocess.boxes)
    first, notes = _first(opened, most)
    with ExitStack() as stack:
        stack.enter_context(use_run_access(RunAccess.by_flags(read)))
        stack.enter_context(only_writer_of_folder(folder))
        own = None if isinstance(model, Predictor) else own_run(model)
        training, note = _training(stack, train, own, predictor, read)
        notes += note
        about = _about(predictor, label, method, training)
        journal = stack.enter_context(ExplainJournal(folder, about))
        made = _explained(predictor, first, folder, label, method, training, journal)
        trained = "" if training is None else training.about
        result = _written(made, folder, predictor, notes, trained)
        journal.remove()
        return result


def _opened(model: str | Path, device: str, engine: EngineChoice) -> Predictor:
    """Open the model; what has no labels is named as what it is.

    Raises:
        ConfigError: it is a backbone, embeddings or an index.
        BundleError: it cannot be opened.
    """
    name, what = str(model), ""
    if not paths.exists(name) and (":" in name or name in PRESETS):
        what = "is a backbone by name"
    elif IndexFolder(name).exists():
        what = "is an index"
    elif EmbeddingFolder(name).exists():
        what = "is a folder of embeddings"
    if what:
        raise ConfigError(
            f"{what}: it has no labels, so there is no answer to explain",
            where=name,
            fix="shopsight train DATA --out RUN   (then shopsight explain RUN ...)",
        )
    if engine == "auto" and is_installed("torch"):
        engine = "torch"
    return open_predictor(model, device, engine=engine)


def _refuse_among_images(images: ImageInputs, out: Path) -> None:
    """Refuse results in a folder whose images are explained: the next time they would be too."""
    given = images if isinstance(images, list | tuple) else [images]
    for one in given:
        if not isinstance(one, str | Path) or not paths.is_folder(one):
            continue
        if out.absolute().is_relative_to(Path(one).absolute()):
            raise WriteError(
                "lies in the folder of the images: the maps in it would be explained the next time",
                where=str(out),
                fix="give another folder, such as runs/explained",
            )


def _first(opened: Iterator[NamedImage], most: int) -> tuple[list[NamedImage], list[str]]:
    """The first images, and a line where there are more."""
    first = list(islice(opened, most))
    if next(opened, None) is None:
        return first, []
    line = f"explained: the first {counted(most, 'image')}; there are more: --most N"
    progress.notify(line)
    return first, [line]


def _training(
    stack: ExitStack,
    train: str | Path | None,
    own: Path | None,
    predictor: Predictor,
    read: ReadOptions | None,
) -> tuple[TrainingPhotos | None, list[str]]:
    """What images are compared with; nobody has asked for the model's own run, so it may fail."""
    outside = read is not None and bool(read.allow_outside)
    if train is not None:
        opened = open_training_photos(train, predictor, allow_outside=outside)
        return stack.enter_context(opened), []
    if own is None:
        return None, []
    try:
        return stack.enter_context(open_training_photos(own, predictor)), []
    except ShopsightError as error:
        line = f"no nearest training photos: {error}"
        progress.notify(line)
        return None, [line]


def _explained(
    predictor: Predictor,
    images: Sequence[NamedImage],
    folder: Path,
    label: str | None,
    method: MethodChoice,
    training: TrainingPhotos | None,
    journal: ExplainJournal,
) -> list[DoneImage]:
    """Explain the images, and write the map of each."""
    made = list[DoneImage]()
    with progress.task("Explaining", len(images), "images") as advance:
        for number, one in enumerate(images, start=1):
            name = _overlay_name(number, one.source)
            done = journal.find(one, name)
            if done is None:
                # Before it is read: one that changes while it is read is another one next time.
                stamp = image_stamp(one)
                done = _explain(predictor, one, folder, label, method, training, name)
                journal.add(one, stamp, done)
            made.append(done)
            advance(1)
    return made


def _explain(
    predictor: Predictor,
    one: NamedImage,
    folder: Path,
    label: str | None,
    method: MethodChoice,
    training: TrainingPhotos | None,
    overlay_name: str,
) -> DoneImage:
    explanation, pair = explain_one(
        predictor,
        one,
        label=label,
        method=method,
        training=training,
        overlay_name=overlay_name,
    )
    if pair is None:
        return DoneImage(explanation)
    _write_overlay(folder / explanation.overlay, pair)
    return DoneImage(explanation, *page_images(pair))


def _about(
    predictor: Predictor, label: str | None, method: MethodChoice, training: TrainingPhotos | None
) -> dict[str, Any]:
    """What explanations depend on: those of an interrupted command are kept where it is equal."""
    return {
        **about_model(predictor),
        "label": label,
        "method": method,
        "training": None if training is None else training.about,
    }


def _overlay_name(number: int, source: str) -> str:
    """A name of its own that every file system takes, whatever the image is called."""
    return safe_name(f"{number:04d}-{PurePosixPath(paths.name_of(source)).stem}.jpg")


def _write_overlay(path: Path, pair: PhotoAndMap) -> None:
    with atomic_file(path) as part:
        Image.fromarray(pair.overlay).save(part, "JPEG", quality=JPEG_QUALITY)


def _written(
    made: Sequence[DoneImage],
    folder: Path,
    predictor: Predictor,
    notes: Sequence[str],
    training: str,
) -> ExplainResult:
    explanations = tuple(one.explanation for one in made)
    table = folder / TABLE_FILE
    write_explanation_table(table, explanations)
    page = write_explanations_page(
        folder / PAGE_FILE,
        [shown(one.explanation, one.photo, one.overlay) for one in made if one.photo],
        explanations,
        info=predictor.info,
        notes=notes,
        training=training,
    )
    return ExplainResult(explanations, page, table, tuple(notes))
