"""Prices as shops write them: "89.00", "89.0 EUR", "1.299,00 €"."""

from __future__ import annotations

import polars as pl

_SYMBOLS = {"€": "EUR", "$": "USD", "£": "GBP", "¥": "JPY"}


def read_prices(cells: pl.Expr) -> tuple[pl.Expr, pl.Expr]:
    """The number of each price, and its currency by its code; null where there is none.

    Of two kinds of marks in a number the last stands before the decimals; of one kind, a comma that
    stands once and not before three digits does.

    >>> prices = pl.DataFrame({"p": ["89.00", "1.299,00 €", "USD 1,299", "12,5", "free"]})
    >>> prices.select(read_prices(pl.col("p"))[0]).to_series().to_list()
    [89.0, 1299.0, 1299.0, 12.5, None]
    """
    text = cells.str.strip_chars()
    code = text.str.extract(r"(?:^|[\d\s])([A-Z]{3})(?:$|[\d\s])")
    symbol = text.str.extract("([€$£¥])").replace_strict(_SYMBOLS, default=None)
    number = text.str.extract(r"(\d(?:[\d.,'\s]*\d)?)").str.replace_all(r"[\s']", "")
    is_european = number.str.contains(r"^\d+,\d{1,2}$|^\d+,\d{4,}$|\..*,|^\d{1,3}(?:\.\d{3}){2,}$")
    european = number.str.replace_all(".", "", literal=True).str.replace_all(",", ".", literal=True)
    english = number.str.replace_all(",", "", literal=True)
    plain = pl.when(is_european).then(european).otherwise(english)
    return plain.cast(pl.Float64, strict=False), pl.coalesce(code, symbol)
