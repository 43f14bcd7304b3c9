"""The sections of a recipe: frozen values with their defaults, one class per TOML table.

The docstrings say what each key means, in its unit. `shopsight.config.recipe.Recipe` puts the
sections together and checks what they say about each other.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from shopsight.config.reach import NOTHING, READS, SENDS
from shopsight.head_settings import HeadSettings
from shopsight.neck_settings import NeckSettings
from shopsight.new_text_settings import NewTextSettings
from shopsight.preprocess import Interpolation, Mean, PadColor, Preprocess, Resize, Std
from shopsight.read_options import ReadOptions

Auto = Literal["auto"]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0, le=1e12, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Bound = Annotated[float, Field(ge=0.0, le=1000.0)]
Span = tuple[Bound, Bound]
SizePx = Annotated[int, Field(ge=8, le=4096)]
Text = Annotated[str, Field(max_length=10_000), NOTHING]
"""Shown, and no more."""


def _text(value: object) -> object:
    """The whole number as text: `--set training.precision=32` is a number in TOML."""
    return str(value) if type(value) is int else value


RESAMPLES = "bootstrap_resamples"
"""A setting that older recipes have; it decides nothing."""


class Section(BaseModel):
    """A frozen value that refuses unknown keys, and checks its own defaults too."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class About(Section):
    """Where a recipe comes from, for `shopsight recipes`.

    Attributes:
        title: One line: what is trained, on what.
        source: The original work, or "shopsight".
        data: The named data set that it trains on without DATA, or "any".
        reported: The accuracy that the original work states, percent, with its data.
        measured: What we measured with this file, with its data, or why nothing was measured yet.
        cost: Epochs and images, or the time on a named machine.
        notes: Faults of the original, and what is done differently here.
        chosen_on: Data sets whose scores decided about the recipe; on them its scores are too high.
    """

    title: Text = ""
    source: Text = ""
    data: Annotated[str, READS] = ""
    reported: Text = ""
    measured: Text = ""
    cost: Text = ""
    notes: Text = ""
    chosen_on: Annotated[tuple[Text, ...], Field(max_length=100), NOTHING] = ()


# pydantic freezes it by the configuration of `Section`, which mypy does not see.
class DataSettings(Section, ReadOptions):  # type: ignore[misc]
    """How DATA is read, and how it is split when it brings no split.

    Further keys are the fields of `ReadOptions`: `image`, `label`, `group`, `text`, `drop`, ...

    Attributes:
        val: Fraction of the images that validate.
        test: Fraction of the images that test.
        val_classes: Fraction of the images that validate as whole classes, none of which is trained
            on: the retrieval of each epoch is scored among them, as a search meets new products.
        offline_kinds: Materialized augmentation as in Product-650: each kind is applied once, as
            extra training samples.
        offline_fraction: Fraction of the training images that each kind is applied to.
    """

    val: Fraction = 0.1
    test: Fraction = 0.1
    val_classes: Fraction = 0.0
    offline_kinds: tuple[Literal["hflip", "vflip", "rotate", "crop", "noise", "box"], ...] = ()
    offline_fraction: Probability = 0.245


class PreprocessSettings(Section):
    """What to change of the backbone's own preprocessing; "auto" keeps it.

    The keys are those of `shopsight.preprocess.Preprocess`.
    """

    size_px: SizePx | Auto = "auto"
    resize: Resize | Auto = "auto"
    crop_fraction: Annotated[float, Field(gt=0.0, le=1.0)] | Auto = "auto"
    pad_color: PadColor | Auto = "auto"
    interpolation: Interpolation | Auto = "auto"
    mean: tuple[Mean, Mean, Mean] | Auto = "auto"
    std: tuple[Std, Std, Std] | Auto = "auto"

    def applied_to(self, base: Preprocess) -> Preprocess:
        """Return `base` with every setting that is not "auto"."""
        changes = {key: value for key, value in self.model_dump().items() if value != "auto"}
        return Preprocess.model_validate(base.model_dump() | changes)


class ModelSettings(Section):
    """Backbone and head.

    Attributes:
        backbone: "library:name", e.g. "embedded:tf_efficientnet_lite0", "timm:resnet18".
        weights: "pretrained", "random", or the path of a weight file.
        neck: The layers from the backbone to the embedding.
        head: The layers from the embedding to the logits.
        drop_path: Stochastic depth, where the backbone has it.
        conv_dropout: Dropout after the convolutions of `shopsight:` networks; unset: their own.
        new_text: A text encoder with new weights in place of the backbone's, for
            `training.mode = "contrastive"`; unset: the backbone's own.
        keep_text: Whether the bundle keeps the backbone's text encoder, where it has one and its
            weights were not trained: the bundle is then searched by words, and is larger.
    """

    backbone: Annotated[str, READS] = "embedded:tf_efficientnet_lite0"
    weights: Annotated[str, READS] = "pretrained"
    neck: NeckSettings = NeckSettings()
    head: HeadSettings = HeadSettings()
    drop_path: Fraction = 0.0
    conv_dropout: Fraction | None = None
    new_text: NewTextSettings | None = None
    keep_text: bool = True


class ZeroShotSettings(Section):
    """Classes by their names, for a backbone with a text encoder.

    Attributes:
        prompts: Sentences with `{}` where the label goes; the direction of a class is the mean of
            theirs. Empty: those of `shopsight.words.class_lists.PROMPTS`.
    """

    prompts: Annotated[tuple[Text, ...], Field(max_length=1000), NOTHING] = ()

    @field_validator("prompts")
    @classmethod
    def _have_a_place(cls, prompts: tuple[str, ...]) -> tuple[str, ...]:
        for prompt in prompts:
            if prompt.count("{}") != 1 or "{" in prompt.replace("{}", ""):
                raise ValueError(f"{prompt[:100]!r} has not one {{}}, where the label goes")
        return prompts


class ContrastiveSettings(Section):
    """Images and captions drawn together, for a backbone with a text encoder.

    Attributes:
        loss: "softmax" over all captions of a step, or "sigmoid" of each pair. Images of one label
            or caption belong to each other's captions.
        batch_size: Images of a step, of all devices together. `training.batch_size` of them are in
            memory at once on each device: the gradient is that of the whole batch.
        captions: "labels" reads labels in the sentences of `zero_shot.prompts`, "text" is the
            catalog's column of texts, "both" takes one of the two by chance.
        locked: The tower that keeps its weights.
        text_lr_factor: Learning rate of the text encoder, in units of `optimizer.lr`.
    """

    loss: Literal["softmax", "sigmoid"] = "softmax"
    batch_size: int = Field(default=1024, ge=2, le=1_000_000)
    captions: Literal["labels", "text", "both"] = "labels"
    locked: Literal["none", "image", "text"] = "none"
    text_lr_factor: Positive = 1.0


class ProbeSettings(Section):
    """The linear probe: logistic regression on features of the frozen backbone.

    Attributes:
        penalties: L2 penalties to try; the one with the lowest validation log loss is kept.
        adapt: Whether to say, before any fine-tuning, what a layer on these features would bring to
            a search (`shopsight adapt`).
    """

    penalties: Annotated[tuple[Positive, ...], Field(max_length=100)] = (1e-3, 3e-3, 1e-2, 3e-2)
    adapt: bool = True


Loss = Literal[
    "cross-entropy",
    "focal",
    "bce",
    "arcface",
    "cosface",
    "softtriple",
    "proxy-anchor",
    "proxy-nca",
    "supcon",
    "multi-similarity",
]
MARGIN_LOSSES = frozenset({"arcface", "cosface"})
"""Losses of the logits of a cosine head, with a margin."""
PROXY_LOSSES = frozenset({"softtriple", "proxy-anchor", "proxy-nca"})
"""Losses of embeddings and of directions of classes, which are the head's."""
PAIR_LOSSES = frozenset({"supcon", "multi-similarity"})
"""Losses of embeddings among each other; nothing trains the head."""
METRIC_LOSSES = MARGIN_LOSSES | PROXY_LOSSES | PAIR_LOSSES


Checkpoint = Literal["best", "last", "retrieval"]


class MetricSettings(Section):
    """The numbers of losses that train embeddings for search (`training.loss`).

    Attributes:
        margin: In radians for "arcface", in cosines for the others; unset: .3 for "arcface", .2
            for "cosface", .01 for "softtriple", .1 for "proxy-anchor".
        margin_step: What the margin of "arcface" and "cosface" grows by in each epoch.
        margin_most: Where it stops growing.
        contrastive: Weight of a contrastive loss of the batch's pairs beside a loss of proxies:
            two images of a class are drawn together, two of different classes apart as long as
            their cosine is above `base`.
        gamma: Softness of the choice among the directions of a class in "softtriple".
        alpha: Slope of "proxy-anchor" (unset: 32), and of pairs of one class in
            "multi-similarity" (unset: 2).
        beta: Slope of pairs of two classes in "multi-similarity".
        base: The cosine around which "multi-similarity" judges pairs, see also `contrastive`.
        temperature: What "supcon" divides cosines by.
    """

    margin: Annotated[float, Field(ge=0.0, lt=1.57)] | None = None
    margin_step: float = Field(default=0.0, ge=0.0, le=1.57)
    margin_most: float = Field(default=0.8, ge=0.0, lt=1.57)
    contrastive: float = Field(default=0.0, ge=0.0, le=1e6)
    gamma: Positive = 0.1
    alpha: Positive | None = None
    beta: Positive = 50.0
    base: float = Field(default=0.5, ge=-1.0, le=1.0)
    temperature: Positive = 0.1


class DistillSettings(Section):
    """What a student learns from a teacher, a trained model, beside its labels.

    The student's images are framed as the teacher's are, and both see the same view: views are
    seeded, and the teacher's outputs for each are kept.

    Attributes:
        teacher: A run, a bundle, a preset, or a backbone by name; empty: there is none.
        soft_weight: Weight of the teacher's probabilities in the loss.
        hard_weight: Weight of the labels, by `training.loss`.
        temperature: What logits are divided by before they become probabilities, of both.
        embedding: How embeddings are compared: by "cosine" or "mse" in the teacher's own space,
            where the student's queries then search the teacher's gallery; "relational" compares
            distances and angles among the images of a batch, in a space of the student's own.
        embedding_weight: Weight of that.
        copy_head: Whether the student's head begins as the teacher's.
        frozen_head_epochs: Epochs in which the copied head stays as it is.
        token: Whether the labels train the class token and the teacher the distillation token of a
            network that has both (`timm:deit_..._distilled_...`).
        views: Augmented views of each image; an epoch replays one of them.
    """

    teacher: Annotated[str, READS] = ""
    soft_weight: float = Field(default=1.0, ge=0.0, le=1e6)
    hard_weight: float = Field(default=1.0, ge=0.0, le=1e6)
    temperature: Annotated[float, Field(gt=0.0, le=1000.0)] = 2.0
    embedding: Literal["none", "cosine", "mse", "relational"] = "cosine"
    embedding_weight: float = Field(default=1.0, ge=0.0, le=1e6)
    copy_head: bool = False
    frozen_head_epochs: int = Field(default=0, ge=0, le=1_000_000)
    token: bool = False
    views: int = Field(default=4, ge=1, le=1000)

    @property
    def is_into_space(self) -> bool:
        """Whether the student's embeddings go to where the teacher's are."""
        return bool(self.teacher) and self.embedding in ("cosine", "mse")

    @property
    def reads_answers(self) -> bool:
        """Whether the teacher's labels must be the student's."""
        return self.soft_weight > 0.0 or self.copy_head


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
            (128, 160, 224) trains the first third at 128. Empty: the preprocess size.
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


class OptimizerSettings(Section):
    """The optimizer and its rates.

    Attributes:
        name: torch's optimizer of that name, or "lion" (Chen et al. 2023), which takes a third
            to a tenth of AdamW's rate.
        lr: Learning rate of the backbone (of everything when training from scratch), for batches
            of `training.batch_size` images, or of 32 where that is "auto", on one device.
        lr_scaling: How `lr` changes when a step takes k times as many images as it is for: times
            k ("linear"), times the root of k ("sqrt"), or not ("none"). "auto" is linear for
            "sgd" (Goyal et al. 2017) and the root for the others (Malladi et al. 2022).
        head_lr_factor: The head's rate is `lr` times this.
        layer_decay: Each stage's rate is this times that of the stage after it.
        weight_decay: Decoupled for "adamw" and "lion", an L2 penalty for "adam" and "sgd".
        momentum: Momentum of "sgd".
        nesterov: Nesterov's momentum for "sgd".
    """

    name: Literal["sgd", "adam", "adamw", "lion"] = "adamw"
    lr: Positive = 1e-3
    lr_scaling: Literal["linear", "sqrt", "none"] | Auto = "auto"
    head_lr_factor: Positive = 1.0
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    weight_decay: float = Field(default=0.01, ge=0.0, le=1e6)
    momentum: Fraction = 0.9
    nesterov: bool = False


class ScheduleSettings(Section):
    """The learning rate over time, as a factor of `optimizer.lr`.

    Attributes:
        name: The shape of the curve.
        warmup_epochs: Linear from zero; may be a fraction of an epoch.
        final_factor: Where "cosine" and "linear" end.
        gamma: Factor of "step" (each `step_epochs`) and "exponential" (each epoch).
        step_epochs: Epochs between two changes of "step".
        per: "step" moves at each optimizer step, "epoch" at each epoch's end (as the originals).
    """

    name: Literal["constant", "cosine", "linear", "step", "exponential"] = "cosine"
    warmup_epochs: float = Field(default=0.0, ge=0.0, le=1e6)
    final_factor: float = Field(default=0.0, ge=0.0, le=1.0)
    gamma: Positive = 0.1
    step_epochs: int = Field(default=10, ge=1, le=1_000_000)
    per: Literal["step", "epoch"] = "step"


class AugmentSettings(Section):
    """What training changes in each image, sampled anew per (seed, epoch, sample).

    Geometry is one warp, color one matrix. A probability of 0 switches a change off.

    Attributes:
        hflip_prob: Probability of a mirror image.
        vflip_prob: Probability of an image upside down.
        affine_prob: Probability of the warp.
        affine_kinds: One is chosen per image: "all" uses scale, rotation and shift together.
        scale: Side of the window that is kept, as a fraction of the side (above 1 zooms out).
        rotate_deg: Largest rotation, degrees.
        translate: Largest shift, as a fraction of the side.
        aspect_jitter: Largest change of aspect, as a factor less one (.2: from 1/1.2 to 1.2).
        color_jitter_prob: Probability of a change of color.
        color_kinds: One is chosen per image ("jitter" uses brightness, contrast, saturation
            and hue together).
        brightness: The factor's range.
        contrast: The factor's range.
        saturation: The factor's range.
        hue: Largest turn, as a fraction of the color circle.
        noise_prob: Probability of Gaussian noise.
        noise_std: Largest standard deviation, of 255; each image's is uniform from 0.
        blur_prob: Probability of a blur.
        blur_kinds: One is chosen per image.
        blur_px: Largest kernel side.
        random_erasing_prob: Probability that a box is covered (Zhong et al. 2017).
        random_erasing_area: Fraction of the image that the box covers.
        mix_prob: Probability that an image is mixed with another one.
        mixup: Alpha of mixup's Beta distribution; 0 is off.
        cutmix: Alpha of CutMix's Beta distribution; 0 is off. With both on, each gets half.
    """

    hflip_prob: Probability = 0.5
    vflip_prob: Probability = 0.0
    affine_prob: Probability = 1.0
    affine_kinds: tuple[Literal["all", "rotate", "scale", "translate"], ...] = ("all",)
    scale: Span = (0.75, 1.0)
    rotate_deg: float = Field(default=8.0, ge=0.0, le=180.0)
    translate: Fraction = 0.05
    aspect_jitter: Bound = 0.0
    color_jitter_prob: Probability = 0.8
    color_kinds: tuple[
        Literal["jitter", "brightness-contrast", "hue-saturation", "clahe", "channel-shuffle"], ...
    ] = ("jitter",)
    brightness: Span = (0.8, 1.2)
    contrast: Span = (0.8, 1.2)
    saturation: Span = (0.8, 1.2)
    hue: float = Field(default=0.0, ge=0.0, le=0.5)
    noise_prob: Probability = 0.0
    noise_std: Bound = 10.0
    blur_prob: Probability = 0.0
    blur_kinds: tuple[Literal["box", "gaussian", "median"], ...] = ("gaussian",)
    blur_px: int = Field(default=5, ge=3, le=255)
    random_erasing_prob: Probability = 0.0
    random_erasing_area: Span = (0.02, 0.2)
    mix_prob: Probability = 1.0
    mixup: Bound = 0.0
    cutmix: Bound = 0.0

    @classmethod
    def none(cls) -> AugmentSettings:
        """Return the settings that change nothing."""
        return cls(hflip_prob=0.0, affine_prob=0.0, color_jitter_prob=0.0)


class EvaluationSettings(Section):
    """How a model is scored.

    Attributes:
        tta_hflip: Average over the image and its mirror image (stored in the bundle: predict
            does too).
        top_k: The k of the top-k accuracy.
        calibration_bins: Bins of confidence in the calibration error.
    """

    tta_hflip: bool = False
    top_k: int = Field(default=5, ge=1, le=1_000_000)
    calibration_bins: int = Field(default=15, ge=2, le=10_000)

    @model_validator(mode="before")
    @classmethod
    def _without_resamples(cls, tree: object) -> object:
        """Runs of older versions store how many resamples their intervals come from."""
        if isinstance(tree, dict):
            return {name: value for name, value in tree.items() if name != RESAMPLES}
        return tree


class CacheSettings(Section):
    """The cache of decoded images; `--cache-dir` says where it is kept.

    Attributes:
        mode: "auto" keeps raw pixels when they fit in half of the free disk, else JPEG;
            "off" decodes at every pass.
    """

    mode: Literal["auto", "raw", "jpeg", "off"] = "auto"


class FoldSettings(Section):
    """K-fold training: K networks, each tested on the fold that it never saw.

    Attributes:
        count: Number of folds, from 2; 0 trains once, on the split.
        final: The bundle at the end: "ensemble" is the K networks averaged, "refit" one more
            network trained on all images: for as many epochs as the folds' kept weights took, and
            with their probe's penalty, the middle one of each.
    """

    count: int = Field(default=0, ge=0, le=50)
    final: Literal["ensemble", "refit"] = "refit"


class HardwareSettings(Section):
    """Where training runs. Strategies, devices and nodes are Lightning's names.

    Attributes:
        accelerator: "auto" (CUDA where it is, else the CPU), "cpu", "cuda", "cuda:1", "mps", "gpu".
        devices: Number of devices on each node, or Lightning's list of them.
        strategy: How they share the work.
        num_nodes: Number of machines.
        sync_batchnorm: Whether BatchNorm counts the images of all devices.
        matmul_precision: How CUDA multiplies fp32 in training, in matrices and convolutions:
            "highest" in fp32, "high" in TF32 (10 bits of mantissa), several times as fast. Without
            effect on what `training.precision` computes in 16 bits, and on other devices.
        deterministic: Whether CUDA uses only algorithms that give the same result each time.
            Slower, and an operation without one is an error.
        memory_gb: Memory that the work may take on each node, 10^9 bytes: images that are decoded
            at a time, pieces of tables and arrays. Unset: three quarters of what the machine, its
            container and the user's limit give.
    """

    accelerator: Text = "auto"
    devices: Annotated[int | str, NOTHING] = 1
    strategy: Text = "auto"
    num_nodes: int = Field(default=1, ge=1, le=100_000)
    sync_batchnorm: bool = False
    matmul_precision: Literal["highest", "high"] = "high"
    deterministic: bool = False
    memory_gb: float | None = Field(default=None, gt=0)


class TrackingSettings(Section):
    """CSV and TensorBoard are always written; this adds one more.

    Attributes:
        tracker: The service.
        project: The project's name (MLflow: the experiment's).
        location: MLflow's tracking URI, or the folder of Weights & Biases' files; unset: in the
            run folder.
    """

    tracker: Annotated[Literal["none", "mlflow", "wandb"], SENDS] = "none"
    project: Annotated[str, SENDS] = "shopsight"
    location: Annotated[str | None, SENDS] = None
