"""What a probe loses that is spared steps and images, on the photos of a run.

    python bench/bench_probe.py RUN [--shares 1 0.2 0.1 0.05]

The features of the run's network are computed once. Then the probe is fitted on the training part
with shares of its whole arithmetic (`shopsight.training.probe_plan`), and scored on the validation
part, which chooses the penalty, and on the test part, which does not.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from unittest import mock

import numpy as np

import shopsight
from shopsight.config.sections import CacheSettings
from shopsight.loading.cache import open_cache
from shopsight.loading.loader import OrderedBatches
from shopsight.runs.run_folder import RunFolder
from shopsight.training.probe import fit_probe, loss_and_accuracy
from shopsight.training.probe_plan import ProbePlan, plan_probe

BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--shares", nargs="+", type=float, default=[1.0, 0.2, 0.1, 0.05])
    given = parser.parse_args()
    run = RunFolder(given.run)
    features, catalog = features_of(run), run.catalog()
    targets, classes = catalog.targets(catalog.labels), len(catalog.labels)
    train, val, test = (catalog.rows_of(part) for part in ("train", "val", "test"))
    penalties = run.recipe().probe.penalties
    passes = ProbePlan().passes(len(train), len(penalties))
    whole = 2.0 * len(train) * classes * features.shape[1] * passes
    print(f"{len(train):,} training images, {classes} classes, {features.shape[1]} features")
    for share in given.shares:
        plan = plan_probe(
            num_rows=len(train),
            num_classes=classes,
            width=features.shape[1],
            num_penalties=len(penalties),
            most_products=share * whole,
        )
        began = time.perf_counter()
        with mock.patch.dict("shopsight.training.probe_plan.MOST_PRODUCTS", cpu=share * whole):
            probe = fit_probe(
                features[train],
                targets[train],
                features[val],
                targets[val],
                num_classes=classes,
                settings=run.recipe().probe,
            )
        seconds = time.perf_counter() - began
        _, accuracy = loss_and_accuracy(features[test], targets[test], probe.weight, probe.bias)
        print(
            f"{share:6.1%} of the work: {plan.iterations} steps, "
            f"{plan.sample_rows or len(train):,} images, {seconds:.1f} s; val loss "
            f"{probe.val_loss:.4f}, val {probe.val_accuracy:.2%}, test {accuracy:.2%}",
            flush=True,
        )


def features_of(run: RunFolder) -> np.ndarray:
    """Of every image of the run."""
    predictor, audited = shopsight.load(run.path), run.audited_catalog()
    source = open_cache(
        audited.catalog,
        predictor.preprocess,
        settings=CacheSettings(mode="off"),
        sha256s=audited.sha256.to_list(),
    )
    batches = OrderedBatches(source, np.arange(len(audited.catalog)), batch_size=BATCH)
    return np.concatenate([predictor.engine.run(batch.images.numpy())[0] for batch in batches])


if __name__ == "__main__":
    main()
