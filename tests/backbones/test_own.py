from __future__ import annotations

import pytest
from torch import nn

from shopsight.backbones.create import create_backbone
from shopsight.errors import ConfigError
from tests.helpers import embed


@pytest.mark.parametrize(
    ("name", "count"), [("shopsight:fashion_cnn", 142_474), ("shopsight:fashion_net", 477_666)]
)
def test_parameters_of_the_small_nets_with_a_head_for_ten(name: str, count: int) -> None:
    backbone = create_backbone(name, weights="random")
    head = nn.Linear(backbone.embedding_dim, 10)
    both = [*backbone.module.parameters(), *head.parameters()]
    assert sum(parameter.numel() for parameter in both) == count
    assert backbone.preprocess.size_px == 28
    assert embed(backbone, size_px=32).shape == (2, backbone.embedding_dim)


def test_dropout_after_convolutions_can_be_set() -> None:
    for name, own in (("shopsight:fashion_cnn", 0.2), ("shopsight:fashion_net", 0.0)):
        for asked, expected in ((None, own), (0.35, 0.35)):
            module = create_backbone(name, weights="random", conv_dropout=asked).module
            found = {part.p for part in module.modules() if isinstance(part, nn.Dropout2d)}
            assert found == {expected}
    with pytest.raises(ConfigError, match="no dropout after its convolutions"):
        create_backbone("timm:resnet18", weights="random", conv_dropout=0.1)
