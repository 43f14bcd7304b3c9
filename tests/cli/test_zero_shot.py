from __future__ import annotations

from pathlib import Path

import pytest

from shopsight.commands.zero_shot import zero_shot
from shopsight.datasets.synthetic import draw_catalog
from shopsight.errors import ConfigError, EmbeddingError
from shopsight.inference.load import load
from shopsight.words.class_lists import ClassWords, read_classes, read_prompts
from tests.helpers import Shopsight

LITE0 = "embedded:tf_efficientnet_lite0"


def test_classes_are_read(tmp_path: Path) -> None:
    file = tmp_path / "classes.txt"
    file.write_text(
        "# clothes\nT-Shirt: tee, jersey\n\nGranny-Smith < Apple: green apple\nHüte\n",
        encoding="utf-8",
    )
    shirt, apple, hats = read_classes(file)
    assert shirt == ClassWords("T-Shirt", ("tee", "jersey"))
    assert shirt.phrases() == ("T Shirt", "tee", "jersey")
    assert apple.phrases() == ("Granny Smith, Apple", "green apple")
    assert hats.phrases() == ("Hüte",)


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "no classes in it"), ("a: b\na: c\n", "named twice: a"), (": b\n", "line 1 has no name")],
)
def test_wrong_classes_are_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "classes.txt"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        read_classes(file)


def test_wrong_prompts_are_named(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a photo of a {}\na photo\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="line 2 is no prompt"):
        read_prompts(file)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_prompts(tmp_path / "none.txt")


def test_images_are_classified_by_words_and_the_bundle_does_the_same(
    shopsight: Shopsight, tmp_path: Path
) -> None:
    pytest.importorskip("wordllama")
    pytest.importorskip("tokenizers")
    catalog = draw_catalog(tmp_path / "photos", products_per_class=2)
    done = zero_shot(LITE0, catalog, out=tmp_path / "bundle", predictions=tmp_path / "all.csv")
    assert done.by == "by words, without a text encoder"
    assert done.evaluation is not None
    assert done.evaluation.counts["images"] == len(catalog)
    # Rendered shapes are no photos: better than chance is all that can be asked.
    assert done.evaluation.metrics["accuracy"] > 1 / len(catalog.labels)
    assert len(done.predictions) == len(catalog)
    bundle = load(tmp_path / "bundle")
    assert bundle.labels == catalog.labels
    again = [one.labels[0] for one in bundle.predict(catalog)]
    assert again == [one.labels[0] for one in done.predictions]
    shown = shopsight("zero-shot", LITE0, tmp_path / "photos", "--classes", tmp_path / "none.txt")
    assert shown.code == 2
    assert "cannot be read" in shown.err


def test_what_no_word_joins_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("wordllama")
    pytest.importorskip("tokenizers")
    catalog = draw_catalog(tmp_path / "photos", products_per_class=1)
    with pytest.raises(ConfigError, match="no classes"):
        zero_shot(LITE0, catalog.with_table(catalog.table.drop("label")))
    with pytest.raises(EmbeddingError, match="no word of these classes"):
        zero_shot(LITE0, catalog, classes=[ClassWords("", ("",))])
