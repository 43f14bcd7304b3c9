"""The paths of a taxonomy that are nearest to one that does not exist.

Names that shops write differ by a letter, a plural, a word more, or a parent that is left out. Two
texts are compared by their trigrams, three letters in a row, each weighted by how few paths have it
(tf-idf): "Rings" says more than "Accessories". The similarity of two paths is the mean of two
cosines, that of their last names and that of the whole paths: the former finds the same name
elsewhere in the tree, the latter tells which of several it is.

Every path is a sparse row of unit length; the cosines of a path with all others are one product of
a row and a matrix, a millisecond for twelve thousand paths.

Source: Salton & Buckley 1988, "Term-weighting approaches in automatic text retrieval".
"""

from __future__ import annotations

import html
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float64
from scipy.sparse import csr_array

from shopsight.label_tree import path_parts
from shopsight.progress import task

LEAST_SIMILARITY = 0.2
"""Below, a path is near by a few letters only."""
_PATHS_AT_ONCE = 256


class NearestPaths:
    """Paths that can be searched for the nearest.

    Args:
        paths: of the taxonomy.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = tuple(paths)
        self._level = np.array([len(path_parts(path)) for path in paths])
        self._names = _Texts([path_parts(path)[-1] for path in paths])
        self._whole = _Texts(paths)

    def of(self, paths: Sequence[str], *, most: int = 3) -> list[tuple[str, ...]]:
        """The nearest paths of each, nearest first; of equally near ones the shorter.

        Args:
            paths: those that do not exist.
            most: how many to give.
        """
        found = list[tuple[str, ...]]()
        with task("Nearest paths", len(paths), "paths") as advance:
            for start in range(0, len(paths), _PATHS_AT_ONCE):
                some = paths[start : start + _PATHS_AT_ONCE]
                names = self._names.cosines([path_parts(path)[-1] for path in some])
                near = (names + self._whole.cosines(some)) / 2
                found += [self._best(row, most) for row in near]
                advance(len(some))
        return found

    def _best(self, near: Float64[np.ndarray, "n"], most: int) -> tuple[str, ...]:
        # By similarity to three digits: beyond them the order is that of the files.
        order = np.lexsort((self._level, -np.round(near, 3)))[:most]
        return tuple(self._paths[at] for at in order if near[at] >= LEAST_SIMILARITY)


class _Texts:
    """Texts as rows of weighted trigrams, of unit length."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [Counter(_trigrams(text)) for text in texts]
        having = Counter(one for count in counts for one in count)
        self._index = {trigram: number for number, trigram in enumerate(having)}
        self._weight = np.log((1 + len(texts)) / (1 + np.array(list(having.values())))) + 1
        self._rows = self._weighted(counts)

    def cosines(self, texts: Sequence[str]) -> Float64[np.ndarray, "q n"]:
        """Of each of these texts with each of those."""
        asked = self._weighted([Counter(_trigrams(text)) for text in texts])
        cosines: Float64[np.ndarray, "q n"] = (asked @ self._rows.T).toarray()
        return cosines

    def _weighted(self, counts: Sequence[Counter[str]]) -> csr_array:
        """Trigrams that no text has are left out: they are near to none."""
        rows, columns, values = list[int](), list[int](), list[float]()
        for row, count in enumerate(counts):
            for trigram, number in count.items():
                if trigram in self._index:
                    rows.append(row)
                    columns.append(self._index[trigram])
                    values.append(number * self._weight[self._index[trigram]])
        exact, at = np.array(values, dtype=np.float64), np.array(rows, dtype=np.int64)
        lengths = np.sqrt(np.bincount(at, exact**2, minlength=len(counts)))
        shape = (len(counts), max(len(self._index), 1))
        return csr_array((exact / lengths[at], (at, np.array(columns, np.int64))), shape=shape)


def _trigrams(text: str) -> Iterator[str]:
    """Three letters in a row of each word, of which each end is marked by a blank.

    >>> list(_trigrams("Bags &amp; Été"))
    [' ba', 'bag', 'ags', 'gs ', ' et', 'ete', 'te ']
    """
    decomposed = unicodedata.normalize("NFKD", html.unescape(text)).casefold()
    plain = "".join(one for one in decomposed if not unicodedata.combining(one))
    words = "".join(one if one.isalnum() else " " for one in plain).split()
    for word in words:
        marked = f" {word} "
        for start in range(len(marked) - 2):
            yield marked[start : start + 3]
