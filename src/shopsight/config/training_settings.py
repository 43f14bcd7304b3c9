"""The section of training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from shopsight.config.loss_settings import METRIC_LOSSES, Loss
from shopsight.config.reach import NOTHING
from shopsight.config.section import Auto, Fraction, Positive, Section, SizePx


def _text(value: object) -> object:
    """The whole number as text: `--set training.precision=32` is a number in TOML."""
    return str(value) if type(value) is int else value


Checkpoint = Literal["best", "last", "retrieval"]


class TrainingSettings(Section):
    """How the network is trained.

    Attributes:
        mode: "probe" stops after the linear probe; "probe-then-finetune" continues from it;
            "finetune" starts from pretrained weights and a new head; "frozen" trains the head
            only; "scratch" ignores pretrained weights; "zero-shot" trains nothing: a text encoder
            finds the classes by their names, see `ZeroShotSettings`; "zero-shot-then-finetune"
            continues from it; "contrastive" trains both encoders, see `ContrastiveSettings`.
        epochs: Planned passes over the training images.
        time_limit_s: Plan as many epochs (at most `epochs`) as the measured step time allows.
        batch_size: Images per step on each device. "auto" is 32, and on CUDA up to 128 where the
            data has enough images; `optimizer.lr` then follows `optimizer.lr_scaling`.
        grad_accumulation: Steps whose gradients are summed before the weights change.
        progressive_sizes_px: Side of the training images, pixels, stretched over the epochs:
            (128, 160, 224) trains the first third at 128. Empty: `progressive_scales`.
        progressive_scales: The same as multiples of the preprocess size, rounded to 32 px. Empty:
            the preprocess size.
        frozen_stages: Leading stages of the backbone that keep their weights.
        frozen_batchnorm: Whether BatchNorm keeps its running statistics.
        loss: "bce" is for several labels per image. "arcface" and "cosface" are classification
            with a margin, "softtriple", "proxy-anchor" and "proxy-nca" compare images with
            directions of classes, "supcon" and "multi-similarity" with each other: all for search,
            see `MetricSettings`, and with `model.head.kind = "cosine"`.
        label_smoothing: Probability taken from the true class and spread evenly over all.
        focal_gamma: Exponent of the focal loss (Lin et al. 2017).
        class_weights: "none", "balanced" (n / (classes * count)), "effective" (Cui et al. 2019),
            or a table from label to weight.
        sampling: How often an epoch, which is as long in each case, draws the images of a class:
            "plain" each image once; "balanced" every class as often; "sqrt" in proportion to the
            root of its images; "pxk" every class as often, `images_per_class` of it together in
            a batch, of different groups where there are groups.
        images_per_class: The K of "pxk"; `batch_size` is a multiple of it. 1: no label twice in a
            batch, where there are enough labels.
        checkpoint: The checkpoint that becomes the bundle: that of the best validation accuracy,
            of the last epoch, or of the best "retrieval": mean average precision of images that
            ask for others of their class, see `data.val_classes`.
        keep_epochs: Weights of so many last epochs are kept; each has its retrieval scored.
        head_epochs: The first epochs train neck and head alone, from a backbone that stands still.
        patience: Stop after so many epochs without a better validation loss.
        ema: Decay of the weights' exponential moving average; 0 is off.
        gradient_clip: Largest norm of the gradient; unset: no limit.
        precision: "auto" is bf16 where the machine computes in it, else 32.
        channels_last: Whether pixels' channels lie beside each other in memory: faster
            convolutions, the same results.
        compile: Whether the network goes through `torch.compile`. "auto" compiles on CUDA, in one
            process, where measured steps say that it saves more time than it takes.
    """

    mode: Literal[
        "probe",
        "probe-then-finetune",
        "finetune",
        "frozen",
        "scratch",
        "zero-shot",
        "zero-shot-then-finetune",
        "contrastive",
    ] = "probe-then-finetune"
    epochs: int = Field(default=8, ge=1, le=1_000_000)
    time_limit_s: Positive | None = None
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] | Auto = 32
    grad_accumulation: int = Field(default=1, ge=1, le=1_000_000)
    progressive_sizes_px: Annotated[tuple[SizePx, ...], Field(max_length=1000)] = ()
    progressive_scales: Annotated[
        tuple[Annotated[float, Field(ge=0.1, le=4.0)], ...], Field(max_length=1000)
    ] = ()
    frozen_stages: int = Field(default=0, ge=0, le=1_000_000)
    frozen_batchnorm: bool = False
    loss: Loss = "cross-entropy"
    label_smoothing: Fraction = 0.0
    focal_gamma: float = Field(default=2.0, ge=0.0, le=100.0)
    class_weights: Annotated[
        Literal["none", "balanced", "effective"] | dict[str, Positive], NOTHING
    ] = "none"
    sampling: Literal["plain", "sqrt", "balanced", "pxk"] = "plain"
    images_per_class: int = Field(default=4, ge=1, le=1000)
    checkpoint: Checkpoint = "best"
    keep_epochs: int = Field(default=0, ge=0, le=10_000)
    head_epochs: int = Field(default=0, ge=0, le=1_000_000)
    patience: int | None = Field(default=None, ge=1, le=1_000_000)
    ema: Fraction = 0.0
    gradient_clip: Positive | None = None
    precision: Annotated[Literal["auto", "32", "bf16", "16"], BeforeValidator(_text)] = "auto"
    channels_last: bool = True
    compile: bool | Auto = False

    @property
    def resolved_batch_size(self) -> int:
        """`batch_size` of a resolved recipe, a number."""
        assert self.batch_size != "auto"
        return self.batch_size

    @property
    def scores_retrieval(self) -> bool:
        """Whether each epoch is scored by how well it finds images of one class."""
        by_search = self.loss in METRIC_LOSSES or self.checkpoint == "retrieval"
        return by_search or self.keep_epochs > 0

    @property
    def finetunes(self) -> bool:
        """Whether any step is taken by gradients of the network."""
        return self.mode not in ("probe", "zero-shot")

    @property
    def reads_labels(self) -> bool:
        """Whether a text encoder says what the classes are."""
        return self.mode in ("zero-shot", "zero-shot-then-finetune", "contrastive")
