"""Turn a tokenizer of open_clip into one that a bundle can hold.

open_clip has its own, of CLIP's byte pairs, and wraps those of `transformers`. Both become a
tokenizer.json of the library `tokenizers`, which is what those of `transformers` are inside.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import numpy as np

from shopsight.bundle.text_info import Cleaning, TokenizerInfo
from shopsight.bundle.tokenizer import SAMPLE_TEXTS, KeptTokenizer
from shopsight.errors import BundleError
from shopsight.extras import require

# What open_clip splits texts at before it looks for byte pairs; special tokens are split off first.
_PIECES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_END_OF_WORD = "</w>"
_CLEANING: dict[str, Cleaning] = {
    "_clean_lower": "lower",
    "_clean_canonicalize": "canonicalize",
    "_clean_whitespace": "whitespace",
}


def kept_tokenizer(tokenizer: Any) -> KeptTokenizer | None:
    """The same tokenizer as a file and its settings.

    Args:
        tokenizer: of open_clip, which gives rows of ids for a list of texts.

    Returns:
        None where it does anything that such a file cannot say: sample texts get other ids.
    """
    clean = _CLEANING.get(getattr(tokenizer.clean_fn, "__name__", ""))
    if clean is None:
        return None
    try:
        kept = _wrapped(tokenizer, clean) or _own(tokenizer, clean)
    except (AttributeError, BundleError):
        # A tokenizer of `transformers` without the library behind it, or none at all.
        return None
    wanted = tokenizer(list(SAMPLE_TEXTS)).numpy()
    return kept if np.array_equal(kept(SAMPLE_TEXTS), wanted) else None


def _wrapped(tokenizer: Any, clean: Cleaning) -> KeptTokenizer | None:
    """Of `transformers`; None of open_clip's own."""
    inner = getattr(tokenizer, "tokenizer", None)
    if inner is None:
        return None
    definition = inner.backend_tokenizer.to_str().encode()
    strips = getattr(tokenizer, "strip_sep_token", False)
    info = TokenizerInfo(
        clean=clean,
        context_length=tokenizer.context_length,
        pad_id=inner.pad_token_id,
        pad_token=inner.pad_token,
        pad_left=inner.padding_side == "left",
        cut_left=inner.truncation_side == "left",
        blank_ids=(inner.sep_token_id,) if strips else (),
        file_sha256=sha256(definition).hexdigest(),
    )
    return KeptTokenizer(definition, info)


def _own(tokenizer: Any, clean: Cleaning) -> KeptTokenizer:
    """CLIP's byte pairs: a start, the pieces, an end, zeros."""
    require("tokenizers")
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors

    vocabulary = tokenizer.encoder
    special = [token for token, i in vocabulary.items() if i in set(tokenizer.all_special_ids)]
    start, end = special[:2]
    built = Tokenizer(
        models.BPE(
            vocab=vocabulary, merges=list(tokenizer.bpe_ranks), end_of_word_suffix=_END_OF_WORD
        )
    )
    built.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    built.add_special_tokens(special)
    built.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        special_tokens=[(token, vocabulary[token]) for token in (start, end)],
    )
    definition = built.to_str().encode()
    info = TokenizerInfo(
        clean=clean,
        context_length=tokenizer.context_length,
        pad_id=0,
        pad_token=tokenizer.decoder[0],
        file_sha256=sha256(definition).hexdigest(),
    )
    return KeptTokenizer(definition, info)
