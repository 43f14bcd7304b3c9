"""Write a torch network as a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shopsight.backbones.text_tower import TextTower, bundle_part
from shopsight.bundle.format import Bundle, BundleInfo
from shopsight.bundle.write import write_bundle
from shopsight.catalog.catalog import Catalog
from shopsight.errors import ImageError
from shopsight.images.decode import read_bytes
from shopsight.inference.golden import make_golden
from shopsight.inference.torch_engine import reference_engine
from shopsight.models.build import model_tensors
from shopsight.models.product_model import ProductModel

GOLDEN_IMAGES = 8


def readable_images(catalog: Catalog) -> list[bytes]:
    """A few of a catalog's image files that can be read, for golden outputs."""
    found: list[bytes] = []
    for ref in catalog.refs()[: 20 * GOLDEN_IMAGES]:
        try:
            found.append(read_bytes(ref, catalog.access))
        except ImageError:
            continue
        if len(found) == GOLDEN_IMAGES:
            break
    return found


def save_bundle(
    folder: Path | str,
    model: ProductModel,
    *,
    info: BundleInfo,
    golden_images: Sequence[bytes],
    metrics: Mapping[str, Any],
    text: TextTower | None = None,
) -> Bundle:
    """Compute the golden outputs of a network and write its bundle.

    Args:
        folder: The bundle's folder; replaced when it exists.
        model: The network; it is not changed.
        info: Everything that is not weights.
        golden_images: A few image files' bytes.
        metrics: How good the model is.
        text: The text encoder of the network's space, on the CPU; left out, and said, where no
            bundle can hold it.

    Raises:
        ImageError: A golden image cannot be decoded.
        BundleError: `info` has other labels or another width than the network.
    """
    assert info.preprocess == model.preprocess
    golden = make_golden(reference_engine(model), golden_images, info.preprocess)
    return write_bundle(
        folder,
        tensors=model_tensors(model),
        info=info,
        golden=golden,
        metrics=metrics,
        text=bundle_part(text),
    )
