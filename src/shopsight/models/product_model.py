"""The whole network: uint8 pixels in, logits out."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from shopsight.devices import supports_channels_last
from shopsight.preprocess import Preprocess


def middle_of(pixels: Float[Tensor, "b 3 s s"], part: float) -> Float[Tensor, "b 3 s s"]:
    """The middle of images, enlarged to their size.

    Args:
        pixels: of square images.
        part: of their side.
    """
    side = pixels.shape[2]
    kept = max(1, round(part * side))
    first = (side - kept) // 2
    middle = pixels[:, :, first : first + kept, first : first + kept]
    return functional.interpolate(middle, size=(side, side), mode="bilinear", align_corners=False)


class ProductModel(nn.Module):
    """Normalization, backbone and head, as train, evaluate, predict and export all run it.

    Images stay uint8 up to here; mean and standard deviation are one multiply-add on the batch.
    State-dict names start with "backbone." and "head.": the normalization belongs to
    `preprocess`, not to the weights.

    Args:
        backbone: float "b 3 s s" -> "b width".
        head: "b width" -> "b classes".
        preprocess: its mean and std are applied here, and its `average`; its geometry was applied
            before.
        tta_hflip: in eval mode, the embedding is the mean over the image and its mirror image.
    """

    scale: Tensor
    offset: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        preprocess: Preprocess,
        *,
        tta_hflip: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.preprocess = preprocess
        self.tta_hflip = tta_hflip
        mean, std = torch.tensor(preprocess.mean), torch.tensor(preprocess.std)
        scale = (1.0 / (255.0 * std.double())).float()
        offset = (-mean.double() / std.double()).float()
        self.register_buffer("scale", scale.view(1, 3, 1, 1), persistent=False)
        self.register_buffer("offset", offset.view(1, 3, 1, 1), persistent=False)

    def normalize(self, images: UInt8[Tensor, "b s s 3"]) -> Float[Tensor, "b 3 s s"]:
        """(images / 255 - mean) / std, laid out channels last where the device supports it."""
        # NHWC bytes seen as NCHW are channels-last already: no copy, and those below keep it.
        pixels = images.permute(0, 3, 1, 2)
        if not supports_channels_last(images.device):
            pixels = pixels.contiguous()
        return torch.addcmul(self.offset, pixels.to(self.scale.dtype), self.scale)

    def embed(self, images: UInt8[Tensor, "b s s 3"]) -> Float[Tensor, "b w"]:
        """The backbone's output for each image."""
        return self.embed_pixels(self.normalize(images))

    def embed_pixels(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b w"]:
        """The backbone's output for normalized images; in eval mode the mean over all views."""
        embedding: Tensor = self.backbone(pixels)
        if self.training:
            return embedding
        others = [middle_of(pixels, part) for part in self.preprocess.average]
        if self.tta_hflip:
            others += [view.flip(3) for view in (pixels, *others)]
        if not others:
            return embedding
        for view in others:
            embedding = embedding + self.backbone(view)
        return embedding / (1 + len(others))

    def classify(self, embedding: Float[Tensor, "b w"]) -> Float[Tensor, "b c"]:
        """Logits of embeddings."""
        return self.head(embedding)  # type: ignore[no-any-return]

    def embed_and_classify(
        self, images: UInt8[Tensor, "b s s 3"]
    ) -> tuple[Float[Tensor, "b w"], Float[Tensor, "b c"]]:
        """Embeddings and logits, as training needs both."""
        embedding = self.embed(images)
        return embedding, self.classify(embedding)

    def forward(self, images: UInt8[Tensor, "b s s 3"]) -> Float[Tensor, "b c"]:
        """Logits of images of any size `s` that the backbone takes."""
        return self.classify(self.embed(images))
