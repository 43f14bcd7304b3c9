"""Whether an audit fails: by errors, and by the kinds that `--fail-on` adds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from shopsight.audit.findings import KINDS, SEVERITIES, check_kinds
from shopsight.text import listed


def check_fail_on(fail_on: Collection[str]) -> None:
    """Refuse what is neither a severity nor a kind.

    Raises:
        ConfigError: such a word.
    """
    check_kinds("--fail-on", fail_on, [*SEVERITIES, *KINDS])


def failing_kinds(fail_on: Collection[str], accept: Collection[str]) -> tuple[str, ...]:
    """The kinds that fail an audit, in the order of `KINDS`.

    Args:
        fail_on: "error", "warning" (and errors), "note" (and both), or kinds. Errors always fail.
        accept: kinds that do not fail it.
    """
    least = max([SEVERITIES.index(word) for word in SEVERITIES if word in fail_on], default=0)
    return tuple(
        kind
        for kind, about in KINDS.items()
        if (SEVERITIES.index(about.severity) <= least or kind in fail_on) and kind not in accept
    )


@dataclass(frozen=True)
class Verdict:
    """What an audit comes to; each mapping is the number of findings by kind.

    Attributes:
        failed_by: kinds that fail it; empty when it passes.
        accepted: kinds that would fail it, and are accepted.
        would_fail: warnings that are not asked for: `--fail-on KIND` would fail on them.
    """

    failed_by: Mapping[str, int]
    accepted: Mapping[str, int]
    would_fail: Mapping[str, int]

    @classmethod
    def of(
        cls, counts: Mapping[str, int], *, fail_on: Collection[str], accept: Collection[str]
    ) -> Verdict:
        """Judge the number of findings of each kind.

        Args:
            counts: findings of each kind.
            fail_on: see `failing_kinds`.
            accept: see `failing_kinds`.
        """
        fails, asked = failing_kinds(fail_on, accept), failing_kinds(fail_on, ())
        return cls(
            {kind: number for kind, number in counts.items() if kind in fails},
            {k: number for k, number in counts.items() if k in asked and k not in fails},
            {
                kind: number
                for kind, number in counts.items()
                if kind not in asked and kind not in accept and KINDS[kind].severity == "warning"
            },
        )

    @property
    def passed(self) -> bool:
        """Whether nothing fails."""
        return not self.failed_by

    def line(self) -> str:
        """What failed, or what would: the last line of an audit."""
        if self.failed_by:
            return f"fails: {_numbers(self.failed_by)}"
        line = "passes"
        if self.accepted:
            line += f" (accepted: {_numbers(self.accepted)})"
        if self.would_fail:
            flags = [f"--fail-on {kind} ({number:,})" for kind, number in self.would_fail.items()]
            line += f"; would fail with {listed(flags)}"
        return line

    def to_json(self) -> dict[str, Any]:
        """All attributes and `passed`."""
        return {"passed": self.passed, **asdict(self)}


def _numbers(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} x {kind}" for kind, number in counts.items())
