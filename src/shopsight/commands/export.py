"""Export: files of a model that other engines run, with the proof that they answer alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from shopsight.bundle.exports import Artifact
from shopsight.bundle.read import bundle_folder, read_bundle
from shopsight.errors import ConfigError
from shopsight.export.export_bundle import FORMATS, PRECISIONS, ExportPlan, export_bundle
from shopsight.output_locks import only_writer_of_folder
from shopsight.read_options import ReadOptions

Known = TypeVar("Known", bound=str)


@dataclass(frozen=True)
class ExportResult:
    """What a model is exported to.

    Attributes:
        folder: of the bundle, where the files lie.
        artifacts: the files, with what was proven of each.
    """

    folder: Path
    artifacts: tuple[Artifact, ...]

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        artifacts = [one.model_dump(mode="json", exclude={"calibration"}) for one in self.artifacts]
        return {"folder": str(self.folder), "artifacts": artifacts}


def export(
    model: str | Path,
    *,
    to: Sequence[str] = ("onnx",),
    precision: Sequence[str] = ("fp32",),
    data: str | Path | None = None,
    read: ReadOptions | None = None,
    max_drop: float = 0.3,
) -> ExportResult:
    """Export a run or a bundle to files that `shopsight.load` runs without torch.

    Nothing is written unless the files answer like torch in fp32, on real images from the bytes of
    their files on: the validation images of the run, or DATA, or the bundle's golden images.

    Args:
        model: a run or a bundle.
        to: "onnx" (ONNX Runtime), "openvino", "tensorrt" (its file of int8 is another).
        precision: of "fp32", "bf16", "fp16" and "int8"; an fp32 file is always made.
        data: images to prove it with and, for int8, to measure ranges on.
        read: how `data` is read.
        max_drop: points of accuracy that may be lost.

    Raises:
        BundleError: the bundle cannot be read.
        ConfigError: something does not go together, or not on this machine.
        ExportError: the network cannot be exported, or the result answers otherwise.
        ExtraMissingError: a library is not installed.
    """
    folder = bundle_folder(model)
    bundle = read_bundle(folder)
    plan = ExportPlan(
        _known(to, FORMATS, "--to"), _known(precision, PRECISIONS, "--precision"), max_drop
    )
    with only_writer_of_folder(folder):
        exports = export_bundle(bundle, plan, data=data, read=read)
    return ExportResult(folder, exports.artifacts)


def _known(words: Sequence[str], known: Sequence[Known], where: str) -> tuple[Known, ...]:
    unknown = [word for word in words if word not in known]
    if unknown or not words:
        raise ConfigError(
            f"does not know {', '.join(unknown)}" if unknown else "names nothing",
            where=where,
            fix=f"{where} {','.join(known)}   (any of these)",
        )
    return tuple(one for one in known if one in words)
