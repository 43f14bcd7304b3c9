"""Open a trained bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from shopsight.bundle.format import Bundle, library_versions
from shopsight.bundle.read import bundle_folder, read_bundle
from shopsight.errors import BundleError, first_line
from shopsight.inference.engine import PrecisionChoice
from shopsight.inference.golden import Verification, verify_golden
from shopsight.inference.predictor import Predictor, readout_of
from shopsight.runs.discover import run_of
from shopsight.runtime import is_out_of_memory

if TYPE_CHECKING:
    from shopsight.inference.torch_engine import TorchEngine


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
        precision: "auto" is bf16, or on CUDA "tf32", where the machine multiplies in it and the
            answers stay the same on the images that the run keeps for this, else 32: what the
            bundle was calibrated in, if it was made on such a machine.
        verify: Run the golden files: in fp32, which finds every change, then in `precision`.

    Raises:
        BundleError: It is incomplete or changed, or computes something else on this machine.
        ConfigError: No such device.
    """
    bundle = read_bundle(bundle_folder(folder))
    # Only here is torch needed: reading and checking a bundle does without.
    from shopsight.inference.pick_precision import fastest_faithful
    from shopsight.inference.torch_engine import TorchEngine
    from shopsight.models.build import build_model

    engine = TorchEngine(build_model(bundle), device=device, precision="32")
    if verify:
        _check(bundle, engine)
    if precision == "auto":
        run = run_of(bundle.folder)
        engine = fastest_faithful(
            engine,
            bundle.golden,
            bundle.info.preprocess,
            readout_of(bundle.info),
            images_file=None if run is None else run.find_precision_images(),
        )
    elif precision != "32":
        engine = engine.at(precision)
        if verify:
            _check(bundle, engine)
    return Predictor(engine, bundle.info, golden=bundle.golden, attributes=bundle.attributes)


def _check(bundle: Bundle, engine: TorchEngine) -> None:
    info = bundle.info
    try:
        found = verify_golden(engine, bundle.golden, info.preprocess, readout_of(info))
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
        fix="\n".join(_next_steps(found, made_with, device=engine.device.type)),
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
