"""Python imports this first when its folder is on PYTHONPATH: see tests/windows.py."""

import importlib.util
import sys
from pathlib import Path

path = Path(__file__).parents[1] / "windows.py"
spec = importlib.util.spec_from_file_location("tests.windows", path)
assert spec
assert spec.loader
windows = importlib.util.module_from_spec(spec)
# Under this name pytest's `-p tests.windows` finds it and imposes nothing twice.
sys.modules["tests.windows"] = windows
spec.loader.exec_module(windows)
windows.install_at_startup()
