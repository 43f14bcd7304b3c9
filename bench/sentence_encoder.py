"""A sentence encoder beside the word table: a small network that reads the whole sentence.

It takes a folder as `sentence-transformers` saves one: weights, configuration and `tokenizer.json`
of a BERT whose token vectors are averaged, such as all-MiniLM-L6-v2.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from shopsight.extras import require
from shopsight.unit_vectors import unit_vectors

LONGEST_TOKENS = 256
AT_ONCE = 64


class SentenceEncoder:
    """Unit vectors of texts, in the place of `shopsight.words.word_table.WordTable`."""

    def __init__(self, folder: Path) -> None:
        transformers, tokenizers = require("transformers"), require("tokenizers")
        self._network = transformers.AutoModel.from_pretrained(folder).eval()
        self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(LONGEST_TOKENS)
        self._tokenizer.enable_padding()
        self.dim = int(self._network.config.hidden_size)

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "n t"]:
        found = np.zeros((len(texts), self.dim), np.float32)
        # Alike lengths together: a batch is padded to its longest text.
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        for start in range(0, len(texts), AT_ONCE):
            rows = order[start : start + AT_ONCE]
            found[rows] = self._means([texts[row] for row in rows])
        return unit_vectors(found) if len(texts) else found

    @torch.inference_mode()
    def _means(self, texts: Sequence[str]) -> Float32[np.ndarray, "n t"]:
        encoded = self._tokenizer.encode_batch(list(texts))
        ids = torch.tensor([one.ids for one in encoded])
        mask = torch.tensor([one.attention_mask for one in encoded])
        tokens = self._network(input_ids=ids, attention_mask=mask).last_hidden_state
        weights = mask[..., None].to(tokens.dtype)
        means: Float32[np.ndarray, "n t"] = (
            (tokens * weights).sum(dim=1) / weights.sum(dim=1)
        ).numpy()
        return means
