"""The probe against scikit-learn's logistic regression."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression

from shopsight.config.model_settings import ProbeSettings
from shopsight.memory import use_memory_budget
from shopsight.progress import use_listener
from shopsight.training import probe as module
from shopsight.training import standard_rows
from shopsight.training.probe import fit_probe
from shopsight.training.standard_rows import StandardRows, rows_at_once
from tests.helpers import Recorder

fit = partial(fit_probe, num_classes=3)


def blobs(count: int, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 3, count)
    features = rng.normal(size=(count, 6)) * [1, 10, 0.1, 1, 1, 0] + target[:, None]
    features[:, 5] = 4.0
    return torch.tensor(features, dtype=torch.float32), target


def test_equals_scikit_learn_at_the_same_penalty() -> None:
    x, y = blobs(300, 0)
    penalty = 0.01
    settings = ProbeSettings(penalties=(penalty,), within=0.0)
    probe = fit(x, y, x, y, settings=settings)
    plain = x.numpy().astype(np.float64)
    variance = plain.var(0)
    scaled = (plain - plain.mean(0)) / np.sqrt(variance + variance.mean())
    # scikit-learn sums the loss where we average it: C = 1 / (n * penalty).
    peer = LogisticRegression(C=1 / (300 * penalty), tol=1e-8, max_iter=1000)
    peer.fit(scaled, y)
    ours = torch.softmax(x @ probe.weight.T + probe.bias, 1).numpy()
    theirs = peer.predict_proba(scaled)
    assert ours == pytest.approx(theirs, abs=2e-3)


def noisy(count: int, seed: int) -> tuple[torch.Tensor, np.ndarray]:
    """Six features of which two tell three classes apart and four vary alike within each."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 3, count)
    noise = rng.normal(size=(count, 1)) * [3, -2, 3, 3, -3, 3] + rng.normal(size=(count, 6)) * 0.3
    noise[:, 0] += target
    noise[:, 1] += target == 1
    return torch.tensor(noise, dtype=torch.float32), target


def test_a_share_within_classes_equals_a_regression_on_whitened_features() -> None:
    x, y = noisy(300, 0)
    penalty, share = 0.01, 0.3
    probe = fit(x, y, x, y, settings=ProbeSettings(penalties=(penalty,), within=share))
    plain = x.numpy().astype(np.float64)
    variance = plain.var(0)
    scaled = (plain - plain.mean(0)) / np.sqrt(variance + variance.mean())
    centered = scaled - np.stack([scaled[y == one].mean(0) for one in range(3)])[y]
    within = centered.T @ centered / len(y)
    mixed = share * within / within.diagonal().mean() + (1 - share) * np.eye(6)
    values, vectors = np.linalg.eigh(mixed)
    # Another root of the same matrix: the penalty asks for its square alone.
    root = vectors / np.sqrt(values)
    root /= np.sqrt((root**2).sum(1).mean())
    peer = LogisticRegression(C=1 / (300 * penalty), tol=1e-8, max_iter=1000)
    peer.fit(scaled @ root, y)
    ours = torch.softmax(x @ probe.weight.T + probe.bias, 1).numpy()
    assert ours == pytest.approx(peer.predict_proba(scaled @ root), abs=2e-3)


def test_what_varies_within_classes_is_asked_less() -> None:
    (x, y), (v, w) = noisy(40, 1), noisy(2000, 2)
    found, plain = (
        fit(x, y, v, w, settings=ProbeSettings(penalties=(1.0, 0.1, 0.01), within=within))
        for within in (0.1, 0.0)
    )
    assert found.val_loss < plain.val_loss - 0.01


@pytest.mark.parametrize("case", ["an image a class", "several labels"])
def test_where_nothing_varies_within_classes_the_penalty_is_plain(case: str) -> None:
    x, y = blobs(100, 5)
    target: np.ndarray | csr_array = csr_array(np.eye(3, dtype=np.uint8)[y])
    if case == "an image a class":
        x, target = x[:3], np.arange(3)
    settings = ProbeSettings(penalties=(0.1,), within=0.3)
    found = fit(x, target, x, target, settings=settings)
    plain = fit(x, target, x, target, settings=settings.model_copy(update={"within": 0.0}))
    assert torch.equal(found.weight, plain.weight)


def test_keeps_the_penalty_with_the_lowest_validation_loss() -> None:
    (x, y), (v, w) = blobs(30, 0), blobs(200, 1)
    grid = (1e-4, 1e-2, 1.0, 100.0)
    losses = {p: fit(x, y, v, w, settings=ProbeSettings(penalties=(p,))).val_loss for p in grid}
    best = fit(x, y, v, w, settings=ProbeSettings(penalties=grid))
    assert best.penalty == min(losses, key=losses.__getitem__)
    assert best.val_loss == pytest.approx(losses[best.penalty], abs=5e-3)


def test_class_weights_count_like_repeated_rows() -> None:
    x, y = blobs(90, 2)
    settings = ProbeSettings(penalties=(0.1,))
    # Standardization must be the same for the comparison: repeat features with zero effect on it.
    weights = torch.tensor([1.0, 1.0, 1.0])
    plain = fit(x, y, x, y, settings=settings)
    weighted = fit(x, y, x, y, settings=settings, weights=weights * 7)
    assert weighted.weight.numpy() == pytest.approx(plain.weight.numpy(), abs=1e-3)
    rare = fit(x, y, x, y, settings=settings, weights=torch.tensor([1.0, 1.0, 20.0]))
    more = (x @ rare.weight.T + rare.bias).argmax(1).eq(2).sum()
    assert more > (x @ plain.weight.T + plain.bias).argmax(1).eq(2).sum()


def test_weights_of_rows_by_their_class_are_those_of_the_classes() -> None:
    x, y = blobs(90, 2)
    settings, weights = ProbeSettings(penalties=(0.1,)), torch.tensor([1.0, 3.0, 20.0])
    by_class = fit(x, y, x, y, settings=settings, weights=weights)
    by_row = fit(x, y, x, y, settings=settings, row_weights=weights[y])
    assert by_row.weight.numpy() == pytest.approx(by_class.weight.numpy(), abs=1e-6)
    both = fit(x, y, x, y, settings=settings, weights=weights, row_weights=1 / weights[y])
    plain = fit(x, y, x, y, settings=settings)
    assert both.weight.numpy() == pytest.approx(plain.weight.numpy(), abs=1e-3)


def test_several_labels_at_once() -> None:
    x, y = blobs(300, 3)
    both = np.eye(3, dtype=np.uint8)[y]
    both[:, 0] = x[:, 3] > 1
    probe = fit(x, csr_array(both), x, csr_array(both), settings=ProbeSettings(penalties=(1e-3,)))
    assert probe.val_accuracy > 0.8


def test_a_constant_feature_has_no_say() -> None:
    x, y = blobs(100, 4)
    probe = fit(x, y, x, y, settings=ProbeSettings(penalties=(0.01,)))
    assert probe.weight[:, 5].abs().max() == 0.0


def test_without_validation_rows_the_strongest_penalty_is_kept() -> None:
    x, y = blobs(60, 5)
    settings = ProbeSettings(penalties=(0.01, 1.0))
    probe = fit(x, y, x[:0], y[:0], settings=settings)
    assert probe.penalty == 1.0


@pytest.mark.parametrize("kept", [0, 1, 2, None], ids=["none", "one piece", "two pieces", "all"])
def test_rows_are_the_same_whether_they_are_kept_on_the_device(
    kept: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standard_rows, "ROWS_AT_ONCE", 40)
    x, y = blobs(100, 6)
    weight = torch.rand(100)
    rows = StandardRows(x, y, weight, num_classes=3)
    bytes_of_a_piece = 4 * 40 * (6 + 1)
    most = 1 << 40 if kept is None else kept * bytes_of_a_piece
    rows.move_to(torch.device("cpu"), most_bytes=most)
    for _ in range(2):
        pieces = list(rows.pieces())
        assert [len(piece[0]) for piece in pieces] == [40, 40, 20]
        features, target, weights = (torch.cat(parts) for parts in zip(*pieces, strict=True))
        assert target.tolist() == y.tolist()
        assert torch.equal(weights, weight)
        assert features.mean(0).abs().max() < 1e-5
    again = [piece[0].data_ptr() for piece in rows.pieces()]
    same = sum(one[0].data_ptr() == other for one, other in zip(pieces, again, strict=True))
    assert same >= (3 if kept is None else kept)


def test_the_logits_of_a_piece_follow_the_memory_budget() -> None:
    with use_memory_budget(16.0):
        assert rows_at_once(10_000) == 3355
        assert rows_at_once(10) == 8192
    with use_memory_budget(0.32):
        # An eighth of 320 MB, of 20 bytes each: two million logits.
        assert rows_at_once(10_000) == 200
        assert rows_at_once(10) == 8192
    with use_memory_budget(0.001):
        assert rows_at_once(10_000) == 1


def test_a_probe_that_does_not_fit_on_the_gpu_is_fitted_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_device: torch.device) -> int:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(module, "_free_bytes", full)
    (x, y), settings = blobs(100, 7), ProbeSettings(penalties=(0.1, 0.01))
    recorder = Recorder()
    with use_listener(recorder):
        found = fit(x, y, x, y, settings=settings, device=torch.device("cuda"))
    expected = fit(x, y, x, y, settings=settings)
    assert torch.equal(found.weight, expected.weight)
    assert recorder.lines == ["probe: out of memory on cuda: fitting it on the CPU"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("free", ["plenty", "none"])
def test_on_a_gpu_the_probe_is_that_of_the_cpu(free: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if free == "none":
        monkeypatch.setattr(module, "_free_bytes", lambda _device: 0)
    (x, y), (v, w) = blobs(20_000, 8), blobs(500, 9)
    both = [
        fit(x, y, v, w, settings=ProbeSettings(), device=torch.device(device))
        for device in ("cpu", "cuda")
    ]
    expected, found = both
    assert found.weight.device.type == "cpu"
    assert found.penalty == expected.penalty
    assert found.val_loss == pytest.approx(expected.val_loss, abs=1e-4)
    assert torch.allclose(found.weight, expected.weight, rtol=0.01, atol=1e-3)
