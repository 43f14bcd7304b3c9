from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image
from typer.main import get_command

from shopsight import __version__
from shopsight.cli import recipes as recipes_verb
from shopsight.cli.app import BUG, app
from shopsight.cli.reference import all_commands
from tests.helpers import Shopsight

HEAVY = ("torch", "timm", "lightning", "sklearn", "cv2", "matplotlib", "polars", "pydantic", "PIL")
VERBS = sorted(name for name, _ in all_commands(get_command(app)))


def test_importing_the_commands_imports_nothing_heavy() -> None:
    code = "import sys, shopsight.cli.app, shopsight.api; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, encoding="utf-8"
    )
    assert not set(HEAVY) & set(done.stdout.split())


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    """Help is fast because of this."""
    log = [sys.executable, "-X", "importtime", "-m", "shopsight.cli.app", *words]
    done = subprocess.run(log, check=True, capture_output=True, text=True, encoding="utf-8")
    assert "Usage" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "shopsight.cli.train" in imported
    # pydantic, if there, is typer's doing: it looks whether a flag is of such a type.
    assert not set(HEAVY) - {"pydantic"} & imported


def test_names_and_settings_are_checked_before_torch_is_imported(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    commands = [
        ["train", "photos", "--out", "run", "--set", "training.epochs=x"],
        ["train", "nothing", "--out", "run"],
        ["compare", "photos", "--backbones", "timm:resnet18", "--set", "training.epoch=1"],
        ["recommend", "nothing", "--latency-ms", "10"],
        ["evaluate", "nothing"],
        ["evaluate", "nothing", "photos"],
        ["predict", "nothing", "photos"],
    ]
    code = (
        "import sys\n"
        "from shopsight.cli.app import main\n"
        f"for words in {commands!r}:\n"
        "    sys.argv = ['shopsight', *words]\n"
        "    try:\n"
        "        main()\n"
        "    except SystemExit as end:\n"
        "        print(words[0], end.code, 'torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=tmp_path,
    )
    assert done.stdout.splitlines() == [f"{words[0]} 2 False" for words in commands], done.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_explains_itself(shopsight: Shopsight, verb: str) -> None:
    shown = shopsight(*verb.split(), "--help")
    assert shown.code == 0
    assert verb in shown.out


def test_the_contract_names_every_module_that_the_commands_may_not_import() -> None:
    root = Path(__file__).parents[2]
    contracts = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "importlinter"
    ]
    (forbidden,) = [
        set(contract["forbidden_modules"])
        for contract in contracts["contracts"]
        if contract.get("source_modules") == ["shopsight.cli"]
    ]
    package = root / "src" / "shopsight"
    modules = {path.parent.name for path in package.glob("*/__init__.py")}
    modules |= {path.stem for path in package.glob("*.py") if not path.stem.startswith("_")}
    allowed = {"api", "cli", "control_characters", "errors", "progress"}
    assert forbidden == {f"shopsight.{name}" for name in modules - allowed}


def test_version(shopsight: Shopsight) -> None:
    assert shopsight("--version").out.strip() == f"shopsight {__version__}"


def test_no_command_shows_help(shopsight: Shopsight) -> None:
    assert "audit" in shopsight().out


def test_unknown_option_is_the_users_mistake(shopsight: Shopsight) -> None:
    shown = shopsight("recipes", "--nonsense")
    assert shown.code == 2
    assert shown.out == ""


def test_users_mistake_is_reported_in_the_projects_form(shopsight: Shopsight) -> None:
    shown = shopsight("recipes", "balancd")
    assert shown.code == 2
    assert shown.out == ""
    assert shown.err == (
        "error: no recipe and no file is named 'balancd'; did you mean 'balanced'?\n"
        "  fix: shopsight recipes\n"
    )


def test_debug_anywhere_shows_the_traceback(shopsight: Shopsight) -> None:
    shown = shopsight("recipes", "balancd", "--debug")
    assert shown.code == 2
    assert "Traceback" in shown.err
    assert "error: no recipe" in shown.err


def test_fault_of_ours(shopsight: Shopsight, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(recipes_verb, "print_table", broken)
    shown = shopsight("recipes")
    assert shown.code == BUG
    assert "error: ZeroDivisionError: division by zero" in shown.err
    assert "Traceback" not in shown.err
    assert "Traceback" in shopsight("--debug", "recipes").err


def test_exit_code_reaches_the_shell() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "shopsight.cli.app", "recipes", "nonsense"],
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")


def test_pillow_does_not_warn_of_a_file_without_its_name(
    shopsight: Shopsight, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    icon = tmp_path / "icons" / "a.ico"
    icon.parent.mkdir()
    Image.new("RGB", (64, 64), "red").save(icon, sizes=[(64, 64)], bitmap_format="bmp")
    data = bytearray(icon.read_bytes())
    data[6] = 50  # The width that its list of images says.
    icon.write_bytes(bytes(data))
    shown = shopsight("audit", str(icon.parent), "--cache-dir", str(tmp_path / "cache"))
    assert "1 ok, 0 damaged" in shown.out
    assert not [warning for warning in recwarn.list if "PIL" in warning.filename]
