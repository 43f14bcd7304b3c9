"""A small student taught by a larger network, and the same student alone.

    python bench/distill_figures.py --clothing FOLDER [--seeds 0] [--epochs 12] [--most 0]
    python bench/distill_figures.py --fashion [--seeds 0] [--epochs 6]

Both students begin with random weights and see the same images for as many epochs; the test images
are the same. Clothing: the teacher is a probe of the embedded default, and the test images are of
other contributors. Fashion-MNIST: a residual net of .48 M parameters, trained on the same images
for --teacher-epochs, teaches the published .14 M. Appends to --results as JSON lines.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalogs import UNSURE, clothing, sample

from shopsight import api
from shopsight.bundle.read import read_info
from shopsight.catalog.catalog import Catalog
from shopsight.commands.compare import compare
from shopsight.datasets.open import open_catalog


@dataclass(frozen=True)
class Lesson:
    """A catalog, and who teaches whom; each with its recipe."""

    catalog: Catalog
    teacher: tuple[str, ...]
    teacher_recipe: str
    student: tuple[str, ...]
    student_recipe: str
    taught: tuple[str, ...]


def clothing_lesson(root: str, most: int) -> Lesson:
    catalog = clothing(root, drop=UNSURE)
    return Lesson(
        sample(catalog, most or len(catalog)),
        ("training.mode=probe", "preprocess.size_px=128"),
        "balanced",
        (
            "model.backbone=timm:mobilenetv3_small_050",
            "training.mode=scratch",
            "preprocess.size_px=96",
            "optimizer.lr=2e-3",
            "training.checkpoint=last",
        ),
        "balanced",
        ("distill.views=2", "distill.embedding_weight=5", "distill.hard_weight=0.5"),
    )


def fashion_lesson(epochs_of_teacher: int) -> Lesson:
    return Lesson(
        open_catalog("fashion-mnist"),
        (f"training.epochs={epochs_of_teacher}",),
        "fashion-mnist-net",
        ("training.checkpoint=last",),
        "fashion-mnist-fast",
        ("distill.views=2", "distill.embedding_weight=1", "distill.hard_weight=0.5"),
    )


def taught_and_alone(lesson: Lesson, folder: Path, seed: int, epochs: int) -> dict[str, Any]:
    """Train the teacher and both students; what the test images say."""
    common = {"seed": seed, "exclude": api.FIXABLE_KINDS}
    teacher, alone, taught = (folder / name for name in ("teacher", "alone", "taught"))
    api.train(
        lesson.catalog,
        out=teacher,
        recipe=lesson.teacher_recipe,
        settings=lesson.teacher,
        **common,
    )
    for out, more in ((alone, ()), (taught, (*lesson.taught, f"distill.teacher={teacher}"))):
        api.train(
            lesson.catalog,
            out=out,
            recipe=lesson.student_recipe,
            settings=[*lesson.student, *more],
            epochs=epochs,
            **common,
        )
    found = compare([taught, alone, teacher], measure=False)
    both = compare([taught, alone], measure=False)
    (into,) = read_info(taught / "model").embeds_into
    return {
        "images": len(lesson.catalog),
        "epochs": epochs,
        "recall_in_gallery": into.recall,
        "gallery_queries": into.num_queries,
        "test_images": found.images,
        "accuracy": {one.name: one.score.to_json() for one in found.entries},
        "best_student": both.entries[0].name,
        "other_less_best": (both.entries[1].difference or both.entries[1].score).to_json(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clothing")
    parser.add_argument("--fashion", action="store_true")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--epochs", type=int, default=12, help="of the students")
    parser.add_argument("--teacher-epochs", type=int, default=9, help="of Fashion-MNIST's")
    parser.add_argument("--most", type=int, default=0, help="photos of clothing; 0: all")
    parser.add_argument("--results", type=Path, default=Path("bench/results/distill.jsonl"))
    options = parser.parse_args()
    lessons = {}
    if options.clothing:
        lessons["clothing"] = clothing_lesson(options.clothing, options.most)
    if options.fashion:
        lessons["fashion-mnist"] = fashion_lesson(options.teacher_epochs)
    for name, lesson in lessons.items():
        for seed in map(int, options.seeds.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                figures = taught_and_alone(lesson, Path(folder), seed, options.epochs)
            row = {"data": name, "seed": seed, **figures}
            print(json.dumps(row), flush=True)
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
