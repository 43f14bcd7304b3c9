from __future__ import annotations

import numpy as np
import torch
from torch import nn

from shopsight.models.heads import LinearHead
from shopsight.models.product_model import ProductModel
from shopsight.preprocess import Preprocess
from shopsight.soups.batchnorm import PooledMoments, reestimate_batchnorm, sampled_batches

SIZE_PX = 8


def small_network() -> ProductModel:
    torch.manual_seed(0)
    backbone = nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Conv2d(4, 6, 3),
        nn.BatchNorm2d(6),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    return ProductModel(backbone, LinearHead(6, 3), Preprocess(size_px=SIZE_PX))


def some_images(count: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, SIZE_PX, SIZE_PX, 3), dtype=torch.uint8, generator=random)


def test_pooled_moments_are_those_of_all_at_once() -> None:
    values = torch.randn(50, 5, 3, 2, generator=torch.Generator().manual_seed(0)) * 3 + 100
    moments, layer = PooledMoments(), nn.BatchNorm2d(5)
    for part in values.split([7, 30, 1, 12]):
        moments.add(part)
    moments.write_to(layer)
    exact = values.double().transpose(0, 1).flatten(1)
    np.testing.assert_allclose(layer.running_mean, exact.mean(1), rtol=1e-6)
    np.testing.assert_allclose(layer.running_var, exact.var(1), rtol=1e-5)


def test_each_layer_gets_the_statistics_of_its_inputs() -> None:
    """One batch: a second pass by the new statistics normalizes it to mean 0 and variance 1."""
    model, images = small_network(), some_images(20)
    reestimate_batchnorm(model, {"backbone.1", "backbone.5"}, [images])
    assert not any(layer.training for layer in model.modules())
    seen: list[torch.Tensor] = []
    for number in (1, 5):
        model.backbone[number].register_forward_hook(lambda _layer, _inputs, out: seen.append(out))
    with torch.no_grad():
        model(images)
    # The unbiased variance, by which the first layer then divides, is one part in 720 larger.
    for out in seen:
        flat = out.transpose(0, 1).flatten(1)
        np.testing.assert_allclose(flat.mean(1), 0, atol=2e-3)
        np.testing.assert_allclose(flat.var(1, correction=0), 1, atol=2e-2)


def test_only_the_named_layers_change_and_dropout_is_off() -> None:
    model, images = small_network(), some_images(12)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    reestimate_batchnorm(model, {"backbone.5"}, images.split(6))
    after = model.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed - {"backbone.5.num_batches_tracked"} == {
        "backbone.5.running_mean",
        "backbone.5.running_var",
    }
    with torch.no_grad():
        inputs = model.backbone[:5](model.normalize(images))
    np.testing.assert_allclose(after["backbone.5.running_mean"], inputs.mean((0, 2, 3)), atol=1e-6)
    assert model.backbone[5].momentum == 0.1


def test_batches_are_seeded_and_of_several_images() -> None:
    rows = np.arange(100, 229)
    batches = sampled_batches(rows, seed=3)
    assert sorted(np.concatenate(batches)) == rows.tolist()
    assert min(map(len, batches)) > 1
    again = sampled_batches(rows, seed=3)
    assert all(np.array_equal(one, two) for one, two in zip(batches, again, strict=True))
    assert not np.array_equal(batches[0], sampled_batches(rows, seed=4)[0])
    assert sum(map(len, sampled_batches(np.arange(10_000), seed=0))) == 2048
