"""Embeds a catalog until it is killed: `killed_build.py build|migrate PHOTOS INDEX`.

Says that it begins; the engine is built in a process of its own, as of a large index.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from collections.abc import Iterator
from typing import Any

from shopsight.datasets.open import open_catalog
from shopsight.embeddings.embed_rows import embed_rows
from shopsight.inference.image_stream import ImageInputs
from shopsight.inference.predictor import Embedding
from shopsight.search import builder, changes, maintain
from shopsight.search.build import build
from shopsight.search.index import open_index
from shopsight.search.maintain import migrate
from tests.search.vectors import SeededEmbedder

SECONDS_AN_IMAGE = 0.01


class Slow(SeededEmbedder):
    """Takes its time, so that a kill meets it."""

    def embed(self, images: ImageInputs, **options: Any) -> Iterator[Embedding]:
        for one in super().embed(images, **options):
            time.sleep(SECONDS_AN_IMAGE)
            yield one


def main() -> None:
    verb, photos, index = sys.argv[1:]
    catalog = open_catalog(photos)
    builder.SMALL = 0
    changes.embed_rows = partial(embed_rows, at_once=4)  # type: ignore[attr-defined]
    maintain.ROWS_AT_ONCE = 4  # type: ignore[attr-defined]
    sys.stdout.write("begins\n")
    sys.stdout.flush()
    if verb == "build":
        build(Slow("a"), catalog, index)
    else:
        with open_index(index) as opened:
            migrate(opened, Slow("b"))
    sys.stdout.write("done\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
