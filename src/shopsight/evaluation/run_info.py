"""What a run folder says about itself, read for its report.

A run that was stopped has no bundle and no epochs, a fold no audit of its own: the report then
goes without.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from shopsight.audit.audit import FINDINGS_FILE
from shopsight.audit.findings import SEVERITIES
from shopsight.bundle.format import INFO_FILE, BundleInfo
from shopsight.bundle.read import read_info
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.split_report import SplitReport, check_leakage
from shopsight.config.recipe import Recipe
from shopsight.files import damage_named
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.runs.history import EpochRow, mean_history, read_history
from shopsight.runs.run_folder import RunFolder


@dataclass(frozen=True)
class FindingCount:
    """How often the audit found one kind of fault."""

    kind: str
    severity: str
    count: int


@dataclass(frozen=True, eq=False)
class RunFacts:
    """Everything a report says about a run beside its scores.

    Attributes:
        name: of the run folder, or of other data that was evaluated.
        catalog: the images, with their split.
        recipe: None where there is no run.
        recipe_text: the recipe as TOML.
        info: the bundle's; None where there is no bundle.
        history: one row per epoch; of a K-fold run the means over its trainings.
        trainings: the number of trainings that `history` is about.
        findings: of the audit, most serious first; None where there was no audit.
        left_out: columns image and reason, a row per file that training left out.
        split_report: what the parts of the split share, counted from the catalog now.
        state: the content of `run.json`.
    """

    name: str
    catalog: Catalog
    recipe: Recipe | None = None
    recipe_text: str = ""
    info: BundleInfo | None = None
    history: tuple[EpochRow, ...] = ()
    trainings: int = 1
    findings: tuple[FindingCount, ...] | None = None
    left_out: pl.DataFrame = field(default_factory=pl.DataFrame)
    split_report: SplitReport | None = None
    state: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> dict[str, float]:
        """Wall seconds of each stage."""
        spent = self.state.get("seconds", {})
        return {stage: float(clock["wall"]) for stage, clock in spent.items()}


def read_run(run: RunFolder) -> RunFacts:
    """Read what is there.

    Raises:
        TrainingError: the folder holds no run that this version reads.
        BundleError: the bundle's description cannot be read.
    """
    state = run.state()
    audited = run.audited_catalog()
    recipe = run.recipe()
    folds = [read_history(fold.metrics_file) for fold in run.folds()]
    return RunFacts(
        name=run.path.absolute().name,
        catalog=audited.catalog,
        recipe=recipe,
        recipe_text=run.recipe_text(),
        info=info_of(run.model),
        history=tuple(mean_history(folds) if folds else read_history(run.metrics_file)),
        trainings=max(1, len(folds)),
        findings=_findings(run.audit / FINDINGS_FILE),
        left_out=_table(run.left_out_file),
        split_report=_split_report(audited),
        state=state,
    )


def info_of(model: Path) -> BundleInfo | None:
    """The description of a bundle, without a look at its weights; None when there is no bundle.

    Raises:
        BundleError: it is there and cannot be read.
    """
    return read_info(model) if (model / INFO_FILE).is_file() else None


def _split_report(audited: AuditedCatalog) -> SplitReport | None:
    catalog = audited.catalog
    if not catalog.has("split") and not catalog.has("fold"):
        return None
    return check_leakage(catalog, duplicate_group=audited.duplicate_group)


def _findings(path: Path) -> tuple[FindingCount, ...] | None:
    if not path.is_file():
        return None
    table = _table(path)
    if table.is_empty():
        return ()
    order = [str(severity) for severity in SEVERITIES]
    # Somebody else may have written it, with other columns and words.
    with damage_named(path):
        table = table.filter(pl.col("severity").is_in(SEVERITIES))
        counted = table.group_by("kind", "severity").len().to_dicts()
        rows = [FindingCount(row["kind"], row["severity"], row["len"]) for row in counted]
        return tuple(sorted(rows, key=lambda r: (order.index(r.severity), -r.count, r.kind)))


def _table(path: Path) -> pl.DataFrame:
    if not path.is_file() or not path.stat().st_size:
        return pl.DataFrame()
    with damage_named(path):
        return pl.read_csv(path, infer_schema=False, glob=False)
