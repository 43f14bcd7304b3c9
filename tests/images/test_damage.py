"""One verdict for all: what the audit calls damaged, `find_damage` does, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shopsight.audit.inspect_file import inspect
from shopsight.errors import ImageError
from shopsight.images.damage import find_damage
from shopsight.images.decode import decode
from tests.images.samples import jpeg, saved, smooth


def overwritten(data: bytes, seed: int, num_bytes: int = 12) -> bytes:
    rng = np.random.default_rng(seed)
    at = int(rng.integers(len(data) // 3, len(data) - num_bytes))
    return data[:at] + rng.bytes(num_bytes) + data[at + num_bytes :]


def decodes(data: bytes) -> bool:
    try:
        decode(data)
    except ImageError:
        return False
    return True


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_the_audit_and_the_verdict_agree_on_every_broken_file(format: str, tmp_path: Path) -> None:
    image = Image.fromarray(smooth(160, 120))
    intact = saved(image, format, **({"quality": 85} if format == "JPEG" else {}))
    half = intact[: len(intact) // 2]
    files = [intact, intact[:-2], half, half + b"\xff\xd9"]
    files += [overwritten(intact, seed) for seed in range(20)]
    verdicts = []
    for number, data in enumerate(files):
        path = tmp_path / f"{number}.bin"
        path.write_bytes(data)
        found = inspect(str(path))
        verdicts.append(found.status)
        if found.status == "unreadable":
            assert not decodes(data)
        else:
            assert decodes(data)
            assert (find_damage(data) or "") == found.problem
    assert verdicts[0] == "ok"
    assert "damaged" in verdicts or format not in {"JPEG", "PNG"}


def test_half_of_the_pixels_and_an_end_marker() -> None:
    data = jpeg(smooth(320, 240), quality=92)
    assert find_damage(data) is None
    half = data[: len(data) // 2] + b"\xff\xd9"
    assert decode(half).shape == (240, 320, 3)
    damage = find_damage(half)
    assert damage is not None
    assert "premature end of data segment" in damage


@pytest.mark.parametrize("mode", ["CMYK", "L"])
@pytest.mark.parametrize("progressive", [False, True])
def test_every_kind_of_jpeg_has_a_verdict(mode: str, progressive: bool) -> None:
    image = Image.fromarray(smooth(320, 240)).convert(mode)
    data = saved(image, "JPEG", quality=92, progressive=progressive)
    assert find_damage(data) is None
    assert find_damage(data[: len(data) // 2] + b"\xff\xd9") is not None
