"""Texts as vectors without a network: the token table of the package `wordllama`.

A table of 32,000 token vectors of 256 numbers and a tokenizer; a text is the mean of its tokens'
vectors. It knows that boots are near shoes, and not what either looks like:
`shopsight.words.pairs` brings that in. Both files are read where pip put them; nothing of the
package is imported, and nothing is downloaded.

**Words in pieces.** The tokenizer knows common words whole and cuts others: "shoes" is one token,
"boots" is "bo" and "ots", which are near boas and boletes. So each word is written in the form that
is cut least: as it is, in lower case, or in the singular of English. That gained .6 to .9 points on
clothes and on groceries, the images that it was chosen on (docs/log.md).

The table derives from the token vectors of Llama 2. Its license is MIT; see docs/dependencies.md.

Source: https://github.com/dleemiller/WordLlama
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
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
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
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
    _whole: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return int(self.vectors.shape[1])

    def embed(self, texts: Sequence[str]) -> Float32[np.ndarray, "n 256"]:
        """Unit vectors of texts; a row of zeros where a text has no token."""
        found = np.zeros((len(texts), self.dim), np.float32)
        cut = [self._in_whole_words(text[:LONGEST_TEXT]) for text in texts]
        for row, encoded in enumerate(self.tokenizer.encode_batch(cut, add_special_tokens=False)):
            if encoded.ids:
                found[row] = self.vectors[np.asarray(encoded.ids)].mean(axis=0)
        usable = have_direction(found) if len(found) else np.zeros(0, bool)
        found[usable] = unit_vectors(found[usable])
        return found

    def _in_whole_words(self, text: str) -> str:
        """The words of a text, each in the form that is cut into the fewest tokens."""
        return " ".join(self._least_cut(word) for word in _WORD.findall(text)) or text

    def _least_cut(self, word: str) -> str:
        if word not in self._whole:
            forms = list(_forms(word))
            counts = [
                len(self.tokenizer.encode(one, add_special_tokens=False).ids) for one in forms
            ]
            self._whole[word] = forms[counts.index(min(counts))]
        return self._whole[word]


def _forms(word: str) -> dict[str, None]:
    """A word as it is, in lower case, and in what may be its singular."""
    lower = word.lower()
    forms = [word, lower]
    if lower.endswith("ies") and len(lower) > 4:
        forms.append(f"{lower[:-3]}y")
    if lower.endswith("es") and len(lower) > 4:
        forms.append(lower[:-2])
    if lower.endswith("s") and not lower.endswith("ss") and len(lower) > 3:
        forms.append(lower[:-1])
    return dict.fromkeys(forms)


def has_words() -> bool:
    """Whether the extra `words` is installed."""
    return all(importlib.util.find_spec(name) for name in ("wordllama", "tokenizers"))


@cache
def open_word_table() -> WordTable:
    """Read the table; once, as it takes a tenth of a second.

    Raises:
        ExtraMissingError: the extra `words` is not installed, or not whole.
    """
    package = importlib.util.find_spec("wordllama")
    if package is None or package.submodule_search_locations is None:
        raise ExtraMissingError("wordllama is not installed", fix='pip install "shopsight[words]"')
    folder = Path(next(iter(package.submodule_search_locations)))
    for name in (TOKENIZER_FILE, TABLE_FILE):
        if not (folder / name).is_file():
            raise ExtraMissingError(
                f"wordllama is installed without its {name}",
                where=str(folder),
                fix='pip install --force-reinstall "shopsight[words]"',
            )
    tokenizer = require("tokenizers").Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    table = safetensors.numpy.load_file(folder / TABLE_FILE)[TABLE_KEY]
    return WordTable(np.asarray(table, np.float32), tokenizer)
