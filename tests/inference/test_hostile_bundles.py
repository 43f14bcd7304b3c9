"""A stranger's bundle is data: an error within two gigabytes of address space, never code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shopsight.bundle.read import read_bundle
from shopsight.errors import ShopsightError
from shopsight.inference.load import load
from tests.hostile_bundles import BUNDLES, LINKS

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, resource, sys
from pathlib import Path
import torch, timm
import shopsight.models.build, shopsight.inference.torch_engine
from shopsight.inference.load import load
from shopsight.errors import ShopsightError

torch.set_num_threads(1)
before = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limit = before + 2_000_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
said = {}
for folder in sorted(Path(sys.argv[1]).iterdir()):
    try:
        load(folder / "model", device="cpu")
        said[folder.name] = "opened"
    except ShopsightError as error:
        said[folder.name] = str(error)
    except BaseException as error:
        said[folder.name] = f"{type(error).__name__}: {error}"
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"said": said, "peak": peak}))
"""


@pytest.fixture
def copied(bundle_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle_folder, tmp_path / "run" / "model"))


@pytest.mark.parametrize("name", BUNDLES)
def test_a_changed_bundle_is_an_error(name: str, copied: Path) -> None:
    change, said = BUNDLES[name]
    change(copied)
    with pytest.raises(ShopsightError) as caught:
        load(copied, device="cpu")
    assert said in str(caught.value)
    assert caught.value.where is not None


@pytest.mark.posix("Windows has neither pipes nor links for everybody")
@pytest.mark.parametrize("name", LINKS)
def test_only_files_of_the_folder_are_read(name: str, copied: Path) -> None:
    change, said = LINKS[name]
    change(copied)
    if not said:
        # Nothing is waited for.
        assert read_bundle(copied).metrics == {}
        return
    with pytest.raises(ShopsightError, match=said):
        load(copied, device="cpu")


@pytest.mark.slow
@pytest.mark.posix("Windows has no limit of address space")
def test_none_takes_two_gigabytes(bundle_folder: Path, tmp_path: Path) -> None:
    for name, (change, _) in BUNDLES.items():
        change(Path(shutil.copytree(bundle_folder, tmp_path / name / "model")))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["peak"] < 2_000_000_000
    missing = {
        name: found["said"][name]
        for name, (_, said) in BUNDLES.items()
        if said not in found["said"][name]
    }
    assert not missing
