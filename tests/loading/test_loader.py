from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from shopsight.config.augment_settings import AugmentSettings
from shopsight.errors import ConfigError, ImageError
from shopsight.loading.augment import augment
from shopsight.loading.class_sampling import ClassSampling
from shopsight.loading.loader import Batch, OrderedBatches, TrainingBatches
from shopsight.loading.offline_augment import apply_offline, offline_samples
from shopsight.loading.pair_sampling import PairSampling
from shopsight.prefetch import THREAD_NAME

AUGMENT = AugmentSettings(random_erasing_prob=0.5)
SIDE = 16


class ImageInputs:
    """Random images in memory; reading `broken` fails."""

    size_px = SIDE
    mode = "off"

    def __init__(self, count: int = 100, broken: int = -1) -> None:
        rng = np.random.default_rng(0)
        self.images = rng.integers(0, 256, (count, SIDE, SIDE, 3)).astype(np.uint8)
        self.broken = broken

    def __len__(self) -> int:
        return len(self.images)

    def gather(self, rows: np.ndarray) -> np.ndarray:
        if self.broken in rows:
            raise ImageError("damaged", "cannot be decoded", where=f"{self.broken}.jpg")
        return self.images[rows]


ROWS = np.arange(10, 100)


def batches(
    source: ImageInputs | None = None, rows: np.ndarray = ROWS, **changes: object
) -> TrainingBatches:
    options: dict[str, object] = {"augment": AUGMENT, "seed": 5, "batch_size": 20, "threads": 2}
    return TrainingBatches(source or ImageInputs(), rows, **(options | changes))  # type: ignore[arg-type]


def balanced(rows: np.ndarray) -> ClassSampling:
    """One row in ten is of class 1."""
    return ClassSampling((rows % 10 == 0).astype(np.int64), num_classes=2, sampling="balanced")


def by_row(made: TrainingBatches | OrderedBatches) -> dict[int, bytes]:
    return {
        row: image.numpy().tobytes()
        for batch in made
        for row, image in zip(batch.rows.tolist(), batch.images, strict=True)
    }


def order(made: TrainingBatches) -> list[int]:
    return [row for batch in made for row in batch.rows.tolist()]


def test_an_epoch_gives_each_row_at_most_once_in_a_new_order() -> None:
    made = batches()
    assert len(made) == 4
    first = order(made)
    assert len(first) == len(set(first)) == 80, "the last ten are left out"
    assert set(first) <= set(ROWS.tolist())
    assert order(made) == first
    made.set_epoch(1)
    second = order(made)
    assert second != first
    assert set(second) != set(first), "other rows are left out"
    whole = batches(batch_size=30)
    assert sorted(order(whole)) == ROWS.tolist()


def test_a_balanced_epoch_is_as_long_and_has_each_class_as_often() -> None:
    made = batches(sampling=balanced, batch_size=90)
    rows = np.array(order(made))
    assert len(rows) == 90
    assert sum(rows % 10 == 0) == 45
    assert set(rows[rows % 10 == 0]) == set(range(10, 100, 10))
    made.set_epoch(1)
    assert order(made) != rows.tolist()
    made.set_epoch(0)
    assert order(made) == rows.tolist()


def test_packs_of_a_class_are_divided_between_processes_none_in_two() -> None:
    def packs(rows: np.ndarray) -> PairSampling:
        return PairSampling(rows % 9, groups=rows, per_class=4, batch_size=24, lone_classes=False)

    whole = [batch.rows for batch in batches(sampling=packs, batch_size=24)]
    parts = [
        [batch.rows for batch in batches(sampling=packs, batch_size=12, rank=rank, world=2)]
        for rank in range(2)
    ]
    for first, second, both in zip(*parts, whole, strict=True):
        assert np.concatenate([first, second]).tolist() == both.tolist()
        for rows in (first, second):
            classes = (rows % 9).reshape(3, 4)
            assert (classes == classes[:, :1]).all()
    assert len(whole) == 3


def test_an_image_that_is_drawn_again_is_augmented_in_another_way() -> None:
    images = [
        (row, image.numpy().tobytes())
        for batch in batches(sampling=balanced, batch_size=90)
        for row, image in zip(batch.rows.tolist(), batch.images, strict=True)
    ]
    assert len(set(images)) == len(images)
    # Its first copy is what the image is where it is sampled once.
    plain = by_row(batches(batch_size=90))
    assert {plain[row] for row, _ in images} <= {pixels for _, pixels in images}


def test_extra_samples_are_drawn_by_the_class_of_their_row() -> None:
    extra = offline_samples(ROWS, kinds=("hflip",), fraction=1.0, seed=5)
    made = batches(sampling=balanced, batch_size=180, extra=extra)
    rows = np.array(order(made))
    assert len(rows) == 180
    assert sum(rows % 10 == 0) == 90


def test_batches_are_uint8_images_with_their_rows() -> None:
    source = ImageInputs()
    batch = next(iter(batches(source, augment=AugmentSettings.none())))
    assert isinstance(batch, Batch)
    assert batch.images.dtype == torch.uint8
    assert batch.images.shape == (20, SIDE, SIDE, 3)
    assert batch.rows.dtype == np.int64
    assert batch.partner_rows is None
    assert batch.lam is None
    np.testing.assert_array_equal(batch.images.numpy(), source.images[batch.rows])


def test_an_image_is_the_same_whatever_the_batches_and_threads() -> None:
    wanted = by_row(batches(batch_size=90, threads=1))
    assert len(wanted) == 90
    for changes in ({"threads": 4}, {"batch_size": 7}, {"batch_size": 45, "threads": 3}):
        got = by_row(batches(**changes))
        assert all(wanted[row] == image for row, image in got.items())
    shuffled = by_row(batches(rows=np.random.default_rng(1).permutation(ROWS), batch_size=90))
    assert shuffled == wanted


@pytest.mark.parametrize("world", [2, 4, 5])
@pytest.mark.parametrize("mixup", [0.0, 0.4])
@pytest.mark.parametrize("sampling", [None, balanced])
def test_all_ranks_together_are_one(world: int, mixup: float, sampling: object) -> None:
    settings = AUGMENT.model_copy(update={"mixup": mixup})
    alone = list(batches(augment=settings, sampling=sampling))
    each = {
        "augment": settings,
        "batch_size": 20 // world,
        "world": world,
        "sampling": sampling,
    }
    ranks = [list(batches(**each, rank=rank)) for rank in range(world)]
    assert {len(made) for made in ranks} == {len(alone)}
    for number, whole in enumerate(alone):
        parts = [made[number] for made in ranks]
        assert {len(part.rows) for part in parts} == {20 // world}
        for name in ("images", "rows", "partner_rows", "lam"):
            wanted = getattr(whole, name)
            if wanted is not None:
                got = np.concatenate([getattr(part, name) for part in parts])
                np.testing.assert_array_equal(got, wanted)


def test_a_partial_batch_stays_when_it_is_all() -> None:
    made = batches(rows=ROWS[:7])
    assert len(made) == 1
    assert sorted(order(made)) == ROWS[:7].tolist()
    ranks = [batches(rows=ROWS[:7], rank=rank, world=4) for rank in range(4)]
    assert [row for rank in ranks for row in order(rank)] == order(made)


def test_sizes_follow_the_epoch() -> None:
    made = batches(size_px=lambda epoch: 8 if epoch == 0 else 12)
    assert next(iter(made)).images.shape[1:] == (8, 8, 3)
    made.set_epoch(1)
    assert made.size_px == 12
    assert next(iter(made)).images.shape[1:] == (12, 12, 3)
    assert batches().size_px == SIDE


def test_an_iterator_keeps_its_epoch() -> None:
    made = batches()
    wanted = order(made)
    running = iter(made)
    first = next(running).rows.tolist()
    made.set_epoch(9)
    rest = [row for batch in running for row in batch.rows.tolist()]
    assert first + rest == wanted


def test_mixup_blends_two_augmented_images() -> None:
    source, settings = ImageInputs(), AUGMENT.model_copy(update={"mixup": 1.0, "mix_prob": 0.5})

    def augmented(rows: np.ndarray) -> np.ndarray:
        return augment(
            source.images[rows],
            rows,
            settings=settings,
            seed=5,
            epoch=0,
            size_px=SIDE,
        )

    seen_unmixed = 0
    for batch in batches(source, augment=settings):
        assert batch.partner_rows is not None
        assert batch.lam is not None
        lam = batch.lam.numpy()[:, None, None, None]
        blend = lam * augmented(batch.rows) + (1 - lam) * augmented(batch.partner_rows)
        assert np.abs(batch.images.numpy() - blend).max() <= 0.52
        unmixed = batch.lam.numpy() == 1
        seen_unmixed += int(unmixed.sum())
        assert (batch.partner_rows[unmixed] == batch.rows[unmixed]).all()
        assert np.isin(batch.partner_rows, ROWS).all()
    assert 20 < seen_unmixed < 60


def test_extra_samples_are_variants_of_their_rows() -> None:
    source = ImageInputs()
    extra = offline_samples(ROWS, kinds=("vflip", "noise"), fraction=0.5, seed=5)
    made = batches(source, extra=extra, augment=AugmentSettings.none(), batch_size=180)
    (batch,) = made
    counts = np.bincount(batch.rows, minlength=100)
    assert counts.sum() == 180
    assert (counts[ROWS] >= 1).all()
    variants = apply_offline(source.images[extra.rows], extra, seed=5, fill=(255, 255, 255))
    wanted = {image.tobytes() for image in [*source.images[ROWS], *variants]}
    assert {image.numpy().tobytes() for image in batch.images} == wanted


@pytest.mark.parametrize("threads", [1, 3])
def test_an_unreadable_image_stops_the_epoch_by_name(threads: int) -> None:
    with pytest.raises(ImageError, match=r"40\.jpg"):
        list(batches(ImageInputs(broken=40), batch_size=30, threads=threads))
    with pytest.raises(ImageError, match=r"40\.jpg"):
        list(OrderedBatches(ImageInputs(broken=40), ROWS, batch_size=8, threads=threads))


def test_leaving_early_leaves_no_threads() -> None:
    def running() -> list[str]:
        names = [thread.name for thread in threading.enumerate()]
        return [name for name in names if name.startswith(THREAD_NAME)]

    for _ in batches():
        assert running()
        break
    assert not running()


@pytest.mark.parametrize(
    ("rows", "changes", "message"),
    [
        (ROWS[:0], {}, "no training images"),
        (ROWS[:3], {"world": 4}, "3 training images"),
    ],
)
def test_too_few_images_are_refused(
    rows: np.ndarray, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        batches(rows=rows, **changes)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_ordered_batches_give_each_row_once_in_order(world: int) -> None:
    source = ImageInputs()
    seen: list[int] = []
    for rank in range(world):
        made = OrderedBatches(source, ROWS[::-1], batch_size=8, rank=rank, world=world, threads=2)
        parts = list(made)
        assert len(parts) == len(made)
        for batch in parts:
            seen += batch.rows.tolist()
            np.testing.assert_array_equal(batch.images.numpy(), source.images[batch.rows])
    assert seen == ROWS[::-1].tolist()
    assert list(OrderedBatches(source, ROWS[:0], batch_size=8)) == []


def test_a_rank_without_rows_has_one_empty_batch() -> None:
    """Five ranks, three images: each counts once, and every rank has a batch."""
    source = ImageInputs()
    of_ranks = [
        list(OrderedBatches(source, ROWS[:3], batch_size=2, rank=rank, world=5))
        for rank in range(5)
    ]
    assert [[len(batch.rows) for batch in made] for made in of_ranks] == [[1], [1], [1], [0], [0]]
    assert of_ranks[4][0].images.shape == (0, SIDE, SIDE, 3)
    assert [int(row) for made in of_ranks for batch in made for row in batch.rows] == [10, 11, 12]
