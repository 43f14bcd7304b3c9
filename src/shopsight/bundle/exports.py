"""What a bundle was exported to: other files of the same network, and what was proven of them.

    exports.json        which files there are, of which weights, with their hashes and proofs
    model.fp32.onnx     uint8 pixels "b s s 3" in, normalization inside; embeddings and logits out
    model.int8.onnx     the same with rounded weights and activations
    model.fp16.onnx     the same with a backbone in fp16, for GPUs
    model.int8-symmetric.onnx   eight bits as TensorRT takes them
    text.fp32.onnx      where the bundle has a text encoder: ids of tokens "b t" in, embeddings out

They lie beside model.json, which does not change: a bundle with exports is the same model, and a
shopsight that knows no exports reads it as ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shopsight.bundle.embedding_space import Digest
from shopsight.bundle.format import BundleInfo
from shopsight.bundle.read import value_problems
from shopsight.errors import BundleError, DamagedFileError, LocationError
from shopsight.files import sha256_file, write_json
from shopsight.io.json_files import read_json
from shopsight.io.own_folder import file_within
from shopsight.paths import exists

EXPORTS_FILE = "exports.json"
EXPORTS_BYTES = 16 << 20
MOST_ARTIFACTS = 20

Precision = Literal["fp32", "bf16", "fp16", "int8", "int8-symmetric"]
"""What `shopsight export --precision` names; the last is int8 for TensorRT."""

_Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,100}\.onnx(\.data)?$")]
_Share = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]


class Parity(BaseModel):
    """How near an engine comes to torch in fp32, on real images from their files' bytes on.

    Attributes:
        engine: that ran the file, for example "onnxruntime".
        precision: that it computed in.
        num_images: compared.
        images: where they are from.
        embedding_error: the largest distance of an embedding, as a fraction of their spread.
        logit_error: the same of logits.
        same: fraction of clear answers that are the same.
        num_near_ties: answers that were not clear.
        change: by how much the probability of the most changed label moves, in the mean.
        cosine: the smallest of an embedding with torch's.
        neighbors: of the ten nearest images of each, how many are the same, in the mean.
        recall_at_10: the same where its embeddings are queries among torch's; None of too few
            images.
        recall_at_1: how often the nearest of those is the same.
        accuracy_drop: in points, of labeled images; None without any.
        drop_low: lower end of its interval, paired by image.
        drop_high: upper end.
        num_labeled: labeled images that it was measured on.
        gained: labels that were wrong and are right.
        lost: the other way round.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Annotated[str, Field(max_length=100)]
    precision: Precision
    num_images: int = Field(ge=1)
    images: Annotated[str, Field(max_length=1000)]
    embedding_error: _Finite
    logit_error: _Finite
    same: _Share
    num_near_ties: int = Field(ge=0)
    change: _Finite
    cosine: _Finite
    neighbors: _Share
    recall_at_10: _Share | None = None
    recall_at_1: _Share | None = None
    accuracy_drop: _Finite | None = None
    drop_low: _Finite | None = None
    drop_high: _Finite | None = None
    num_labeled: int = Field(default=0, ge=0)
    gained: int = Field(default=0, ge=0)
    lost: int = Field(default=0, ge=0)


class Activation(BaseModel):
    """Where the fp32 file holds what its exact class-activation maps are made of.

    Attributes:
        maps: names of tensors whose mean over the cells is the embedding; of two, the second is of
            the mirror image.
        error: the largest distance of a map from torch's, as a fraction of their spread.
        num_images: whose maps were compared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    maps: tuple[Annotated[str, Field(min_length=1, max_length=1000)], ...] = Field(
        min_length=1, max_length=2
    )
    error: _Finite
    num_images: int = Field(ge=1)


class Artifact(BaseModel):
    """One exported file.

    Attributes:
        file: its name in the bundle's folder.
        precision: of its numbers; bf16 is computed from an fp32 file.
        sha256: of the file.
        data_file: where weights of more than two gigabytes lie beside the graph.
        data_sha256: of that file.
        needs_vnni: its products of eight bits overflow on processors without VNNI.
        calibration: SHA-256 of the images that its ranges were measured on.
        float_layers: layers that were left in floating point.
        parity: what was proven, for each engine and precision.
        activation: of an fp32 file, what maps are made of; None where the network has none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: _Name
    precision: Precision
    sha256: Digest
    data_file: _Name | None = None
    data_sha256: Digest | None = None
    needs_vnni: bool = False
    calibration: tuple[Digest, ...] = Field(default=(), max_length=10_000)
    float_layers: tuple[Annotated[str, Field(max_length=1000)], ...] = Field(
        default=(), max_length=10_000
    )
    parity: tuple[Parity, ...] = Field(default=(), max_length=20)
    activation: Activation | None = None

    def proof(self, engine: str, precision: Precision) -> Parity | None:
        """What was proven of one engine in one precision."""
        found = [one for one in self.parity if (one.engine, one.precision) == (engine, precision)]
        return found[0] if found else None


class TextParity(BaseModel):
    """How near an exported text encoder comes to torch in fp32, on prompts of the bundle's labels.

    Attributes:
        num_texts: compared.
        cosine: the smallest of a text's vector with torch's.
        neighbors: of the ten nearest images of each text, how many are the same, in the mean.
        num_images: among which these were looked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_texts: int = Field(ge=1)
    cosine: _Finite
    neighbors: _Share
    num_images: int = Field(ge=1)


def hashed_files(files: Sequence[Path]) -> dict[str, Any]:
    """Fields of an artifact: the graph, and the file of its weights where there is a second one."""
    names = (("file", "sha256"), ("data_file", "data_sha256"))
    found: dict[str, Any] = {}
    for (name, digest), path in zip(names, files, strict=False):
        found |= {name: path.name, digest: sha256_file(path)}
    return found


class TextArtifact(BaseModel):
    """The exported text encoder.

    Attributes:
        file: its name in the bundle's folder.
        sha256: of the file.
        data_file: where weights of more than two gigabytes lie beside the graph.
        data_sha256: of that file.
        text_sha256: of the text encoder in model.json that was exported.
        parity: what was proven.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: _Name
    sha256: Digest
    data_file: _Name | None = None
    data_sha256: Digest | None = None
    text_sha256: Digest
    parity: TextParity


class Exports(BaseModel):
    """The content of exports.json.

    Attributes:
        format_version: of the file.
        weights_sha256: of the bundle's weights that were exported.
        artifacts: the files, at most one of each precision.
        text: the text encoder; None where there is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    weights_sha256: Digest
    artifacts: tuple[Artifact, ...] = Field(default=(), max_length=MOST_ARTIFACTS)
    text: TextArtifact | None = None

    def find(self, precision: Precision) -> Artifact | None:
        """The file of that precision; bf16 is computed from that of fp32."""
        wanted = "fp32" if precision == "bf16" else precision
        found = [one for one in self.artifacts if one.precision == wanted]
        return found[0] if found else None

    def with_artifact(self, artifact: Artifact) -> Exports:
        """The same with another file of that precision."""
        others = [one for one in self.artifacts if one.precision != artifact.precision]
        return self.model_copy(update={"artifacts": (*others, artifact)})


def read_exports(folder: Path, info: BundleInfo) -> Exports:
    """What the bundle in `folder` was exported to; nothing where it was not.

    Raises:
        BundleError: exports.json is damaged, or is of other weights than the bundle's.
    """
    path = folder / EXPORTS_FILE
    if not exists(path):
        return Exports(weights_sha256=info.weights_sha256)
    again = f"shopsight export {folder}   (exports it anew)"
    try:
        found = Exports.model_validate(
            read_json(file_within(folder, EXPORTS_FILE), most_bytes=EXPORTS_BYTES)
        )
    except (DamagedFileError, LocationError) as error:
        raise BundleError(f"cannot be read: {error.what}", where=str(path), fix=again) from error
    except ValidationError as error:
        raise BundleError(
            "is no list of exports", where=str(path), details=value_problems(error), fix=again
        ) from error
    if found.weights_sha256 != info.weights_sha256:
        raise BundleError(
            "the exports are of other weights than the bundle's", where=str(path), fix=again
        )
    return found


def artifact_file(folder: Path, artifact: Artifact | TextArtifact) -> Path:
    """The path of an exported file whose hash is the one that was written.

    Raises:
        BundleError: it is missing, or another one.
    """
    for name, written in (
        (artifact.file, artifact.sha256),
        (artifact.data_file, artifact.data_sha256),
    ):
        if name is None:
            continue
        try:
            path = file_within(folder, name)
            changed = sha256_file(path) != written
        except (LocationError, OSError) as error:
            raise _not_as_written(folder / name, "is missing or cannot be read") from error
        if changed:
            raise _not_as_written(path, "is not the file that was exported: its hash is another")
    return folder / artifact.file


def write_exports(folder: Path, exports: Exports) -> None:
    """Write exports.json."""
    write_json(folder / EXPORTS_FILE, exports.model_dump(mode="json"))


def _not_as_written(path: Path, what: str) -> BundleError:
    return BundleError(
        what,
        where=str(path),
        fix=f"shopsight export {path.parent}   (exports it anew)\n"
        "copy the bundle again from where it was made",
    )
