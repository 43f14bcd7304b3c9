"""Shop demo: a shop's export in, the corrected export out, on a shop whose truth is known."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from shopsight.commands.fetch import FetchResult, fetch
from shopsight.commands.review import ReviewResult, review
from shopsight.commands.train import TrainResult, train
from shopsight.datasets.generated_shop import GeneratedShop, generate_shop
from shopsight.datasets.photo_server import served_photos
from shopsight.errors import ShopsightError
from shopsight.files import discard_folder
from shopsight.output_locks import only_writer_of_folder
from shopsight.read_options import ReadOptions
from shopsight.review.decide import DOUBT, FILL

RECIPE = "fast"
PRECISION = 0.85
EXCLUDED = ("untrained-class",)
ACCEPTED = ("rare-class", "unmeasured-class", "exact-duplicate")
PARTS = ("shop", "photos", "run", "review")


@dataclass(frozen=True, eq=False)
class ShopDemoResult:
    """What the shop demo did.

    Attributes:
        shop: the generated shop.
        fetched: its photos.
        trained: the run.
        reviewed: what was filled in and doubted.
        num_right: filled categories that are the true ones.
        num_filled: filled categories.
        num_wrong_found: wrong categories that are doubted.
        took_s: seconds in all.
    """

    shop: GeneratedShop
    fetched: FetchResult
    trained: TrainResult
    reviewed: ReviewResult
    num_right: int
    num_filled: int
    num_wrong_found: int
    took_s: float


def demo_shop(
    *,
    out: str | Path = "demo-shop",
    precision: float = PRECISION,
    products_per_kind: int = 38,
    seed: int = 0,
) -> ShopDemoResult:
    """Generate a shop, fetch its photos, train, review, and write the corrected export.

    The photos are served at 127.0.0.1 while this runs; nothing else is contacted.

    Args:
        out: the folder for the demo's files; a demo that is in it is replaced.
        precision: what is promised of the categories that are filled in.
        products_per_kind: products of each of the eight kinds.
        seed: of the shop and of the training.

    Raises:
        ShopsightError: the folder holds something else.
    """
    started, out = time.monotonic(), Path(out)
    _refuse_strangers(out)
    read = ReadOptions(allow_private=True)
    with only_writer_of_folder(out):
        for part in PARTS:
            discard_folder(out / part)
        with served_photos(out / "shop") as address:
            shop = generate_shop(
                out / "shop", address=address, products_per_kind=products_per_kind, seed=seed
            )
            fetched = fetch(shop.export, out=out / "photos", read=read)
        assert fetched.table is not None, "the photos are there"
        trained = train(
            fetched.table,
            out=out / "run",
            recipe=RECIPE,
            seed=seed,
            exclude=EXCLUDED,
            accept=ACCEPTED,
        )
        reviewed = review(
            out / "run",
            shop.export,
            photos=fetched.table,
            out=out / "review",
            precision=precision,
            write=True,
        )
    filled = reviewed.review.of(FILL).select("product", "suggested").rows()
    doubted = set(reviewed.review.of(DOUBT)["product"].to_list())
    return ShopDemoResult(
        shop=shop,
        fetched=fetched,
        trained=trained,
        reviewed=reviewed,
        num_right=sum(shop.truth[product] == category for product, category in filled),
        num_filled=len(filled),
        num_wrong_found=len(doubted & shop.wrong),
        took_s=time.monotonic() - started,
    )


def _refuse_strangers(out: Path) -> None:
    """The demo replaces its own files, and nothing else."""
    is_own = (out / "shop").is_dir() or not out.is_dir()
    if not is_own and any((out / part).exists() for part in PARTS):
        raise ShopsightError(
            "exists and is not a shop demo",
            where=str(out),
            fix="shopsight demo --shop --out ANOTHER_FOLDER",
        )
