"""Open a trained bundle."""

from __future__ import annotations

from pathlib import Path

from shopsight.bundle.format import Bundle, BundleInfo
from shopsight.bundle.read import bundle_folder, read_bundle
from shopsight.errors import BundleError
from shopsight.inference.engine import Engine, PrecisionChoice
from shopsight.inference.golden import Verification
from shopsight.inference.predictor import Predictor
from shopsight.progress import notify


def load(
    folder: Path | str,
    *,
    device: str = "auto",
    precision: PrecisionChoice = "auto",
    verify: bool = True,
) -> Predictor:
    """Open the bundle in `folder`, or that of the run in `folder`.

    Needs no network and no training code. The weights' hash, the format version and the labels
    are checked, and the golden files must give the golden outputs.

    Args:
        folder: A bundle or a run folder.
        device: "auto" takes CUDA when the machine has it, else the CPU.
        precision: "auto" is bf16 where the machine multiplies in it and the golden outputs stay
            within their tolerance, else 32.
        verify: Run the golden files: in fp32, which finds every change, then in `precision`.

    Raises:
        BundleError: It is incomplete or changed, or computes something else on this machine.
        ConfigError: No such device.
    """
    bundle = read_bundle(bundle_folder(folder))
    exact, *faster = _engines(bundle, device, precision)
    predictors = [
        Predictor(engine, bundle.info, golden=bundle.golden) for engine in (exact, *faster)
    ]
    if not verify:
        return predictors[-1]
    for predictor in predictors:
        found = predictor.verify()
        if found.ok:
            continue
        if predictor.engine is exact or precision != "auto":
            raise _not_golden(bundle.folder, bundle.info, found)
        # Rounding to bf16 ruins some networks: run those in fp32.
        notify(f"{found.line()}: running in fp32")
        return predictors[0]
    return predictors[-1]


def _engines(bundle: Bundle, device: str, precision: PrecisionChoice) -> list[Engine]:
    """The engine in fp32 and, where it is wanted, the same one in bf16."""
    # Only here is torch needed: reading and checking a bundle does without.
    from shopsight.inference.torch_engine import TorchEngine, computes_bf16
    from shopsight.models.build import build_model

    exact = TorchEngine(build_model(bundle), device=device, precision="32")
    fast = computes_bf16(exact.device) if precision == "auto" else precision == "bf16"
    return [exact, exact.at("bf16")] if fast else [exact]


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
