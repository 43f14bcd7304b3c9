"""What the documents say is true: their commands parse, their blocks run, their links lead on."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from shopsight.cli.app import app, main
from shopsight.cli.reference import all_commands, reference
from shopsight.config.recipe import load_recipe, recipe_names
from shopsight.datasets.generated_shop import generate_shop
from shopsight.datasets.photo_server import served_photos
from tests.helpers import make_products

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# In the documents, in the Makefile, and in the workflow, where the programs are on PATH.
IN_VENV = re.compile(
    r"^(?:\t|\tNO_\w+=1 | *)(?:\.venv/bin/|\.venv\\Scripts\\|\$\(BIN\)/)(.+)$", re.M
)
ON_PATH = re.compile(r"^ +(?:- run: )?((?:python -m|ruff|mypy|lint-imports)\b.*)$", re.M)
INLINE = re.compile(r"`(shopsight [^`]*)`")
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
COMMANDS = dict(all_commands(get_command(app)))
GROUPS = {name.split()[0] for name in COMMANDS if " " in name}


def _blocks(document: Path, language: str) -> list[str]:
    return [
        body
        for kind, body in BLOCK.findall(document.read_text(encoding="utf-8"))
        if kind == language
    ]


def _command_lines(document: Path) -> list[str]:
    text = document.read_text(encoding="utf-8")
    blocks = [line for body in _blocks(document, "sh") for line in body.splitlines()]
    lines = [*blocks, *INLINE.findall(text)]
    return [line.replace("\\|", "|") for line in lines if line.startswith("shopsight ")]


def test_reference_is_of_these_commands() -> None:
    written = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == reference(), "make docs writes it anew"
    for name in COMMANDS:
        assert f"## shopsight {name}\n" in written


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_that_are_shown_exist(document: Path) -> None:
    for line in _command_lines(document):
        words = shlex.split(line)
        if words[1] in GROUPS and len(words) > 2:
            words[1:3] = [f"{words[1]} {words[2]}"]
        named = words[1] in COMMANDS or words[1] in GROUPS or words[1].endswith(" *")
        assert words[1].startswith("-") or named or words[1].isupper(), line
        if words[1] not in COMMANDS:
            continue
        flags = {flag for option in COMMANDS[words[1]].params for flag in option.opts}
        for word in words[2:]:
            assert not word.startswith("--") or word in flags, line
        for setting in re.findall(r"--set (\S+)=", line):
            section, _, leaf = setting.partition(".")
            assert leaf in load_recipe().model_dump()[section], line


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in LINK.findall(document.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_every_page_is_in_the_site() -> None:
    """The site is built in strict mode, which refuses others; this says so without building it."""
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if f": {page}\n" not in navigation} == set()
    assert set(re.findall(r": (\S+\.md)$", navigation, re.M)) == pages


def test_every_room_is_on_the_map() -> None:
    """The table "Find your room": its paths exist, and no package is missing."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text.partition("## Find your room")[2].partition("\n## ")[0]
    paths = re.findall(r"`(src/[^`]+)`", section)
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []
    packages = {path.parent.name for path in (ROOT / "src" / "shopsight").glob("*/__init__.py")}
    assert {one for one in packages if not any(f"/{one}/" in path for path in paths)} == set()


def test_the_floors_are_those_that_are_checked() -> None:
    """The documents show the layers that import-linter enforces, from the top down."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = [
        contract["layers"]
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    ]
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", text.partition("## Find")[0], re.M)
    shown = [
        {re.sub(r"/|\.py", "", name) for name in re.findall(r"`([^`]+)`", row)} for _, row in rows
    ]
    assert shown == [set(layer.split(" | ")) for layer in layers]


def _without_make(path: Path) -> set[str]:
    """The commands of a document, a Makefile or a workflow; extras to install do not count."""
    pattern = ON_PATH if path.suffix == ".yml" else IN_VENV
    commands = pattern.findall(path.read_text(encoding="utf-8"))
    plain = (command.replace(" --disable-pip-version-check", "") for command in commands)
    return {re.sub(r'(--editable )(?:\.|"\.\[[\w,]+\]")', r"\1.", command) for command in plain}


@pytest.mark.parametrize(
    ("document", "count"),
    [
        ("README.md", 3),
        ("CONTRIBUTING.md", 13),
        ("docs/install.md", 2),
        (".github/workflows/check.yml", 7),
    ],
)
def test_commands_without_make_are_those_of_make(document: str, count: int) -> None:
    """Single tests, and `doctor`, are no targets of make."""
    shown = {one for one in _without_make(ROOT / document) if " -n 0 " not in one}
    known = _without_make(ROOT / "Makefile") | {"python -m shopsight doctor"}
    assert shown - known == set()
    assert len(shown) == count


def test_tests_that_are_named_exist() -> None:
    """docs/machines.md says what is known of a system by naming what shows it."""
    page = (ROOT / "docs" / "machines.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:tests|\.ci|\.github)/[\w./]+)`", page)
    assert len(named) >= 8
    assert [one for one in named if not (ROOT / one).exists()] == []


def test_supported_pythons_are_stated_once_and_again() -> None:
    """pyproject.toml's classifiers, .ci/run, .ci/check_wheels.py and the workflow agree."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    name = "Programming Language :: Python :: "
    versions = [one.removeprefix(name) for one in settings["project"]["classifiers"] if name in one]
    assert settings["project"]["requires-python"] == f">={versions[0]}"
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert f".ci/find-python {' '.join(versions)})" in ci
    assert f".ci/find-python {' '.join(reversed(versions))})" in ci
    quoted = ", ".join(f'"{version}"' for version in versions)
    wheels = (ROOT / ".ci" / "check_wheels.py").read_text(encoding="utf-8")
    assert f"PYTHONS = ({quoted})" in wheels
    workflow = (ROOT / ".github" / "workflows" / "check.yml").read_text(encoding="utf-8")
    assert f'python: ["{versions[0]}", "{versions[-1]}"]' in workflow
    install = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    assert f"Python {versions[0]} to {versions[-1]} " in install


def test_readme_names_every_recipe() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in recipe_names():
        assert f"`{name}`" in text, name


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with what the documents take for granted."""
    make_products(tmp_path / "photos", per_class=20)
    shutil.copytree(tmp_path / "photos" / "hat", tmp_path / "new-photos")
    shutil.copyfile(next((tmp_path / "new-photos").iterdir()), tmp_path / "photo-of-mine.jpg")
    monkeypatch.chdir(tmp_path)
    with served_photos(tmp_path / "shop") as address:
        made = generate_shop(tmp_path / "shop", address=address, products_per_kind=12)
        shutil.copyfile(made.export, tmp_path / made.export.name)
        yield tmp_path


@pytest.mark.slow
@pytest.mark.enable_socket
@pytest.mark.usefixtures("shop")
def test_readme_blocks_run() -> None:
    for body in _blocks(ROOT / "README.md", "sh"):
        for line in body.splitlines():
            if line.startswith("shopsight fetch"):
                # This shop's photos are served by the test, and one of them is not there.
                with pytest.raises(SystemExit) as end:
                    main([*shlex.split(line)[1:], "--allow-private"])
                assert end.value.code == 1
                continue
            with pytest.raises(SystemExit) as end:
                main(shlex.split(line)[1:])
            assert not end.value.code, line
    for body in _blocks(ROOT / "README.md", "python"):
        exec(compile(body, "README.md", "exec"), {})
    for body in _blocks(ROOT / "docs" / "predict.md", "python"):
        exec(compile(body, "docs/predict.md", "exec"), {})


def test_quoted_errors_are_those_of_the_code() -> None:
    """Each error in troubleshooting.md, cut at "...", is found in one string of the source."""
    texts = []
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [v.value if isinstance(v, ast.Constant) else "..." for v in node.values]
                texts.append("".join(str(part) for part in parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = re.findall(r'^\*\*"(.+)"\*\*$', page, re.M)
    assert len(quoted) >= 20
    for quote in quoted:
        pattern = re.compile(".*".join(map(re.escape, quote.split("..."))), re.DOTALL)
        assert any(pattern.search(text) for text in texts), quote
