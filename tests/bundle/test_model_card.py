from __future__ import annotations

from pathlib import Path
from typing import Any

from shopsight.bundle.model_card import model_card


def test_the_card_names_data_score_usage_and_labels(folder: Path) -> None:
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("# Small\n\nTrained on `photos`")
    assert "Validation accuracy 75.00% on 8 images." in card
    assert 'model = shopsight.load("model")' in card
    assert "28 x 28\npixels" in card
    assert "temperature\n1.500." in card
    assert card.endswith("## Labels\n\n- dress\n- hat\n- shoe\n")
    assert "rendered by a program" not in card


def test_the_card_of_folds_and_of_synthetic_images(parts: dict[str, Any]) -> None:
    info = parts["info"].model_copy(update={"synthetic": True})
    folds = [{"val_accuracy": 0.75}, {"val_accuracy": 0.5}, {}]
    card = model_card(info, {"folds": folds})
    assert "Validation accuracy of the models of 2 folds: 50.00% to 75.00%." in card
    assert "**rendered by a program**" in card
    assert "No validation score." in model_card(info, {})


def test_names_from_data_are_no_markdown(parts: dict[str, Any]) -> None:
    hostile = ("<script>alert(1)</script>", "[click](https://evil.example)", "a\n# b")
    info = parts["info"].model_copy(
        update={"labels": hostile, "catalog": "a` <b>", "recipe": "# c"}
    )
    card = model_card(info, {})
    assert card.startswith("# \\# c\n\nTrained on `a' <b>` (")
    assert card.endswith(
        "- \\<script\\>alert(1)\\</script\\>\n- \\[click\\](https://evil.example)\n- a\\\\n\\# b\n"
    )
