"""Open a trained bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from shopsight.engines.predictor import Predictor
from shopsight.engines.torch_engine import TorchEngine
from shopsight.errors import BundleError
from shopsight.models.bundle import INFO_FILE, Bundle, build_model, read_bundle
from shopsight.progress import say


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
        verify: run the golden files.

    Raises:
        BundleError: it is incomplete or changed, or computes something else on this machine.
        ConfigError: no such device.
    """
    folder = bundle_folder(folder)
    bundle = read_bundle(folder)
    predictor = _predictor(bundle, device, precision)
    if not verify:
        return predictor
    found = predictor.verify()
    if not found.ok and precision == "auto" and found.precision != "32":
        # Some networks do not bear rounding: those run in fp32 rather than wrong or not at all.
        say(f"{found.line()}: running in fp32")
        predictor = _predictor(bundle, device, "32")
        found = predictor.verify()
    if not found.ok:
        raise BundleError(
            "the model does not give its golden outputs on this machine",
            where=str(folder),
            details=(
                found.line(),
                *(f"made with {name} {text}" for name, text in bundle.info.versions.items()),
            ),
            fix="install those versions",
        )
    return predictor


def _predictor(
    bundle: Bundle, device: str, precision: Literal["auto", "32", "bf16"]
) -> Predictor:
    engine = TorchEngine(build_model(bundle), device=device, precision=precision)
    return Predictor(engine, bundle.info, golden=bundle.golden)


def bundle_folder(folder: Path | str) -> Path:
    """The bundle's folder, given it or its run's folder."""
    folder = Path(folder)
    within = folder / "model"
    return within if not (folder / INFO_FILE).exists() and within.is_dir() else folder
