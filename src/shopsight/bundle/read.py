"""Read a bundle and check that it is complete and unchanged.

Whoever made it may mean harm: every size is compared with the files before anything is allocated,
and nothing outside the folder is read.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from jaxtyping import Float32
from pydantic import ValidationError
from safetensors import SafetensorError

from shopsight.bundle.attribute_info import ATTRIBUTES_FILE, AttributePart
from shopsight.bundle.format import (
    BUNDLE_FOLDER,
    FORMAT_VERSION,
    GOLDEN_FILE,
    INFO_FILE,
    METRICS_FILE,
    MOST_GOLDEN_IMAGES,
    OLDEST_VERSION,
    WEIGHTS_FILE,
    Bundle,
    BundleInfo,
    Golden,
)
from shopsight.bundle.hub_bundle import hub_bundle
from shopsight.bundle.text_info import TEXT_WEIGHTS_FILE, TOKENIZER_FILE, TokenizerInfo
from shopsight.bundle.tokenizer import SAMPLE_TEXTS
from shopsight.bundle.unknown_info import GOLDEN, UNKNOWN_FILE, UnknownPart
from shopsight.errors import (
    ArchiveError,
    BundleError,
    DamagedFileError,
    LocationError,
    WeightsError,
    first_line,
)
from shopsight.files import sha256_file
from shopsight.io.arrays import read_arrays
from shopsight.io.hub import names_hub, parse_hub_name
from shopsight.io.json_files import read_json, read_json_table
from shopsight.io.local_files import read_file
from shopsight.io.own_folder import file_within
from shopsight.io.tensor_header import StoredTensor, check_fits_in_memory, read_tensor_header
from shopsight.leftovers import bring_back
from shopsight.paths import exists, is_file, is_folder

TOKENIZER_BYTES = 64 << 20
"""The most that tokenizer.json may have: that of 256,000 tokens has 34 megabytes."""
ATTRIBUTE_TOLERANCE = 1e-3
"""Of the golden outputs of attributes, as a fraction of the largest: sums in another order."""
INFO_BYTES = 16 << 20
"""The most that model.json may have: 10,000 labels with their thresholds have one megabyte."""


def bundle_folder(folder: Path | str) -> Path:
    """The bundle's folder, given that folder, the run's around it, or its name on the Hub.

    Raises:
        HubError: as `shopsight.bundle.hub_bundle.hub_bundle`, whose other errors come too.
    """
    if names_hub(folder):
        return hub_bundle(parse_hub_name(folder), check=read_bundle)
    folder = Path(folder)
    within = folder / BUNDLE_FOLDER
    if exists(folder / INFO_FILE):
        return folder
    # A process that wrote it anew may have been killed between two renames.
    bring_back(within if is_folder(folder) else folder)
    return within if is_folder(within) else folder


def read_bundle(folder: Path | str) -> Bundle:
    """Read a bundle and check its files, format version, sizes, weights' hash and labels.

    The weights are hashed but not kept: `read_tensors` reads them.

    Raises:
        BundleError: A file is missing or changed, or is larger than may be; or the format is not
            the one of this shopsight.
    """
    folder = Path(folder)
    info = read_info(folder)
    needed = [WEIGHTS_FILE, GOLDEN_FILE]
    if info.text is not None:
        needed += [TEXT_WEIGHTS_FILE, TOKENIZER_FILE]
    if info.attributes is not None:
        needed.append(ATTRIBUTES_FILE)
    if info.unknown is not None:
        needed.append(UNKNOWN_FILE)
    missing = [name for name in needed if not is_file(folder / name)]
    if missing:
        raise _not_a_bundle(folder, missing)
    # Before the hash: a file that does not fit in memory is not worth its minutes.
    stored_tensors(folder)
    _check_hash(folder / WEIGHTS_FILE, info.weights_sha256)
    golden = _read_golden(_within(folder, GOLDEN_FILE), info)
    attributes = _read_attributes(folder, info, golden)
    unknown = _read_unknown(folder, info, golden)
    metrics = _within(folder, METRICS_FILE)
    written = read_json_table(metrics) if metrics.is_file() else {}
    return Bundle(info, golden, written, folder, attributes, unknown)


def read_info(folder: Path | str) -> BundleInfo:
    """Read model.json alone; the weights are neither read nor hashed.

    Raises:
        BundleError: There is no such file, it is damaged, a value in it is beyond its limits, or
            its format is not the one of this shopsight.
    """
    folder = Path(folder)
    path = _within(folder, INFO_FILE)
    if not is_file(path):
        files = (INFO_FILE, WEIGHTS_FILE, GOLDEN_FILE)
        raise _not_a_bundle(folder, [name for name in files if not is_file(folder / name)])
    try:
        written: Any = read_json(path, most_bytes=INFO_BYTES)
        format_version = written["format_version"]
    except (DamagedFileError, LocationError) as error:
        raise _no_description(path, [error.what]) from error
    except (KeyError, TypeError) as error:
        raise _no_description(path, ["it has no format_version"]) from error
    if not (isinstance(format_version, int) and OLDEST_VERSION <= format_version <= FORMAT_VERSION):
        raise _other_format(path, format_version)
    try:
        return BundleInfo.model_validate(written)
    except ValidationError as error:
        raise _no_description(path, value_problems(error)) from error


def value_problems(error: ValidationError) -> list[str]:
    """What is wrong with the values of a file, a line each, without the values themselves."""
    return [
        f"{'.'.join(map(str, p['loc']))[:200]}: {p['msg'].removeprefix('Value error, ')}"
        for p in error.errors(include_url=False, include_input=False)
    ]


def stored_tensors(folder: Path | str, name: str = WEIGHTS_FILE) -> dict[str, StoredTensor]:
    """What a file of weights holds, by its header.

    Args:
        folder: the bundle's.
        name: of the file: the network's, or that of its text encoder.

    Raises:
        BundleError: The file is none, or a damaged one, or does not fit in memory.
    """
    path = _within(Path(folder), name)
    try:
        stored = read_tensor_header(path)
        check_fits_in_memory(stored, path)
    except WeightsError as error:
        raise BundleError(
            f"the weights cannot be read: {error.what}", where=str(path), fix=error.fix
        ) from error
    return stored


def read_tensors(folder: Path | str, name: str = WEIGHTS_FILE) -> dict[str, np.ndarray]:
    """Read weights by name. `read_bundle` has checked the hash of the network's.

    The arrays have the types in the file: fp32, fp16, or integers (BatchNorm's counters). bf16
    has no NumPy type; `write_bundle` never writes it.

    Raises:
        BundleError: The file is not safetensors, or holds a type that NumPy does not have.
    """
    path = Path(folder) / name
    if any(one.kind == "BF16" for one in stored_tensors(folder, name).values()):
        # Some library may teach NumPy a type that torch does not take from it.
        raise BundleError("the weights cannot be read: a type is bfloat16", where=str(path))
    try:
        tensors: dict[str, np.ndarray] = safetensors.numpy.load_file(path)
    except (SafetensorError, OSError, TypeError, KeyError) as error:
        raise BundleError(f"the weights cannot be read: {error}", where=str(path)) from error
    return tensors


def read_tokenizer(folder: Path | str, info: TokenizerInfo) -> bytes:
    """Read tokenizer.json and check its hash.

    Raises:
        BundleError: it is too large, or another one than was written.
    """
    path = _within(Path(folder), TOKENIZER_FILE)
    try:
        content = read_file(path, most_bytes=TOKENIZER_BYTES)
    except (LocationError, OSError) as error:
        raise BundleError(
            f"the tokenizer cannot be read: {first_line(error)}", where=str(path)
        ) from error
    if sha256(content).hexdigest() != info.file_sha256:
        raise BundleError(
            "is not the tokenizer that was written",
            where=str(path),
            fix="copy the bundle again from where it was made",
        )
    return content


def _check_hash(path: Path, written: str) -> None:
    found = sha256_file(path)
    if found != written:
        raise BundleError(
            f"the weights changed: sha256 is {found[:12]}..., {written[:12]}... was written",
            where=str(path),
            fix="copy the bundle again from where it was made",
        )


def _read_attributes(folder: Path, info: BundleInfo, golden: Golden) -> AttributePart | None:
    """The heads of attributes; the golden embeddings must give their golden outputs.

    Raises:
        BundleError: They do not, or the file is another one than was written.
    """
    if info.attributes is None:
        return None
    path = _within(folder, ATTRIBUTES_FILE)
    _check_hash(path, info.attributes.sha256)
    part = AttributePart(info.attributes, read_tensors(folder, ATTRIBUTES_FILE))
    problems = part.misfits(info.embedding_dim)
    if not problems:
        assert golden.attributes is not None
        found = np.concatenate(part.logits(golden.embeddings), axis=1)
        size = max(1.0, float(np.abs(golden.attributes).max()))
        if np.abs(found - golden.attributes).max() > ATTRIBUTE_TOLERANCE * size:
            problems = ["the golden embeddings do not give the golden outputs"]
    if problems:
        raise BundleError(
            "does not hold the attributes that model.json names",
            where=str(path),
            details=problems,
            fix="copy the bundle again from where it was made",
        )
    return part


def _read_unknown(folder: Path, info: BundleInfo, golden: Golden) -> UnknownPart | None:
    """When it answers "unknown"; the golden outputs must give their golden scores.

    Raises:
        BundleError: They do not, or the file is another one than was written.
    """
    if info.unknown is None:
        return None
    path = _within(folder, UNKNOWN_FILE)
    _check_hash(path, info.unknown.sha256)
    part = UnknownPart(info.unknown, read_tensors(folder, UNKNOWN_FILE))
    problems = part.misfits(info.embedding_dim, len(golden.images))
    if not problems:
        found, written = part.scores(golden.embeddings, golden.logits), part.tensors[GOLDEN]
        size = max(1.0, float(np.abs(written).max()))
        if not np.abs(found - written).max() <= ATTRIBUTE_TOLERANCE * size:
            problems = ["the golden outputs do not give the golden scores"]
    if problems:
        raise BundleError(
            "does not hold the score that model.json names",
            where=str(path),
            details=problems,
            fix="shopsight calibrate RUN   (fits it again)",
        )
    return part


def _within(folder: Path, name: str) -> Path:
    try:
        return file_within(folder, name)
    except LocationError as error:
        raise BundleError(error.what, where=error.where, fix=error.fix) from error


def _no_description(path: Path, problems: list[str]) -> BundleError:
    return BundleError(
        "is not a model description",
        where=str(path),
        details=problems,
        fix="copy the bundle again from where it was made",
    )


def _not_a_bundle(folder: Path, missing: list[str]) -> BundleError:
    lacking = f"is not a model bundle: no {', '.join(missing)}"
    return BundleError(
        lacking if is_folder(folder) else "no such folder",
        where=str(folder),
        fix="name a run folder, or the folder `model` in it",
    )


def _other_format(path: Path, found: object) -> BundleError:
    older = isinstance(found, int) and found < OLDEST_VERSION
    return BundleError(
        f"bundle format {found!r}; this shopsight reads formats {OLDEST_VERSION} to "
        f"{FORMAT_VERSION}",
        where=str(path),
        fix="shopsight train DATA --out RUN   (trains the model anew, in a new run folder)"
        if older
        else "pip install --upgrade shopsight",
    )


def _read_golden(path: Path, info: BundleInfo) -> Golden:
    """The golden files and outputs; their sizes are those that model.json says.

    Raises:
        BundleError: They are not, or the file is damaged.
    """
    try:
        # Nothing in it is compressed: unpacked, it is no larger than it is.
        arrays = read_arrays(path, most_bytes=path.stat().st_size)
        logits, embeddings = arrays.pop("logits"), arrays.pop("embeddings")
        texts = arrays.pop("texts") if info.text is not None else None
        attributes = arrays.pop("attributes") if info.attributes is not None else None
    except KeyError as error:
        raise BundleError(f"cannot be read: no array {error}", where=str(path)) from error
    except (ArchiveError, LocationError, OSError) as error:
        what = error.what if isinstance(error, ArchiveError | LocationError) else str(error)
        raise BundleError(f"cannot be read: {what}", where=str(path)) from error
    count = len(arrays)
    if not 1 <= count <= MOST_GOLDEN_IMAGES:
        raise BundleError(f"{count:,} golden images", where=str(path))
    images = tuple(arrays[name].tobytes() for name in sorted(arrays))
    return Golden(
        images,
        _outputs(logits, (count, len(info.labels)), "logits", path),
        _outputs(embeddings, (count, info.embedding_dim), "embeddings", path),
        None
        if texts is None
        else _outputs(texts, (len(SAMPLE_TEXTS), info.embedding_dim), "texts", path),
        None
        if attributes is None or info.attributes is None
        else _outputs(attributes, (count, info.attributes.num_logits), "attributes", path),
    )


def _outputs(
    values: np.ndarray, shape: tuple[int, int], name: str, path: Path
) -> Float32[np.ndarray, "n d"]:
    if values.shape != shape or values.dtype.kind != "f" or not np.isfinite(values).all():
        raise BundleError(
            f"{name} of shape {values.shape} and type {values.dtype}, where {INFO_FILE} says "
            f"{shape} finite numbers",
            where=str(path),
            fix="copy the bundle again from where it was made",
        )
    return values.astype(np.float32)
