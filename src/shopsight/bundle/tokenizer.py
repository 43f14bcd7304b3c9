"""Texts to rows of ids by a tokenizer.json, without torch and without `transformers`.

Cleaning, cutting and padding decide what an encoder sees: SigLIP wants texts without punctuation,
padded to 64 tokens, PE to 32, OpenAI's models to 77. All of it is kept with the tokenizer.
"""

from __future__ import annotations

import html
import json
import string
from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np
from jaxtyping import Int64

from shopsight.bundle.text_info import TOKENIZER_FILE, Cleaning, TokenizerInfo
from shopsight.errors import BundleError, first_line
from shopsight.extras import require

# Cleaning, case, punctuation, accents, other scripts, cutting and padding all show in their ids.
SAMPLE_TEXTS = (
    "A red Shoe!",
    "  Crème brûlée &amp; 1,299.50 €, No. 7: \u201cnew\u201d\n",
    "\u043a\u0440\u0430\u0441\u043d\u044b\u0435 \u8d64\u3044\u9774",
    "shoe " * 200,
)
"""Texts whose ids and vectors tell tokenizers and encoders apart."""
GOLDEN_TOLERANCE = 1e-3
"""How far unit vectors of sample texts may lie from those of the machine that wrote them: fp32 in
another order of summation stays below 1e-5, another activation or mask is above 1e-2."""
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


class KeptTokenizer:
    """A tokenizer and what happens to texts before and behind it.

    Args:
        definition: content of tokenizer.json.
        info: the rest.
        where: the file, for an error.

    Raises:
        BundleError: it is no definition of a tokenizer.
        ExtraMissingError: a library is not installed.
    """

    def __init__(
        self, definition: bytes, info: TokenizerInfo, *, where: str = TOKENIZER_FILE
    ) -> None:
        self.definition = definition
        self.info = info
        self._clean = _cleaner(info.clean)
        self._tokenizer: Any = _opened(definition, info, where)

    def __call__(self, texts: Sequence[str]) -> Int64[np.ndarray, "n t"]:
        """Rows of ids, each of the encoder's length."""
        found = self._tokenizer.encode_batch([self._clean(text) for text in texts])
        shape = len(texts), self.info.context_length
        ids = np.array([one.ids for one in found], np.int64).reshape(shape)
        ids[np.isin(ids, self.info.blank_ids)] = 0
        return ids

    @cached_property
    def sha256(self) -> str:
        """Hash of what it does, not of how its file says it: that differs between versions."""
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        return tokenizer_sha256(vocabulary, self(SAMPLE_TEXTS))


def tokenizer_sha256(vocabulary: Mapping[str, int], sample_ids: Int64[np.ndarray, "k t"]) -> str:
    """Hash the tokens that there are with the ids of `SAMPLE_TEXTS`."""
    content = [sorted(vocabulary.items()), sample_ids.tolist()]
    return sha256(json.dumps(content).encode()).hexdigest()


def _opened(definition: bytes, info: TokenizerInfo, where: str) -> Any:
    library = require("tokenizers")
    try:
        tokenizer = library.Tokenizer.from_str(definition.decode())
        # Not those of the file: a length in there may be any.
        tokenizer.enable_truncation(
            info.context_length, direction="left" if info.cut_left else "right"
        )
        tokenizer.enable_padding(
            direction="left" if info.pad_left else "right",
            pad_id=info.pad_id,
            pad_token=info.pad_token,
            length=info.context_length,
        )
    except Exception as error:  # the library raises nothing narrower
        raise BundleError("is no tokenizer", where=where, details=[first_line(error)]) from error
    return tokenizer


def _cleaner(how: Cleaning) -> Any:
    ftfy = require("ftfy")

    def mended(text: str) -> str:
        # Twice: shops' exports hold "&amp;amp;".
        fixed: str = html.unescape(html.unescape(ftfy.fix_text(text)))
        return fixed

    def whitespace(text: str) -> str:
        return " ".join(mended(text).split())

    def lower(text: str) -> str:
        return whitespace(text).lower()

    def canonicalize(text: str) -> str:
        plain = mended(text).replace("_", " ").translate(_WITHOUT_PUNCTUATION).lower()
        return " ".join(plain.split())

    return {"whitespace": whitespace, "lower": lower, "canonicalize": canonicalize}[how]
