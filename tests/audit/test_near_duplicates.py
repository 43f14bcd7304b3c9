"""Near duplicates: copies are found, look-alikes are not, and none is missed by the search."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import combinations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float64, Int64, UInt8
from PIL import Image, ImageDraw, ImageEnhance

from shopsight.audit import near_duplicates
from shopsight.audit.joined_rows import connected_components
from shopsight.audit.near_duplicates import has_near_duplicate, near_pairs
from shopsight.images.decode import decode
from shopsight.images.thumbnails import LUMA_BYTES, THUMB_BYTES, is_near_duplicate, thumb
from shopsight.progress import Advance, use_listener
from tests.helpers import Recorder

Change = Callable[[Image.Image], Image.Image]


def product(seed: int, *, ground: int = 235, side_px: int = 200) -> Image.Image:
    """A textured ellipse with a print, on a plain ground."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (side_px, side_px), (ground, ground, ground))
    pen = ImageDraw.Draw(image)
    x, y = (int(value) for value in rng.integers(80, 120, 2))
    half_x, half_y = (int(value) for value in rng.integers(40, 70, 2))
    red, green = (int(value) for value in rng.integers(20, 200, 2))
    color = (red, green, (red + 90) % 200)
    pen.ellipse([x - half_x, y - half_y, x + half_x, y + half_y], fill=color)
    for _ in range(6):
        a, b = (int(value) for value in rng.integers(60, 130, 2))
        print_color = tuple(int(value) for value in rng.integers(0, 256, 3))
        pen.rectangle([a, b, a + 18, b + 14], fill=print_color)
    return image


def encoded_again(quality: int) -> Change:
    def change(image: Image.Image) -> Image.Image:
        out = io.BytesIO()
        image.save(out, "JPEG", quality=quality)
        return Image.fromarray(decode(out.getvalue()))

    return change


def with_another_print(image: Image.Image) -> Image.Image:
    changed = image.copy()
    ImageDraw.Draw(changed).rectangle([80, 80, 118, 110], fill=(250, 240, 30))
    return changed


def thumbs_of(*images: Image.Image) -> UInt8[np.ndarray, "n t"]:
    return np.stack([thumb(np.array(image)) for image in images])


@pytest.mark.parametrize(
    "change",
    [
        encoded_again(30),
        lambda image: image.resize((90, 90), Image.Resampling.BICUBIC),
        lambda image: image.resize((300, 200), Image.Resampling.BICUBIC),
        lambda image: ImageEnhance.Brightness(image).enhance(0.9),
        lambda image: ImageEnhance.Contrast(image).enhance(0.85),
        lambda image: image.crop((1, 1, 199, 199)),
    ],
    ids=["quality", "half", "stretched", "darker", "flatter", "cropped"],
)
def test_copies_are_alike(change: Change) -> None:
    found = 0
    for seed in range(20):
        image = product(seed)
        pair = thumbs_of(image, change(image))
        found += bool(is_near_duplicate(pair[:1], pair[1:])[0])
    assert found >= 18


@pytest.mark.parametrize(
    "change",
    [
        with_another_print,
        lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        lambda image: Image.merge("RGB", image.split()[::-1]),
        lambda image: image.transpose(Image.Transpose.ROTATE_90),
    ],
    ids=["print", "mirrored", "other color", "turned"],
)
def test_look_alikes_are_not(change: Change) -> None:
    for seed in range(20):
        image = product(seed)
        pair = thumbs_of(image, change(image))
        assert not is_near_duplicate(pair[:1], pair[1:])[0]


def test_plain_images_do_not_pair() -> None:
    """White on white, blank, and noise: little contrast must not make them copies."""
    rng = np.random.default_rng(0)
    white = [
        Image.fromarray(np.clip(rng.normal(250, 2, (100, 100, 3)), 0, 255).astype(np.uint8))
        for _ in range(4)
    ]
    pale = [product(seed, ground=250) for seed in range(4)]
    pale = [Image.blend(Image.new("RGB", one.size, "white"), one, 0.08) for one in pale]
    blank = [Image.new("RGB", (100, 100), "white")] * 2
    assert len(near_pairs(thumbs_of(*white, *pale, *blank))) == 0


def test_the_search_misses_nothing() -> None:
    """The same pairs as comparing each with each."""
    images = [product(seed) for seed in range(60)]
    images += [encoded_again(40)(image) for image in images[10:40]]
    images += [image.resize((120, 120)) for image in images[20:30]]
    thumbs = thumbs_of(*images)
    pairs = np.array(list(combinations(range(len(thumbs)), 2)))
    expected = pairs[is_near_duplicate(thumbs[pairs[:, 0]], thumbs[pairs[:, 1]])]
    assert 40 <= len(expected) < 100
    assert near_pairs(thumbs).tolist() == expected.tolist()


def test_the_search_spans_blocks() -> None:
    rng = np.random.default_rng(0)
    distinct = rng.integers(0, 256, (700, THUMB_BYTES), dtype=np.uint8)
    thumbs = np.concatenate([distinct, distinct[::7]])
    expected = [[7 * k, 700 + k] for k in range(100)]
    assert near_pairs(thumbs).tolist() == expected


def test_copies_of_others_are_found() -> None:
    """The same rows as comparing each with each, and without others none."""
    others = thumbs_of(*(product(seed) for seed in range(60)))
    new = [product(seed) for seed in range(100, 140)]
    new += [encoded_again(40)(product(seed)) for seed in range(10, 40)]
    new += [product(seed).resize((120, 120)) for seed in range(20, 30)]
    thumbs = thumbs_of(*new, *[Image.new("RGB", (100, 100), "white")] * 2)
    expected = [
        bool(is_near_duplicate(np.broadcast_to(one, others.shape), others).any()) for one in thumbs
    ]
    assert 30 <= sum(expected) <= 40
    assert has_near_duplicate(thumbs, others).tolist() == expected
    assert not has_near_duplicate(thumbs, others[:0]).any()
    assert has_near_duplicate(thumbs[:0], others).shape == (0,)


def test_copies_are_found_across_blocks() -> None:
    rng = np.random.default_rng(0)
    others = rng.integers(0, 256, (5000, THUMB_BYTES), dtype=np.uint8)
    new = rng.integers(0, 256, (600, THUMB_BYTES), dtype=np.uint8)
    new[::7] = others[rng.choice(len(others), len(new[::7]), replace=False)]
    assert np.flatnonzero(has_near_duplicate(new, others)).tolist() == list(range(0, 600, 7))


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_to_compare(count: int) -> None:
    assert near_pairs(np.zeros((count, THUMB_BYTES), np.uint8)).shape == (0, 2)


def turning(angles: Float64[np.ndarray, "n"]) -> UInt8[np.ndarray, "n t"]:
    """Thumbnails cos(angle) x + sin(angle) y of two patterns x and y.

    Their unit lumas lie on half a circle, and so spread far wider than the radius of the search.
    """
    y, x = np.mgrid[-1:1:24j, -1:1:24j]
    patterns = [axis.ravel() / axis.std() * 30 for axis in (x, y)]
    luma = 128 + np.cos(angles)[:, None] * patterns[0] + np.sin(angles)[:, None] * patterns[1]
    gray = np.full((len(angles), THUMB_BYTES - luma.shape[1]), 128)
    return np.concatenate([np.round(luma), gray], axis=1).astype(np.uint8)


def each_with_each(thumbs: UInt8[np.ndarray, "n t"]) -> Int64[np.ndarray, "m 2"]:
    """All pairs of near duplicates, without a search."""
    pairs = np.stack(np.triu_indices(len(thumbs), k=1), axis=1)
    return pairs[is_near_duplicate(thumbs[pairs[:, 0]], thumbs[pairs[:, 1]])]


def test_pairs_at_the_edges_of_nodes_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "MOST_IN_GROUP", 1000)
    thumbs = turning(np.random.default_rng(0).uniform(0, np.pi, 250))
    expected = each_with_each(thumbs)
    assert 0.05 < len(expected) / (250 * 249 / 2) < 0.25
    assert near_pairs(thumbs).tolist() == expected.tolist()


def of_contrasts(count: int, seed: int) -> UInt8[np.ndarray, "n t"]:
    """One pattern in contrasts from plain to strong, with noise at the limits of a near duplicate.

    Half of them are of strong contrast, where the residual and not the correlation is the limit.
    """
    rng = np.random.default_rng(seed)
    pattern = np.sin(np.arange(LUMA_BYTES) / 7) * np.sqrt(2)
    contrast = rng.choice([1.9, 2.1, 4, 8, 20, 30, 32, 50, 70, 85], (count, 1))
    noise = rng.normal(0, rng.uniform(0, 6, (count, 1)), (count, LUMA_BYTES))
    luma = np.clip(128 + contrast * pattern + noise, 0, 255)
    chroma = 128 + rng.integers(0, 9, (count, THUMB_BYTES - LUMA_BYTES))
    return np.round(np.concatenate([luma, chroma], axis=1)).astype(np.uint8)


@pytest.mark.parametrize("seed", range(4))
def test_pairs_of_every_contrast_are_found(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "MOST_IN_GROUP", 1000)
    thumbs = of_contrasts(220, seed)
    expected = each_with_each(thumbs)
    assert 1000 < len(expected) < 20_000
    assert near_pairs(thumbs).tolist() == expected.tolist()


def crowd(center: UInt8[np.ndarray, "t"], count: int, seed: int) -> UInt8[np.ndarray, "n t"]:
    """Different images that look alike."""
    noise = np.random.default_rng(seed).integers(0, 4, (count, len(center)), np.uint8)
    return np.asarray(np.minimum(center, 250) + noise)


def test_groups_are_those_of_comparing_each_with_each_in_crowds_too() -> None:
    """Several crowds, one around another, ordinary pairs, and images that pair with none."""
    rng = np.random.default_rng(0)
    centers = thumbs_of(*(product(seed) for seed in range(4)))
    pairs = thumbs_of(*(product(seed) for seed in range(10, 40)))
    around = turning(np.sort(rng.uniform(1.0, 1.6, 110)))
    thumbs = np.concatenate(
        [
            *(crowd(center, 104 + 8 * seed, seed) for seed, center in enumerate(centers)),
            around,
            crowd(around[50], 110, 9),
            pairs,
            pairs,
            rng.integers(0, 256, (50, THUMB_BYTES), dtype=np.uint8),
        ]
    )
    thumbs = thumbs[rng.permutation(len(thumbs))]
    expected = connected_components(len(thumbs), each_with_each(thumbs))
    found = near_pairs(thumbs)
    assert connected_components(len(thumbs), found).tolist() == expected.tolist()
    sizes = np.bincount(expected)
    assert sum(sizes > 100) == 5
    # A crowd has one pair fewer than images; the ordinary groups here are pairs.
    assert len(found) == sum(size - 1 for size in sizes)


def test_pairs_of_a_group_that_is_no_crowd_are_all_there() -> None:
    thumbs = crowd(thumbs_of(product(0))[0], 100, 0)
    assert len(near_pairs(thumbs)) == 100 * 99 / 2
    assert len(near_pairs(crowd(thumbs_of(product(0))[0], 101, 0))) == 100


def test_a_crowd_hides_no_pair_outside_it() -> None:
    """Images near a crowd, of another color, pair with each other and not with it."""
    center = thumbs_of(product(0))[0]
    other = center.copy()
    other[LUMA_BYTES:] = np.clip(other[LUMA_BYTES:].astype(int) + 40, 0, 250)
    thumbs = np.concatenate([crowd(center, 3000, 0), crowd(other, 5, 1)])
    group = connected_components(len(thumbs), near_pairs(thumbs))
    assert len(np.unique(group[:3000])) == len(np.unique(group[3000:])) == 1
    assert group[0] != group[3000]


def test_copies_of_a_crowd_are_found_quickly() -> None:
    center = thumbs_of(product(0))[0]
    found = has_near_duplicate(crowd(center, 2000, 0), crowd(center, 20_000, 1))
    assert found.all()


def test_copies_at_the_edges_of_nodes_are_found() -> None:
    rng = np.random.default_rng(1)
    thumbs, others = turning(rng.uniform(0, np.pi, 600)), turning(rng.uniform(0, np.pi, 5))
    expected = [
        bool(is_near_duplicate(np.broadcast_to(one, others.shape), others).any()) for one in thumbs
    ]
    assert 100 < sum(expected) < 590
    assert has_near_duplicate(thumbs, others).tolist() == expected


def test_two_images_can_be_a_pair() -> None:
    thumbs = turning(np.array([1.0, 1.05]))
    assert near_pairs(thumbs).tolist() == [[0, 1]]
    assert near_pairs(thumbs[::-1]).tolist() == [[0, 1]]


def test_the_comparison_reports_its_progress() -> None:
    steps: list[tuple[str, int | None, list[int]]] = []

    class Listener(Recorder):
        def task(self, title: str, total: int | None, unit: str) -> AbstractContextManager[Advance]:
            steps.append((title, total, []))
            return nullcontext(steps[-1][2].append)

    thumbs = turning(np.random.default_rng(0).uniform(0, np.pi, 600))
    with use_listener(Listener()):
        near_pairs(thumbs)
        has_near_duplicate(thumbs, thumbs[:5])
    assert [(title, total, sum(done)) for title, total, done in steps] == [
        ("Comparing images", 600, 600)
    ] * 2


def test_many_copies_of_one_image_are_one_duplicate_group() -> None:
    base = np.array(product(0).resize((24, 24)))
    rng = np.random.default_rng(0)
    copies = np.stack(
        [thumb(cv2.add(base, rng.integers(0, 3, base.shape, dtype=np.uint8))) for _ in range(600)]
    )
    pairs = near_pairs(copies)
    assert len(pairs) == 599
    assert is_near_duplicate(copies[pairs[:, 0]], copies[pairs[:, 1]]).all()
    assert len(np.unique(connected_components(600, pairs))) == 1


@given(
    count=st.integers(1, 12),
    links=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=12),
)
def test_connected_components(count: int, links: list[tuple[int, int]]) -> None:
    links = [(a % count, b % count) for a, b in links]
    found = connected_components(count, np.array(links, np.int64).reshape(-1, 2))
    names = list(range(count))
    for _ in range(count):
        for a, b in links:
            names = [
                min(names[a], names[b]) if k in (a, b) else name for k, name in enumerate(names)
            ]
    for a, b in combinations(range(count), 2):
        assert (found[a] == found[b]) == (names[a] == names[b])
