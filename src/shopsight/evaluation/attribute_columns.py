"""What a model says of attributes, and what is known of them: columns of the table of predictions.

For each attribute NAME: `attribute.NAME`, the values that are known, null where none is;
`attribute.NAME.unknown`, whether the cell holds a value that the model does not have;
`attribute.NAME.predicted`, its values; `.confidence` in them; and `.given`, whether they are given
as an answer: the attribute applies to the predicted label, and the confidence is enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import polars as pl

from shopsight.catalog.attribute_columns import attribute_column, known_values
from shopsight.catalog.catalog import Catalog
from shopsight.inference.attribute_answers import AttributeReader, HeadAnswers
from shopsight.inference.engine import Outputs

PREFIX = "attribute."


@dataclass(frozen=True)
class PredictedAttribute:
    """An attribute whose columns a table of predictions has.

    Attributes:
        name: of it.
        several: whether an image has several values.
    """

    name: str
    several: bool

    @property
    def truth(self) -> str:
        """Column of the values that are known."""
        return f"{PREFIX}{self.name}"

    @property
    def unknown(self) -> str:
        """Column of whether the known values are none of the model's."""
        return f"{PREFIX}{self.name}.unknown"

    @property
    def predicted(self) -> str:
        """Column of the model's values."""
        return f"{PREFIX}{self.name}.predicted"

    @property
    def confidence(self) -> str:
        """Column of the confidence in them."""
        return f"{PREFIX}{self.name}.confidence"

    @property
    def given(self) -> str:
        """Column of whether they are given as an answer."""
        return f"{PREFIX}{self.name}.given"


class AttributeColumns:
    """Listens to the embeddings of a part's images.

    Args:
        reader: the heads of the model.
        part: the images.
    """

    def __init__(self, reader: AttributeReader, part: Catalog) -> None:
        self._reader, self._part = reader, part
        self._answers: list[list[HeadAnswers]] = [[] for _ in reader.heads]

    @property
    def attributes(self) -> tuple[PredictedAttribute, ...]:
        """Those of the model, in their order."""
        return tuple(PredictedAttribute(one.name, one.several) for one in self._reader.heads)

    def listening(self, outputs: Iterable[Outputs]) -> Iterator[Outputs]:
        """The same batches, of all images in their order."""
        for some in outputs:
            for kept, found in zip(self._answers, self._reader.of_heads(some[0]), strict=True):
                kept.append(found)
            yield some

    def columns(self, predicted: pl.Series) -> pl.DataFrame:
        """The columns, when all batches have passed.

        Args:
            predicted: the label, or the labels, that each image was given.
        """
        labels = predicted.to_list()
        lists = labels if isinstance(predicted.dtype, pl.List) else [[one] for one in labels]
        found = dict[str, pl.Series]()
        for number, one in enumerate(self.attributes):
            batches = self._answers[number]
            reaches = [value for batch in batches for value in batch.reaches]
            applies = [self._reader.applies(number, own) for own in lists]
            found |= self._known(number, one)
            found[one.predicted] = pl.Series(
                [list(values) for batch in batches for values in batch.values],
                dtype=pl.List(pl.String),
            )
            found[one.confidence] = pl.Series(
                [value for batch in batches for value in batch.confidence], dtype=pl.Float32
            )
            found[one.given] = pl.Series(reaches, dtype=pl.Boolean) & pl.Series(
                applies, dtype=pl.Boolean
            )
        return pl.DataFrame(found)

    def _known(self, number: int, attribute: PredictedAttribute) -> dict[str, pl.Series]:
        """What the catalog says; nothing where it has no such column."""
        table, size = self._part.table, len(self._part)
        if attribute.name not in table.columns:
            cells = pl.Series([None] * size, dtype=pl.List(pl.String))
            return {attribute.truth: cells, attribute.unknown: pl.Series([False] * size)}
        column = attribute_column(table, attribute.name)
        cells, _ = known_values(column, self._reader.heads[number].values)
        unknown = column.cells.is_not_null() & cells.is_null()
        return {attribute.truth: cells, attribute.unknown: unknown}
