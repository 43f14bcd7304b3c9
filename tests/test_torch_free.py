"""Images, bundles and what all engines share work where torch cannot be imported at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shopsight.bundle.fingerprint import model_fingerprint
from shopsight.bundle.read import read_bundle
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

ONLY_SERVING = (
    NO_OPENCV
    + """
BLOCKED |= {"scipy", "sklearn", "matplotlib", "onnx"}
import shopsight.serve.server
import shopsight.serve.served_model
"""
)

PREPARE = """
import numpy as np
from shopsight.inference.inputs import prepare_inputs
from shopsight.preprocess import Preprocess

prepared = list(prepare_inputs(sys.argv[2], Preprocess(size_px=64), window=4, threads=2))
assert [one.error for one in prepared] == [None] * len(prepared)
np.save(sys.argv[1], np.stack([one.pixels for one in prepared]))
"""


OPEN_BUNDLE = """
from dataclasses import dataclass

import numpy as np
from shopsight.bundle.fingerprint import model_fingerprint
from shopsight.bundle.format import BundleInfo
from shopsight.bundle.read import read_bundle, read_tensors
from shopsight.bundle.write import write_bundle
from shopsight.inference import load, writers
from shopsight.inference.golden import make_golden
from shopsight.inference.predictor import Predictor
from shopsight.preprocess import Preprocess


@dataclass
class MeanColor:
    '''An engine in NumPy: the embedding is the mean color, the head one matrix.'''

    weight: np.ndarray
    name = "NumPy"
    precision = "32"

    def run(self, images):
        embeddings = images.mean((1, 2), dtype=np.float32)
        return embeddings, embeddings @ self.weight


weight = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
preprocess = Preprocess(size_px=32)
files = sys.argv[2:]
golden = make_golden(MeanColor(weight), [open(file, "rb").read() for file in files], preprocess)
info = BundleInfo(
    backbone="other:none", weights="none", labels=("a", "b"), preprocess=preprocess, embedding_dim=3
)
write_bundle(
    sys.argv[1], tensors={"head.weight": weight}, info=info, golden=golden, metrics={}
)
bundle = read_bundle(sys.argv[1])
engine = MeanColor(read_tensors(bundle.folder)["head.weight"])
predictor = Predictor(engine, bundle.info, golden=bundle.golden)
assert predictor.verify().ok
predictions = list(predictor.predict(files))
assert [prediction.error for prediction in predictions] == [None] * len(files)
print(model_fingerprint(bundle.info))
"""

CHANGED_WEIGHTS = """
from shopsight.bundle.read import read_bundle
from shopsight.errors import BundleError

with open(sys.argv[1] + "/model.safetensors", "r+b") as file:
    file.seek(-1, 2)
    file.write(b"x")
try:
    read_bundle(sys.argv[1])
except BundleError as error:
    print(error.what)
"""


def run(code: str, *arguments: str) -> str:
    """Run code in a fresh process in which torch and what is built on it cannot be imported."""
    command = [sys.executable, "-c", BLOCK + code, *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_block_works() -> None:
    with pytest.raises(AssertionError, match="torch must not be imported here"):
        run("import torch.nn")


@pytest.mark.parametrize("package", ["shopsight.images", "shopsight.bundle"])
def test_every_module_imports_without_torch(package: str) -> None:
    assert int(run(IMPORT_ALL, package)) >= 2


def test_images_import_without_opencv() -> None:
    assert int(run(NO_OPENCV + IMPORT_ALL, "shopsight.images")) >= 2


def test_a_service_starts_without_what_trains() -> None:
    pytest.importorskip("uvicorn", reason="needs the extra `serve`")
    run(ONLY_SERVING)


def test_a_batch_is_prepared_without_torch(tmp_path: Path, image_files: dict[str, Path]) -> None:
    folder = next(iter(image_files.values())).parent
    run(PREPARE, str(tmp_path / "batch.npy"), str(folder))
    batch = np.load(tmp_path / "batch.npy")
    preprocess = Preprocess(size_px=64)
    expected = [
        preprocess_image(path.read_bytes(), preprocess) for path in sorted(image_files.values())
    ]
    assert (batch == np.stack(expected)).all()


def test_a_bundle_is_written_opened_checked_and_used_without_torch(
    tmp_path: Path, image_files: dict[str, Path]
) -> None:
    folder = tmp_path / "model"
    fingerprint = run(OPEN_BUNDLE, str(folder), *map(str, image_files.values()))
    assert fingerprint.strip() == model_fingerprint(read_bundle(folder).info)
    assert run(CHANGED_WEIGHTS, str(folder)).startswith("the weights changed: sha256 is ")


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
