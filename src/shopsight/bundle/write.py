"""Write a bundle, whole or not at all."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import safetensors.numpy

from shopsight.bundle.attribute_info import ATTRIBUTES_FILE, AttributePart
from shopsight.bundle.fingerprint import tensors_sha256
from shopsight.bundle.format import (
    CARD_FILE,
    GOLDEN_FILE,
    INFO_FILE,
    METRICS_FILE,
    WEIGHTS_FILE,
    Bundle,
    BundleInfo,
    Golden,
)
from shopsight.bundle.model_card import model_card
from shopsight.bundle.text_info import TEXT_WEIGHTS_FILE, TOKENIZER_FILE, TextPart
from shopsight.bundle.unknown_info import GOLDEN, UNKNOWN_FILE, UnknownPart
from shopsight.errors import BundleError
from shopsight.files import atomic_folder, sha256_file, write_json, write_text

Part = TypeVar("Part", AttributePart, UnknownPart)


def write_bundle(
    folder: Path | str,
    *,
    tensors: Mapping[str, np.ndarray],
    info: BundleInfo,
    golden: Golden,
    metrics: Mapping[str, Any],
    text: TextPart | None = None,
    attributes: AttributePart | None = None,
    unknown: UnknownPart | None = None,
) -> Bundle:
    """Write a bundle, replacing one that is there; a reader never sees half of it.

    Args:
        folder: The bundle's folder.
        tensors: Weights by name, see `shopsight.models.build.model_tensors`; fp32, fp16 or
            integers, stored as they are.
        info: Everything else; both hashes are filled in here.
        golden: Outputs of these weights for a few files.
        metrics: How good the model is; metrics.json, and a line of the model card.
        text: The text encoder, where there is one; `info.text` is filled in from it.
        attributes: The heads of attributes, where there are any; `info.attributes` is filled in
            from them, and so are their golden outputs.
        unknown: When it answers "unknown"; likewise.

    Returns:
        What `read_bundle` would read.

    Raises:
        BundleError: The golden outputs do not have the shapes that `info` says.
    """
    num_labels = len(info.labels)
    shapes = (golden.logits.shape[1:], golden.embeddings.shape[1:])
    if not golden.images or shapes != ((num_labels,), (info.embedding_dim,)):
        raise BundleError(
            f"golden outputs of shape {shapes} for {num_labels} labels and embeddings of "
            f"{info.embedding_dim} numbers",
            where=str(folder),
        )
    files = {WEIGHTS_FILE: tensors} | ({TEXT_WEIGHTS_FILE: text.tensors} if text else {})
    if attributes is not None:
        assert not attributes.misfits(info.embedding_dim)
        files[ATTRIBUTES_FILE] = attributes.tensors
        golden = replace(golden, attributes=np.concatenate(attributes.logits(golden.embeddings), 1))
    if unknown is not None:
        unknown = _with_golden(unknown, golden)
        files[UNKNOWN_FILE] = unknown.tensors
    needed = sum(one.nbytes for stored in files.values() for one in stored.values())
    needed += sum(map(len, golden.images))
    with atomic_folder(folder, needed_bytes=needed) as temporary:
        for name, stored in files.items():
            safetensors.numpy.save_file(dict(stored), temporary / name, metadata={"format": "pt"})
        backbone = {
            name.removeprefix("backbone."): tensor
            for name, tensor in tensors.items()
            if name.startswith("backbone.")
        }
        if attributes is not None:
            attributes = _hashed(attributes, temporary / ATTRIBUTES_FILE)
        if unknown is not None:
            unknown = _hashed(unknown, temporary / UNKNOWN_FILE)
        info = info.model_copy(
            update={
                "weights_sha256": sha256_file(temporary / WEIGHTS_FILE),
                "backbone_sha256": tensors_sha256(backbone),
                "text": text.info if text else None,
                "attributes": attributes.info if attributes else None,
                "unknown": unknown.info if unknown else None,
            }
        )
        _write_info(temporary, info)
        if text is not None:
            golden = replace(golden, texts=text.sample_vectors)
            (temporary / TOKENIZER_FILE).write_bytes(text.tokenizer)
        # safetensors lets only the owner read; a bundle is as public as its other files.
        for name in files:
            shutil.copymode(temporary / INFO_FILE, temporary / name)
        (temporary / GOLDEN_FILE).write_bytes(_golden_bytes(golden))
        write_json(temporary / METRICS_FILE, dict(metrics))
        write_text(temporary / CARD_FILE, model_card(info, metrics))
    return Bundle(info, golden, dict(metrics), Path(folder), attributes, unknown)


def rewrite_unknown(
    bundle: Bundle, unknown: UnknownPart | None, *, metrics: Mapping[str, Any]
) -> Bundle:
    """Write a bundle anew with another answer to when it says "unknown"; all else stays.

    Args:
        bundle: as it was read.
        unknown: the part; None takes it away.
        metrics: content of metrics.json.
    """
    folder = bundle.folder
    needed = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    with atomic_folder(folder, needed_bytes=needed) as temporary:
        shutil.copytree(
            folder, temporary, dirs_exist_ok=True, ignore=shutil.ignore_patterns(UNKNOWN_FILE)
        )
        if unknown is not None:
            unknown = _with_golden(unknown, bundle.golden)
            safetensors.numpy.save_file(
                dict(unknown.tensors), temporary / UNKNOWN_FILE, metadata={"format": "pt"}
            )
            unknown = _hashed(unknown, temporary / UNKNOWN_FILE)
            shutil.copymode(temporary / INFO_FILE, temporary / UNKNOWN_FILE)
        info = bundle.info.model_copy(update={"unknown": unknown.info if unknown else None})
        _write_info(temporary, info)
        write_json(temporary / METRICS_FILE, dict(metrics))
        write_text(temporary / CARD_FILE, model_card(info, metrics))
    return replace(bundle, info=info, metrics=dict(metrics), unknown=unknown)


def write_copy(
    bundle: Bundle, folder: Path, *, info: BundleInfo, golden: Golden, card: str
) -> Bundle:
    """Write the files of a bundle into a folder, with other golden images; its exports stay behind.

    Args:
        bundle: as it was read.
        folder: is there, and empty; its caller gives a part or scratch folder.
        info: content of model.json, whose hashes are those of the bundle.
        golden: outputs for other images; those for attributes and texts are filled in here.
        card: content of README.md.
    """
    kept = [WEIGHTS_FILE]
    if bundle.info.text is not None:
        kept += [TEXT_WEIGHTS_FILE, TOKENIZER_FILE]
    golden = replace(golden, texts=bundle.golden.texts)
    if bundle.attributes is not None:
        kept.append(ATTRIBUTES_FILE)
        found = bundle.attributes.logits(golden.embeddings)
        golden = replace(golden, attributes=np.concatenate(found, 1))
    for name in kept:
        shutil.copyfile(bundle.folder / name, folder / name)
    unknown = bundle.unknown
    if unknown is not None:
        unknown = _with_golden(unknown, golden)
        safetensors.numpy.save_file(
            dict(unknown.tensors), folder / UNKNOWN_FILE, metadata={"format": "pt"}
        )
        unknown = _hashed(unknown, folder / UNKNOWN_FILE)
        info = info.model_copy(update={"unknown": unknown.info})
    _write_info(folder, info)
    (folder / GOLDEN_FILE).write_bytes(_golden_bytes(golden))
    write_json(folder / METRICS_FILE, dict(bundle.metrics))
    write_text(folder / CARD_FILE, card)
    return replace(bundle, info=info, golden=golden, folder=folder, unknown=unknown)


def _write_info(folder: Path, info: BundleInfo) -> None:
    # Earlier versions know no such parts.
    optional = ("by_product", "attributes", "unknown")
    absent = {name for name in optional if getattr(info, name) is None}
    write_json(folder / INFO_FILE, info.model_dump(mode="json", exclude=absent))


def _with_golden(unknown: UnknownPart, golden: Golden) -> UnknownPart:
    """The part with the scores of the golden outputs."""
    scores = unknown.scores(golden.embeddings, golden.logits).astype(np.float32)
    return replace(unknown, tensors={**unknown.tensors, GOLDEN: scores})


def _hashed(part: Part, file: Path) -> Part:
    """A part of the bundle, with the hash of its file."""
    return replace(part, info=part.info.model_copy(update={"sha256": sha256_file(file)}))


def _golden_bytes(golden: Golden) -> bytes:
    arrays: dict[str, Any] = {
        f"image_{index:03d}": np.frombuffer(data, np.uint8)
        for index, data in enumerate(golden.images)
    }
    if golden.texts is not None:
        arrays["texts"] = golden.texts
    if golden.attributes is not None:
        arrays["attributes"] = golden.attributes
    file = io.BytesIO()
    np.savez(file, logits=golden.logits, embeddings=golden.embeddings, **arrays)
    return file.getvalue()
