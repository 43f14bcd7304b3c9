"""What all tests share: one thread, a cache of their own, and a small rendered catalog."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# Before torch and OpenCV start their pools: tests run beside each other, one thread each. A pytest
# plugin has imported NumPy by now, whose pool is limited below.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import jaxtyping
import pytest
from hypothesis import settings as hypothesis_settings
from threadpoolctl import threadpool_limits

PACKAGES = (
    *("audit", "backbones", "bundle", "catalog", "datasets", "evaluation", "images", "inference"),
    *("loading", "metrics", "mislabels", "models", "profiling", "review", "runs", "soups"),
    *("training", "explanations"),
)

# Every array that goes in or out is checked against the shape in the signature. Before shopsight
# is first imported: the check is put in while modules load.
jaxtyping.install_import_hook(
    [f"shopsight.{package}" for package in PACKAGES],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)

from shopsight.progress import use_listener  # noqa: E402
from shopsight.user_key import STATE_VARIABLE  # noqa: E402
from tests import windows  # noqa: E402
from tests.helpers import ProductPhotos, Recorder, make_products, train_small  # noqa: E402

hypothesis_settings.register_profile("tests", deadline=None, derandomize=True, max_examples=50)
hypothesis_settings.load_profile("tests")

LARGE = ("cv2", "lightning", "polars", "sklearn", "timm", "torch._dynamo", "torchvision")


def pytest_configure(config: pytest.Config) -> None:
    """Import the large libraries before shopsight, where tests run.

    What is first imported while a module of ours loads is compiled anew, whoever wrote it: the
    import hook looks for compiled files under names of its own.
    """
    if config.getoption("dist", "no") == "no":
        for library in LARGE:
            importlib.import_module(library)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what the platform cannot run; where Windows is imposed, its tests still need Windows."""
    is_windows = sys.platform == "win32"
    if item.get_closest_marker("windows") and not is_windows:
        pytest.skip("runs on Windows only")
    posix = item.get_closest_marker("posix")
    if posix and (is_windows or windows.is_imposed()):
        pytest.skip(posix.args[0])


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
    threadpool_limits(1)


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or fills the user's cache, nor has the user's key."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOPSIGHT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv(STATE_VARIABLE, str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def unchecked_types() -> Iterator[None]:
    """For tests of the errors that a user without the type check gets about wrong shapes."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def said() -> Iterator[list[str]]:
    """The lines that library code tells while the test runs."""
    recorder = Recorder()
    with use_listener(recorder):
        yield recorder.lines


@pytest.fixture(scope="session")
def tiny_run(product_photos: ProductPhotos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run: a small net trained for an epoch on the product photos. Do not change it."""
    return train_small(product_photos.folder, tmp_path_factory.mktemp("trained") / "run")


@pytest.fixture(scope="session")
def tiny_folds_run(product_photos: ProductPhotos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A K-fold run over two folds, its bundle an ensemble. Do not change it."""
    folds = ("folds.count=2", "folds.final=ensemble")
    return train_small(product_photos.folder, tmp_path_factory.mktemp("folds") / "run", *folds)


@pytest.fixture
def own_run(tiny_run: Path, tmp_path: Path) -> Path:
    """A copy of the tiny run, to be changed."""
    return shutil.copytree(tiny_run, tmp_path / "run")


@pytest.fixture(scope="session")
def product_photos(tmp_path_factory: pytest.TempPathFactory) -> ProductPhotos:
    """Three classes of 20 images each: 10 products, two views of each. Do not change it."""
    return make_products(tmp_path_factory.mktemp("synthetic") / "products", per_class=20)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of this machine's address, signed by nobody else, with its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the certificate")
    file, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(file)]
    subprocess.run([openssl, *words, *names, *files], check=True, capture_output=True)
    file.write_text(
        file.read_text(encoding="ascii") + key.read_text(encoding="ascii"), encoding="ascii"
    )
    return file
