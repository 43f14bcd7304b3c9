"""Open a trained bundle."""

from __future__ import annotations

from pathlib import Path

from shopsight.bundle.format import Bundle, BundleInfo
from shopsight.bundle.read import bundle_folder, read_bundle
from shopsight.errors import BundleError
from shopsight.inference.engine import Engine, PrecisionChoice
from shopsight.inference.golden import Verification, verify_golden
from shopsight.inference.predictor import Predictor


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
        device: Its name, see `shopsight.devices`.
        precision: "auto" is bf16 where the machine multiplies in it and the golden outputs stay
            within their tolerance, else 32.
        verify: Run the golden files: in fp32, which finds every change, then in `precision`.

    Raises:
        BundleError: It is incomplete or changed, or computes something else on this machine.
        ConfigError: No such device.
    """
    bundle = read_bundle(bundle_folder(folder))
    # Only here is torch needed: reading and checking a bundle does without.
    from shopsight.devices import computes_bf16
    from shopsight.inference.torch_engine import TorchEngine, fastest_faithful
    from shopsight.models.build import build_model

    exact = engine = TorchEngine(build_model(bundle), device=device, precision="32")
    if verify:
        _check(bundle, exact)
    if precision == "auto" and verify:
        engine = fastest_faithful(exact, bundle.golden, bundle.info.preprocess)
    elif precision == "bf16" or (precision == "auto" and computes_bf16(exact.device)):
        engine = exact.at("bf16")
        if verify:
            _check(bundle, engine)
    return Predictor(engine, bundle.info, golden=bundle.golden)


def _check(bundle: Bundle, engine: Engine) -> None:
    found = verify_golden(engine, bundle.golden, bundle.info.preprocess)
    if not found.ok:
        raise _not_golden(bundle.folder, bundle.info, found)


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
