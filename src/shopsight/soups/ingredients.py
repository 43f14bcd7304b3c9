"""The weights that a soup is made of: the bundles of several runs, or kept epochs of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shopsight.backbones.weights import Shapes
from shopsight.bundle.format import WEIGHTS_FILE
from shopsight.config.loss_settings import PAIR_LOSSES
from shopsight.errors import SoupError, WeightsError
from shopsight.files import sha256_file
from shopsight.io.tensor_header import read_tensor_header
from shopsight.runs.run_folder import RunFolder
from shopsight.soups.weights import Weights, differing_batchnorms, read_finite
from shopsight.text import command_line, human_bytes

NETWORKS_AT_ONCE = 7
"""Copies of the weights in memory: two ends, their mix, the network, and its copies that score in
fp32 and with folded BatchNorms."""


@dataclass(frozen=True)
class Ingredient:
    """Weights in a file.

    Attributes:
        name: what it is called in tables.
        file: the safetensors file.
        sha256: of the file.
    """

    name: str
    file: Path
    sha256: str

    @classmethod
    def of(cls, name: str, file: Path) -> Ingredient:
        """The ingredient in a file, which is hashed."""
        return cls(name, file, sha256_file(file))

    def read(self) -> Weights:
        """Its weights.

        Raises:
            SoupError: a tensor holds NaN or infinity.
        """
        return read_finite(self.file)


def ingredients_of(runs: Sequence[RunFolder]) -> list[Ingredient]:
    """The weights of several runs, or of the kept epochs of a single one.

    Raises:
        SoupError: a single run has not kept two epochs, or two ingredients are the same file.
    """
    if len(runs) > 1:
        found = [Ingredient.of(str(run.path), run.model / WEIGHTS_FILE) for run in runs]
    else:
        _check_heads_of_epochs(runs[0])
        found = [Ingredient.of(file.stem, file) for file in runs[0].kept_epoch_files]
        if len(found) < 2:
            raise _nothing_to_average(runs[0], len(found))
    by_hash: dict[str, str] = {}
    for one in found:
        if one.sha256 in by_hash:
            raise SoupError(
                f"{by_hash[one.sha256]} and {one.name} are the same weights: a soup of them is "
                "what they are",
                where=one.name,
                fix="name each run once",
            )
        by_hash[one.sha256] = one.name
    return found


def _check_heads_of_epochs(run: RunFolder) -> None:
    """Refuse kept epochs without a classifier of their own.

    Raises:
        SoupError: the head is made after training, by a text encoder or of class means.
    """
    settings = run.recipe().training
    if settings.mode == "contrastive" or settings.loss in PAIR_LOSSES:
        raise SoupError(
            "makes its classifier after training, so that its kept epochs have none",
            where=str(run.path),
            fix="name several runs, whose bundles have one",
        )


def _nothing_to_average(run: RunFolder, kept: int) -> SoupError:
    words = ["shopsight", "soup", run.path]
    return SoupError(
        f"one run, with {kept} kept epochs: averaging takes two networks",
        where=str(run.path),
        fix=f"1. {command_line([*words, 'ANOTHER_RUN'])} ...   (runs of one start)\n"
        "2. train with --set training.keep_epochs=5   (keeps the last five)\n"
        f"3. {command_line([*words, '--alpha', '0,0.25,0.5,0.75,1'])} ...   (between the run and "
        "its start)",
    )


def check_same_tensors(ingredients: Sequence[Ingredient], wanted: Shapes) -> None:
    """Refuse weights of other names or shapes than the network has; only headers are read.

    Raises:
        SoupError: they are.
    """
    for one in ingredients:
        found = {name: tensor.shape for name, tensor in read_tensor_header(one.file).items()}
        problems = [
            f"{name}: {list(found[name])}, in the network {list(shape)}"
            for name, shape in wanted.items()
            if name in found and tuple(found[name]) != tuple(shape)
        ]
        problems += [f"{name}: is missing" for name in wanted if name not in found]
        problems += [f"{name}: the network has none" for name in found if name not in wanted]
        if problems:
            raise SoupError(
                f"{one.name} has other tensors: only networks of one shape are averaged",
                where=str(one.file),
                details=problems,
            )


def weight_bytes(ingredient: Ingredient) -> int:
    """Bytes of its weights, by the file's header.

    Raises:
        SoupError: it is no file of weights, or was cut off.
    """
    try:
        return sum(tensor.num_bytes for tensor in read_tensor_header(ingredient.file).values())
    except WeightsError as error:
        raise SoupError(
            f"{ingredient.name}: {error.what}", where=error.where, fix="leave it out"
        ) from error


def check_memory(weights: int, others: int, budget: int) -> None:
    """Say before any work that memory will not do.

    Args:
        weights: bytes of one network.
        others: bytes of what is kept beside networks: embeddings.
        budget: bytes that may be taken.

    Raises:
        SoupError: it will not.
    """
    needed = NETWORKS_AT_ONCE * weights + others
    if needed > budget:
        raise SoupError(
            f"averaging takes about {human_bytes(needed)} of memory ({NETWORKS_AT_ONCE} times "
            f"{human_bytes(weights)} of weights, {human_bytes(others)} of embeddings); "
            f"{human_bytes(budget)} may be taken",
            fix="--memory-gb, or a machine with more",
        )


def batchnorms_to_measure(ingredients: Sequence[Ingredient]) -> set[str]:
    """Read each ingredient once: all must be finite.

    Returns:
        Names of the BatchNorm layers whose statistics are not the same in all.

    Raises:
        SoupError: weights hold NaN or infinity.
    """
    first = ingredients[0].read()
    layers: set[str] = set()
    for one in ingredients[1:]:
        layers |= differing_batchnorms(first, one.read())
    return layers
