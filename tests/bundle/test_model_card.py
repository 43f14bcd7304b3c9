from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shopsight.bundle.model_card import model_card


def test_the_card_names_data_score_usage_and_labels(folder: Path) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# Small\n\nTrained on `photos`")
    assert "Validation accuracy 75.00% on 8 images, on which" in card
    assert 'model = shopsight.load("model")' in card
    assert "28 x 28\npixels" in card
    assert "temperature\n1.500." in card
    assert card.endswith("## Labels\n\n- dress\n- hat\n- shoe\n")
    assert "rendered by a program" not in card


def test_the_card_of_folds_and_of_synthetic_images(parts: dict[str, Any]) -> None:
    info = parts["info"].model_copy(update={"synthetic": True})
    folds = [{"val_accuracy": 0.75}, {"val_accuracy": 0.5}, {}]
    card = model_card(info, {"folds": folds})
    assert "Validation accuracy of the models of 2 folds: 50.00% to 75.00%, on images" in card
    assert "**rendered by a program**" in card
    assert "No validation score." in model_card(info, {})


def test_the_card_says_what_the_network_sees_and_why(parts: dict[str, Any]) -> None:
    info = parts["info"]
    own = info.preprocess.framing
    assert f"\nFraming: {own}.\n" in model_card(info, {})
    line = f"framing: {own}; log loss 0.721 on 1,200 images by cross-validation"
    card = model_card(info, {"framing": {"line": line}})
    assert "\nFraming" + line.removeprefix("framing") + ".\n" in card
    # What was chosen for another framing is no reason for this one.
    other = {"framing": {"line": "framing: middle 5 %, 8 px; log loss 0.1"}}
    assert "log loss" not in model_card(info, other)
    assert "answers no image without one" not in card
    looks = info.preprocess.model_copy(update={"boxes": True})
    boxed = model_card(info.model_copy(update={"preprocess": looks}), {})
    assert "px of its box. It sees the part of an image in its box" in boxed


@pytest.mark.parametrize(
    ("label", "shown"),
    [
        ("T-shirt (3.5 cm), 50 % off!", "T-shirt (3.5 cm), 50 % off!"),
        ("<img src=x onerror=alert(1)>", r"\<img src=x onerror=alert(1)\>"),
        ("![x](http://example.com)", r"!\[x\](http\://example.com)"),
        ("www.example.com a@example.com", r"www\.example.com a\@example.com"),
        ("*bold* `code` $x$", r"\*bold\* \`code\` \$x\$"),
        ("# head\n\n- item", r"\# head\\n\\n- item"),
        ("- item", r"\- item"),
        ("&lt;b&gt;", r"\&lt;b\&gt;"),
        ("red\x1b[31m", r"red\\x1b\[31m"),
    ],
)
def test_labels_are_no_markup(label: str, shown: str, parts: dict[str, Any]) -> None:
    info = parts["info"].model_copy(update={"labels": (label, "b", "c"), "catalog": "a`` b\n# c"})
    card = model_card(info, {})
    assert f"\n- {shown}\n- b\n" in card
    assert "\n\nTrained on ``` a`` b\\n# c ``` (" in card
