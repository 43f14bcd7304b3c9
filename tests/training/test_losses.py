"""Losses against sums written out one by one."""

import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from shopsight.config.training_settings import TrainingSettings
from shopsight.errors import ConfigError
from shopsight.training.losses import ClassificationLoss, class_weights

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, -0.3], [-1.5, 0.4, 3.0], [0.0, 0.0, 0.0]])
HARD = torch.tensor([0, 2, 2, 1])


def one_hot(target: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(target, 3).float()


def log_softmax(row: list[float]) -> list[float]:
    total = math.log(sum(math.exp(x) for x in row))
    return [x - total for x in row]


def slow_loss(
    logits: list[list[float]],
    targets: list[list[float]],
    *,
    smoothing: float = 0.0,
    gamma: float = 0.0,
    weights: list[float] | None = None,
) -> float:
    total, mass = 0.0, 0.0
    for row, target in zip(logits, targets, strict=True):
        for c, log_p in enumerate(log_softmax(row)):
            weight = 1.0 if weights is None else weights[c]
            smooth = target[c] * (1 - smoothing) + smoothing / len(target)
            total += -weight * smooth * log_p * (1 - math.exp(log_p)) ** gamma
            mass += weight * smooth
    return total / mass


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 3.0]])
@pytest.mark.parametrize(("kind", "gamma"), [("cross-entropy", 0.0), ("focal", 2.0)])
def test_equals_the_sums(
    smoothing: float, weights: list[float] | None, kind: str, gamma: float
) -> None:
    settings = TrainingSettings.model_validate(
        {"loss": kind, "label_smoothing": smoothing, "focal_gamma": gamma}
    )
    tensor = None if weights is None else torch.tensor(weights)
    mixed = 0.7 * one_hot(HARD) + 0.3 * one_hot(HARD.flip(0))
    loss = ClassificationLoss(settings, tensor)(LOGITS, mixed)
    slow = slow_loss(
        LOGITS.tolist(), mixed.tolist(), smoothing=smoothing, gamma=gamma, weights=weights
    )
    assert float(loss) == pytest.approx(slow, rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equals_torchs_weighted_cross_entropy_without_smoothing_of_weights(
    smoothing: float,
) -> None:
    settings = TrainingSettings(label_smoothing=smoothing)
    ours = ClassificationLoss(settings, None)(LOGITS, one_hot(HARD))
    torchs = torch.nn.functional.cross_entropy(LOGITS, HARD, label_smoothing=smoothing)
    assert float(ours) == pytest.approx(float(torchs), rel=1e-6)


def test_many_labels_are_judged_one_by_one() -> None:
    target = torch.tensor([[1.0, 1.0, 0.0]])
    loss = ClassificationLoss(TrainingSettings(loss="bce"), None)(LOGITS[:1], target)
    sigmoid = [1 / (1 + math.exp(-x)) for x in LOGITS[0].tolist()]
    slow = -(math.log(sigmoid[0]) + math.log(sigmoid[1]) + math.log(1 - sigmoid[2])) / 3
    assert float(loss) == pytest.approx(slow, rel=1e-6)


def test_balanced_weights_are_scikit_learns() -> None:
    counts = [5, 1, 14]
    y = np.repeat([0, 1, 2], counts)
    ours = class_weights(TrainingSettings(class_weights="balanced"), counts, "abc")
    assert ours is not None
    theirs = compute_class_weight("balanced", classes=np.arange(3), y=y)
    assert ours.numpy() == pytest.approx(theirs)


def test_effective_weights_favour_rare_classes_less_than_balanced() -> None:
    counts = [10, 1000]
    effective = class_weights(TrainingSettings(class_weights="effective"), counts, "ab")
    balanced = class_weights(TrainingSettings(class_weights="balanced"), counts, "ab")
    assert effective is not None
    assert balanced is not None
    assert float(effective.mean()) == pytest.approx(1.0)
    assert 1.0 < effective[0] / effective[1] < balanced[0] / balanced[1]


@pytest.mark.parametrize("count", [1, 2, 50, 3000])
def test_effective_weights_count_the_distinct_images_that_are_expected(count: int) -> None:
    """By the recursion: the next image is new with probability 1 - seen / 1000."""
    seen = 0.0
    for _ in range(count):
        seen += 1.0 - seen / 1000
    weights = class_weights(TrainingSettings(class_weights="effective"), [count, 1], "ab")
    assert weights is not None
    assert float(weights[1] / weights[0]) == pytest.approx(seen, rel=1e-4)


def test_right_answers_count_less_in_the_focal_loss() -> None:
    """At p = 0.9 and gamma = 2 a hundredth of the cross-entropy."""
    logits, target = torch.tensor([[math.log(9.0), 0.0]]), torch.tensor([[1.0, 0.0]])
    plain = ClassificationLoss(TrainingSettings(), None)(logits, target)
    focal = TrainingSettings(loss="focal", focal_gamma=2.0)
    assert float(ClassificationLoss(focal, None)(logits, target) / plain) == pytest.approx(0.01)


def test_a_table_of_weights_names_labels() -> None:
    settings = TrainingSettings(class_weights={"shoe": 2.0})
    weights = class_weights(settings, [3, 3], ["hat", "shoe"])
    assert weights is not None
    assert weights.tolist() == [1.0, 2.0]
    with pytest.raises(ConfigError, match="shoe"):
        class_weights(settings, [3], ["hat"])
