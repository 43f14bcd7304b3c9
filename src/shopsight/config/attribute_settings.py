"""The section of attributes: columns of a catalog that get heads of their own."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shopsight.config.reach import NOTHING
from shopsight.config.section import Auto, Fraction, Section, Text

MOST_ATTRIBUTES = 200


class AttributeSettings(Section):
    """Which columns are predicted beside the label: color, pattern, neckline.

    Attributes:
        columns: Their names; "auto" takes the columns of a few words that are filled in often
            enough, see `shopsight.catalog.attribute_columns.find_attributes`.
        precision: The share of values that must be right where one is given; an attribute of one
            value is left empty below the confidence that promises it, see
            `shopsight.metrics.promised_precision`. 0 gives every value.
    """

    columns: Annotated[
        Annotated[tuple[Text, ...], Field(max_length=MOST_ATTRIBUTES)] | Auto, NOTHING
    ] = ()
    precision: Fraction = 0.0
