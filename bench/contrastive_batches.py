"""Contrastive batches of 32 and of 1,024, at equal samples, on groceries.

    python bench/contrastive_batches.py --groceries FOLDER [--resize crop] [--samples 30720]

A linear layer on kept image embeddings and a new text encoder, as in `bench/text_without_hub.py`,
are trained on the train part's photos of all 81 kinds and what a shop says of each, and tried on
the photos of the val part (zero-shot by "name, kind"). Every batch size sees as many samples, at
each of three learning rates; the best of the rates on half of the photos is reported on the other
half, over seeds. With the softmax over all positives of a batch, and over its own caption alone:
the loss that takes other photos of the same kind for strangers.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from bench_words import read_groceries
from text_without_hub import said_of, trained

from shopsight.inference.open_embedder import open_embedder
from shopsight.new_text_settings import NewTextSettings
from shopsight.unit_vectors import unit_vectors

BATCHES, RATES = (32, 1024), (3e-4, 1e-3, 3e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--groceries", type=Path, required=True)
    parser.add_argument("--model", default="embedded:tf_efficientnet_lite2")
    parser.add_argument("--resize", choices=["pad", "crop", "squash"])
    parser.add_argument("--samples", type=int, default=30_720)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    shop = read_groceries(options.groceries)
    embedder = open_embedder(options.model, resize=options.resize)
    images = np.stack([one.vector for one in embedder.embed(shop.catalog, on_error="raise")])
    test = shop.catalog.table["split"].to_numpy() == "val"
    vectors = unit_vectors(images - images[~test].mean(axis=0)).astype(np.float32)
    names = sorted(set(shop.labels[~test]))
    labels = np.searchsorted(names, shop.labels)
    said = [said_of(shop, name) for name in names]
    asked = [one[1] for one in said]
    first = np.random.default_rng(0).random(int(test.sum())) < 0.5
    settings = NewTextSettings.model_validate({"tokens": "words", "context_length": 12})
    for alone in (False, True):
        for batch in BATCHES:
            hits = np.empty((len(RATES), options.seeds, int(test.sum())))
            for i, rate in enumerate(RATES):
                for seed in range(options.seeds):
                    model = trained(
                        vectors[~test], labels[~test], said, settings=settings,
                        steps=options.samples // batch, seed=seed, dropout=0.3, batch=batch,
                        rate=rate, alone=alone,
                    )  # fmt: skip
                    with torch.inference_mode():
                        scores = model.images(torch.from_numpy(vectors[test]))
                        scores = scores @ model.texts(asked).T
                    hits[i, seed] = scores.argmax(dim=1).numpy() == labels[test]
            best = int(hits[:, :, first].mean(axis=(1, 2)).argmax())
            found = 100 * hits[best][:, ~first].mean(axis=1)
            print(
                json.dumps(
                    {
                        "positives": "its own caption" if alone else "all of its kind",
                        "batch": batch,
                        "rate": RATES[best],
                        "accuracy": f"{found.mean():.1f}, seeds {found.min():.1f} to "
                        f"{found.max():.1f}, of {int((~first).sum())} photos",
                    }
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
