"""Export a bundle to files that other engines run, with the proof that they answer alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from shopsight.bundle.exports import (
    Artifact,
    Exports,
    Parity,
    Precision,
    TextArtifact,
    hashed_files,
    read_exports,
    write_exports,
)
from shopsight.bundle.format import Bundle
from shopsight.errors import ConfigError, ExportError
from shopsight.export.export_text import export_text
from shopsight.export.find_activation import find_activation
from shopsight.export.half_range import check_half_range
from shopsight.export.onnx_graph import write_graph
from shopsight.export.parity import (
    Proof,
    batches_agree,
    images_to_prove,
    measure,
    problems,
    run_all,
)
from shopsight.export.proof_images import (
    FEWEST_CALIBRATING,
    MOST_CALIBRATING,
    Sources,
    find_sources,
    prepared,
    prove_with,
)
from shopsight.export.quantize import quantize
from shopsight.extras import require_installed
from shopsight.files import put_in_place, scratch_folder
from shopsight.inference.cpu_features import has_bf16, has_vnni
from shopsight.inference.engine import Engine
from shopsight.inference.onnxruntime_engine import OnnxRuntimeEngine
from shopsight.inference.openvino_engine import OpenVinoEngine
from shopsight.inference.torch_engine import TorchEngine
from shopsight.models.build import build_model
from shopsight.progress import notify
from shopsight.read_options import ReadOptions

Format = Literal["onnx", "openvino", "tensorrt"]
FORMATS: tuple[Format, ...] = ("onnx", "openvino", "tensorrt")
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "fp16", "int8")


@dataclass(frozen=True)
class ExportPlan:
    """What is asked for.

    Attributes:
        formats: "onnx" is proven with ONNX Runtime, "openvino" with OpenVINO too; "tensorrt" makes
            of int8 the file that TensorRT takes, proven with ONNX Runtime.
        precisions: fp32 is always there.
        max_drop: points of accuracy that may be lost.
    """

    formats: Sequence[Format] = ("onnx",)
    precisions: Sequence[Precision] = ("fp32",)
    max_drop: float = 0.3


def check_plan(plan: ExportPlan, bundle: Bundle) -> None:
    """Refuse, before any work, what cannot be exported or proven here.

    Raises:
        ConfigError: a setting that does not go with this machine or with the others.
        ExtraMissingError: a library is not installed.
    """
    for module in ("torch", "onnx", "onnxscript"):
        require_installed(module)
    for module in ("open_clip", "tokenizers", "ftfy") if bundle.info.text is not None else ():
        require_installed(module)
    if "openvino" in plan.formats:
        require_installed("openvino")
    if "bf16" in plan.precisions and "openvino" not in plan.formats:
        raise ConfigError(
            "only OpenVINO computes in bf16; ONNX Runtime's CPU engine does not",
            where="--precision bf16",
            fix="--to onnx,openvino --precision fp32,bf16",
        )
    if "tensorrt" in plan.formats:
        _check_tensorrt(plan)
    if "bf16" in plan.precisions and has_bf16() is False:
        raise ConfigError(
            "this processor does not multiply bf16, so that nothing would be proven",
            where="--precision bf16",
            fix="export on a machine that does (avx512_bf16, amx_bf16), or --precision fp32",
        )
    if not 0 <= plan.max_drop <= 100:
        raise ConfigError(f"{plan.max_drop:g} is no number of points", where="--max-drop")
    if "int8" in plan.precisions and bundle.info.multilabel and plan.max_drop == 0:
        raise ConfigError(
            "no drop of accuracy is measured where an image may have several labels",
            where="--max-drop 0",
            fix="leave out --max-drop: agreement with fp32 is what decides",
        )


def _check_tensorrt(plan: ExportPlan) -> None:
    if not {"fp16", "int8"} & set(plan.precisions):
        raise ConfigError(
            "TensorRT runs what is exported in fp16 or int8",
            where="--to tensorrt",
            fix="--precision fp32,fp16,int8",
        )
    if "int8" in plan.precisions and has_vnni() is False:
        raise ConfigError(
            "eight-bit products overflow on this processor, which has no VNNI: nothing would be "
            "proven of a file for TensorRT",
            where="--to tensorrt --precision int8",
            fix="export on a machine with VNNI, or --precision fp32,fp16",
        )


def export_bundle(
    bundle: Bundle,
    plan: ExportPlan,
    *,
    data: str | Path | None = None,
    read: ReadOptions | None = None,
) -> Exports:
    """Export; nothing is written unless all of it is proven.

    Args:
        bundle: whose folder gets the files.
        plan: what to export to.
        data: images to prove it with; None: those of the bundle's run, else its golden ones.
        read: how `data` is read.

    Returns:
        What the bundle is exported to now.

    Raises:
        ConfigError: see `check_plan`; or int8 without images to calibrate with.
        ExportError: the network cannot be exported, or the result answers otherwise.
    """
    check_plan(plan, bundle)
    sources = find_sources(bundle, data, read)
    _check_calibration(plan, sources)
    exact = TorchEngine(build_model(bundle), device="cpu", precision="32")
    proof = prove_with(bundle, exact, sources.proving if sources else None)
    with scratch_folder(bundle.folder / "export") as work:
        made = [_export_fp32(bundle, exact, plan, proof, work)]
        if "fp16" in plan.precisions:
            made.append(_export_fp16(bundle, exact, plan, proof, work))
        if "int8" in plan.precisions:
            assert sources is not None
            made += _export_int8(bundle, exact, plan, proof, sources, work)
        text = export_text(bundle, proof.exact[0], work) if bundle.info.text is not None else None
        exports = read_exports_or_none(bundle).model_copy(update={"text": text})
        for artifact in made:
            exports = exports.with_artifact(artifact)
        written: list[Artifact | TextArtifact] = [*made]
        if text is not None:
            written.append(text)
        for one in written:
            for name in filter(None, (one.data_file, one.file)):
                put_in_place(work / name, bundle.folder / name)
        write_exports(bundle.folder, exports)
    return exports


def read_exports_or_none(bundle: Bundle) -> Exports:
    """The exports that are there; none where they are damaged or of other weights."""
    try:
        return read_exports(bundle.folder, bundle.info)
    except ExportError:
        raise
    except Exception as error:
        notify(f"exports that were there are replaced: {error}")
        return Exports(weights_sha256=bundle.info.weights_sha256)


def _check_calibration(plan: ExportPlan, sources: Sources | None) -> None:
    if "int8" not in plan.precisions:
        return
    count = 0 if sources is None else len(sources.calibrating.refs)
    if count < FEWEST_CALIBRATING:
        raise ConfigError(
            f"{count} images to measure ranges on, where eight bits take {FEWEST_CALIBRATING} at "
            "least",
            where="--precision int8",
            fix="--data FOLDER   (photos like those that will be labeled)",
        )


def _export_fp32(
    bundle: Bundle, exact: TorchEngine, plan: ExportPlan, proof: Proof, work: Path
) -> Artifact:
    path = work / "model.fp32.onnx"
    files = write_graph(exact.model, path, name=bundle.info.backbone)
    parity = [_proven(OnnxRuntimeEngine(path, precision="32"), "fp32", proof, plan, batches=True)]
    if "openvino" in plan.formats:
        engine = OpenVinoEngine(path, precision="32")
        parity.append(_proven(engine, "fp32", proof, plan, batches=True))
        if "bf16" in plan.precisions:
            parity.append(_proven(OpenVinoEngine(path, precision="bf16"), "bf16", proof, plan))
    activation = find_activation(exact, path, proof)
    return _artifact(files, "fp32", parity=tuple(parity), activation=activation)


def _export_fp16(
    bundle: Bundle, exact: TorchEngine, plan: ExportPlan, proof: Proof, work: Path
) -> Artifact:
    """For GPUs: its rounded weights are proven by ONNX Runtime, its range by torch."""
    check_half_range(exact, proof.pixels)
    path = work / "model.fp16.onnx"
    files = write_graph(exact.model, path, name=bundle.info.backbone, half=True)
    parity = _proven(OnnxRuntimeEngine(path, precision="16"), "fp16", proof, plan)
    return _artifact(files, "fp16", parity=(parity,))


def _artifact(files: Sequence[Path], precision: Precision, **more: Any) -> Artifact:
    """What was written, with its hashes."""
    return Artifact(precision=precision, **hashed_files(files), **more)


def _export_int8(
    bundle: Bundle,
    exact: TorchEngine,
    plan: ExportPlan,
    proof: Proof,
    sources: Sources,
    work: Path,
) -> list[Artifact]:
    """For CPUs, unless only TensorRT is asked for; and for TensorRT, whose file is its own."""
    some = sources.calibrating.sample(MOST_CALIBRATING)
    pixels, shas = prepared(some, bundle.info.preprocess, "Preparing images to calibrate with")
    outputs = run_all(exact, pixels)

    def made(precision: Precision, *, reduce_range: bool, symmetric: bool) -> Artifact:
        path = work / f"model.{precision}.onnx"
        found = quantize(
            work / "model.fp32.onnx",
            path,
            pixels,
            outputs,
            reduce_range=reduce_range,
            symmetric=symmetric,
        )
        parity = [_proven(OnnxRuntimeEngine(path, precision="int8"), precision, proof, plan)]
        if "openvino" in plan.formats and not symmetric:
            parity.append(_proven(OpenVinoEngine(path, precision="int8"), precision, proof, plan))
        return _artifact(
            [path],
            precision,
            needs_vnni=not reduce_range and not symmetric,
            calibration=shas,
            float_layers=found.float_layers,
            parity=tuple(parity),
        )

    artifacts = []
    if set(plan.formats) != {"tensorrt"}:
        artifacts.append(made("int8", reduce_range=has_vnni() is False, symmetric=False))
    if "tensorrt" in plan.formats:
        artifacts.append(made("int8-symmetric", reduce_range=False, symmetric=True))
    return artifacts


def _proven(
    engine: Engine, precision: Precision, proof: Proof, plan: ExportPlan, *, batches: bool = False
) -> Parity:
    """What was measured of an engine, once it may be used.

    Raises:
        ExportError: it may not.
    """
    parity = measure(engine, precision, proof)
    found = problems(parity, max_drop=plan.max_drop)
    if batches and not batches_agree(engine, proof):
        found.append("an image gets other outputs in a batch of another size")
    if found:
        raise ExportError(
            f"{engine.name} does not answer like torch in fp32 on {len(proof):,} images; nothing "
            "is written",
            where=proof.source,
            details=found,
            fix="--precision fp32" if precision != "fp32" else None,
        )
    if wanted := images_to_prove(parity, max_drop=plan.max_drop):
        notify(
            f"{engine.name}: a drop of more than {plan.max_drop:g} points is not ruled out by "
            f"{parity.num_labeled:,} labeled images; some {wanted:,} would do"
        )
    return parity
