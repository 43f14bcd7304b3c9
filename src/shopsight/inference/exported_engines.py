"""Open an exported network with the engine that was asked for, or find the fastest one."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np

from shopsight.bundle.embedding_space import EmbedsInto
from shopsight.bundle.exports import Artifact, Exports, Precision, artifact_file, read_exports
from shopsight.bundle.format import Bundle, BundleInfo
from shopsight.cache_place import cache_folder, unless_unwritable
from shopsight.errors import BundleError, ConfigError, ShopsightError
from shopsight.extras import installed_version, is_installed, require_installed
from shopsight.files import make_folder, write_json
from shopsight.images.model_input import preprocess_image
from shopsight.inference.cpu_features import cpu_flags, has_bf16, has_vnni
from shopsight.inference.engine import Engine, EnginePrecision, Images
from shopsight.inference.golden import verify_golden
from shopsight.inference.graph_activation import EngineWithActivation
from shopsight.inference.predictor import readout_of
from shopsight.io.json_files import read_json
from shopsight.prefetch import core_count
from shopsight.progress import notify

EngineName = Literal["torch", "onnxruntime", "openvino", "tensorrt"]
EngineChoice = Literal["auto", "torch", "onnxruntime", "openvino", "tensorrt"]
"""What a caller asks for. "auto" is the fastest that is there and gives the golden outputs; never
TensorRT, which builds for minutes first."""

EXPORTED_PRECISION: dict[EnginePrecision, Precision] = {
    "32": "fp32",
    "bf16": "bf16",
    "16": "fp16",
    "int8": "int8",
}
"""What an export calls the precisions of engines."""

TENSORRT_PRECISION: dict[EnginePrecision, Precision] = {"16": "fp16", "int8": "int8-symmetric"}
"""The same of TensorRT, whose eight bits are a file of its own."""

_TIMED_IMAGES = 8
_TIMED_ROUNDS = 3
_VERDICT_VERSION = 1


@dataclass(frozen=True)
class Candidate:
    """An engine in a precision."""

    engine: EngineName
    precision: EnginePrecision


def open_exported(bundle: Bundle, engine: EngineName, precision: EnginePrecision) -> Engine:
    """Open what a bundle was exported to.

    Args:
        bundle: with exports.
        engine: "onnxruntime", "openvino" or "tensorrt".
        precision: "32", "bf16" (OpenVINO alone), "16" or "int8" (all that TensorRT takes).

    Raises:
        BundleError: there is no such export, its file changed, or this machine cannot run it.
        ConfigError: it needs a GPU, or another precision.
        ExtraMissingError: the engine is not installed.
    """
    if engine == "tensorrt":
        return _open_tensorrt(bundle, precision)
    require_installed(engine)
    exports = read_exports(bundle.folder, bundle.info)
    artifact = _artifact(bundle, exports, engine, precision)
    opened = _open(artifact_file(bundle.folder, artifact), engine, precision)
    return _explained(opened, bundle, exports)


def _open_tensorrt(bundle: Bundle, precision: EnginePrecision) -> Engine:
    from shopsight.inference.tensorrt_engine import TensorRtEngine, tensorrt_and_torch

    if precision not in TENSORRT_PRECISION:
        raise ConfigError(
            f"TensorRT runs what was exported in fp16 or int8, not in {precision}",
            where="--precision",
            fix="--precision 16",
        )
    tensorrt_and_torch()
    exports = read_exports(bundle.folder, bundle.info)
    artifact = _artifact(bundle, exports, "tensorrt", precision)
    path = artifact_file(bundle.folder, artifact)
    opened = TensorRtEngine(path, sha256=artifact.sha256, precision=precision)
    return _explained(opened, bundle, exports)


def _explained(engine: Engine, bundle: Bundle, exports: Exports) -> Engine:
    """The engine with the maps of its network, where there are any."""
    exact = exports.find("fp32")
    if exact is None or exact.activation is None:
        return engine
    return EngineWithActivation(engine, bundle, exact)


def _open(path: Path, engine: EngineName, precision: EnginePrecision) -> Engine:
    """Open a file whose hash was checked."""
    if engine == "openvino":
        from shopsight.inference.openvino_engine import OpenVinoEngine

        return OpenVinoEngine(path, precision=precision)
    from shopsight.inference.onnxruntime_engine import OnnxRuntimeEngine

    return OnnxRuntimeEngine(path, precision=precision)


def _artifact(
    bundle: Bundle, exports: Exports, engine: EngineName, precision: EnginePrecision
) -> Artifact:
    wanted = exported_precision(engine, precision)
    artifact = exports.find(wanted) if wanted else None
    folder = str(bundle.folder)
    if artifact is None or (precision == "bf16" and engine != "openvino"):
        made = sorted({one.precision for one in exports.artifacts})
        formats = "onnx" if engine == "onnxruntime" else f"onnx,{engine}"
        asked = "fp32" if wanted in (None, "bf16") else wanted.removesuffix("-symmetric")
        raise BundleError(
            f"is not exported for {engine} in {precision}"
            + (f"; there is {', '.join(made)}" if made else ""),
            where=folder,
            fix=f"shopsight export {folder} --to {formats} --precision {asked}"
            if engine == "openvino" or precision != "bf16"
            else "--engine openvino   (ONNX Runtime's CPU engine does not compute in bf16)",
        )
    if artifact.needs_vnni and has_vnni() is False:
        raise BundleError(
            "its products of eight bits need instructions (VNNI) that this processor lacks: their "
            "sums would overflow",
            where=str(bundle.folder / artifact.file),
            fix=f"shopsight export {folder} --precision int8   (on a machine like this one)\n"
            "--precision 32",
        )
    return artifact


def exported_precision(engine: str, precision: EnginePrecision) -> Precision | None:
    """What an export calls the file that an engine runs; None where there is no such file."""
    named = TENSORRT_PRECISION if engine == "tensorrt" else EXPORTED_PRECISION
    return named.get(precision)


def rounding_of(folder: Path, info: BundleInfo, engine: Engine) -> EmbedsInto | None:
    """How well an exported engine that rounds searches among vectors of the exact network.

    Args:
        folder: of the bundle.
        info: of the bundle.
        engine: that was opened.

    Returns:
        None of torch, in fp32, and where the export had too few images to measure it.

    Raises:
        BundleError: the list of exports is damaged.
    """
    name = engine.name.partition(" ")[0]
    precision = exported_precision(name, engine.precision)
    if name == "torch" or precision in (None, "fp32"):
        return None
    exports = read_exports(folder, info)
    artifact = exports.find(precision)
    if artifact is None:
        return None
    # Where it was not proven with this engine: what another measured of the same file.
    of_file = (one for one in artifact.parity if one.precision == precision)
    proof = artifact.proof(name, precision) or next(of_file, None)
    if proof is None or proof.recall_at_10 is None:
        return None
    exact = info.space.fingerprint
    return EmbedsInto(space=exact, recall=proof.recall_at_10, num_queries=proof.num_images)


def candidates(exports: Exports, *, fast: bool) -> list[Candidate]:
    """Exported engines that are installed and that this processor is good for.

    Args:
        exports: of the bundle.
        fast: number formats that round may be used; never eight bits, which are asked for by name.
    """
    if exports.find("fp32") is None:
        return []
    found = [Candidate("onnxruntime", "32")] if is_installed("onnxruntime") else []
    if is_installed("openvino"):
        found.append(Candidate("openvino", "32"))
        if fast and has_bf16():
            found.append(Candidate("openvino", "bf16"))
    return found


def fastest(
    bundle: Bundle, open_torch: Callable[[], Engine] | None, *, fast: bool
) -> Engine | None:
    """The fastest engine that gives the golden outputs here: one of the exports, or torch.

    What was found is kept in the cache: a machine measures a bundle once, and again where
    processor, cores or libraries are others.

    Args:
        bundle: that may have exports.
        open_torch: opens torch's; None where it is not installed.
        fast: see `candidates`.

    Returns:
        None where no export can be used.
    """
    exports = read_exports(bundle.folder, bundle.info)
    named = candidates(exports, fast=fast)
    if not named:
        return None
    verdict = _verdict_file(bundle, exports, named, has_torch=open_torch is not None)
    known = _known(verdict)
    if known is not None and known.engine == "torch" and open_torch is not None:
        return open_torch()
    if known in named:
        engine = open_exported(bundle, known.engine, known.precision)
        if _is_faithful(bundle, engine):
            return engine
    opened = _faithful(bundle, exports, named)
    if not opened:
        return None
    if open_torch is not None:
        engine = open_torch()
        opened.append((Candidate("torch", engine.precision), engine))
    pixels = _golden_pixels(bundle)
    timed = sorted(((_seconds(one, pixels), at) for at, (_, one) in enumerate(opened)))
    chosen, engine = opened[timed[0][1]]
    with unless_unwritable(cache_folder()):
        make_folder(verdict.parent)
        write_json(verdict, {"engine": chosen.engine, "precision": chosen.precision})
    each = ", ".join(f"{opened[at][1].name} {1000 * seconds:.1f} ms" for seconds, at in timed)
    notify(f"engine: {engine.name} ({each} an image)")
    return engine


def _faithful(
    bundle: Bundle, exports: Exports, named: list[Candidate]
) -> list[tuple[Candidate, Engine]]:
    """Those that give the golden outputs; all of them run the one file of fp32."""
    artifact = exports.find("fp32")
    assert artifact is not None
    try:
        path = artifact_file(bundle.folder, artifact)
    except BundleError as error:
        notify(f"{artifact.file} is not used: {error}")
        return []
    opened = []
    for candidate in named:
        try:
            engine = _explained(_open(path, candidate.engine, candidate.precision), bundle, exports)
        except ShopsightError as error:
            notify(f"{candidate.engine} in {candidate.precision} is not used: {error}")
            continue
        if _is_faithful(bundle, engine):
            opened.append((candidate, engine))
        else:
            notify(f"{engine.name} is not used: it does not give the golden outputs here")
    return opened


def _is_faithful(bundle: Bundle, engine: Engine) -> bool:
    info = bundle.info
    return verify_golden(engine, bundle.golden, info.preprocess, readout_of(info)).ok


def _golden_pixels(bundle: Bundle) -> Images:
    images = bundle.golden.images[:_TIMED_IMAGES]
    preprocess = bundle.info.preprocess.of_whole_images
    return np.stack([preprocess_image(data, preprocess) for data in images])


def _seconds(engine: Engine, pixels: Images) -> float:
    engine.run(pixels)
    best = float("inf")
    for _ in range(_TIMED_ROUNDS):
        began = time.perf_counter()
        engine.run(pixels)
        best = min(best, time.perf_counter() - began)
    return best / len(pixels)


def _verdict_file(
    bundle: Bundle, exports: Exports, named: list[Candidate], *, has_torch: bool
) -> Path:
    """Where the verdict is kept, by all that it depends on."""
    flags = cpu_flags()
    about = [
        _VERDICT_VERSION,
        bundle.info.weights_sha256,
        [one.sha256 for one in exports.artifacts],
        [f"{one.engine} {one.precision}" for one in named],
        platform.machine(),
        sorted(flags) if flags else platform.processor(),
        core_count(),
        has_torch,
        [installed_version(name) for name in ("onnxruntime", "openvino", "torch")],
    ]
    key = sha256(repr(about).encode()).hexdigest()[:24]
    return cache_folder() / "engines" / f"{key}.json"


def _known(verdict: Path) -> Candidate | None:
    try:
        found = read_json(verdict)
        return Candidate(found["engine"], found["precision"])
    except (ShopsightError, OSError, KeyError, TypeError):
        return None
