"""The recipe: every setting of a run, as one tree of frozen values read from TOML.

Unknown keys are refused, all problems are reported at once, and any leaf can be set from outside
with `section.key=value`. What a run stores is the resolved recipe: nothing in it still says "auto".
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, Field, ValidationError, model_validator

from shopsight.address_secrets import without_logins
from shopsight.config.about_settings import About
from shopsight.config.attribute_settings import AttributeSettings
from shopsight.config.augment_settings import AugmentSettings
from shopsight.config.data_settings import CacheSettings, DataSettings, PreprocessSettings
from shopsight.config.defaults import DEFAULT_RECIPE
from shopsight.config.evaluation_settings import EvaluationSettings, FoldSettings
from shopsight.config.framing_settings import FramingSettings
from shopsight.config.hardware_settings import HardwareSettings
from shopsight.config.loss_settings import (
    MARGIN_LOSSES,
    METRIC_LOSSES,
    PAIR_LOSSES,
    PROXY_LOSSES,
    ContrastiveSettings,
    DistillSettings,
    MetricSettings,
)
from shopsight.config.model_settings import ModelSettings, ProbeSettings, ZeroShotSettings
from shopsight.config.optimizer_settings import OptimizerSettings, ScheduleSettings
from shopsight.config.overrides import MOST_PROBLEMS, explain, set_leaf, shown_override
from shopsight.config.section import Section
from shopsight.config.tracking_settings import TrackingSettings
from shopsight.config.training_settings import TrainingSettings
from shopsight.config.tune_settings import TuneSettings
from shopsight.errors import SHOWN_DETAILS, ConfigError, first_line
from shopsight.io.local_files import read_file
from shopsight.paths import is_file
from shopsight.preprocess import Preprocess

RECIPE_BYTES = 4 << 20
"""The most that a recipe may have: weights of 10,000 classes have a quarter of a megabyte."""
# Tables in tables, down to the values of a list.
_DEEPEST = 12
_INTEGER_BITS = 64
_MOST_KEY_PARTS = 100
# Comments and strings, in which points part nothing.
_NOT_BARE = re.compile(
    r"""#[^\n]*|"{3}[\s\S]*?"{3}|'{3}[\s\S]*?'{3}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'(?!')"""
)
_BETWEEN_KEYS = re.compile(r"[=,\n{}\[\]]")
SUBCENTER_LOSSES = MARGIN_LOSSES | {"softtriple"}
RECIPES_FOLDER = Path(__file__).parents[1] / "recipes"


class Recipe(Section):
    """Every setting of a run; each section's class says what its keys mean.

    Attributes:
        seed: Decides the split, the order, the augmentation and new weights.
    """

    seed: int = Field(default=0, ge=0, lt=2**32)
    about: About = About()
    data: DataSettings = DataSettings()
    attributes: AttributeSettings = AttributeSettings()
    folds: FoldSettings = FoldSettings()
    preprocess: PreprocessSettings = PreprocessSettings()
    framing: FramingSettings = FramingSettings()
    tune: TuneSettings = TuneSettings()
    model: ModelSettings = ModelSettings()
    probe: ProbeSettings = ProbeSettings()
    zero_shot: ZeroShotSettings = ZeroShotSettings()
    contrastive: ContrastiveSettings = ContrastiveSettings()
    training: TrainingSettings = TrainingSettings()
    metric: MetricSettings = MetricSettings()
    distill: DistillSettings = DistillSettings()
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
        if not self.model.neck.is_none and self.training.mode == "probe":
            raise ValueError("training.mode = 'probe' trains no model.neck")
        mode = self.training.mode
        if self.training.reads_labels and self.model.head.kind != "direction":
            raise ValueError(f"training.mode = {mode!r} needs model.head.kind = 'direction'")
        if self.model.new_text is not None and mode != "contrastive":
            raise ValueError(f"training.mode = {mode!r} trains no model.new_text")
        own_text = self.model.new_text is None
        if self.training.reads_labels and own_text and not self.model.neck.is_none:
            raise ValueError(f"training.mode = {mode!r}: texts lie where there is no model.neck")
        if mode == "zero-shot" and self.folds.count:
            raise ValueError("training.mode = 'zero-shot' trains nothing: no folds.count")
        if mode == "contrastive":
            self._check_contrastive()
        if self.training.loss == "bce" and (self.augment.mixup or self.augment.cutmix):
            raise ValueError("training.loss = 'bce' does not go with augment.mixup or cutmix")
        if self.attributes.columns and self.folds.count:
            raise ValueError("attributes.columns does not go with folds.count")
        if self.data.val_classes and self.folds.count:
            raise ValueError("data.val_classes does not go with folds.count")
        if self.training.loss == "bce" and self.training.scores_retrieval:
            raise ValueError("training.loss = 'bce': retrieval is scored with one label per image")
        if self.training.sampling == "pxk":
            self._can_draw_packs()
        if self.training.loss in METRIC_LOSSES:
            self._can_learn_a_metric()
        if self.distill.teacher:
            self._can_learn_from_a_teacher()
        self.tune.check(
            self.training, weights=self.model.weights, has_teacher=bool(self.distill.teacher)
        )
        return self

    def framed(self, base: Preprocess) -> Preprocess:
        """How an image becomes the network's input: `base` with what the recipe says.

        Args:
            base: the backbone's own, which "auto" keeps.
        """
        settled = self.preprocess.applied_to(base)
        also = {"boxes": self.framing.boxes, "average": self.framing.average}
        return settled.model_copy(update=also)

    def _can_draw_packs(self) -> None:
        size, each = self.training.batch_size, self.training.images_per_class
        name = "training.batch_size"
        if self.training.mode == "contrastive":
            size, name = self.contrastive.batch_size, "contrastive.batch_size"
        if self.training.loss == "bce":
            raise ValueError("training.sampling = 'pxk' is for one label per image, not for 'bce'")
        if size != "auto" and (size % each or size < 2 * each):
            raise ValueError(
                f"{name} = {size} is no multiple of training.images_per_class = {each}"
                " with at least two classes"
            )

    def _can_learn_a_metric(self) -> None:
        loss, head = self.training.loss, self.model.head
        if head.kind != "cosine":
            raise ValueError(f"training.loss = {loss!r} needs model.head.kind = 'cosine'")
        if head.subcenters > 1 and loss not in SUBCENTER_LOSSES:
            raise ValueError(f"training.loss = {loss!r} has no model.head.subcenters")
        if self.augment.mixup or self.augment.cutmix:
            raise ValueError(f"training.loss = {loss!r} does not go with augment.mixup or cutmix")
        if self.metric.contrastive and loss not in PROXY_LOSSES:
            raise ValueError(f"training.loss = {loss!r} has no metric.contrastive")
        if loss not in MARGIN_LOSSES:
            if self.training.label_smoothing:
                raise ValueError(f"training.loss = {loss!r} has no training.label_smoothing")
            if self.training.class_weights != "none":
                raise ValueError(f"training.loss = {loss!r} has no training.class_weights")
        if loss in PAIR_LOSSES and self.training.mode == "frozen" and self.model.neck.is_none:
            raise ValueError(f"training.mode = 'frozen' leaves {loss!r} nothing to train")

    def _can_learn_from_a_teacher(self) -> None:
        distill = self.distill
        wrong = {
            f"training.mode = {self.training.mode!r}":
                not self.training.finetunes or self.training.reads_labels,
            "augment.mixup or cutmix": self.augment.mixup or self.augment.cutmix,
            "data.offline_kinds": self.data.offline_kinds,
            f"training.sampling = {self.training.sampling!r}": self.training.sampling != "plain",
            "folds.count: the teacher may know what a fold is tested on": self.folds.count,
        }  # fmt: skip
        for name, given in wrong.items():
            if given:
                raise ValueError(f"distill.teacher does not go with {name}")
        if distill.frozen_head_epochs and not distill.copy_head:
            raise ValueError("distill.frozen_head_epochs needs distill.copy_head = true")
        if distill.copy_head and not distill.is_into_space:
            raise ValueError("distill.copy_head needs distill.embedding = 'cosine' or 'mse'")
        if distill.copy_head and self.training.mode.startswith("probe"):
            raise ValueError(
                "distill.copy_head does not go with a probe: training.mode = 'finetune'"
            )
        weights = (distill.soft_weight, distill.hard_weight)
        if not any(weights) and (distill.embedding == "none" or not distill.embedding_weight):
            raise ValueError("distill: all weights are 0")

    def _check_contrastive(self) -> None:
        wrong = {
            "augment.mixup or cutmix": self.augment.mixup or self.augment.cutmix,
            "training.time_limit_s": self.training.time_limit_s,
            "training.grad_accumulation: contrastive.batch_size is the whole batch":
                self.training.grad_accumulation > 1,
            "training.compile": self.training.compile is True,
            # Lightning takes fp16's scale out of the gradient after a step of ours has clipped it.
            "training.gradient_clip in training.precision = '16'":
                self.training.gradient_clip is not None and self.training.precision == "16",
            "folds.count": self.folds.count,
        }  # fmt: skip
        for name, given in wrong.items():
            if given:
                raise ValueError(f"training.mode = 'contrastive' does not go with {name}")

    def images_of_batch(self, world: int) -> int:
        """Images that each of `world` processes gets for a batch, in a resolved recipe."""
        if self.training.mode == "contrastive":
            return max(1, self.contrastive.batch_size // world)
        return self.training.resolved_batch_size

    @property
    def pixel_cache(self) -> CacheSettings:
        """That of decoded images; a probe, which sees each image once, has it where asked for."""
        once = self.training.mode == "probe" and self.cache.mode == "auto"
        return CacheSettings(mode="off") if once else self.cache

    def replace(self, **changes: Mapping[str, Any] | int) -> Recipe:
        """Return a checked copy with some leaves changed.

        Args:
            **changes: Section to leaves: `recipe.replace(training={"epochs": 3}, seed=1)`.

        Raises:
            pydantic.ValidationError: A key or a value that does not fit.
        """
        return Recipe.model_validate(_merged(self, changes))

    def to_toml(self) -> str:
        """Return TOML that loads to an equal recipe. Unset values (None) are left out."""
        text = tomli_w.dumps(_without_none(self.model_dump(mode="json")), multiline_strings=False)
        return without_logins(text)


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes, sorted."""
    return sorted(path.stem for path in RECIPES_FOLDER.glob("*.toml"))


def is_shipped(name: str | Path) -> bool:
    """Return whether a shipped recipe has this name."""
    return str(name) in recipe_names()


def recipe_path(name_or_file: str | Path) -> Path:
    """Return the file of a shipped recipe's name, or the path itself.

    Raises:
        ConfigError: Neither a shipped name nor a file.
    """
    if is_shipped(name_or_file):
        return RECIPES_FOLDER / f"{name_or_file}.toml"
    path = Path(name_or_file)
    if is_file(path):
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
        ConfigError: No such recipe, not TOML, or keys and values that do not fit; all at once.
    """
    path = recipe_path(name_or_file)
    try:
        # With or without a byte order mark.
        text = read_file(path, most_bytes=RECIPE_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"not UTF-8: byte {error.start:,} is {error.object[error.start]:#04x}",
            where=path.name,
            fix="save it as UTF-8",
        ) from error
    return parse_recipe(text, where=path.name, overrides=overrides)


def parse_recipe(text: str, *, where: str = "recipe", overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe from TOML text; see `load_recipe`.

    Args:
        text: TOML with the leaves that differ from the defaults.
        where: What errors call the text.
        overrides: `section.key=value` strings, set after the text.
    """
    tree = _parsed(text, where)
    _check_leaves(tree, where)
    for override in overrides:
        set_leaf(tree, override)
        _check_leaves(tree, shown_override(override))
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        problems = explain(error, Recipe())
        more = "more than " * (len(problems) == MOST_PROBLEMS < error.error_count())
        raise ConfigError(
            f"{more}{len(problems)} setting{'s' * (len(problems) > 1)} cannot be used",
            where=_where_of(error, overrides) or where,
            details=problems,
            fix="shopsight recipes balanced   (prints a recipe with its settings)",
        ) from error


def _where_of(error: ValidationError, overrides: Sequence[str]) -> str | None:
    """The settings from outside that all problems are about; None where the text has some too."""
    keys = {override.partition("=")[0].strip(): override for override in overrides}
    wrong = dict[str, None]()
    for problem in error.errors():
        path = ".".join(map(str, problem["loc"]))
        found = [key for key in keys if f"{path}.".startswith(f"{key}.")]
        if not found:
            return None
        wrong[max(found, key=len)] = None
    return ", ".join(shown_override(keys[key]) for key in islice(wrong, SHOWN_DETAILS))


def _parsed(text: str, where: str) -> dict[str, Any]:
    # The parser takes a time that grows with the square of the parts of a key.
    bare = _NOT_BARE.sub(lambda found: "" if found[0].startswith("#") else "x", text)
    if max(part.count(".") for part in _BETWEEN_KEYS.split(bare)) > _MOST_KEY_PARTS:
        raise ConfigError("is nested too deeply", where=where)
    try:
        return tomllib.loads(text)
    # It has one of its own; Python's is raised for an integer of thousands of digits.
    except ValueError as error:
        raise ConfigError(f"not valid TOML: {first_line(error)}", where=where) from error
    except RecursionError:
        raise ConfigError("is nested too deeply", where=where) from None


def _check_leaves(tree: object, where: str) -> None:
    """Refuse values that lie deeper than any setting does, and integers that TOML does not have."""
    level = [tree]
    for _ in range(_DEEPEST):
        if any(isinstance(node, int) and node.bit_length() > _INTEGER_BITS for node in level):
            raise ConfigError(f"an integer has more than {_INTEGER_BITS} bits", where=where)
        level = [
            item
            for node in level
            if isinstance(node, dict | list)
            for item in (node.values() if isinstance(node, dict) else node)
        ]
    if level:
        raise ConfigError("is nested too deeply", where=where)


def _merged(section: BaseModel, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the section as a tree with some leaves changed; sections within it keep the rest."""
    tree = section.model_dump()
    for name, change in changes.items():
        inner = getattr(section, name, None)
        if isinstance(inner, BaseModel) and isinstance(change, Mapping):
            tree[name] = _merged(inner, change)
        else:
            tree[name] = change
    return tree


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_none(item) for item in value]
    return value
