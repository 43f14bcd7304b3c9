"""Mislabels: the labels of a run, the most suspicious first."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from shopsight.commands.early_checks import check_finished_run
from shopsight.datasets.result_places import refuse_output_among_images
from shopsight.errors import ConfigError
from shopsight.evaluation.run_images import check_run_images
from shopsight.mislabels.confused import ConfusedPair, confused_pairs
from shopsight.mislabels.label_judge import open_label_judge
from shopsight.mislabels.mislabel_table import mislabel_table, write_mislabel_table
from shopsight.mislabels.planted import DEPTHS, Found, plant_mistakes
from shopsight.mislabels.ranking import rank_labels
from shopsight.output_paths import check_output_path
from shopsight.read_options import ReadOptions
from shopsight.runs.run_access import RunAccess, use_run_access
from shopsight.runs.run_folder import RunFolder
from shopsight.text import counted

SHOWN_DEPTH = 0.1
OPTIMISTIC = (
    "the run's backbone was trained on the labels of its training images (judged: seen): "
    "of wrong labels among them fewer are found than is said here"
)
FIXED = (
    "the answers do not learn from the planted mistakes, as they have learned from real ones: "
    "what is found is a little optimistic"
)
FEW = "too few labels to measure how many of the wrong ones are found"


@dataclass(frozen=True, eq=False)
class MislabelsResult:
    """What was found.

    Attributes:
        table: a row for each image, see `shopsight.mislabels.mislabel_table`.
        found: how soon planted mistakes are found, by kind; empty where labels are too few.
        pairs: classes that the labels confuse.
        notes: what weakens the figures.
        out: the CSV.
    """

    table: pl.DataFrame
    found: tuple[Found, ...]
    pairs: tuple[ConfusedPair, ...]
    notes: tuple[str, ...]
    out: Path

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "images": self.table.height,
            "out": str(self.out),
            "planted": [one.to_json() for one in self.found],
            "confused": [pair.to_json() for pair in self.pairs],
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """What people are to know, a line each."""
        place = DEPTHS.index(SHOWN_DEPTH)
        first = counted(round(SHOWN_DEPTH * self.table.height), "image")
        lines = []
        for one in self.found:
            found = one.at[place]
            ends = f" [{100 * found.low:.0f}, {100 * found.high:.0f}]" if found.is_known else ""
            lines.append(
                f"the first {first} hold {100 * found.value:.0f} %{ends} of wrong labels, where "
                f"they are {_KINDS[one.kind]} (measured on {counted(len(one.depths), 'label')} "
                "replaced on purpose)"
            )
        if self.found:
            most = max(one.most_wrong for one in self.found)
            lines.append(f"at most {100 * most:.1f} % of the labels are wrong in such ways")
        if self.pairs:
            lines.append("classes that the labels confuse:")
            lines += [f"  {pair.line()}" for pair in self.pairs]
        return lines + [f"note: {note}" for note in self.notes]


_KINDS = {"any": "any other class", "look-alike": "the most similar class"}


def mislabels(
    run: str | Path,
    *,
    out: str | Path,
    accept: Collection[str] = (),
    device: str = "auto",
) -> MislabelsResult:
    """Rank the labels that a run was made with, the most suspicious first.

    Each image is judged by heads that were fitted without it and its family, and by its nearest
    images of other families. How many of the wrong labels are found how soon is measured on labels
    that are replaced on purpose.

    Args:
        run: a finished run.
        out: the CSV to write.
        accept: "changed-file" goes on although images of the run changed since the training.
        device: see `shopsight.devices`.

    Raises:
        ConfigError: there is no finished run, its images have several labels each, or `out` is no
            CSV.
        CatalogError: its images have no labels.
        ChangedFilesError: images of the run changed.
    """
    path = Path(out)
    if path.suffix.lower() != ".csv":
        raise ConfigError("is no name of a CSV file", where=str(out), fix="--out mislabels.csv")
    check_finished_run(run)
    check_output_path(path)
    folder = RunFolder(Path(run))
    with use_run_access(RunAccess.by_flags(ReadOptions())):
        check_run_images(folder, command=["shopsight", "mislabels", run], accept=accept)
        judge = open_label_judge(folder, device=device)
        refuse_output_among_images(judge.catalog, path)
        ranking = rank_labels(judge, judge.given)
        found = plant_mistakes(judge, ranking, seed=folder.recipe().seed)
        table = mislabel_table(judge, ranking, found)
    write_mislabel_table(path, table)
    notes = [OPTIMISTIC] if judge.is_optimistic else []
    notes += [] if found else [FEW]
    notes += [FIXED] if found and not judge.learns else []
    pairs = tuple(confused_pairs(judge, ranking))
    return MislabelsResult(table, found, pairs, tuple(notes), path)
