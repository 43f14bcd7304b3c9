from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from shopsight.profiling.macs import macs_by_module


def macs_of(net: nn.Module, image: Tensor) -> dict[str, int]:
    with torch.no_grad(), macs_by_module(net) as macs:
        net(image)
    return macs


def test_resnet18_equals_the_published_list() -> None:
    # Multiply-adds as K * K * Cin * Cout * Hout * Wout.
    net = timm.create_model("resnet18", num_classes=18).eval()
    macs = macs_of(net, torch.zeros(1, 3, 224, 224))
    expected = {"conv1": 118_013_952, "fc": 9_216}
    channels, sides = (64, 64, 128, 256, 512), (56, 56, 28, 14, 7)
    for stage in range(1, 5):
        before, width, side = channels[stage - 1], channels[stage], sides[stage]
        for block in range(2):
            entering = before if block == 0 else width
            name = f"layer{stage}.{block}"
            expected[f"{name}.conv1"] = 9 * entering * width * side**2
            expected[f"{name}.conv2"] = 9 * width * width * side**2
        if stage > 1:
            expected[f"layer{stage}.0.downsample.0"] = before * width * side**2
    assert {name: count for name, count in macs.items() if count} == expected
    assert list(macs)[:4] == ["", "conv1", "bn1", "act1"]


@pytest.mark.parametrize(
    ("name", "size_px"),
    [("vit_tiny_patch16_224", 224), ("caformer_s18", 96), ("convnext_atto", 96),
     ("xcit_nano_12_p16_224", 224), ("mobilevit_xxs", 128)],
)  # fmt: skip
def test_modules_add_up_to_the_total(name: str, size_px: int) -> None:
    net = timm.create_model(name, num_classes=0).eval()
    image = torch.zeros(1, 3, size_px, size_px)
    macs = macs_of(net, image)
    math = sdpa_kernel(SDPBackend.MATH)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), math:
        net(image)
    assert all(count >= 0 for count in macs.values())
    assert 2 * sum(macs.values()) == counter.get_total_flops()


class _Attention(nn.Module):
    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.heads = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, image: Tensor) -> Tensor:
        tokens = functional.pixel_unshuffle(image, 4)[:, :16].flatten(2).transpose(1, 2)
        if self.form == "module":
            return torch.as_tensor(self.heads(tokens, tokens, tokens, need_weights=False)[0])
        if self.form == "fused":
            return functional.scaled_dot_product_attention(tokens, tokens, tokens)
        weights = torch.einsum("bqc,bkc->bqk", tokens, tokens).softmax(-1)
        return torch.as_tensor(torch.einsum("bqk,bkc->bqc", weights, tokens))


@pytest.mark.parametrize(("form", "projections"), [("fused", 0), ("einsum", 0), ("module", 4)])
def test_attention_is_counted_in_every_form(form: str, projections: int) -> None:
    net = _Attention(form).eval()
    macs = macs_of(net, torch.zeros(1, 3, 32, 32))
    tokens, width = 64, 16
    expected = 2 * tokens * tokens * width + projections * tokens * width * width
    # What a forward method multiplies without a layer of its own counts for its module.
    assert macs["heads" if form == "module" else ""] == expected
    assert sum(macs.values()) == expected
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_module_that_runs_twice_counts_twice() -> None:
    layer = nn.Linear(4, 5)
    net = nn.Sequential(layer, nn.Linear(5, 4), layer)
    assert macs_of(net, torch.zeros(1, 4)) == {"": 0, "0": 40, "1": 20}
