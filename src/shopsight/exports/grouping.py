"""Which product each row of an export is of, and whether it is the product's own row."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import polars as pl

from shopsight.exports.layout import KEY, OF_VARIANT, OPTION, WITHIN
from shopsight.exports.profiles import Grouping, Profile

GROUP, OWN, VARIANT = "group", "own", "of_variant"
"""Of a row the key of its product, whether it may be the product's own, and whether it is of a
variant."""

_SKU = r"(?:^|,)sku=([^,]+)"
# What a variation of Magento says beside its attributes.
_NO_OPTION = r"^(?:sku|price|display|image|qty)="


def with_groups(frame: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """The rows of an export with the columns `group`, `own` and `of_variant`.

    Args:
        frame: the rows, in the order of the files.
        profile: says how rows become products.

    Returns:
        The rows; those that are of no product have no group.
    """
    frame = _WAYS[profile.grouping](frame, profile)
    within = [name for name in frame.columns if name.startswith(WITHIN)]
    for number, name in enumerate(within):
        found = pl.col(name).str.extract_all(profile.option_pattern)
        option = found.list.eval(pl.element().str.extract(profile.option_pattern).str.strip_chars())
        text = option.list.join(" / ").replace_strict("", None, default=option.list.join(" / "))
        frame = frame.with_columns(pl.when(pl.col(VARIANT)).then(text).alias(f"{OPTION}{number}"))
    return frame


def _key(frame: pl.DataFrame) -> pl.Expr:
    """The first filled of the columns of keys."""
    keys = [name for name in frame.columns if name.startswith(KEY)]
    cells = pl.col(keys).str.strip_chars()
    return pl.coalesce(pl.when(cells != "").then(cells))


def _titled(frame: pl.DataFrame) -> pl.Expr:
    return pl.col("text").is_not_null() if "text" in frame.columns else pl.lit(value=True)


def _kind(frame: pl.DataFrame) -> pl.Expr:
    """What a row is, in lower case: of "variation, virtual" the first word."""
    if "kind" not in frame.columns:
        return pl.lit("")
    cells = pl.col("kind").str.to_lowercase().str.split(",").list.first().str.strip_chars()
    return cells.fill_null("")


def _by_key(frame: pl.DataFrame, _: Profile) -> pl.DataFrame:
    marks = [name for name in frame.columns if name.startswith(OF_VARIANT)]
    of_variant = pl.any_horizontal(pl.col(marks).is_not_null()) if marks else pl.lit(value=False)
    return frame.with_columns(
        _key(frame).alias(GROUP), _titled(frame).alias(OWN), of_variant.alias(VARIANT)
    )


def _by_variants(frame: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """Each row is a variant, unless a row says that it is the parent of others."""
    frame = frame.with_columns(_key(frame).alias(GROUP))
    is_parent = _kind(frame).is_in(profile.own_kinds)
    has_parent = is_parent.any().over(GROUP)
    is_several = pl.len().over(GROUP) > 1
    return frame.with_columns(
        (pl.when(has_parent).then(is_parent).otherwise(_titled(frame))).alias(OWN),
        (is_several & ~is_parent).alias(VARIANT),
    )


def _by_parent(frame: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """Rows of variations name their product by its SKU, or by its id as `id:44`."""
    of_variant = _kind(frame).is_in(profile.variant_kinds)
    frame = frame.with_columns(_key(frame).alias(GROUP), of_variant.alias(VARIANT))
    own = frame.filter(~pl.col(VARIANT))
    last = max(name for name in frame.columns if name.startswith(KEY))
    by_id = own.select(pl.format("id:{}", pl.col(last)).alias("parent"), pl.col(GROUP).alias("of"))
    by_key = own.select(pl.col(GROUP).alias("parent"), pl.col(GROUP).alias("of"))
    known = pl.concat([by_key, by_id]).drop_nulls().unique("parent", keep="first")
    parent = pl.col("parent").str.strip_chars()
    parent = parent if "parent" in frame.columns else pl.lit(None, dtype=pl.String)
    frame = frame.with_columns(parent.alias("parent"))
    frame = frame.join(known, on="parent", how="left", maintain_order="left")
    group = pl.when(VARIANT).then(pl.col("of")).otherwise(GROUP)
    return frame.with_columns(group.alias(GROUP), (~pl.col(VARIANT)).alias(OWN))


def _by_order(frame: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """Rows of variants and images stand below the row of their product."""
    kind = _kind(frame)
    is_own = kind.is_in(profile.own_kinds)
    group = pl.when(is_own).then(_key(frame)).forward_fill()
    return frame.with_columns(
        group.alias(GROUP), is_own.alias(OWN), kind.is_in(profile.variant_kinds).alias(VARIANT)
    )


def _by_children(frame: pl.DataFrame, profile: Profile) -> pl.DataFrame:
    """The row of a product names those of its variants, each with its options.

    `sku=TEE-S,size=S,color=Red|sku=TEE-M,size=M,color=Red`
    """
    frame = frame.with_columns(_key(frame).alias(GROUP))
    is_repeated = pl.lit(value=False)
    if "repeated" in frame.columns:
        is_repeated = pl.col("repeated").is_not_null() & (pl.col("repeated") != "admin")
    parents = pl.DataFrame(schema={GROUP: pl.String, "of": pl.String, f"{OPTION}0": pl.String})
    if "parent" in frame.columns:
        parents = _children(frame.filter(~is_repeated))
    frame = frame.join(parents, on=GROUP, how="left", maintain_order="left")
    return frame.with_columns(
        pl.coalesce("of", GROUP).alias(GROUP),
        (pl.col("of").is_null() & ~is_repeated).alias(OWN),
        (pl.col("of").is_not_null() & ~is_repeated).alias(VARIANT),
    )


def _children(frame: pl.DataFrame) -> pl.DataFrame:
    """For each variant its key, that of its product, and its options."""
    each = frame.select(pl.col(GROUP).alias("of"), pl.col("parent").str.split("|")).explode(
        "parent"
    )
    options = (
        pl.col("parent")
        .str.split(",")
        .list.eval(
            pl.element()
            .filter(~pl.element().str.strip_chars().str.contains(_NO_OPTION))
            .str.extract("=(.*)$")
        )
    )
    each = each.select(
        pl.col("parent").str.extract(_SKU).str.strip_chars().alias(GROUP),
        "of",
        options.list.join(" / ").alias(f"{OPTION}0"),
    )
    return each.drop_nulls(GROUP).unique(GROUP, keep="first", maintain_order=True)


_WAYS: Mapping[Grouping, Callable[[pl.DataFrame, Profile], pl.DataFrame]] = {
    "key": _by_key,
    "variants": _by_variants,
    "parent": _by_parent,
    "order": _by_order,
    "children": _by_children,
}
