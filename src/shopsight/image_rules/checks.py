"""The kinds of checks that a rule can be: what each takes, and how it judges a table of images.

A check is polars expressions over the columns of `ImageFacts.table`: whether a row fails (null
where that cannot be said), what was measured, and in words what the rule asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from shopsight.image_rules.pixels import NEAR_WHITE
from shopsight.images.kinds import SUFFIXES_OF_FORMAT
from shopsight.text import human_bytes

WHITES: Mapping[str, str] = {"near": "near_white", "pure": "pure_white"}
"""What a rule may call white, and its column: levels of 240 and more, or 255 alone."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What a rule compares with.

    Attributes:
        min: the least value that passes; None without one.
        max: the largest value that passes; None without one.
        allowed: words that pass.
        white: which white is meant, a key of `WHITES`.
    """

    min: float | None = None
    max: float | None = None
    allowed: tuple[str, ...] = ()
    white: str = "near"


@dataclass(frozen=True)
class Judged:
    """A check as expressions.

    Attributes:
        fails: whether a row breaks the rule; null where that cannot be said.
        measured: what was measured, as text.
        unknown: why it cannot be said, in words; for rows where `fails` is null.
    """

    fails: pl.Expr
    measured: pl.Expr
    unknown: pl.Expr


@dataclass(frozen=True)
class Check:
    """A kind of check.

    Attributes:
        takes: keys of a rule that it uses, of those of `Limit`.
        needs: of these, one must be given; empty where none is needed.
        judge: makes the expressions.
        needed: what the rule asks for, in words.
        numbers: the numbers that `min` and `max` may be.
        words: the words that `allowed` may have; empty for any.
        is_hint: it points at something to look at, and cannot be a warning.
    """

    takes: tuple[str, ...]
    needs: tuple[str, ...]
    judge: Callable[[Limit], Judged]
    needed: Callable[[Limit], str]
    numbers: tuple[float, float] = (0, 1e12)
    words: tuple[str, ...] = ()
    is_hint: bool = False


_NOT_MEASURED = pl.lit("the file was not read")
_NEVER = pl.lit("")


def _size_text() -> pl.Expr:
    return pl.format("{} x {} px", "width", "height")


def _outside(value: pl.Expr, limit: Limit) -> pl.Expr:
    fails = pl.lit(value=False)
    if limit.min is not None:
        fails = fails | (value < limit.min)
    if limit.max is not None:
        fails = fails | (value > limit.max)
    return pl.when(value.is_not_null()).then(fails)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,}"


def _between(limit: Limit, number: Callable[[float], str], unit: str = "") -> str:
    if limit.min is not None and limit.max is not None:
        return f"{number(limit.min)} to {number(limit.max)}{unit}"
    if limit.min is not None:
        return f"at least {number(limit.min)}{unit}"
    assert limit.max is not None
    return f"at most {number(limit.max)}{unit}"


def _square(px: float) -> str:
    return f"{px:.0f} x {px:.0f} px"


def _of_size(value: pl.Expr) -> Callable[[Limit], Judged]:
    def judge(limit: Limit) -> Judged:
        fails = pl.when(pl.col("fetched_smaller")).then(None).otherwise(_outside(value, limit))
        unknown = pl.when(pl.col("fetched_smaller")).then(
            pl.lit("a smaller copy was fetched, not the original")
        )
        return Judged(fails, _size_text(), unknown.otherwise(_NOT_MEASURED))

    return judge


_SHORTEST = pl.min_horizontal("width", "height")
_LONGEST = pl.max_horizontal("width", "height")
_MEGAPIXELS = pl.col("width").cast(pl.Float64) * pl.col("height") / 1e6


def _bytes(limit: Limit) -> Judged:
    size = pl.col("bytes")
    text = pl.format("{} bytes", size)
    fails = pl.when(~pl.col("fetched_smaller")).then(_outside(size, limit))
    return Judged(fails, text, pl.lit("a smaller copy was fetched, not the original"))


def _format(limit: Limit) -> Judged:
    kind = pl.col("format")
    return Judged(~kind.is_in(list(limit.allowed)), kind, _NOT_MEASURED)


def _suffix(limit: Limit) -> Judged:
    del limit
    known = {name: sorted(suffixes) for name, suffixes in SUFFIXES_OF_FORMAT.items()}
    every = sorted({suffix for suffixes in known.values() for suffix in suffixes})
    suffix, kind = pl.col("suffix"), pl.col("format")
    fits = pl.any_horizontal(
        (kind == name) & suffix.is_in(suffixes) for name, suffixes in known.items()
    )
    # A name without the suffix of an image says nothing that is wrong.
    fails = pl.when(kind.is_not_null()).then(suffix.is_in(every) & ~fits)
    return Judged(fails, pl.format("{} holds {}", "suffix", "format"), _NOT_MEASURED)


def _still(limit: Limit) -> Judged:
    del limit
    return Judged(pl.col("is_animated"), pl.lit("animated"), _NOT_MEASURED)


def _color_space(limit: Limit) -> Judged:
    space = pl.col("color_space")
    allowed = [word.lower() for word in limit.allowed]
    return Judged(~space.str.to_lowercase().is_in(allowed), space, _NOT_MEASURED)


def _white_border(limit: Limit) -> Judged:
    share = pl.col(WHITES[limit.white])
    # Where a product goes beyond an edge it covers part of the border: of the rest the same part
    # may be white as of all of it.
    of_ground = share / pl.col("near_white")
    fails = (
        pl.when(share >= limit.min)
        .then(pl.lit(value=False))
        .when(pl.col("is_cut") & (of_ground >= limit.min))
        .then(None)
        .otherwise(_outside(share, limit))
    )
    measured = pl.format(
        "{} pure white, {} near white", _shares("pure_white"), _shares("near_white")
    )
    cut = pl.lit("the ground is white, and the product goes beyond an edge")
    return Judged(fails, measured, pl.when(pl.col("is_cut")).then(cut).otherwise(_NOT_MEASURED))


def _fill(limit: Limit) -> Judged:
    """Judge by what is surely product, and by all that might be."""
    least, most = pl.col("fill"), pl.col("most_fill")
    too_small = pl.lit(value=False)
    if limit.min is not None:
        too_small = (
            pl.when(least >= limit.min)
            .then(pl.lit(value=False))
            .when(most < limit.min)
            .then(pl.lit(value=True))
        )
    too_large = pl.lit(value=False)
    if limit.max is not None:
        too_large = (
            pl.when(most <= limit.max)
            .then(pl.lit(value=False))
            .when(least > limit.max)
            .then(pl.lit(value=True))
        )
    share = _shares("fill")
    span = pl.format("{} to {}", share, _shares("most_fill"))
    unknown = (
        pl.when(pl.col("near_white").is_null())
        .then(_NOT_MEASURED)
        .when(least.is_null())
        .then(pl.lit("the ground is not white"))
        .when(pl.col("is_cut"))
        .then(pl.lit("the product goes beyond an edge"))
        .otherwise(pl.lit("light product on white"))
    )
    fails = pl.when(least.is_not_null()).then(too_small | too_large)
    return Judged(fails, pl.when(most - least > 0.01).then(span).otherwise(share), unknown)


def _frame(limit: Limit) -> Judged:
    del limit
    width = pl.col("frame_px")
    return Judged(width > 0, pl.format("{} px of {}", width, "frame_color"), _NOT_MEASURED)


def _edges(limit: Limit) -> Judged:
    del limit
    sides = pl.col("touched")
    return Judged(sides != "", sides, _NOT_MEASURED)


def _address(limit: Limit) -> Judged:
    # Local files have no address, and none is wrong.
    fault, length = pl.col("address_fault"), pl.col("address").str.len_chars()
    if limit.max is not None:
        fault = (
            pl.when(length > limit.max).then(pl.format("{} characters", length)).otherwise(fault)
        )
    return Judged(fault.is_not_null(), fault, _NEVER)


def _original(limit: Limit) -> Judged:
    del limit
    return Judged(pl.col("shrunk_by").is_not_null(), pl.col("shrunk_by"), _NEVER)


def _shared(limit: Limit) -> Judged:
    count = pl.col("products_with_image")
    return Judged(_outside(count, limit), pl.format("{} products", count), _NOT_MEASURED)


def _blank(limit: Limit) -> Judged:
    del limit
    return Judged(pl.col("is_blank"), pl.lit("one color"), _NOT_MEASURED)


def _shares(column: str) -> pl.Expr:
    """A column of fractions as text, never rounded up to a limit that it does not reach."""
    tenths = (pl.col(column) * 1000).floor().cast(pl.Int64)
    return pl.format("{}.{} %", tenths // 10, tenths % 10)


def _always(text: str) -> Callable[[Limit], str]:
    return lambda limit: text


def _bounds(number: Callable[[float], str], unit: str) -> Callable[[Limit], str]:
    return lambda limit: _between(limit, number, unit)


def _address_needed(limit: Limit) -> str:
    length = "" if limit.max is None else f", {_between(limit, _number)} characters"
    return f"an ASCII address without blanks and commas{length}"


def _whites(limit: Limit) -> str:
    white = "pure white (255)" if limit.white == "pure" else f"near white ({NEAR_WHITE} or more)"
    return f"{_between(limit, _percent, ' %')} of the border {white}"


def _one_of(limit: Limit) -> str:
    *others, last = limit.allowed
    return f"{', '.join(others)} or {last}" if others else last


def _percent(share: float) -> str:
    return f"{100 * share:g}"


_BOUNDS = ("min", "max")
CHECKS: Mapping[str, Check] = {
    "shortest-side": Check(_BOUNDS, _BOUNDS, _of_size(_SHORTEST), _bounds(_square, "")),
    "longest-side": Check(
        _BOUNDS, _BOUNDS, _of_size(_LONGEST), _bounds(_number, " px on the longest side")
    ),
    "megapixels": Check(_BOUNDS, _BOUNDS, _of_size(_MEGAPIXELS), _bounds(_number, " megapixels")),
    "bytes": Check(_BOUNDS, _BOUNDS, _bytes, _bounds(human_bytes, "")),
    "format": Check(("allowed",), ("allowed",), _format, _one_of, words=tuple(SUFFIXES_OF_FORMAT)),
    "suffix": Check((), (), _suffix, _always("a suffix that fits the content")),
    "still": Check((), (), _still, _always("a still image")),
    "color-space": Check(("allowed",), ("allowed",), _color_space, _one_of),
    "white-border": Check(("min", "white"), ("min",), _white_border, _whites, numbers=(0, 1)),
    "fill": Check(
        _BOUNDS, _BOUNDS, _fill, _bounds(_percent, " % of the width or height"), numbers=(0, 1)
    ),
    "frame": Check((), (), _frame, _always("no frame of one color")),
    "edges": Check((), (), _edges, _always("the whole product within the image"), is_hint=True),
    "address": Check(("max",), (), _address, _address_needed),
    "original": Check((), (), _original, _always("the address of the original")),
    "placeholder": Check(
        ("max",),
        ("max",),
        _shared,
        lambda limit: f"the image of {_between(limit, _number)} products",
    ),
    "blank": Check((), (), _blank, _always("an image of more than one color")),
}
"""Every kind of check, by the word that a rule's `check` says."""
