"""Labels that are paths: the tree, sums up the tree, the deepest node that is sure enough."""

from __future__ import annotations

import time

import numpy as np
import pytest

from shopsight.label_tree import MOST_LEVELS, LabelTree, is_path, parent_path, path_parts

LABELS = (
    "Apparel > Dresses",
    "Apparel > Shoes > Boots",
    "Bags",
    "Jewelry",
    "Jewelry > Rings",
    "Pets > Shoes",
)


def tree_of(labels: tuple[str, ...] = LABELS) -> LabelTree:
    tree = LabelTree.of(labels)
    assert tree is not None
    return tree


def slow_sum(labels: tuple[str, ...], node: str, probabilities: list[float]) -> float:
    """Of a node: of every label that is it, or begins with it and a separator."""
    return sum(
        p
        for label, p in zip(labels, probabilities, strict=True)
        if label == node or label.startswith(f"{node} > ")
    )


@pytest.mark.parametrize(
    ("label", "parts"),
    [
        ("Bags > Bag/Case", ("Bags", "Bag/Case")),
        ("Bags>Cases", ("Bags>Cases",)),
        ("Shoes > size >40", ("Shoes", "size >40")),
        ("A  >  B\xa0>\tC", ("A", "B", "C")),
        ("A > > B >", ("A", "B")),
        ("> 50 EUR", ("50 EUR",)),
        (">", (">",)),
        ("", ("",)),
    ],
)
def test_what_separates(label: str, parts: tuple[str, ...]) -> None:
    assert path_parts(label) == parts
    assert is_path(label) == (len(parts) > 1)


def test_levels_beyond_the_last_are_one_name() -> None:
    names = [str(number) for number in range(100)]
    parts = path_parts(" > ".join(names))
    assert len(parts) == MOST_LEVELS
    assert parts[-1] == " > ".join(names[MOST_LEVELS - 1 :])


def test_labels_that_are_no_paths_have_no_tree() -> None:
    assert LabelTree.of(("hat", "Bag/Case", "a>b", "> 50")) is None
    assert parent_path("Bag/Case") is None
    assert parent_path("A > B > C") == "A > B"


def test_nodes_are_paths_and_not_names() -> None:
    tree = tree_of()
    assert tree.nodes == (
        "Apparel",
        "Apparel > Dresses",
        "Apparel > Shoes",
        "Apparel > Shoes > Boots",
        "Bags",
        "Jewelry",
        "Jewelry > Rings",
        "Pets",
        "Pets > Shoes",
    )
    assert tree.level.tolist() == [1, 2, 2, 3, 1, 1, 2, 1, 2]
    assert tree.depth == 3
    assert tree.label_level.tolist() == [2, 3, 1, 1, 2, 2]


def test_cut_at_a_level() -> None:
    tree = tree_of()
    top = [tree.nodes[node] for node in tree.cut(1)]
    assert top == ["Apparel", "Apparel", "Bags", "Jewelry", "Jewelry", "Pets"]
    assert [tree.nodes[node] for node in tree.cut(2)][:3] == [
        "Apparel > Dresses",
        "Apparel > Shoes",
        "Bags",
    ]
    assert tuple(tree.nodes[node] for node in tree.cut(3)) == LABELS
    assert tuple(tree.nodes[node] for node in tree.cut(9)) == LABELS


def test_common_level() -> None:
    tree = tree_of()
    pairs = {(0, 0): 2, (0, 1): 1, (1, 1): 3, (3, 4): 1, (4, 4): 2, (1, 5): 0, (2, 3): 0}
    for (a, b), level in pairs.items():
        assert tree.common_level(np.array([a, b]), np.array([b, a])).tolist() == [level, level]


def test_sums_are_those_of_the_slow_version() -> None:
    tree = tree_of()
    probabilities = np.random.default_rng(0).dirichlet(np.full(len(LABELS), 0.5), size=50)
    sums = tree.sums(probabilities.astype(np.float32))
    for row, given in zip(sums, probabilities.astype(np.float32).tolist(), strict=True):
        assert row == pytest.approx([slow_sum(LABELS, node, given) for node in tree.nodes])
    # An inner node has what is its own and what is below it.
    own = np.array([[0, 0, 0, 0.3, 0.6, 0.1]])
    assert tree.sums(own)[0, tree.nodes.index("Jewelry")] == pytest.approx(0.9)


@pytest.mark.parametrize("confidence", [0.5, 0.7, 0.9, 1.0])
def test_the_deepest_node_is_that_of_the_slow_version(confidence: float) -> None:
    tree = tree_of()
    probabilities = np.random.default_rng(1).dirichlet(np.full(len(LABELS), 0.2), size=200)
    nodes, found = tree.deepest(probabilities, confidence)
    for given, node, value in zip(probabilities.tolist(), nodes, found, strict=True):
        reaching = [
            name for name in tree.nodes if slow_sum(LABELS, name, given) >= confidence - 1e-9
        ]
        deepest = max(reaching, key=lambda name: len(path_parts(name)), default="")
        assert (tree.nodes[node] if node >= 0 else "") == deepest
        expected = slow_sum(LABELS, deepest, given) if deepest else 1.0
        assert value == pytest.approx(expected)


def test_nothing_is_sure_enough_and_everything_is() -> None:
    tree = tree_of()
    flat = np.full((1, len(LABELS)), 1 / len(LABELS))
    assert tree.deepest(flat, 0.9)[0].tolist() == [-1]
    assert tree.deepest(flat, 0.9)[1].tolist() == [1.0]
    # Three tenths thrice are .8999...: one node of all that there is reaches 1.
    below = tree_of(("A > B", "A > C", "A > D"))
    node, probability = below.deepest(np.array([[0.1, 0.2, 0.7 - 1e-16]]), 1.0)
    assert (below.nodes[node[0]], probability[0]) == ("A", pytest.approx(1.0))
    assert probability[0] <= 1.0


def test_ten_thousand_labels_are_summed_in_time() -> None:
    labels = tuple(f"T{n % 20} > S{n % 400} > L{n}" for n in range(10_000))
    began_s = time.perf_counter()
    tree = tree_of(labels)
    probabilities = np.random.default_rng(2).dirichlet(np.ones(10_000), size=32)
    nodes, _ = tree.deepest(probabilities, 0.5)
    assert time.perf_counter() - began_s < 5
    assert len(tree.nodes) == 10_000 + 400 + 20
    assert set(nodes.tolist()) == {-1}
