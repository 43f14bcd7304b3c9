"""HEIC: read with the extra, named without it."""

from __future__ import annotations

import io
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from shopsight.audit.inspect_file import inspect
from shopsight.errors import ImageError
from shopsight.extras import EXTRA_OF_MODULE
from shopsight.images import pillow_reader
from shopsight.images.decode import Header, decode, header
from shopsight.images.kinds import KINDS
from tests.images.samples import HEIGHT, WIDTH, difference, smooth

# An iPhone's file begins so.
HEAD = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


@pytest.fixture
def heif() -> ModuleType:
    return pytest.importorskip("pillow_heif")


def written(heif: ModuleType, **options: object) -> bytes:
    out = io.BytesIO()
    heif.from_pillow(Image.fromarray(smooth())).save(out, format="HEIF", quality=95, **options)
    return out.getvalue()


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pillow_reader, "heic_module", lambda: None)
    for read in (decode, header):
        with pytest.raises(ImageError) as caught:
            read(HEAD + bytes(200), where="IMG_1.HEIC")
        assert caught.value.reason == "unsupported"
        assert 'pip install "shopsight[heic]"' in str(caught.value)
        assert "IMG_1.HEIC" in str(caught.value)


def test_the_message_names_the_extra_of_the_module() -> None:
    assert f"shopsight[{EXTRA_OF_MODULE['pillow_heif']}]" in KINDS["heic"].way_out


def test_with_the_extra_it_is_read(heif: ModuleType, tmp_path: Path) -> None:
    data = written(heif)
    assert difference(decode(data), smooth()) < 6
    assert header(data) == Header("heic", WIDTH, HEIGHT)
    assert "HEIF" not in Image.OPEN, "the process opens what it opened before"
    path = tmp_path / "IMG_1.HEIC"
    path.write_bytes(data)
    found = inspect(str(path))
    assert (found.status, found.format, found.width) == ("ok", "heic", WIDTH)


def test_a_turned_photo_is_upright(heif: ModuleType) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = written(heif, exif=exif.tobytes())
    assert difference(decode(data), np.rot90(smooth(), -1)) < 6
    assert header(data) == Header("heic", HEIGHT, WIDTH)


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_half_a_photo_is_refused(heif: ModuleType, fraction: float) -> None:
    data = written(heif)
    with pytest.raises(ImageError) as caught:
        decode(data[: int(len(data) * fraction)])
    assert caught.value.reason == "truncated"
