"""How often what shopsight says of confidence is right, on simulated models.

    python bench/coverage_calibration.py [--repeats 300] [--only temperature verdict ...]

Prints a table in Markdown for each subject; docs/statistics.md has them. The standard error of a
share p of r repeats is sqrt(p (1 - p) / r): .013 for .95 of 300.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logsumexp, softmax

from shopsight.metrics.calibration_check import calibration_check
from shopsight.metrics.families import Families
from shopsight.metrics.temperature import TEMPERATURE_SPAN, fit_temperature
from shopsight.training.fold_calibration import FoldAnswers, ensemble_temperature, mean_logits

CLASSES = 10
Rows = list[Sequence[object]]


def main() -> None:
    """Run the simulations that are asked for."""
    subjects: dict[str, Callable[[int], tuple[Sequence[str], Rows]]] = {
        "temperature": temperature,
        "temperature-interval": temperature_interval,
        "verdict": verdict,
        "classes": classes,
        "ensemble": ensemble,
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=300)
    parser.add_argument("--only", nargs="+", choices=list(subjects), default=list(subjects))
    chosen = parser.parse_args()
    for name in chosen.only:
        head, rows = subjects[name](chosen.repeats)
        print(f"\n{name}\n\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for row in rows:
            cells = [f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row]
            print(f"| {' | '.join(cells)} |", flush=True)


def log_loss(logits: np.ndarray, targets: np.ndarray, temperature: float = 1.0) -> float:
    """In nats."""
    z = logits / temperature
    return float((logsumexp(z, axis=1) - z[np.arange(len(z)), targets]).mean())


def drawn(rng: np.random.Generator, n: int, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits of ten classes, one of them ahead by about `margin`, and classes drawn by them."""
    logits = rng.normal(size=(n, CLASSES))
    ahead = rng.integers(0, CLASSES, n)
    logits[np.arange(n), ahead] += np.maximum(0.0, rng.normal(margin, margin / 3, n))
    cumulated = softmax(logits, axis=1).cumsum(axis=1)
    targets = (rng.random((n, 1)) > cumulated).sum(axis=1).clip(max=CLASSES - 1)
    return logits, targets


def temperature(repeats: int) -> tuple[Sequence[str], Rows]:
    """Log loss on other images, whose best T is 1, after T was fitted on n."""
    rows: Rows = []
    rng = np.random.default_rng(0)
    test = drawn(rng, 20_000, 11.0)
    low, high = np.log(TEMPERATURE_SPAN)
    for n in (20, 30, 50, 100, 1000):
        alone, prior, at_end = [], [], 0
        for _ in range(repeats):
            logits, targets = drawn(rng, n, 11.0)
            found = minimize_scalar(
                lambda u, z=logits, y=targets: log_loss(z, y, np.exp(u)),
                bounds=(low, high),
                method="bounded",
            )
            at_end += found.x < low + 0.02
            alone.append(log_loss(*test, float(np.exp(found.x))))
            prior.append(log_loss(*test, fit_temperature(logits, targets).value))
        rows.append(
            (n, log_loss(*test), float(np.mean(alone)), at_end / repeats, float(np.mean(prior)))
        )
    right = float((test[0].argmax(axis=1) == test[1]).mean())
    head = (f"images (accuracy {right:.3f})", "T = 1", "no prior", "of them at .05", "prior")
    return head, rows


def temperature_interval(repeats: int) -> tuple[Sequence[str], Rows]:
    """How often the interval of T holds the true one; each family is m copies of one photo."""
    rows: Rows = []
    rng = np.random.default_rng(1)
    for families, copies in ((20, 1), (50, 1), (200, 1), (1000, 1), (20, 5), (100, 5), (10, 20)):
        held = dict.fromkeys(("0.7", "1.0", "1.5"), 0)
        width, alone = [], 0
        for _ in range(repeats):
            for name in held:
                true, targets = drawn(rng, families, 5.0)
                logits = np.repeat(true * float(name), copies, axis=0)
                targets = np.repeat(targets, copies)
                of = Families(np.repeat(np.arange(families), copies))
                found = fit_temperature(logits, targets, of)
                held[name] += found.low <= float(name) <= found.high
                width.append(found.high / found.low)
                lone = fit_temperature(logits, targets)
                alone += lone.low <= float(name) <= lone.high
        rates = [count / repeats for count in held.values()]
        rows.append(
            (f"{families} x {copies}", *rates, float(np.median(width)), alone / repeats / 3)
        )
    head = ("families x images", "T = .7", "1", "1.5", "high / low", "families ignored")
    return head, rows


def judged(
    rng: np.random.Generator, n: int, families: Families, shared: float, off: float
) -> tuple[np.ndarray, np.ndarray]:
    """Confidences, and images that are right with them less `off`, alike within a family."""
    confidence = np.clip(expit(rng.normal(2.0, 1.5, n)), 0.1, 0.998)
    of_family = rng.random(families.count)[families.of_image]
    uniform = np.where(rng.random(n) < shared**0.5, of_family, rng.random(n))
    return confidence, uniform < confidence - off


def verdict(repeats: int) -> tuple[Sequence[str], Rows]:
    """The calibration error, its verdict, the interval of the gap, the band."""
    rows: Rows = []
    rng = np.random.default_rng(2)
    designs = (
        (100, 100, 0.0),
        (500, 500, 0.0),
        (5000, 5000, 0.0),
        (20000, 20000, 0.0),
        (500, 100, 0.5),
        (500, 20, 0.5),
        (2000, 40, 0.3),
        (300, 10, 0.5),
    )
    for n, count, shared in designs:
        families = Families(np.arange(n) % count)
        for off in (0.0, 0.05):
            error, chance, told, covered, outside = [], [], 0, 0, 0
            for _ in range(repeats if n < 5000 else max(40, repeats // 5)):
                confidence, correct = judged(rng, n, families, shared, off)
                true = float((confidence - np.clip(confidence - off, 0, 1)).mean())
                found = calibration_check(
                    confidence, correct, np.zeros(n, np.int64), families, num_classes=1
                )
                error.append(found.error)
                chance.append(found.by_chance)
                told += found.verdict != "calibrated"
                covered += found.gap.low <= true <= found.gap.high
                accuracy, (low, high) = found.wide_bins.accuracy, found.band
                outside += bool(((accuracy < low - 1e-9) | (accuracy > high + 1e-9)).any())
            r = len(error)
            rows.append(
                (
                    f"{n:,} in {count:,}" if count < n else f"{n:,}",
                    shared,
                    off,
                    float(np.mean(error)),
                    float(np.mean(chance)),
                    told / r,
                    covered / r,
                    1 - outside / r,
                )
            )
    head = (
        "images",
        "dependence",
        "over-confident by",
        "error",
        "by chance",
        "told from calibrated",
        "gap's interval holds",
        "all bins in the band",
    )
    return head, rows


def classes(repeats: int) -> tuple[Sequence[str], Rows]:
    """Two of c classes are over-confident: how many are named, and how many others."""
    rows: Rows = []
    rng = np.random.default_rng(3)
    for n, count, shared, c in ((500, 500, 0.0, 18), (2000, 2000, 0.0, 18), (2000, 200, 0.4, 18)):
        families = Families(np.arange(n) % count)
        for off in (0.0, 0.15):
            named, wrongly, any_wrong = 0, 0.0, 0
            for _ in range(repeats):
                confidence, _ = judged(rng, n, families, shared, 0.0)
                predicted = rng.integers(0, c, n)
                of_family = rng.random(count)[families.of_image]
                uniform = np.where(rng.random(n) < shared**0.5, of_family, rng.random(n))
                correct = uniform < confidence - off * (predicted < 2)
                off_classes = calibration_check(
                    confidence, correct, predicted, families, num_classes=c
                ).classes.off
                named += int((off_classes < 2).sum())
                others = int((off_classes >= 2).sum()) if off else len(off_classes)
                wrongly += others / max(1, len(off_classes))
                any_wrong += others > 0
            rows.append(
                (
                    f"{n:,} in {count:,}",
                    c,
                    off,
                    named / repeats / 2 if off else "",
                    wrongly / repeats,
                    any_wrong / repeats,
                )
            )
    head = ("images in families", "classes", "two off by", "found", "share wrongly named", "any")
    return head, rows


def ensemble(repeats: int) -> tuple[Sequence[str], Rows]:
    """K members with errors of their own; each image is new to two of them."""
    rows: Rows = []
    rng = np.random.default_rng(4)
    for count, spread in ((3, 0.5), (5, 0.5), (10, 0.5), (5, 1.5), (10, 1.5)):
        values: dict[str, list[float]] = {"median": [], "1": [], "pairs": [], "best": []}
        ratio, held = [], 0
        for _ in range(max(20, repeats // 10)):
            n = 2000
            signal, targets = drawn(rng, 2 * n, 4.0)
            logits = (signal + spread * rng.normal(size=(count, 2 * n, CLASSES))).astype(np.float32)
            logits *= 1.5
            own = [fit_temperature(z[:n], targets[:n]).value for z in logits]
            tempered = logits / np.asarray(own, np.float32)[:, None, None]
            new = np.zeros((count, n), bool)
            first = rng.integers(0, count, n)
            new[first, np.arange(n)] = True
            new[(first + rng.integers(1, count, n)) % count, np.arange(n)] = True
            answers = FoldAnswers(tempered[:, :n], new, targets[:n], Families.alone(n))
            found = ensemble_temperature(answers)
            test, truth = mean_logits(tempered[:, n:], multilabel=False), targets[n:]
            raw = mean_logits(logits[:, n:], multilabel=False)
            best = fit_temperature(test, truth).value
            values["median"].append(log_loss(raw, truth, float(np.median(own))))
            values["1"].append(log_loss(test, truth))
            values["pairs"].append(log_loss(test, truth, found.value))
            values["best"].append(log_loss(test, truth, best))
            ratio.append(found.value / best)
            held += found.low <= best <= found.high
        losses = [float(np.mean(losses)) for losses in values.values()]
        rows.append((count, spread, *losses, float(np.mean(ratio)), held / len(ratio)))
    head = (
        "members",
        "spread",
        "median of members",
        "members tempered",
        "by pairs",
        "best on test",
        "T / best T",
        "interval holds best",
    )
    return head, rows


if __name__ == "__main__":
    main()
