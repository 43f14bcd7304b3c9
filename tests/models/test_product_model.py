from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.data.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from torch import Tensor, nn

from shopsight.backbones.create import create_backbone
from shopsight.head_settings import HeadSettings
from shopsight.models.heads import create_head
from shopsight.models.product_model import ProductModel, middle_of
from shopsight.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocess


def photos(count: int = 2, size_px: int = 28, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(
        0, 256, (count, size_px, size_px, 3), generator=generator, dtype=torch.uint8
    )


def fashion_model(*, flip: bool = False) -> ProductModel:
    torch.manual_seed(0)
    backbone = create_backbone("shopsight:fashion_cnn", weights="random")
    head = create_head(HeadSettings(), embedding_dim=backbone.embedding_dim, num_classes=10)
    return ProductModel(backbone.module, head, backbone.preprocess, tta_hflip=flip).eval()


@given(
    st.tuples(*[st.floats(0, 1)] * 3), st.tuples(*[st.floats(0.05, 2)] * 3), st.integers(0, 1000)
)
def test_normalising_equals_the_reference(
    mean: tuple[float, float, float], std: tuple[float, float, float], seed: int
) -> None:
    model = ProductModel(nn.Identity(), nn.Identity(), Preprocess(mean=mean, std=std))
    images = photos(3, 9, seed)
    exact = images.double().permute(0, 3, 1, 2) / 255
    exact = (exact - torch.tensor(mean).double().view(3, 1, 1)) / torch.tensor(std).double().view(
        3, 1, 1
    )
    torch.testing.assert_close(model.normalize(images).double(), exact, rtol=1e-6, atol=1e-5)


def test_normalising_keeps_channels_last() -> None:
    for mean, std in ((IMAGENET_MEAN, IMAGENET_STD), (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD)):
        model = ProductModel(nn.Identity(), nn.Identity(), Preprocess(mean=mean, std=std))
        normalized = model.normalize(photos(2, 16))
        assert normalized.is_contiguous(memory_format=torch.channels_last)
        assert normalized.dtype == torch.float32


def test_forward_is_embed_then_classify() -> None:
    model = fashion_model()
    images = photos()
    with torch.inference_mode():
        assert torch.equal(model(images), model.classify(model.embed(images)))


def test_state_dict_holds_backbone_and_head_only() -> None:
    assert {name.partition(".")[0] for name in fashion_model().state_dict()} == {"backbone", "head"}


def test_flip_averages_the_mirror_image_in_eval_mode() -> None:
    plain, flipped = fashion_model(), fashion_model(flip=True)
    images = photos()
    with torch.inference_mode():
        mean = (plain.embed(images) + plain.embed(images.flip(2))) / 2
        torch.testing.assert_close(flipped.embed(images), mean)
        torch.testing.assert_close(flipped(images), flipped(images.flip(2)))
        torch.manual_seed(1)
        trained = flipped.train()(images)
        torch.manual_seed(1)
        assert torch.equal(trained, plain.train()(images))


def test_the_middle_is_enlarged_to_the_square() -> None:
    """A ramp stays one, half as steep, with the value of the middle in its middle."""
    side, part = 16, 0.5
    columns = torch.arange(side, dtype=torch.float32)
    ramp = columns.expand(1, 3, side, side)
    found = middle_of(ramp, part)
    assert found.shape == ramp.shape
    wanted = 4 + (columns + 0.5) * part - 0.5
    # At the edges of the middle there is nothing beyond to interpolate with.
    torch.testing.assert_close(found[0, 0, 5, 1:-1], wanted[1:-1])
    assert middle_of(torch.ones(2, 3, 9, 9), 0.2).eq(1).all()


def test_views_are_averaged_where_nothing_is_trained() -> None:
    for flip in (False, True):
        plain = fashion_model(flip=flip)
        views = plain.preprocess.model_copy(update={"average": (0.75, 0.5)})
        model = ProductModel(plain.backbone, plain.head, views, tta_hflip=flip).eval()
        images = photos()
        with torch.inference_mode():
            pixels = model.normalize(images)
            seen = [pixels, middle_of(pixels, 0.75), middle_of(pixels, 0.5)]
            seen += [view.flip(3) for view in seen] if flip else []
            wanted = torch.stack([model.backbone(view) for view in seen]).mean(0)
            torch.testing.assert_close(model.embed(images), wanted)
            assert not torch.allclose(model.embed(images), plain.embed(images))
            model.backbone.eval()
            model.training = True
            assert torch.equal(model.embed(images), model.backbone(pixels))
