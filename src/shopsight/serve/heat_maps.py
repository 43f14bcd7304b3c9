"""Where the network looked, as a small map over the upright image; made only when it is asked for.

`shopsight.inference.explain` makes it as large as the photo, which a page does not need and a photo
of a phone would make expensive.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shopsight.images.decode import header
from shopsight.images.model_input import preprocess_image
from shopsight.images.undo_preprocess import undone
from shopsight.inference.explain import cells_for
from shopsight.inference.predictor import Predictor

MAP_PX = 32
"""Cells on the longer side."""
MOST_MAPS = 8
"""Images of a request: where no exact map is known, each is computed 49 times."""


def heat_map(predictor: Predictor, data: bytes, label: str) -> dict[str, Any]:
    """What speaks for a label in an image: cells from 0 to 255, row by row.

    Args:
        predictor: the model.
        data: the image, which can be read: see `check_upload`.
        label: one of the model's.
    """
    preprocess = predictor.preprocess
    _, looked = cells_for(predictor, preprocess_image(data, preprocess), label)
    known = header(data)
    longer = max(known.width, known.height)
    width, height = (max(1, round(MAP_PX * side / longer)) for side in (known.width, known.height))
    heat = np.nan_to_num(undone(looked, width, height, preprocess)).clip(0)
    cells = (255 * heat / max(float(heat.max()), 1e-12)).round().astype(int)
    return {"width": width, "height": height, "cells": cells.tolist()}
