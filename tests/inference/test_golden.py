from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from jaxtyping import Float32, UInt8

from shopsight.errors import ImageError
from shopsight.inference.agreement import Readout
from shopsight.inference.engine import EnginePrecision
from shopsight.inference.golden import TOLERANCE, make_golden, verify_golden
from shopsight.preprocess import Preprocess
from tests.helpers import ProductPhotos

PREPROCESS = Preprocess(size_px=32)


@dataclass
class MeanColor:
    """An engine in NumPy: the embedding is the mean color plus an offset, the head its double."""

    offset: float = 0.0
    error: float = 0.0
    precision: EnginePrecision = "32"
    name: str = "mean color"

    def run(
        self, images: UInt8[np.ndarray, "b s s 3"]
    ) -> tuple[Float32[np.ndarray, "b w"], Float32[np.ndarray, "b c"]]:
        embedding = images.mean((1, 2), dtype=np.float32) + np.float32(self.offset)
        # All of the error is in one image.
        embedding[0, 0] += np.float32(self.error)
        return embedding, 2 * embedding


@pytest.fixture(scope="module")
def images(product_photos: ProductPhotos) -> list[bytes]:
    return [path.read_bytes() for path in sorted(product_photos.folder.rglob("*.jpg"))[::15]]


def spread(images: list[bytes]) -> float:
    outputs = make_golden(MeanColor(), images, PREPROCESS).embeddings.astype(np.float64)
    return float(np.sqrt(np.square(outputs - outputs.mean(0)).sum(1).mean()))


def test_the_error_is_relative_to_the_spread_of_the_images(images: list[bytes]) -> None:
    for offset in (0.0, 500.0):  # A large common offset makes no error look small.
        golden = make_golden(MeanColor(offset), images, PREPROCESS)
        error = 0.3 * spread(images)
        found = verify_golden(MeanColor(offset, error), golden, PREPROCESS)
        assert found.embedding_error == pytest.approx(0.3, rel=1e-3)
        assert found.logit_error == pytest.approx(0.3, rel=1e-3)
        assert found.num_images == len(images)
        assert not found.ok


def test_fp32_must_come_near(images: list[bytes]) -> None:
    golden = make_golden(MeanColor(), images, PREPROCESS)
    limit = TOLERANCE["32"] * spread(images)
    for factor, ok in ((0.95, True), (1.05, False)):
        found = verify_golden(MeanColor(error=factor * limit), golden, PREPROCESS)
        assert found.ok is ok
        assert found.tolerance == TOLERANCE["32"]
    assert "mean color: logits within" in found.line()


def test_an_engine_that_rounds_is_judged_by_its_answers(images: list[bytes]) -> None:
    golden = make_golden(MeanColor(), images, PREPROCESS)
    # Three times the distance that fp32 may have, and the same answers.
    error = 3 * TOLERANCE["32"] * spread(images)
    assert not verify_golden(MeanColor(error=error), golden, PREPROCESS).ok
    rounded = MeanColor(error=error, precision="bf16")
    calm = Readout(temperature=1000.0)
    found = verify_golden(rounded, golden, PREPROCESS, calm)
    assert found.ok
    assert "clear answers are the same" in found.line()
    # Logits that move by a third of what lies between images change the answers' probabilities.
    moved = MeanColor(error=0.3 * spread(images), precision="bf16")
    found = verify_golden(moved, golden, PREPROCESS, Readout(temperature=0.3 * spread(images)))
    assert found.embedding_error < found.tolerance
    assert not found.agreement.ok
    assert not found.ok
    # Embeddings that no search could use are refused whatever the answers.
    far = MeanColor(error=1.1 * TOLERANCE["bf16"] * spread(images), precision="bf16")
    assert not verify_golden(far, golden, PREPROCESS, Readout(temperature=1e6)).ok


def test_one_golden_image_is_compared_by_its_own_size(images: list[bytes]) -> None:
    golden = make_golden(MeanColor(), images[:1], PREPROCESS)
    size = float(np.linalg.norm(golden.embeddings[0]))
    found = verify_golden(MeanColor(error=0.1 * size), golden, PREPROCESS)
    assert found.embedding_error == pytest.approx(0.1, rel=1e-3)


@pytest.mark.parametrize("error", [float("nan"), float("inf")])
def test_outputs_that_are_not_numbers(error: float, images: list[bytes]) -> None:
    golden = make_golden(MeanColor(), images, PREPROCESS)
    found = verify_golden(MeanColor(error=error), golden, PREPROCESS)
    assert found.embedding_error == float("inf")
    assert not found.ok


def test_a_golden_file_that_cannot_be_decoded_is_named() -> None:
    with pytest.raises(ImageError, match="golden 0"):
        make_golden(MeanColor(), [b"nothing"], PREPROCESS)
