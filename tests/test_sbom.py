"""The bill of materials: what is in it, what is not, and that it is CycloneDX."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def sbom() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sbom", ROOT / ".ci" / "sbom.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bill(sbom: ModuleType) -> dict:
    """Of this environment, with what trains."""
    return sbom.bill(("train",), {"torch": "ab" * 32})


def test_every_dependency_and_what_it_needs_is_listed(bill: dict) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = {each["name"]: each for each in bill["components"]}
    direct = {
        re.match(r"[\w-]+", line)[0].replace("_", "-")
        for line in project["dependencies"]
        if "platform" not in line
    }
    assert direct <= listed.keys()
    assert "pydantic-core" in listed  # pydantic's
    assert "pytest" not in listed
    torch = listed["torch"]
    assert (torch["version"], torch["purl"]) == (
        version("torch"),
        f"pkg:pypi/torch@{version('torch')}",
    )
    assert torch["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert listed["pydantic"]["licenses"] == [{"expression": "MIT"}]
    assert sum("licenses" in each for each in listed.values()) > 0.9 * len(listed)


def test_what_asks_for_what(bill: dict) -> None:
    asks = {each["ref"]: each["dependsOn"] for each in bill["dependencies"]}
    assert "pydantic-core" in asks["pydantic"]
    assert asks.keys() == {"shopsight", *(each["bom-ref"] for each in bill["components"])}
    assert {name for names in asks.values() for name in names} <= asks.keys()


def test_extras_add_their_packages(sbom: ModuleType) -> None:
    with_clip = {each["name"] for each in sbom.bill(("clip",), {})["components"]}
    assert "open-clip-torch" in with_clip
    assert "open-clip-torch" not in sbom.installed(())


def test_no_address_and_no_path_is_in_it(bill: dict) -> None:
    text = json.dumps(bill)
    assert "://" not in text
    assert sys.prefix not in text
    assert str(ROOT) not in text


def test_it_is_cyclonedx(bill: dict) -> None:
    validation = pytest.importorskip("cyclonedx.validation.json", reason="needs the extra `dev`")
    schema = pytest.importorskip("cyclonedx.schema").SchemaVersion.V1_6
    assert validation.JsonStrictValidator(schema).validate_str(json.dumps(bill)) is None
