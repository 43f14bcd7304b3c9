"""Open a trained bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from shopsight.bundle.exports import EXPORTS_FILE
from shopsight.bundle.format import Bundle, library_versions
from shopsight.bundle.read import bundle_folder, read_bundle
from shopsight.errors import BundleError, ConfigError, ExtraMissingError, first_line
from shopsight.extras import is_installed
from shopsight.inference.cpu_features import has_bf16
from shopsight.inference.engine import Engine, EnginePrecision, PrecisionChoice
from shopsight.inference.exported_engines import (
    EngineChoice,
    EngineName,
    fastest,
    open_exported,
)
from shopsight.inference.golden import Verification, verify_golden
from shopsight.inference.predictor import Predictor, readout_of
from shopsight.paths import exists
from shopsight.runs.discover import run_of
from shopsight.runtime import is_out_of_memory

if TYPE_CHECKING:
    from shopsight.inference.torch_engine import TorchEngine


def load(
    folder: Path | str,
    *,
    device: str = "auto",
    precision: PrecisionChoice = "auto",
    engine: EngineChoice = "auto",
    verify: bool = True,
) -> Predictor:
    """Open the bundle in `folder`, or that of the run in `folder`, or one on the Hub.

    Needs no network, but to download `hf:OWNER/NAME` once, and no training code, and, where the
    bundle was exported, no torch. The weights' hash, the format version and the labels are checked,
    and the golden files must give the golden outputs.

    Args:
        folder: A bundle or a run folder; or `hf:OWNER/NAME@REVISION`, a bundle on the Hugging Face
            Hub, which is kept in the cache by its commit.
        device: Its name, see `shopsight.devices`; but for TensorRT, exported files run on the CPU.
        precision: "auto" is bf16, or on CUDA "tf32", where the machine multiplies in it and the
            answers stay the same on the images that the run keeps for this, else 32: what the
            bundle was calibrated in, if it was made on such a machine. "16" and "int8" are of
            exports.
        engine: "torch", or "onnxruntime", "openvino" or "tensorrt" (on a GPU) where the bundle was
            exported. "auto" is torch on a GPU, and on a CPU the fastest that is there, measured
            once.
        verify: Run the golden files: in fp32, which finds every change, then in `precision`.

    Raises:
        BundleError: It is incomplete or changed, or computes something else on this machine; or it
            was not exported to what is asked for.
        HubError: The Hub does not give it, or cannot be reached.
        ConfigError: No such device, or the engine does not run on it.
        ExtraMissingError: The engine is not installed.
    """
    bundle = read_bundle(bundle_folder(folder))
    opened = _open_engine(bundle, device, precision, engine, verify=verify)
    return Predictor(
        opened,
        bundle.info,
        golden=bundle.golden,
        attributes=bundle.attributes,
        unknown=bundle.unknown,
    )


def _open_engine(
    bundle: Bundle, device: str, precision: PrecisionChoice, engine: EngineChoice, *, verify: bool
) -> Engine:
    def by_torch() -> TorchEngine:
        return _torch_engine(bundle, device, precision, verify=verify)

    if engine == "torch":
        return by_torch()
    if engine != "auto" or precision in ("16", "int8"):
        return _exported_engine(bundle, device, precision, engine, verify=verify)
    if device not in ("auto", "cpu") or not exists(bundle.folder / EXPORTS_FILE):
        return by_torch()
    with_torch = is_installed("torch")
    if with_torch and device == "auto":
        from shopsight.devices import pick_device

        if pick_device("auto").type != "cpu":
            return by_torch()
    found = None
    if precision in ("auto", "32"):
        open_torch = by_torch if with_torch else None
        found = fastest(bundle, open_torch, fast=precision == "auto")
    return by_torch() if found is None else found


def _exported_engine(
    bundle: Bundle, device: str, precision: PrecisionChoice, engine: EngineChoice, *, verify: bool
) -> Engine:
    """An exported network in the precision that is asked for.

    Raises:
        BundleError: see `load`.
        ConfigError: it does not run on that device.
    """
    if engine == "tensorrt":
        return _tensorrt_engine(bundle, device, precision, verify=verify)
    if device not in ("auto", "cpu"):
        raise ConfigError(
            f"exported files run on the CPU, not on {device}", where="device", fix="--device cpu"
        )
    names: tuple[EngineName, ...] = ("openvino", "onnxruntime") if engine == "auto" else (engine,)
    name = next((one for one in names if is_installed(one)), names[-1])
    if precision == "tf32":
        raise ConfigError("tf32 is a number format of GPUs", where="precision", fix="32")
    wanted: EnginePrecision = "32" if precision == "auto" else precision
    if precision == "auto" and name == "openvino" and has_bf16():
        fast = open_exported(bundle, name, "bf16")
        if not verify or _verification(bundle, fast).ok:
            return fast
    opened = open_exported(bundle, name, wanted)
    if verify:
        _check(bundle, opened, device="cpu")
    return opened


def _tensorrt_engine(
    bundle: Bundle, device: str, precision: PrecisionChoice, *, verify: bool
) -> Engine:
    """The fp16 file on a GPU.

    Raises:
        BundleError: see `load`.
        ConfigError: there is no GPU, or another precision is asked for.
    """
    if device not in ("auto", "cuda", "cuda:0"):
        raise ConfigError(
            f"TensorRT runs on the first GPU, not on {device}", where="device", fix="--device cuda"
        )
    opened = open_exported(bundle, "tensorrt", "16" if precision == "auto" else precision)
    if verify:
        _check(bundle, opened, device="cuda")
    return opened


def _torch_engine(
    bundle: Bundle, device: str, precision: PrecisionChoice, *, verify: bool
) -> TorchEngine:
    if not is_installed("torch"):
        folder = bundle.folder
        raise ExtraMissingError(
            f"{folder} was not exported to what is asked for, and torch is not installed",
            fix=f'shopsight export {folder}   (where torch is)\npip install "shopsight[train]"',
        )
    # Only here is torch needed: reading and checking a bundle does without.
    from shopsight.inference.pick_precision import fastest_faithful
    from shopsight.inference.torch_engine import TorchEngine
    from shopsight.models.build import build_model

    engine = TorchEngine(build_model(bundle), device=device, precision="32")
    if verify:
        _check(bundle, engine, device=engine.device.type)
    if precision == "auto":
        run = run_of(bundle.folder)
        return fastest_faithful(
            engine,
            bundle.golden,
            bundle.info.preprocess,
            readout_of(bundle.info),
            images_file=None if run is None else run.find_precision_images(),
        )
    if precision != "32":
        engine = engine.at(precision)
        if verify:
            _check(bundle, engine, device=engine.device.type)
    return engine


def _verification(bundle: Bundle, engine: Engine) -> Verification:
    info = bundle.info
    return verify_golden(engine, bundle.golden, info.preprocess, readout_of(info))


def _check(bundle: Bundle, engine: Engine, *, device: str) -> None:
    info = bundle.info
    try:
        found = _verification(bundle, engine)
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        # What torch says of sizes that do not go together, such as an input that is too small.
        raise BundleError(
            f"{info.backbone} does not run on images of {info.preprocess.size_px} px: "
            f"{first_line(error)}",
            where=str(bundle.folder),
            fix="copy the bundle again from where it was made",
        ) from error
    if found.ok:
        return
    here = library_versions()
    made_with = {
        name: text for name, text in bundle.info.versions.items() if here.get(name) != text
    }
    raise BundleError(
        "the model does not give its golden outputs on this machine",
        where=str(bundle.folder),
        details=(
            found.line(),
            *(
                f"made with {name} {text}, here {here.get(name, 'none')}"
                for name, text in made_with.items()
            ),
        ),
        fix="\n".join(_next_steps(found, made_with, device=device)),
    )


def _next_steps(found: Verification, made_with: Mapping[str, str], *, device: str) -> list[str]:
    """What to try: a finer precision, the device that made the golden outputs, other versions."""
    if found.precision != "32":
        return ["load with precision='auto', which takes a finer one where that is needed"]
    steps = []
    if device != "cpu":
        steps.append("load with device='cpu', which computed the golden outputs")
    steps.append("install those versions" if made_with else "copy the bundle again")
    return steps
