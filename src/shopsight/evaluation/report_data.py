"""What report.html says of the data before training, and of how to make the run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from shopsight.bundle.format import BundleInfo
from shopsight.evaluation.run_info import FindingCount, RunFacts
from shopsight.evaluation.score import Evaluation
from shopsight.runs.run_folder import RunFolder
from shopsight.text import command_line, count_text

Pairs = Sequence[tuple[str, str]]
"""Names and values."""

SHOWN_LOST_CLASSES = 10


@dataclass(frozen=True)
class DataSection:
    """What was found in the data before training.

    Attributes:
        split_badge: tone and text; None where there is no split to report on.
        split_lines: what the parts hold and share.
        audited: whether there was an audit.
        findings: of the audit, most serious first, each kind in words.
        audit_lines: the files that were left out, what the user accepted, and the classes that
            lost their files.
        notes: how the data was read.
    """

    split_badge: tuple[str, str] | None
    split_lines: Sequence[str]
    audited: bool
    findings: Sequence[FindingCount]
    audit_lines: Sequence[str]
    notes: Sequence[str]


@dataclass(frozen=True)
class RepeatSection:
    """How to make the run again.

    Attributes:
        commands: lines for a shell; empty where the command is not known.
        model: names and values.
        run: likewise; empty where there is no run.
        races: recipes that raced before the training, by what was found so.
        seconds: wall seconds of each stage.
        recipe: the resolved recipe as TOML.
        framings: rows of a table, the framings that were compared before training; empty where
            none were.
    """

    commands: str
    model: Pairs
    run: Pairs
    races: Mapping[str, Sequence[Mapping[str, Any]]]
    seconds: Mapping[str, float]
    recipe: str
    framings: Sequence[tuple[str, ...]] = ()


def data_section(facts: RunFacts) -> DataSection | None:
    """What was found in the data; None where nothing was looked at."""
    report = facts.split_report
    if facts.findings is None and report is None:
        return None
    badge = None
    if report:
        badge = ("good", "no leak") if report.ok else ("error", "leaks")
    return DataSection(
        split_badge=badge,
        split_lines=report.lines() if report else (),
        audited=facts.findings is not None,
        findings=[
            FindingCount(finding.kind.replace("-", " "), finding.severity, finding.count)
            for finding in facts.findings or ()
        ],
        audit_lines=[
            line
            for line in (
                _left_out_line(facts.left_out),
                _accepted_line(facts.state),
                *_lost_class_lines(facts.state),
            )
            if line
        ],
        notes=facts.state.get("notes") or (),
    )


def _left_out_line(table: pl.DataFrame) -> str:
    """Why files were left out, commonest reason first; empty where none was."""
    if table.is_empty():
        return ""
    counted = table.group_by("reason").len().sort("len", "reason", descending=[True, False])
    reasons = ", ".join(f"{count_text(count)} {reason}" for reason, count in counted.iter_rows())
    return f"Left out by name: {reasons} (audit/left_out.csv)."


def _accepted_line(state: Mapping[str, Any]) -> str:
    accepted = state.get("accepted")
    return f"Accepted by the user: {', '.join(accepted)}." if accepted else ""


def _lost_class_lines(state: Mapping[str, Any]) -> list[str]:
    """The classes that lost so many files that they are not as they were in the data."""
    lost = state.get("lost_classes") or []
    lines = [f"Class lost with its files: {line}" for line in lost[:SHOWN_LOST_CLASSES]]
    more = len(lost) - len(lines)
    return [*lines, f"Classes lost with their files: {len(lost):,} in all."] if more else lines


def repeat_section(main: Evaluation, facts: RunFacts) -> RepeatSection | None:
    """How to make the run again; None where neither a run nor a model is known."""
    if facts.recipe is None and facts.info is None:
        return None
    return RepeatSection(
        commands=_commands(main, facts),
        model=_model_facts(facts.info),
        run=_run_facts(facts),
        races=_races(facts.state),
        seconds=facts.seconds,
        recipe=facts.recipe_text,
        framings=_framings(facts.state),
    )


def _framings(state: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row for each framing that was tried: what, images, log loss, difference, cost."""
    tried = (state.get("framing") or {}).get("tried", [])
    rows = list[tuple[str, ...]]()
    for one in tried:
        worse, error = float(one["worse"]), float(one["error"])
        rows.append(
            (
                str(one["framing"]),
                count_text(int(one["images"])),
                f"{float(one['loss']):.3f}",
                f"{worse:.3f} ± {error:.3f}" if worse else "best",
                f"{float(one['cost']):.2f}",
            )
        )
    return rows


def _commands(main: Evaluation, facts: RunFacts) -> str:
    command = facts.state.get("command")
    if not command:
        return ""
    recipe = RunFolder(Path(facts.name)).recipe_file.as_posix()
    train = ["train", "DATA", "--recipe", recipe, "--out", "ANOTHER"]
    lines = (
        "# the command that made this run",
        str(command),
        "# the same with every setting written out; DATA with the flags about data "
        "(--root, --drop, ...) of the first",
        command_line(["shopsight", *train]),
        "# the same measurement",
        command_line(["shopsight", "evaluate", facts.name, "--split", main.split]),
    )
    return "\n".join(lines)


def _model_facts(info: BundleInfo | None) -> Pairs:
    if info is None:
        return []
    shape = info.preprocess
    pairs = [
        ("Backbone", info.backbone),
        ("Started from", info.weights),
        ("Head", info.head.kind),
        ("Input", f"{shape.size_px} x {shape.size_px} px, {shape.resize}, {shape.interpolation}"),
        ("Framing", f"{shape.framing} ({shape.views} x the cost)" if shape.average else ""),
        ("Temperature", f"{info.temperature:.3f}"),
        ("Temperature by product", f"{info.by_product.temperature:.3f}" if info.by_product else ""),
        ("Thresholds", _thresholds_text(info.thresholds)),
        ("Mirror image averaged in", "yes" if info.tta_hflip else "no"),
        ("Made", info.created),
        ("Weights, sha256", info.weights_sha256[:16]),
        ("Catalog, sha256", info.catalog_fingerprint[:16]),
    ]
    return [(name, value) for name, value in pairs if value]


def _thresholds_text(thresholds: Mapping[str, float]) -> str:
    if not thresholds:
        return ""
    lowest, highest = min(thresholds.values()), max(thresholds.values())
    return f"one per label, {lowest:.2f} to {highest:.2f}"


def _races(state: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    """The tables of races, as `shopsight.training.race` leaves them in the run."""
    found = {
        "Framings": (state.get("framing") or {}).get("raced"),
        "Settings": (state.get("tune") or {}).get("tried"),
    }
    return {title: rows for title, rows in found.items() if rows}


def _run_facts(facts: RunFacts) -> Pairs:
    versions: dict[str, Any] = facts.state.get("versions", {})
    pairs = [("Recipe", facts.recipe.about.title if facts.recipe else "")]
    if facts.recipe:
        pairs.append(("Seed", str(facts.recipe.seed)))
    pairs.append(("Images", count_text(len(facts.catalog))))
    # Said by the run before it fine-tuned, on validation images.
    pairs.append(("Framing", str((facts.state.get("framing") or {}).get("line", ""))))
    pairs.append(("Tuning", str((facts.state.get("tune") or {}).get("line", ""))))
    pairs.append(("Without fine-tuning", str((facts.state.get("adapt") or {}).get("line", ""))))
    pairs.append(("Versions", ", ".join(f"{name} {value}" for name, value in versions.items())))
    return [(name, value) for name, value in pairs if value]
