"""What a run folder says about itself, read for its report.

The folder's files are the contract (docs/architecture.md); every one of them may be missing, when
a run was stopped or a bundle was copied out of it, and the report then goes without.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from shopsight.bundle.format import INFO_FILE, BundleInfo
from shopsight.bundle.read import read_info
from shopsight.catalog.catalog import Catalog
from shopsight.catalog.split import SplitReport, check_leakage
from shopsight.config.recipe import Recipe, parse_recipe
from shopsight.errors import CatalogError
from shopsight.files import read_json

SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True)
class FindingCount:
    """How often the audit found one kind of fault."""

    kind: str
    severity: str
    count: int


@dataclass(frozen=True, eq=False)
class RunFacts:
    """Attributes:
    name: of the run folder.
    catalog: with its split.
    history: one row per epoch, see `shopsight.runs.history`; empty when there is none. Of a
        K-fold run the means over its trainings.
    trainings: how many of them there are.
    findings: of the audit, most serious first.
    left_out: image and reason of each file that training left out.
    split_report: what the parts share, counted anew from the catalog.
    state: run.json.
    """

    name: str
    catalog: Catalog
    recipe: Recipe | None = None
    recipe_text: str = ""
    info: BundleInfo | None = None
    history: pl.DataFrame = field(default_factory=pl.DataFrame)
    trainings: int = 1
    findings: tuple[FindingCount, ...] = ()
    audited: bool = False
    left_out: pl.DataFrame = field(default_factory=pl.DataFrame)
    split_report: SplitReport | None = None
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> dict[str, float]:
        """Wall seconds of each stage."""
        spent = self.state.get("seconds", {})
        return {stage: float(clock["wall"]) for stage, clock in spent.items()}


def read_run(folder: Path | str) -> RunFacts:
    """Read what is there.

    Raises:
        CatalogError: the folder holds no catalog: it is no run.
    """
    folder = Path(folder)
    if not (folder / "catalog.parquet").is_file():
        raise CatalogError(
            "is not a run folder: it has no catalog.parquet",
            where=str(folder),
            fix="shopsight train DATA --out RUN makes one",
        )
    catalog = Catalog.read(folder / "catalog.parquet")
    recipe_text = _text(folder / "recipe.toml")
    state = folder / "run.json"
    folds = sorted(folder.glob("folds/*/metrics.csv"))
    return RunFacts(
        name=folder.absolute().name,
        catalog=catalog,
        recipe=parse_recipe(recipe_text, where="recipe.toml") if recipe_text else None,
        recipe_text=recipe_text,
        info=info_of(folder / "model"),
        history=_mean_history(folds) if folds else _table(folder / "metrics.csv"),
        trainings=max(1, len(folds)),
        findings=_findings(folder / "audit" / "findings.csv"),
        audited=(folder / "audit" / "findings.csv").is_file(),
        left_out=_table(folder / "audit" / "left_out.csv"),
        split_report=_split_report(catalog),
        state=read_json(state) if state.is_file() else {},
    )


def info_of(model: Path) -> BundleInfo | None:
    """model.json of a bundle, without looking at its weights; None when there is no bundle.

    Raises:
        BundleError: it is there and cannot be read.
    """
    return read_info(model) if (model / INFO_FILE).is_file() else None


def _mean_history(files: Sequence[Path]) -> pl.DataFrame:
    """Epoch by epoch; one that stopped early counts as far as it came."""
    tables = [table for table in map(_table, files) if not table.is_empty()]
    if not tables:
        return pl.DataFrame()
    merged = pl.concat(tables, how="vertical_relaxed")
    return merged.group_by("stage", "epoch").mean().sort("epoch")


def _split_report(catalog: Catalog) -> SplitReport | None:
    if not catalog.has("split") and not catalog.has("fold"):
        return None
    duplicate_group = (
        catalog.table["duplicate_group"].to_numpy()
        if "duplicate_group" in catalog.table.columns
        else None
    )
    return check_leakage(catalog, duplicate_group=duplicate_group)


def _findings(path: Path) -> tuple[FindingCount, ...]:
    table = _table(path)
    if table.is_empty():
        return ()
    counted = table.group_by("kind", "severity").len()
    rows = [FindingCount(row["kind"], row["severity"], row["len"]) for row in counted.to_dicts()]
    return tuple(sorted(rows, key=lambda r: (SEVERITIES.index(r.severity), -r.count, r.kind)))


def _table(path: Path) -> pl.DataFrame:
    if not path.is_file() or not path.stat().st_size:
        return pl.DataFrame()
    return pl.read_csv(path, infer_schema_length=None)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""
