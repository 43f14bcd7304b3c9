"""Peak memory of decoding one image for the network, by format, and what was estimated for it.

    python bench/bench_decode_memory.py [--megapixels 24] [--only NAME]

Each file is decoded in a process of its own, on Linux only: the peak is the kernel's (VmHWM), so
that what libraries of C take counts too. The bar: no estimate below its peak.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from photos import photo
from PIL import Image

Maker = Callable[[np.ndarray, Path], None]
WARM_UP_SIDE_PX = 40


def by_pillow(format: str, mode: str = "RGB", **options: object) -> Maker:
    """A file that Pillow writes of the 8-bit photo in some mode."""

    def write(pixels: np.ndarray, path: Path) -> None:
        image = Image.fromarray((pixels >> 8).astype(np.uint8)).convert(mode)
        image.save(path, format, **options)

    return write


def by_opencv(suffix: str, *, channels: int = 3, kind: type = np.uint16) -> Maker:
    """A file of wide values, which OpenCV writes."""

    def write(pixels: np.ndarray, path: Path) -> None:
        values = pixels if channels == 3 else pixels[:, :, 0]
        scaled = values if kind is np.uint16 else (values / 65535).astype(kind)
        path.write_bytes(cv2.imencode(suffix, scaled)[1].tobytes())

    return write


def gray_16(format: str, **options: object) -> Maker:
    """Gray of 16 bits by Pillow."""

    def write(pixels: np.ndarray, path: Path) -> None:
        Image.fromarray(pixels[:, :, 0]).save(path, format, **options)

    return write


def turned(pixels: np.ndarray, path: Path) -> None:
    """A JPEG that EXIF turns, and a profile that is not sRGB's."""
    from PIL import ImageCms

    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ"))
    by_pillow("JPEG", exif=exif, icc_profile=profile.tobytes())(pixels, path)


MAKERS: dict[str, Maker] = {
    "JPEG": by_pillow("JPEG"),
    "JPEG, turned": turned,
    "JPEG, gray": by_pillow("JPEG", "L"),
    "JPEG, progressive": by_pillow("JPEG", progressive=True),
    "JPEG, progressive 4:4:4": by_pillow("JPEG", progressive=True, subsampling=0),
    "JPEG, CMYK": by_pillow("JPEG", "CMYK"),
    "JPEG, CMYK progressive": by_pillow("JPEG", "CMYK", progressive=True),
    "PNG": by_pillow("PNG", compress_level=1),
    "PNG, gray": by_pillow("PNG", "L", compress_level=1),
    "PNG, RGBA": by_pillow("PNG", "RGBA", compress_level=1),
    "PNG, palette": by_pillow("PNG", "P", compress_level=1),
    "PNG, 1 bit": by_pillow("PNG", "1", compress_level=1),
    "PNG, gray 16 bits": gray_16("PNG", compress_level=1),
    "PNG, RGB 16 bits": by_opencv(".png"),
    "TIFF": by_pillow("TIFF"),
    "TIFF, LZW": by_pillow("TIFF", compression="tiff_lzw"),
    "TIFF, deflate RGBA": by_pillow("TIFF", "RGBA", compression="tiff_adobe_deflate"),
    "TIFF, CMYK": by_pillow("TIFF", "CMYK"),
    "TIFF, gray 16 bits": gray_16("TIFF"),
    "TIFF, RGB 16 bits": by_opencv(".tiff"),
    "TIFF, RGB floats": by_opencv(".tiff", kind=np.float32),
    "TIFF, gray floats": by_opencv(".tiff", kind=np.float32, channels=1),
    "WebP": by_pillow("WEBP", method=0),
    "WebP, lossless RGBA": by_pillow("WEBP", "RGBA", lossless=True, method=0, quality=0),
    "AVIF": by_pillow("AVIF", speed=10),
    "GIF": by_pillow("GIF", "P"),
    "BMP": by_pillow("BMP"),
    "PPM": by_pillow("PPM"),
    "PPM, 16 bits": by_opencv(".ppm"),
    "TGA": by_pillow("TGA"),
    "JPEG 2000": by_pillow("JPEG2000"),
}


def measured(path: Path, small: Path) -> dict[str, float]:
    """Decode `path` in this process: bytes that it took at its peak, and the estimate.

    `small` is a file of the same kind, decoded first: it loads the libraries.
    """
    from shopsight.images.decode_room import room
    from shopsight.images.model_input import preprocess_image
    from shopsight.preprocess import Preprocess

    preprocess = Preprocess(size_px=224, interpolation="bicubic")
    preprocess_image(small.read_bytes(), preprocess)
    data = path.read_bytes()
    before = of_process("VmRSS") - len(data)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    room.most_taken_bytes = 0
    preprocess_image(data, preprocess)
    return {"peak": of_process("VmHWM") - before, "estimate": room.most_taken_bytes}


def of_process(entry: str) -> int:
    """Bytes of memory, by an entry of /proc/self/status."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    found = re.search(rf"{entry}:\s+(\d+) kB", status)
    assert found is not None
    return 1024 * int(found[1])


def measure(megapixels: float, only: str | None) -> Iterator[tuple[str, dict[str, float]]]:
    height = round((megapixels * 1e6 / 1.5) ** 0.5)
    size = (height * 3 // 2, height)
    large = cv2.resize(photo(600, 400, seed=1), size, interpolation=cv2.INTER_LINEAR)
    wide = large.astype(np.uint16) * 257
    with tempfile.TemporaryDirectory() as temporary:
        path, small = Path(temporary, "large"), Path(temporary, "small")
        for name, write in MAKERS.items():
            if only not in {None, name}:
                continue
            write(wide, path)
            write(wide[:WARM_UP_SIDE_PX, :WARM_UP_SIDE_PX], small)
            command = [sys.executable, __file__, "--within", str(path), str(small)]
            output = subprocess.run(
                command, check=True, capture_output=True, text=True, encoding="utf-8"
            ).stdout
            yield name, {"file": path.stat().st_size} | json.loads(output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megapixels", type=float, default=24.0)
    parser.add_argument("--only", choices=MAKERS)
    parser.add_argument("--within", nargs=2, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.within:
        print(json.dumps(measured(*arguments.within)))
        return
    print(f"{'format':<26}{'file':>10}{'peak':>10}{'estimate':>10}  of {arguments.megapixels:g} MP")
    for name, found in measure(arguments.megapixels, arguments.only):
        low = "" if found["estimate"] >= found["peak"] else "  too low"
        cells = "".join(f"{found[key] / 1e6:>10,.1f}" for key in ("file", "peak", "estimate"))
        print(f"{name:<26}{cells}{low}", flush=True)


if __name__ == "__main__":
    main()
