"""The dependencies and their lowest versions are those of docs/dependencies.md."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
NOT_FOR_USERS = {"dev", "docs", "bench"}


def test_dependencies_and_floors_are_those_of_the_page() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"]]
    asked += [line for extra in extras.keys() - NOT_FOR_USERS for line in extras[extra]]
    # An extra that needs another one.
    asked = [line for line in asked if not line.startswith("shopsight[")]
    found = [re.match(r"([\w-]+)(?:\[\w+\])?>=([\w.]+)", line) for line in asked]
    assert all(found)
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\w, -]+?)(?: \(.*?\))? \| ([\d., ]+) \|", page, re.MULTILINE)
    listed = {}
    for names, versions in rows:
        each = versions.split(", ") * (1 if "," in versions else len(names.split(", ")))
        listed |= dict(zip(names.split(", "), each, strict=True))
    assert listed == dict(match.groups() for match in found if match)


def test_pages_load_nothing() -> None:
    """No template names a host: a report that is opened tells nobody."""
    for path in (ROOT / "src" / "shopsight" / "templates").iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(src|href)=[\"']?(https?:)?//|@import|url\((?!data:)", text), (
            path.name
        )
