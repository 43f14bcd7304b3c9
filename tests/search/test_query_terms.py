from __future__ import annotations

import pytest

from shopsight.errors import SearchError
from shopsight.images.model_input import Box
from shopsight.inference.image_stream import NamedImage
from shopsight.search.query_terms import build_queries, parse_box


def image(name: str) -> NamedImage:
    return NamedImage(name, name)


def test_each_term_is_a_query_of_its_own() -> None:
    queries = build_queries([image("a.jpg"), image("b.jpg")], ["red boots"], ["P-1"])
    assert [query.name for query in queries] == ["a.jpg", "b.jpg", "red boots", "P-1"]
    assert [query.terms[0].kind for query in queries] == ["image", "image", "text", "id"]


def test_combined_terms_take_weights_in_order() -> None:
    (query,) = build_queries(
        [image("shoe.jpg")], ["red", "sandal"], combine=True, weights=[2.0, 1.0, -0.5]
    )
    assert [(term.name, term.weight) for term in query.terms] == [
        ("shoe.jpg", 2.0),
        ("red", 1.0),
        ("sandal", -0.5),
    ]
    assert query.name == "+2 shoe.jpg +1 red -0.5 sandal"
    (plain,) = build_queries([], ["red", "boot"], combine=True)
    assert plain.name == "red + boot"


def test_boxes_belong_to_images_in_order() -> None:
    own = NamedImage("c.jpg", "c.jpg", box=Box(1, 2, 3, 4))
    queries = build_queries(
        [image("a.jpg"), image("b.jpg"), own], boxes=[None, Box(10, 20, 30, 40)]
    )
    boxes = [query.terms[0].value.box for query in queries]  # type: ignore[union-attr]
    assert boxes == [None, Box(10, 20, 30, 40), Box(1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "nothing to look for"),
        ({"texts": ["  "]}, "no words in it"),
        ({"texts": ["a"], "weights": [1.0]}, "--combine"),
        ({"texts": ["a"], "weights": [1.0, 2.0], "combine": True}, "2 weights for 1 term"),
        ({"texts": ["a", "b"], "weights": [0.0, 0.0], "combine": True}, "all weights are 0"),
        ({"texts": ["a"], "weights": [float("nan")], "combine": True}, "finite"),
        ({"images": [image("a.jpg")], "boxes": [None, None]}, "2 boxes for 1 image"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(SearchError, match=said):
        build_queries(**arguments)  # type: ignore[arg-type]


def test_a_box_is_read() -> None:
    assert parse_box("40, 20,300,150.5") == Box(40, 20, 300, 150.5)
    assert parse_box("none") is None


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,x", "1,2,0,4", "1,2,3,-4", "nan,0,1,1"])
def test_what_is_no_box_is_refused(text: str) -> None:
    with pytest.raises(SearchError, match="box"):
        parse_box(text)


def test_a_text_is_not_a_file_by_mistake() -> None:
    assert build_queries([], ["a" * 10_000])[0].name == "a" * 10_000
    with pytest.raises(SearchError, match="a text of 10,001 characters; the most are 10,000"):
        build_queries([], ["shoe", "a" * 10_001])
