"""The recipe: every setting of a run, as one tree of frozen values read from TOML.

Unknown keys are refused, all problems are told at once, and any leaf can be set from outside with
`section.key=value`. What a run stores is the resolved recipe: nothing in it still says "auto".
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shopsight.errors import ConfigError
from shopsight.head_settings import HeadSettings
from shopsight.preprocess import Interpolation, PadColor, Preprocess, Resize

Auto = Literal["auto"]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Span = tuple[float, float]

RECIPES_FOLDER = Path(__file__).parents[1] / "recipes"
# Also in `shopsight.api`, which is imported before this module and must not wait for it.
DEFAULT_RECIPE = "balanced"


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class About(Section):
    """Where a recipe comes from, for `shopsight recipes`.

    Attributes:
        reported: the accuracy that the original work states, percent, with its data.
        measured: what we measured with this file, with its data, or why nothing was measured yet.
    """

    title: str = ""
    source: str = ""
    data: str = ""
    reported: str = ""
    measured: str = ""
    cost: str = ""
    notes: str = ""


class DataSettings(Section):
    """Which rows are used, and how they are split when no split is given.

    Attributes:
        drop: labels left out.
        label_map: a CSV with columns `label` and `to`: many labels to one.
        group: the column whose values must not straddle a split.
        val, test: shares of the images.
        offline_kinds, offline_share: materialized augmentation as in Product-650: each kind is
            applied once, as extra training samples, to this share of the training images.
    """

    drop: tuple[str, ...] = ()
    label_map: str | None = None
    group: str | None = None
    val: Share = 0.1
    test: Share = 0.1
    offline_kinds: tuple[Literal["hflip", "vflip", "rotate", "crop", "noise", "box"], ...] = ()
    offline_share: Probability = 0.245


class PreprocessSettings(Section):
    """What to change of the backbone's own preprocessing; "auto" keeps it."""

    size_px: int | Auto = "auto"
    resize: Resize | Auto = "auto"
    crop_fraction: float | Auto = "auto"
    pad_color: PadColor | Auto = "auto"
    interpolation: Interpolation | Auto = "auto"
    mean: tuple[float, float, float] | Auto = "auto"
    std: tuple[float, float, float] | Auto = "auto"

    def applied_to(self, base: Preprocess) -> Preprocess:
        """`base` with every setting that is not "auto"."""
        changes = {key: value for key, value in self.model_dump().items() if value != "auto"}
        return Preprocess.model_validate(base.model_dump() | changes)


class ModelSettings(Section):
    """Backbone and head.

    Attributes:
        backbone: "library:name", e.g. "embedded:tf_efficientnet_lite0", "timm:resnet18".
        weights: "pretrained", "random", or the path of a weight file.
        head: the layers from the embedding to the logits.
        drop_path: stochastic depth, where the backbone has it.
        conv_dropout: dropout after the convolutions of `shopsight:` networks; unset: their own.
    """

    backbone: str = "embedded:tf_efficientnet_lite0"
    weights: str = "pretrained"
    head: HeadSettings = HeadSettings()
    drop_path: Share = 0.0
    conv_dropout: Share | None = None


class ProbeSettings(Section):
    """The linear probe: logistic regression on features of the frozen backbone.

    Attributes:
        penalties: L2 penalties tried; the one with the lowest validation log loss is kept.
    """

    penalties: tuple[Positive, ...] = (1e-3, 3e-3, 1e-2, 3e-2)


class TrainingSettings(Section):
    """How the network is trained.

    Attributes:
        mode: "probe" stops after the linear probe; "probe-then-finetune" continues from it;
            "finetune" starts from pretrained weights and a new head; "frozen" trains the head
            only; "scratch" ignores pretrained weights.
        epochs: planned passes over the training images.
        time_limit_s: plan as many epochs (at most `epochs`) as the measured step time allows.
        progressive_sizes_px: side of the training images, pixels, stretched over the epochs:
            (128, 160, 224) trains the first third at 128. Empty: the preprocess size.
        frozen_stages: leading stages of the backbone that keep their weights.
        frozen_batchnorm: BatchNorm keeps its running statistics.
        class_weights: "none", "balanced" (n / (classes * count)), "effective" (Cui et al. 2019),
            or a table from label to weight.
        checkpoint: the checkpoint that becomes the bundle.
        patience: stop after so many epochs without a better validation loss.
        ema: decay of the weights' exponential moving average; 0 is off.
        precision: "auto" is bf16 where the machine computes in it, else 32.
    """

    mode: Literal["probe", "probe-then-finetune", "finetune", "frozen", "scratch"] = (
        "probe-then-finetune"
    )
    epochs: int = Field(default=8, ge=1)
    time_limit_s: Positive | None = None
    batch_size: int = Field(default=32, ge=1)
    grad_accumulation: int = Field(default=1, ge=1)
    progressive_sizes_px: tuple[int, ...] = ()
    frozen_stages: int = Field(default=0, ge=0)
    frozen_batchnorm: bool = False
    loss: Literal["cross-entropy", "focal", "bce"] = "cross-entropy"
    label_smoothing: Share = 0.0
    focal_gamma: float = Field(default=2.0, ge=0.0)
    class_weights: Literal["none", "balanced", "effective"] | dict[str, Positive] = "none"
    checkpoint: Literal["best", "last"] = "best"
    patience: int | None = Field(default=None, ge=1)
    ema: Share = 0.0
    gradient_clip: Positive | None = None
    precision: Literal["auto", "32", "bf16", "16"] = "auto"
    channels_last: bool = True
    compile: bool = False


class OptimizerSettings(Section):
    """Attributes:
    lr: of the backbone (of everything when training from scratch).
    head_lr_factor: the head's rate is `lr` times this.
    layer_decay: each stage's rate is this times that of the stage after it.
    """

    name: Literal["sgd", "adam", "adamw"] = "adamw"
    lr: Positive = 1e-3
    head_lr_factor: Positive = 1.0
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    weight_decay: float = Field(default=0.01, ge=0.0)
    momentum: Share = 0.9
    nesterov: bool = False


class ScheduleSettings(Section):
    """The learning rate over time, as a factor of `optimizer.lr`.

    Attributes:
        warmup_epochs: linear from zero; may be a fraction of an epoch.
        final_factor: where "cosine" and "linear" end.
        gamma: factor of "step" (each `step_epochs`) and "exponential" (each epoch).
        per: "step" moves at each optimizer step, "epoch" at each epoch's end (as the originals).
    """

    name: Literal["constant", "cosine", "linear", "step", "exponential"] = "cosine"
    warmup_epochs: float = Field(default=0.0, ge=0.0)
    final_factor: float = Field(default=0.0, ge=0.0, le=1.0)
    gamma: Positive = 0.1
    step_epochs: int = Field(default=10, ge=1)
    per: Literal["step", "epoch"] = "step"


class AugmentSettings(Section):
    """What training changes in each image, drawn anew per (seed, epoch, sample).

    Geometry is one warp, color one matrix. A probability of 0 switches a part off.

    Attributes:
        affine_prob: probability of the warp; flips have their own.
        affine_kinds: one is drawn per image: "all" uses scale, rotation and shift together.
        scale: side of the window that is kept, as a share of the side (above 1 zooms out).
        rotate_deg, translate: largest rotation, degrees, and shift, share of the side.
        aspect_jitter: largest change of aspect, as a factor less one (.2: from 1/1.2 to 1.2).
        color_kinds: one is sampled per image ("jitter" uses brightness, contrast, saturation
            and hue together).
        brightness, contrast, saturation: factor drawn from this span.
        hue: largest turn, share of the color circle.
        noise_std: largest standard deviation, of 255.
        blur_px: largest kernel side.
        random_erasing_area: share of the image that a random box covers.
        mixup, cutmix: alpha of the Beta distribution; 0 is off. With both, one is drawn.
        mix_prob: probability that an image is mixed.
    """

    hflip_prob: Probability = 0.5
    vflip_prob: Probability = 0.0
    affine_prob: Probability = 1.0
    affine_kinds: tuple[Literal["all", "rotate", "scale", "translate"], ...] = ("all",)
    scale: Span = (0.75, 1.0)
    rotate_deg: float = Field(default=8.0, ge=0.0, le=180.0)
    translate: Share = 0.05
    aspect_jitter: float = Field(default=0.0, ge=0.0)
    color_jitter_prob: Probability = 0.8
    color_kinds: tuple[
        Literal["jitter", "brightness-contrast", "hue-saturation", "clahe", "channel-shuffle"], ...
    ] = ("jitter",)
    brightness: Span = (0.8, 1.2)
    contrast: Span = (0.8, 1.2)
    saturation: Span = (0.8, 1.2)
    hue: float = Field(default=0.0, ge=0.0, le=0.5)
    noise_prob: Probability = 0.0
    noise_std: float = Field(default=10.0, ge=0.0)
    blur_prob: Probability = 0.0
    blur_kinds: tuple[Literal["box", "gaussian", "median"], ...] = ("gaussian",)
    blur_px: int = Field(default=5, ge=3)
    random_erasing_prob: Probability = 0.0
    random_erasing_area: Span = (0.02, 0.2)
    mix_prob: Probability = 1.0
    mixup: float = Field(default=0.0, ge=0.0)
    cutmix: float = Field(default=0.0, ge=0.0)

    @classmethod
    def none(cls) -> AugmentSettings:
        return cls(hflip_prob=0.0, affine_prob=0.0, color_jitter_prob=0.0)


class EvaluationSettings(Section):
    """Attributes:
    tta_hflip: average over the image and its mirror image (stored in the bundle: predict does too).
    bootstrap_resamples: resamples behind each 95 % interval.
    """

    tta_hflip: bool = False
    bootstrap_resamples: int = Field(default=2000, ge=100)
    top_k: int = Field(default=5, ge=1)
    calibration_bins: int = Field(default=15, ge=2)


class CacheSettings(Section):
    """Attributes:
    mode: "auto" keeps raw pixels when they fit in half of the free disk, else JPEG;
        "off" decodes at every pass.
    """

    mode: Literal["auto", "raw", "jpeg", "off"] = "auto"
    folder: str | None = None


class FoldSettings(Section):
    """K-fold training: K networks, each tested on the fold that it never saw.

    Attributes:
        count: number of folds, from 2; 0 trains once, on the split.
        final: the bundle at the end: "ensemble" is the K networks averaged, "refit" one more
            network trained on all images: for as many epochs as the folds' kept weights took, and
            with their probe's penalty, the middle one of each.
    """

    count: int = Field(default=0, ge=0, le=50)
    final: Literal["ensemble", "refit"] = "refit"


class HardwareSettings(Section):
    """Handed to Lightning's Trainer; strategies, devices and nodes are Lightning's names."""

    accelerator: str = "auto"
    devices: int | str = 1
    strategy: str = "auto"
    num_nodes: int = Field(default=1, ge=1)
    sync_batchnorm: bool = False


class TrackingSettings(Section):
    """CSV and TensorBoard are always written; this adds one more.

    Attributes:
        location: of MLflow the tracking URI, of Weights & Biases the folder of its files; unset:
            in the run folder.
    """

    tracker: Literal["none", "mlflow", "wandb"] = "none"
    project: str = "shopsight"
    location: str | None = None


class Recipe(Section):
    """Every setting of a run."""

    seed: int = Field(default=0, ge=0)
    about: About = About()
    data: DataSettings = DataSettings()
    folds: FoldSettings = FoldSettings()
    preprocess: PreprocessSettings = PreprocessSettings()
    model: ModelSettings = ModelSettings()
    probe: ProbeSettings = ProbeSettings()
    training: TrainingSettings = TrainingSettings()
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    augment: AugmentSettings = AugmentSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    cache: CacheSettings = CacheSettings()
    hardware: HardwareSettings = HardwareSettings()
    tracking: TrackingSettings = TrackingSettings()

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Recipe:
        if self.data.val + self.data.test >= 1.0:
            raise ValueError("data.val + data.test leave nothing to train on")
        if self.folds.count == 1:
            raise ValueError("folds.count = 1 leaves nothing to train on: 0 (none) or at least 2")
        if self.training.mode.startswith("probe") and self.model.head.kind != "linear":
            raise ValueError("training.mode = 'probe...' needs model.head.kind = 'linear'")
        if self.training.loss == "bce" and (self.augment.mixup or self.augment.cutmix):
            raise ValueError("training.loss = 'bce' does not go with augment.mixup or cutmix")
        return self

    def replace(self, **sections: Mapping[str, Any] | int) -> Recipe:
        """A copy with some leaves changed: `recipe.replace(training={"epochs": 3})`."""
        return Recipe.model_validate(_merged(self, sections))

    def to_toml(self) -> str:
        """TOML that loads to an equal recipe. Unset values (None) are left out."""
        return tomli_w.dumps(_without_none(self.model_dump(mode="json")), multiline_strings=False)


def recipe_names() -> list[str]:
    """Names of the shipped recipes."""
    return sorted(path.stem for path in RECIPES_FOLDER.glob("*.toml"))


def recipe_path(name_or_file: str | Path) -> Path:
    """The file of a shipped recipe's name, or the path itself.

    Raises:
        ConfigError: neither a shipped name nor a file.
    """
    shipped = RECIPES_FOLDER / f"{name_or_file}.toml"
    if shipped.is_file():
        return shipped
    path = Path(name_or_file)
    if path.is_file():
        return path
    near = difflib.get_close_matches(str(name_or_file), recipe_names(), n=1, cutoff=0.5)
    raise ConfigError(
        f"no recipe and no file is named {str(name_or_file)!r}"
        + (f"; did you mean {near[0]!r}?" if near else ""),
        fix="shopsight recipes",
    )


def load_recipe(name_or_file: str | Path = DEFAULT_RECIPE, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and set leaves from `section.key=value` strings.

    Raises:
        ConfigError: no such recipe, not TOML, or keys and values that do not fit; all at once.
    """
    path = recipe_path(name_or_file)
    return parse_recipe(path.read_text(encoding="utf-8"), where=path.name, overrides=overrides)


def parse_recipe(text: str, *, where: str = "recipe", overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe from TOML text; see `load_recipe`."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}", where=where) from error
    for override in overrides:
        _set_leaf(tree, override)
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        problems = [_explain(problem) for problem in error.errors()]
        raise ConfigError(
            f"{len(problems)} setting{'s' * (len(problems) > 1)} cannot be used",
            where=where,
            details=problems,
            fix="shopsight recipes balanced   (prints a recipe with its settings)",
        ) from error


def settings() -> Iterator[tuple[str, Any]]:
    """Every leaf as (dotted name, default), in the order of the tree."""
    return _leaves(Recipe())


def _leaves(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _merged(section: BaseModel, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The section as a tree with `changes`, in which a table changes a section, not a value."""
    tree = section.model_dump()
    for name, change in changes.items():
        current = getattr(section, name, None)
        if isinstance(current, BaseModel) and isinstance(change, Mapping):
            tree[name] = _merged(current, change)
        else:
            tree[name] = change
    return tree


def _set_leaf(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(
            f"{override!r} is not of the form key=value",
            where="--set",
            fix="--set training.epochs=8",
        )
    *parents, leaf = key.strip().split(".")
    node = tree
    for parent in parents:
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            raise ConfigError(f"{parent!r} in {key!r} is a value, not a section", where="--set")
    node[leaf] = _toml_value(text.strip())


def _toml_value(text: str) -> Any:
    # `--set model.backbone=timm:resnet18` must work without TOML's quotes.
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return None if text.lower() == "none" else text


def _explain(problem: Any) -> str:
    where = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        return _explain_unknown(where)
    value = problem.get("input")
    shown = "" if isinstance(value, dict) else f" (got {value!r})"
    key = _key(where)
    if problem["type"] == "model_type":
        first = next(name for name, _ in settings() if name.startswith(f"{key}."))
        return f"{key}: is a section, not a value{shown}; did you mean {first}?"
    return f"{key}: {problem['msg'].removeprefix('Value error, ')}{shown}"


def _key(where: Sequence[str]) -> str:
    """The setting that a problem is about; pydantic names a union's branches after it."""
    node: Any = Recipe()
    parts = []
    for part in where:
        if not isinstance(node, BaseModel):
            break
        parts.append(part)
        node = getattr(node, part, None)
    return ".".join(parts) or "recipe"


def _explain_unknown(where: list[str]) -> str:
    key = ".".join(where)
    leaves = [name for name, _ in settings()]
    # The right key in the wrong section is the commonest slip.
    near = [name for name in leaves if name.rpartition(".")[2] == where[-1]]
    if not near:
        near = difflib.get_close_matches(key, [*Recipe.model_fields, *leaves], n=1, cutoff=0.6)
    return f"{key}: no such setting" + (f"; did you mean {near[0]}?" if near else "")


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_none(item) for item in value]
    return value
