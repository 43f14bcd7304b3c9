"""Texts as vectors without a network: the token table of the package `wordllama`.

A table of 32,000 token vectors of 256 numbers and a tokenizer; a text is the mean of its tokens'
vectors. It knows that boots are near shoes, and not what either looks like:
`shopsight.words.pairs` brings that in. Both files are read where pip put them; nothing of the
package is imported, and nothing is downloaded.

The table was distilled from the token vectors of large language models, those of Llama 2 among
them. Its license is MIT; see docs/dependencies.md.

Source: https://github.com/dleemiller/WordLlama
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from jaxtyping import Float32

from shopsight.errors import ExtraMissingError
from shopsight.extras import require
from shopsight.unit_vectors import have_direction, unit_vectors

TOKENIZER_FILE = Path("tokenizers") / "l2_supercat_tokenizer_config.json"
TABLE_FILE = Path("weights") / "l2_supercat_256.safetensors"
TABLE_KEY = "embedding.weight"
LONGEST_TEXT = 10_000
"""Characters; what follows is not read."""


@dataclass(frozen=True, eq=False)
class WordTable:
    """Token vectors and their tokenizer. See `open_word_table`.

    Attributes:
        vectors: one for each token.
        tokenizer: of the library `tokenizers`.
    """

    vectors: Float32[np.ndarray, "t 256"]
    tokenizer: Any

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return int(self.vectors.shape[1])

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "n 256"]:
        """Unit vectors of texts; a row of zeros where a text has no token."""
        found = np.zeros((len(texts), self.dim), np.float32)
        cut = [text[:LONGEST_TEXT] for text in texts]
        for row, encoded in enumerate(self.tokenizer.encode_batch(cut, add_special_tokens=False)):
            if encoded.ids:
                found[row] = self.vectors[np.asarray(encoded.ids)].mean(axis=0)
        usable = have_direction(found) if len(found) else np.zeros(0, bool)
        found[usable] = unit_vectors(found[usable])
        return found


def has_words() -> bool:
    """Whether the extra `words` is installed."""
    return all(importlib.util.find_spec(name) for name in ("wordllama", "tokenizers"))


@cache
def open_word_table() -> WordTable:
    """Read the table; once, as it takes a tenth of a second.

    Raises:
        ExtraMissingError: the extra `words` is not installed.
    """
    tokenizers = require("tokenizers")
    package = importlib.util.find_spec("wordllama")
    if package is None or package.submodule_search_locations is None:
        raise ExtraMissingError("wordllama is not installed", fix='pip install "shopsight[words]"')
    folder = Path(next(iter(package.submodule_search_locations)))
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    table = safetensors.numpy.load_file(folder / TABLE_FILE)[TABLE_KEY]
    return WordTable(np.asarray(table, np.float32), tokenizer)
