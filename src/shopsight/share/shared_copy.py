"""The copy of a bundle that leaves the house: whole, proven, and without photos or paths.

A bundle's golden images are photos that it was trained on. In the copy they are rendered images,
with the outputs that the bundle gives for them, so that whoever loads it proves as much. Paths are
cut down to their last name, in the description and in what was proven of the exports.
"""

from __future__ import annotations

import mmap
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from shopsight.bundle.exports import Artifact, Exports, artifact_file, read_exports, write_exports
from shopsight.bundle.format import Bundle, BundleInfo
from shopsight.bundle.read import read_bundle
from shopsight.bundle.write import write_copy
from shopsight.errors import BundleError
from shopsight.extras import is_installed
from shopsight.inference.exported_engines import EngineChoice
from shopsight.inference.golden import make_golden
from shopsight.inference.load import load
from shopsight.inference.reference_images import reference_images
from shopsight.progress import notify, task

# The exporter of torch notes which line of which file each node is from.
_TRACES = b"stack_trace"
# A drive, a share, a home, an address or the root, each with a further part.
_PATH = re.compile(
    r"(?:[A-Za-z]:[\\/]|\\\\|~[\\/]|[A-Za-z][\w+.-]+://|(?<![\w.])/(?=\S))[^\s\"'`,;]*"
)


def write_shared_copy(bundle: Bundle, folder: Path, card: Callable[[BundleInfo], str]) -> Bundle:
    """Verify a bundle, write the copy of it that is shared, and verify that too.

    Args:
        bundle: as it was read; its hashes were checked.
        folder: is there, and empty.
        card: the model card for the description that is shared.

    Raises:
        BundleError: its golden outputs or the hash of an export are not what they were, or an
            export names folders of the machine where it was made.
        ExtraMissingError: it was not exported, and torch is not installed.
    """
    engine: EngineChoice = "torch" if is_installed("torch") else "auto"
    exports = read_exports(bundle.folder, bundle.info)
    with task("Verifying the bundle", total=2, unit="checks") as advance:
        predictor = load(bundle.folder, device="cpu", precision="32", engine=engine)
        files = _export_files(bundle, exports)
        golden = make_golden(predictor.engine, reference_images(), bundle.info.preprocess)
        advance(1)
        info = _without_paths(bundle.info)
        cleaned = replace(bundle, metrics=_cleaned(bundle.metrics))
        write_copy(cleaned, folder, info=info, golden=golden, card=card(info))
        for file in files:
            shutil.copyfile(file, folder / file.name)
        if files:
            write_exports(folder, _exports_without_paths(exports))
        load(folder, device="cpu", precision="32", engine=engine)
        advance(1)
    num_photos = len(bundle.golden.images)
    notify(f"the {num_photos} golden images are rendered ones in what is shared, no photos")
    return read_bundle(folder)


def without_paths(text: str) -> str:
    r"""The text with each full path, and each address, cut down to its last name.

    >>> without_paths("weights of /home/ann/shop/best.safetensors, C:\\shop\\photos")
    'weights of best.safetensors, photos'
    """
    return _PATH.sub(lambda found: _last_name(found[0]), text)


def _last_name(path: str) -> str:
    return re.split(r"[\\/]+", path.rstrip("\\/"))[-1]


def _without_paths(info: BundleInfo) -> BundleInfo:
    texts = {name: without_paths(getattr(info, name)) for name in ("weights", "recipe", "catalog")}
    return info.model_copy(update=texts)


def _cleaned(value: Any) -> Any:
    """Plain values, with the paths of all texts cut down."""
    if isinstance(value, Mapping):
        return {key: _cleaned(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(one) for one in value]
    return without_paths(value) if isinstance(value, str) else value


def _exports_without_paths(exports: Exports) -> Exports:
    def cut(artifact: Artifact) -> Artifact:
        parity = [
            one.model_copy(update={"images": without_paths(one.images)}) for one in artifact.parity
        ]
        return artifact.model_copy(update={"parity": tuple(parity)})

    return exports.model_copy(update={"artifacts": tuple(map(cut, exports.artifacts))})


def _export_files(bundle: Bundle, exports: Exports) -> list[Path]:
    """The exported files, whose hashes are those that were written."""
    found = []
    texts = () if exports.text is None else (exports.text,)
    precisions = ",".join(
        dict.fromkeys(one.precision.removesuffix("-symmetric") for one in exports.artifacts)
    )
    for artifact in (*exports.artifacts, *texts):
        path = artifact_file(bundle.folder, artifact)
        if _names_folders(path):
            raise BundleError(
                "an exporter wrote folders of this machine into it; nothing was shared",
                where=str(path),
                fix=f"shopsight export {bundle.folder} --precision {precisions}"
                "   (exports it anew, without)",
            )
        found.append(path)
        if artifact.data_file is not None:
            found.append(bundle.folder / artifact.data_file)
    return found


def _names_folders(path: Path) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(_TRACES) >= 0
