"""Memory and speed of `predict` over many images.

    python bench/bench_predict_memory.py [--count 10000] [--size 1200x1600] [--backbone NAME]

Writes a few rendered JPEGs under many names, then predicts them in a process of its own, which
reports its peak of resident memory. The bar: under 1.5 GB at 10,000 images, and no more than at
1,000: memory that grows with the number of images is a leak.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

NUM_JPEGS = 16
BAR_BYTES = 1.5e9


def write_bundle_of(backbone: str, folder: Path, files: list[bytes]) -> None:
    from shopsight.backbones.create import create_backbone
    from shopsight.bundle.format import BundleInfo
    from shopsight.head_settings import HeadSettings
    from shopsight.inference.save import save_bundle
    from shopsight.models.heads import create_head
    from shopsight.models.product_model import ProductModel

    made = create_backbone(backbone, weights="random")
    head = create_head(HeadSettings(), embedding_dim=made.embedding_dim, num_classes=18)
    model = ProductModel(made.module, head, made.preprocess).eval()
    info = BundleInfo(
        backbone=backbone,
        weights=made.weights,
        labels=tuple(f"class {number}" for number in range(18)),
        preprocess=made.preprocess,
        embedding_dim=made.embedding_dim,
    )
    save_bundle(folder, model, info=info, golden_images=files[:4], metrics={})


def files_of(folder: Path, count: int) -> Iterator[Path]:
    """The same few files under `count` names."""
    return (folder / f"{number:06d}.jpg" for number in range(count))


def predict(model: Path, folder: Path, count: int) -> None:
    """The measured process: prints its peak before and after, bytes, and seconds."""
    import shopsight

    predictor = shopsight.load(model, verify=False)
    before = peak_bytes()
    start = time.perf_counter()
    done = exhaust(predictor.predict(files_of(folder, count)))
    seconds = time.perf_counter() - start
    print(json.dumps({"done": done, "before": before, "peak": peak_bytes(), "seconds": seconds}))


def exhaust(predictions: Iterable[object]) -> int:
    return sum(1 for _ in predictions)


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(count: int, size: tuple[int, int], backbone: str) -> None:
    from photos import jpeg, photo

    files = [jpeg(photo(*size, seed=seed)) for seed in range(NUM_JPEGS)]
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        write_bundle_of(backbone, root / "model", files)
        for number, path in enumerate(files_of(root, count)):
            if number < NUM_JPEGS:
                path.write_bytes(files[number])
            else:
                path.hardlink_to(root / f"{number % NUM_JPEGS:06d}.jpg")
        for part in (max(1, count // 10), count):
            command = [sys.executable, __file__, "--within", str(root), "--count", str(part)]
            output = subprocess.run(
                command, check=True, capture_output=True, text=True, encoding="utf-8"
            ).stdout
            found = json.loads(output)
            assert found["done"] == part
            print(
                f"{part:7,} images of {size[0]}x{size[1]}: peak {found['peak'] / 1e6:,.0f} MB, "
                f"of which {found['before'] / 1e6:,.0f} MB before the first; "
                f"{part / found['seconds']:.0f} images/s"
            )
    print(f"under {BAR_BYTES / 1e9} GB: {'yes' if found['peak'] < BAR_BYTES else 'NO'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--size", default="1200x1600")
    parser.add_argument("--backbone", default="embedded:tf_efficientnet_lite0")
    parser.add_argument("--within", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.within:
        predict(given.within / "model", given.within, given.count)
    else:
        width, height = (int(side) for side in given.size.split("x"))
        measure(given.count, (width, height), given.backbone)


if __name__ == "__main__":
    main()
