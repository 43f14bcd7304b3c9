"""Names by which users call their columns, and how they are compared."""

from __future__ import annotations

import re
from collections.abc import Sequence

# In order of preference; names are compared in lower case with underscores.
IMAGE_NAMES = (
    "image", "image_path", "img_path", "filepath", "file_path", "path", "image_file", "filename",
    "file_name", "file", "image_name", "img_name", "img", "picture", "photo", "image_url",
    "img_url", "url", "image_id", "name", "id",
)  # fmt: skip
LABEL_NAMES = (
    "label", "labels", "class", "class_name", "category", "category_name", "target", "label_name",
    "article_type", "product_type", "product_category", "type", "categories", "tags", "classes",
    "attributes", "sub_category", "subcategory", "master_category", "class_id", "category_id",
    "label_id", "tag", "y", "label_names", "class_names", "targets", "keywords", "label_ids",
    "class_ids", "category_ids", "attribute_ids",
)  # fmt: skip
VAGUE_LABEL_NAMES = frozenset({"type", "product_type", "tags", "tag", "attributes", "keywords"})
"""Columns of exports have these names too, where they say the same of each row: `simple`."""
GROUP_NAMES = (
    "group", "group_id", "product_id", "product", "sku", "item_id", "item", "listing_id", "spu",
    "asin", "parent_id", "parent_sku", "item_group_id", "handle", "style_id",
    "model_id", "patient_id", "lesion_id", "sender_id", "seller_id", "user_id", "customer_id",
)  # fmt: skip
CONTRIBUTOR_NAMES = frozenset(
    f"{who}{suffix}"
    for who in (
        "sender", "seller", "user", "customer", "patient", "contributor", "uploader",
        "photographer",
    )
    for suffix in ("", "_id")
)  # fmt: skip
"""Groups of these names say who a photo is from, and not which product it shows."""
SPLIT_NAMES = (
    "split", "subset", "set", "usage", "partition", "part", "phase", "dataset", "data_set",
    "data_split", "split_name", "fold_name", "evaluation_status",
)  # fmt: skip
TEXT_NAMES = ("text", "caption", "title", "product_display_name", "product_name", "description")
# x, y, and then width and height (the first list) or the opposite corner (the second).
BOX_NAMES_SIZE = (
    ("box_x", "box_y", "box_w", "box_h"),
    ("bbox_x", "bbox_y", "bbox_w", "bbox_h"),
    ("bbox_x", "bbox_y", "bbox_width", "bbox_height"),
    ("box_x", "box_y", "box_width", "box_height"),
)
BOX_NAMES_CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"),
    ("x1", "y1", "x2", "y2"),
)


def canonical(name: str) -> str:
    """A column name in lower case with underscores.

    >>> canonical("articleType"), canonical("Article Type")
    ('article_type', 'article_type')
    """
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def ranked(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    """The columns whose name is in `names`, best first."""
    canonical_names = {column: canonical(column) for column in columns}
    return sorted(
        (column for column in columns if canonical_names[column] in names),
        key=lambda column: names.index(canonical_names[column]),
    )
