"""What is said of an image: its label in a sentence, or its text in the catalog."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from shopsight.catalog.catalog import Catalog
from shopsight.config.recipe import Recipe
from shopsight.errors import ConfigError
from shopsight.words.class_lists import PROMPTS, classes_of_labels


class Captions:
    """A caption for each image of a step.

    Args:
        catalog: labeled images, with texts where those are asked for.
        recipe: `contrastive.captions` and `zero_shot.prompts` decide.

    Raises:
        ConfigError: the catalog has no texts, or images with several labels; or all training
            images would have one caption.
    """

    def __init__(self, catalog: Catalog, recipe: Recipe) -> None:
        self._kind = recipe.contrastive.captions
        if catalog.multilabel:
            raise ConfigError(
                "contrastive training takes one label an image; here images have several",
                where="training.mode",
                fix="--set training.mode=finetune",
            )
        if self._kind != "labels" and "text" not in catalog.table.columns:
            raise ConfigError(
                "the catalog has no texts",
                where="contrastive.captions",
                fix="--text COLUMN, or --set contrastive.captions=labels",
            )
        self._prompts = recipe.zero_shot.prompts or PROMPTS
        self._phrases = [one.phrases()[0] for one in classes_of_labels(catalog.labels)]
        self._labels = np.asarray(catalog.targets(catalog.labels), np.int64)
        self._texts: list[str] | None = None
        if self._kind != "labels":
            self._texts = [str(text or "") for text in catalog.table["text"].to_list()]
        split = "split" in catalog.table.columns
        self._check_differ(catalog.rows_of("train") if split else np.arange(len(catalog)))

    def of(self, rows: Int64[np.ndarray, "n"]) -> list[str]:
        """A caption for each row; torch's generator takes the sentences.

        An image without a text has its label's sentence where labels are captions too, and else an
        empty one.
        """
        sentences = torch.randint(len(self._prompts), (len(rows),)).tolist()
        coins = torch.rand(len(rows)).tolist()
        found = []
        for row, sentence, coin in zip(rows.tolist(), sentences, coins, strict=True):
            text = self._texts[row] if self._texts is not None else ""
            if self._kind == "text" or (text and coin < 0.5):
                found.append(text)
            else:
                found.append(self._prompts[sentence].format(self._phrases[self._labels[row]]))
        return found

    def labels_of(self, rows: Int64[np.ndarray, "n"]) -> Int64[Tensor, "n"]:
        """A number for the label of each row."""
        return torch.from_numpy(self._labels[rows])

    def _check_differ(self, train: Int64[np.ndarray, "m"]) -> None:
        said: set[object] = set()
        if self._kind != "text":
            said |= {int(self._labels[row]) for row in train}
        if self._texts is not None:
            said |= {self._texts[row] for row in train}
        if len(said) < 2:
            raise ConfigError(
                "all captions are alike: there is nothing to tell apart",
                where="contrastive.captions",
                fix="DATA with several labels, or --set contrastive.captions=both   (with texts)",
            )


def caption_numbers(captions: Sequence[str]) -> Int64[Tensor, "n"]:
    """A number for each text, the same in every process."""
    digests = [blake2b(one.encode(), digest_size=8).digest() for one in captions]
    return torch.tensor([int.from_bytes(one, "little", signed=True) for one in digests])
