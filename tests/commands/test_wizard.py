from __future__ import annotations

from pathlib import Path

import polars as pl

from shopsight import api


def test_counts_of_labels_and_the_least_sure_images(tmp_path: Path) -> None:
    table = pl.DataFrame(
        {
            "image": [f"{index}.jpg" for index in range(9)],
            "label": ["hat"] * 5 + ["007"] * 3 + [None],
            "probability": [0.999, 0.5, 0.6, 0.7, 0.8, 0.9, 0.4, 0.995, None],
        }
    )
    table.write_csv(tmp_path / "table.csv")
    found = api.summarize_predictions(tmp_path / "table.csv")
    # Labels stay text; an image that could not be read has none.
    assert found.counts == {"hat": 5, "007": 3}
    assert [image for image, _, _ in found.least_sure] == [f"{i}.jpg" for i in (6, 1, 2, 3, 4)]
    assert found.least_sure[0] == ("6.jpg", "007", 0.4)


def test_a_folder_without_a_bundle_is_no_model(tmp_path: Path) -> None:
    assert not api.is_model(tmp_path)
    assert api.models_below(tmp_path) == []
