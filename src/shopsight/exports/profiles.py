"""What is said of a platform's export, as data: which of its columns is which.

Names of columns are compared without case, blanks and marks (`canonical`); of several names for one
column the first that the file has counts. Patterns are of such plain names: `image_src`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

LabelColumn = Literal["category", "type", "tags"]
"""What of a product can be its label."""

Grouping = Literal["key", "variants", "parent", "order", "children"]
"""How rows become products.

"key": rows of one key are one product, whose own row is the first that has a title.
"variants": each row is a variant, those of one key are one product.
"parent": rows of variations name the row of their product.
"order": rows of variants and images stand below the row of their product.
"children": a product's row names those of its variants.
"""

Names = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What is known of a platform's export.

    Attributes:
        name: as `--platform` takes it.
        title: what users call such a file.
        anchors: columns that tell it from any other table, each under one of its names.
        marks: columns of which one tells it from a platform with the same anchors.
        grouping: how rows become products.
        key: columns whose first filled cell says which product a row is of.
        parent: columns in which a row of a variation names its product, or a product its variants.
        kind: columns of what a row is.
        own_kinds: what stands there in a product's own row; anything but `variant_kinds` without.
        variant_kinds: what stands there in the row of a variant.
        repeated: columns that are filled in rows which repeat a product in another language.
        text: columns of the title.
        labels: columns of what can be the label.
        every_row: the category stands in the rows of variants too.
        price: columns of the price.
        status: columns of the status.
        statuses: what a cell of the status means, in lower case; other cells stay as they are.
        images: patterns of columns of images, in the order of their positions.
        images_else: patterns of those that are read in rows in which none of `images` is filled.
        several_images: a cell names several images, with commas between them.
        position: columns of the position of a row's image.
        variant_image: columns of the image of a row's variant.
        options: patterns of columns of what tells variants apart.
        options_within: columns of text in which options stand.
        option_pattern: a pattern of an option in them, with one group.
        of_variant: patterns of columns that are filled in the rows of variants.
        attributes: the code of a column that is an attribute.
        attribute_pattern: a pattern of the whole name of an attribute's column, with its `code`.
        attribute_names: a pattern of columns that hold the name of an attribute, with its `number`.
        attribute_values: a pattern of columns that hold its values, with the same `number`.
        attribute_lists: columns of several attributes with their values.
        between_attributes: what stands between these.
        after_code: what stands between the code of such an attribute and its value.
        between_values: patterns of what stands between several values of an attribute.
        levels: what stands between the levels of a category.
        several_categories: what stands between several categories in a cell; "" where a cell holds
            one.
        roots: what stands above all categories, and is no level of a label.
    """

    name: str
    title: str
    anchors: tuple[Names, ...]
    marks: Names = ()
    grouping: Grouping
    key: Names
    parent: Names = ()
    kind: Names = ()
    own_kinds: Names = ()
    variant_kinds: Names = ()
    repeated: Names = ()
    text: Names
    labels: Mapping[LabelColumn, Names]
    every_row: bool = False
    price: Names = ()
    status: Names = ()
    statuses: Mapping[str, str] = field(default_factory=dict)
    images: Names = ()
    images_else: Names = ()
    several_images: bool = False
    position: Names = ()
    variant_image: Names = ()
    options: Names = ()
    options_within: Names = ()
    option_pattern: str = ""
    of_variant: Names = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    attribute_pattern: str = ""
    attribute_names: str = ""
    attribute_values: str = ""
    attribute_lists: Names = ()
    between_attributes: str = ","
    after_code: str = ":"
    between_values: str = ";"
    levels: str = ">"
    several_categories: str = ""
    roots: Names = ()
