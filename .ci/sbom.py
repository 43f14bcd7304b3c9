"""Write the bill of materials: the packages that shopsight is made of, in CycloneDX's JSON.

    python .ci/sbom.py build/sbom.json                 what shopsight itself needs
    python .ci/sbom.py build/sbom.json --extras all    and what its extras need, where installed

It describes the environment of the Python that runs it: of each package that shopsight asks for,
directly or not, the name, the version, the license and the package URL, and what asks for what.
With `--hashes` pip is asked for the SHA-256 of the wheels that it would install here; this alone
needs a network. Neither addresses of an index nor paths of this machine are written.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Collection, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "shopsight"
NOT_FOR_USERS = {"dev", "docs", "bench"}
LICENSE_CLASSIFIER = "License :: OSI Approved :: "
LONGEST_LICENSE = 100
"""Longer ones are the text of a license in place of its name."""


def installed(extras: Collection[str]) -> dict[str, set[str]]:
    """The packages that shopsight asks for with these extras.

    Returns:
        The names of what each asks for, by the name of the package. What is not installed, as an
        extra that this environment lacks, is left out.
    """
    asked: dict[str, set[str]] = {}
    done: dict[str, set[str]] = {}
    waiting = [(PROJECT, frozenset(extras))]
    while waiting:
        name, with_extras = waiting.pop()
        new = set(with_extras) - done.setdefault(name, set())
        if name in asked and not new:
            continue
        done[name] |= new
        needed = asked.setdefault(name, set())
        for line in distribution(name).requires or ():
            requirement = Requirement(line)
            other = canonicalize_name(requirement.name)
            if is_asked(requirement, with_extras) and is_installed(other) and other != name:
                needed.add(other)
                waiting.append((other, frozenset(requirement.extras)))
    return asked


def is_asked(requirement: Requirement, extras: Collection[str]) -> bool:
    """Whether a requirement holds on this system, with these extras."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def is_installed(name: str) -> bool:
    """Whether this environment has a package."""
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def component(package: Distribution, sha256: str | None) -> dict[str, Any]:
    """Describe a package."""
    name, version = canonicalize_name(package.name), package.version
    described: dict[str, Any] = {
        "type": "library",
        "bom-ref": name,
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name}@{version}",
    }
    if licenses := licenses_of(package):
        described["licenses"] = licenses
    if sha256 is not None:
        described["hashes"] = [{"alg": "SHA-256", "content": sha256}]
    return described


def licenses_of(package: Distribution) -> list[dict[str, Any]]:
    """What the metadata of a package say of its license: an expression, else names."""
    about = package.metadata.json
    if expression := about.get("license_expression"):
        return [{"expression": expression}]
    text = str(about.get("license") or "").strip()
    if text and text != "UNKNOWN" and "\n" not in text and len(text) <= LONGEST_LICENSE:
        return [{"license": {"name": text}}]
    names = [line for line in about.get("classifier", ()) if line.startswith(LICENSE_CLASSIFIER)]
    return [{"license": {"name": line.removeprefix(LICENSE_CLASSIFIER)}} for line in names]


def hashes_of_wheels(names: Collection[str]) -> dict[str, str]:
    """The SHA-256 of the wheels of these versions that pip would install here, by name."""
    pins = [f"{name}=={distribution(name).version}" for name in names]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--report", "-"]
    command += ["--ignore-installed", "--no-deps", *pins]
    done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
    return {
        canonicalize_name(each["metadata"]["name"]): each["download_info"]["archive_info"][
            "hashes"
        ]["sha256"]
        for each in json.loads(done.stdout)["install"]
    }


def bill(extras: Collection[str], hashes: Mapping[str, str]) -> dict[str, Any]:
    """The bill of materials of this environment.

    Args:
        extras: those of shopsight whose packages count.
        hashes: the SHA-256 of wheels, by the name of the package.
    """
    asked = installed(extras)
    itself = component(distribution(PROJECT), hashes.get(PROJECT))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": itself | {"type": "application"}},
        "components": [
            component(distribution(name), hashes.get(name))
            for name in sorted(asked)
            if name != PROJECT
        ],
        "dependencies": [{"ref": name, "dependsOn": sorted(asked[name])} for name in sorted(asked)],
    }


def main() -> int:
    """Write the file; return the exit status."""
    parser = argparse.ArgumentParser(description="Write the bill of materials of shopsight.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--extras", nargs="*", default=[], help="some of its extras, or all")
    parser.add_argument("--hashes", action="store_true", help="ask pip for the wheels' SHA-256")
    given = parser.parse_args()
    extras = set(given.extras)
    if "all" in extras:
        known = distribution(PROJECT).metadata.get_all("Provides-Extra") or []
        extras = set(known) - NOT_FOR_USERS
    names = installed(extras).keys() - {PROJECT}
    written = bill(extras, hashes_of_wheels(names) if given.hashes else {})
    given.file.parent.mkdir(parents=True, exist_ok=True)
    given.file.write_text(json.dumps(written, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{given.file}: {PROJECT} and {len(names)} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
