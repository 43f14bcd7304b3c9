"""`shopsight doctor`: what this machine has, what is missing, and the command that installs it."""

from __future__ import annotations

from dataclasses import asdict

from shopsight import api
from shopsight.cli.options import JsonOption
from shopsight.cli.output import Column, print_json, print_table
from shopsight.cli.progress import shown_progress


def doctor(json: JsonOption = False) -> None:
    """Show versions, devices, number formats, free disk, and what is missing."""
    with shown_progress():
        facts = api.doctor()
    if json:
        print_json([asdict(fact) for fact in facts])
        return
    columns = [Column("", fold=False), Column("", fold=False), Column("found"), Column("to do")]
    seen: set[str] = set()
    rows = []
    for fact in facts:
        rows.append([fact.subject * (fact.subject not in seen), fact.name, fact.value, fact.advice])
        seen.add(fact.subject)
    print_table(columns, rows)
