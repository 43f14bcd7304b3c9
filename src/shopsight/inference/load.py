"""Open a trained bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from shopsight.bundle.bundle import BundleInfo, build_model, read_bundle
from shopsight.bundle.files import bundle_folder
from shopsight.errors import BundleError
from shopsight.inference.golden import Verification
from shopsight.inference.predictor import Predictor
from shopsight.inference.torch_engine import TorchEngine, computes_bf16
from shopsight.progress import notify


def load(
    folder: Path | str,
    *,
    device: str = "auto",
    precision: Literal["auto", "32", "bf16"] = "auto",
    verify: bool = True,
) -> Predictor:
    """Open the bundle in `folder`, or that of the run in `folder`.

    Needs no network and no training code. The weights' hash, the format version and the labels
    are checked, and the golden files must give the golden outputs.

    Args:
        device: "auto" takes CUDA when it is there, else the CPU.
        precision: "auto" is bf16 where the machine multiplies in it and the golden outputs bear it,
            else 32.
        verify: run the golden files: in fp32, which finds every change, then in `precision`.

    Raises:
        BundleError: it is incomplete or changed, or computes something else on this machine.
        ConfigError: no such device.
    """
    folder = bundle_folder(folder)
    bundle = read_bundle(folder)
    exact = TorchEngine(build_model(bundle), device=device, precision="32")
    fast = computes_bf16(exact.device) if precision == "auto" else precision == "bf16"
    engines = [exact, exact.at("bf16")] if fast else [exact]
    predictors = [Predictor(engine, bundle.info, golden=bundle.golden) for engine in engines]
    if not verify:
        return predictors[-1]
    for predictor in predictors:
        found = predictor.verify()
        if found.ok:
            continue
        if predictor.engine is exact or precision != "auto":
            raise _not_golden(folder, bundle.info, found)
        # Some networks do not bear rounding: those run in fp32 rather than wrong or not at all.
        notify(f"{found.line()}: running in fp32")
        return predictors[0]
    return predictors[-1]


def _not_golden(folder: Path, info: BundleInfo, found: Verification) -> BundleError:
    return BundleError(
        "the model does not give its golden outputs on this machine",
        where=str(folder),
        details=(
            found.line(),
            *(f"made with {name} {text}" for name, text in info.versions.items()),
        ),
        fix="install those versions" if found.precision == "32" else "load with precision='32'",
    )
