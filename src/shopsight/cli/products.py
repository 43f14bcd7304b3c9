"""How `shopsight predict --by product` shows its answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from shopsight import api
from shopsight.cli.output import print_line, print_note
from shopsight.control_characters import json_text


def show_products(
    predictions: Iterator[api.ProductPrediction], *, lines: bool, json: bool = False
) -> int:
    """Take all predictions, print each if wanted, and count photos that could not be read.

    Args:
        predictions: of products.
        lines: print a line for each, and its photos that disagree.
        json: print a JSON list instead.
    """
    products = labeled = photos = unread = split = 0
    for prediction in predictions:
        products += 1
        labeled += prediction.error is None
        photos += prediction.num_photos
        unread += len(prediction.unread)
        split += bool(prediction.disagreeing)
        for one in prediction.unread:
            print_note(f"not read: {one.error}")
        if json:
            sys.stdout.write("[\n" if products == 1 else ",\n")
            sys.stdout.write(json_text(prediction.to_json()))
        elif lines and prediction.error is None:
            _print(prediction)
    if json:
        sys.stdout.write("\n]\n" if products else "[]\n")
    without = products - labeled
    rest = f", {api.counted(without, 'product')} without a label" if without else ""
    print_note(
        f"{api.counted(labeled, 'product')} labeled by {api.counted(photos, 'photo')}, "
        f"{api.count_text(split)} with photos that disagree; "
        f"{api.counted(unread, 'photo')} not readable{rest}"
    )
    return unread


def node_text(prediction: api.Prediction | api.ProductPrediction) -> str:
    """The deepest path that is sure enough, where it was asked for."""
    if prediction.node is None:
        return ""
    found = prediction.node or "no path is sure enough"
    probability = f" {api.percent_text(prediction.node_probability)}" * bool(prediction.node)
    return f"{found}{probability}; labels: "


def _print(prediction: api.ProductPrediction) -> None:
    pairs = zip(prediction.labels, prediction.probabilities, strict=True)
    guesses = ", ".join(f"{label} {api.percent_text(value)}" for label, value in pairs)
    guesses = f"{node_text(prediction)}{guesses}"
    if prediction.product is None:
        print_line(f"{prediction.decided_by}: {guesses}")
        return
    photos = api.counted(prediction.num_photos, "photo")
    by = f", decided by {prediction.decided_by}" if prediction.num_photos > 1 else ""
    print_line(f"{prediction.product} ({photos}{by}): {guesses}")
    for one in prediction.disagreeing:
        print_line(f"  disagrees: {one.source}: {one.label} {api.percent_text(one.probability)}")
