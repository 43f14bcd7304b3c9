"""The rules of tests/windows.py bite: what works here is refused under them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import windows
from tests.not_portable import CALLS, NEED_PROC

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows imposes them itself")


def outcomes(folder: Path, *before: str) -> dict[str, str]:
    """What each call of tests/not_portable.py raises, with words put in front of the command."""
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    paths = [str(ROOT), *(path for path in paths if path and path != str(windows.STARTUP))]
    done = subprocess.run(
        [sys.executable, *before, "-m", "tests.not_portable", str(folder)],
        capture_output=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    return dict(json.loads(done.stdout))


def test_each_call_that_windows_refuses_is_refused(tmp_path: Path) -> None:
    expected = {call.__name__: error for call, error in CALLS.items()}
    if not sys.platform.startswith("linux"):
        expected = {name: value for name, value in expected.items() if not name.endswith(NEED_PROC)}
    found = outcomes(tmp_path, "tests/windows.py")
    assert {name: found[name] for name in expected} == expected


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other file systems fold case")
def test_without_the_rules_each_call_works(tmp_path: Path) -> None:
    assert set(outcomes(tmp_path).values()) == {""}


def test_other_libraries_are_left_alone(tmp_path: Path) -> None:
    """Code that is neither shopsight's nor its tests'."""
    program = "import fcntl, os, sys; os.fork; open(sys.argv[1], 'w').close()"
    command = [sys.executable, "tests/windows.py", "-c", program, str(tmp_path / "a:b")]
    subprocess.run(command, check=True, cwd=ROOT)
    assert (tmp_path / "a:b").exists()


def test_a_plugin_that_is_named_imposes_the_rules(
    pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    """In every worker of pytest-xdist, too."""
    if not pytestconfig.pluginmanager.hasplugin("tests.windows"):
        pytest.skip("needs -p tests.windows")
    with pytest.raises(windows.NotPortableError, match=r"without an encoding .*test_windows\.py:"):
        (tmp_path / "a").write_text("a")
