"""Reading images and preparing a batch works where torch cannot be imported at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shopsight.images.model_input import preprocess_image
from shopsight.preprocess import Preprocess

BLOCK = '''
import sys
from importlib.machinery import ModuleSpec

BLOCKED = {"torch", "torchvision", "timm", "lightning", "pytorch_lightning"}


class Blocker:
    """Lets the blocked libraries be found, as some libraries ask, but never imported."""

    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name.partition(".")[0] in BLOCKED else None

    def create_module(self, spec):
        raise ImportError(f"{spec.name} must not be imported here")

    def exec_module(self, module):
        raise AssertionError("never reached")


assert not BLOCKED & {name.partition(".")[0] for name in sys.modules}
sys.meta_path.insert(0, Blocker())
'''

IMPORT_ALL = """
import importlib
import pkgutil

package = importlib.import_module(sys.argv[1])
modules = [found.name for found in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for module in modules:
    importlib.import_module(module)
print(len(modules))
"""

NO_OPENCV = """
BLOCKED.add("cv2")
"""

PREPARE = """
import numpy as np
from shopsight.inference.inputs import prepare_inputs
from shopsight.preprocess import Preprocess

prepared = list(prepare_inputs(sys.argv[2], Preprocess(size_px=64), window=4, threads=2))
assert [one.error for one in prepared] == [None] * len(prepared)
np.save(sys.argv[1], np.stack([one.pixels for one in prepared]))
"""


def run(code: str, *arguments: str) -> str:
    """Run code in a fresh process in which torch and what is built on it cannot be imported."""
    command = [sys.executable, "-c", BLOCK + code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_block_works() -> None:
    with pytest.raises(AssertionError, match="torch must not be imported here"):
        run("import torch.nn")


@pytest.mark.parametrize("package", ["shopsight.images"])
def test_every_module_imports_without_torch(package: str) -> None:
    assert int(run(IMPORT_ALL, package)) >= 2


def test_images_import_without_opencv() -> None:
    assert int(run(NO_OPENCV + IMPORT_ALL, "shopsight.images")) >= 2


def test_a_batch_is_prepared_without_torch(tmp_path: Path, image_files: dict[str, Path]) -> None:
    folder = next(iter(image_files.values())).parent
    run(PREPARE, str(tmp_path / "batch.npy"), str(folder))
    batch = np.load(tmp_path / "batch.npy")
    preprocess = Preprocess(size_px=64)
    expected = [
        preprocess_image(path.read_bytes(), preprocess) for path in sorted(image_files.values())
    ]
    assert (batch == np.stack(expected)).all()


@pytest.fixture
def image_files(tmp_path: Path) -> dict[str, Path]:
    """A real photo in three formats."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    photo = Image.fromarray(load_sample_images().images[0])
    folder = tmp_path / "photos"
    folder.mkdir()
    files = {suffix: folder / f"photo.{suffix}" for suffix in ("jpg", "png", "webp")}
    for path in files.values():
        photo.save(path)
    return files
