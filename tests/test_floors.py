"""The lowest versions that are accepted are those of docs/security.md."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_floors_are_those_of_the_page() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [project["dependencies"], *project["optional-dependencies"].values()]
    found = [re.match(r"([\w-]+)>=([\w.]+)", line) for lines in asked for line in lines]
    floors = dict(match.groups() for match in found if match)
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    table = page.partition("## Libraries with known holes")[2]
    rows = re.findall(r"^\| ([\w, -]+?)(?: \(.*?\))? \| ([\d.]+) \|", table, re.MULTILINE)
    listed = {name: version for names, version in rows for name in names.split(", ")}
    assert len(listed) >= 9
    assert {name: floors[name] for name in listed} == listed


def test_pages_load_nothing() -> None:
    """No template names a host: a report that is opened tells nobody."""
    for path in (ROOT / "src" / "shopsight" / "templates").iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(src|href)=[\"']?(https?:)?//|@import|url\((?!data:)", text), (
            path.name
        )
