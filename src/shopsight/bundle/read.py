"""Read a bundle and check that it is complete and unchanged."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import safetensors.numpy
from pydantic import ValidationError
from safetensors import SafetensorError

from shopsight.bundle.format import (
    BUNDLE_FOLDER,
    FORMAT_VERSION,
    GOLDEN_FILE,
    INFO_FILE,
    METRICS_FILE,
    WEIGHTS_FILE,
    Bundle,
    BundleInfo,
    Golden,
)
from shopsight.errors import BundleError, DamagedFileError
from shopsight.files import read_json, read_json_table, sha256_file
from shopsight.leftovers import bring_back
from shopsight.paths import exists, is_file, is_folder


def bundle_folder(folder: Path | str) -> Path:
    """The bundle's folder, given that folder or the run's folder around it."""
    folder = Path(folder)
    within = folder / BUNDLE_FOLDER
    if exists(folder / INFO_FILE):
        return folder
    # A process that wrote it anew may have been killed between two renames.
    bring_back(within if is_folder(folder) else folder)
    return within if is_folder(within) else folder


def read_bundle(folder: Path | str) -> Bundle:
    """Read a bundle and check its files, format version, weights' hash and labels.

    The weights are hashed but not kept: `read_tensors` reads them.

    Raises:
        BundleError: A file is missing or changed, or the format is not the one of this shopsight.
    """
    folder = Path(folder)
    info = read_info(folder)
    missing = [name for name in (WEIGHTS_FILE, GOLDEN_FILE) if not is_file(folder / name)]
    if missing:
        raise _not_a_bundle(folder, missing)
    found = sha256_file(folder / WEIGHTS_FILE)
    if found != info.weights_sha256:
        raise BundleError(
            f"the weights changed: sha256 is {found[:12]}..., "
            f"{info.weights_sha256[:12]}... was written",
            where=str(folder / WEIGHTS_FILE),
            fix="copy the bundle again from where it was made",
        )
    golden = _read_golden(folder / GOLDEN_FILE)
    if golden.logits.shape[1] != len(info.labels):
        raise BundleError(
            f"{len(info.labels)} labels for {golden.logits.shape[1]} logits",
            where=str(folder / INFO_FILE),
        )
    metrics = folder / METRICS_FILE
    return Bundle(info, golden, read_json_table(metrics) if metrics.is_file() else {}, folder)


def read_info(folder: Path | str) -> BundleInfo:
    """Read model.json alone; the weights are neither read nor hashed.

    Raises:
        BundleError: There is no such file, it is damaged, or its format is not the one of this
            shopsight.
    """
    folder = Path(folder)
    path = folder / INFO_FILE
    if not is_file(path):
        files = (INFO_FILE, WEIGHTS_FILE, GOLDEN_FILE)
        raise _not_a_bundle(folder, [name for name in files if not is_file(folder / name)])
    try:
        written = read_json(path)
        format_version = written["format_version"]
    except (DamagedFileError, KeyError, TypeError) as error:
        raise BundleError("is not a model description", where=str(path)) from error
    if format_version != FORMAT_VERSION:
        raise _other_format(path, format_version)
    try:
        return BundleInfo.model_validate(written)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in error.errors()]
        raise BundleError(
            "is not a model description", where=str(path), details=problems
        ) from error


def read_tensors(folder: Path | str) -> dict[str, np.ndarray]:
    """Read the weights by name. `read_bundle` has checked their hash.

    The arrays have the types in the file: fp32, fp16, or integers (BatchNorm's counters). bf16
    has no NumPy type; `write_bundle` never writes it.

    Raises:
        BundleError: The file is not safetensors, or holds a type that NumPy does not have.
    """
    path = Path(folder) / WEIGHTS_FILE
    try:
        tensors: dict[str, np.ndarray] = safetensors.numpy.load_file(path)
    except (SafetensorError, OSError, TypeError, KeyError) as error:
        raise BundleError(f"the weights cannot be read: {error}", where=str(path)) from error
    return tensors


def _not_a_bundle(folder: Path, missing: list[str]) -> BundleError:
    lacking = f"is not a model bundle: no {', '.join(missing)}"
    return BundleError(
        lacking if is_folder(folder) else "no such folder",
        where=str(folder),
        fix="name a run folder, or the folder `model` in it",
    )


def _other_format(path: Path, found: object) -> BundleError:
    older = isinstance(found, int) and found < FORMAT_VERSION
    return BundleError(
        f"bundle format {found!r}; this shopsight reads format {FORMAT_VERSION} only",
        where=str(path),
        fix="shopsight train DATA --out RUN   (trains the model anew, in a new run folder)"
        if older
        else "pip install --upgrade shopsight",
    )


def _read_golden(path: Path) -> Golden:
    try:
        # np.load would leave a file open that is no archive.
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            names = sorted(name for name in arrays.files if name.startswith("image_"))
            return Golden(
                tuple(arrays[name].tobytes() for name in names),
                arrays["logits"].astype(np.float32),
                arrays["embeddings"].astype(np.float32),
            )
    except (ValueError, KeyError, OSError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise BundleError(f"cannot be read: {error}", where=str(path)) from error
