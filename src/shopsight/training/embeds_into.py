"""How well a student's queries search its teacher's gallery."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int64

from shopsight import progress
from shopsight.bundle.embedding_space import EmbedsInto
from shopsight.config.recipe import Recipe
from shopsight.inference.open_network import open_network
from shopsight.models.product_model import ProductModel
from shopsight.paths import is_folder
from shopsight.runs.audited_catalog import AuditedCatalog
from shopsight.training.kept_embeddings import kept_embeddings
from shopsight.unit_vectors import unit_vectors

AT = 10
MOST_GALLERY = 20_000
MOST_QUERIES = 1000


def recall_at_teacher(
    model: ProductModel, backbone: str, recipe: Recipe, audited: AuditedCatalog, *, device: str
) -> tuple[EmbedsInto, ...]:
    """How well a student's queries search its teacher's gallery, on the validation images.

    Args:
        model: the student.
        backbone: name that rebuilds its architecture.
        recipe: of the student; it names the teacher.
        audited: the student's images: those that validate are queries, the others the gallery.
        device: where both compute.

    Returns:
        Nothing of a student without a teacher or in a space of its own, or without queries.
    """
    if not recipe.distill.is_into_space:
        return ()
    rng, catalog = np.random.default_rng(recipe.seed), audited.catalog
    queries = some_rows(catalog.rows_of("val"), MOST_QUERIES, rng)
    if not len(queries):
        return ()
    gallery = some_rows(catalog.rows_of("train"), MOST_GALLERY, rng)
    name = recipe.distill.teacher
    # A bundle says what its text encoder is, which is a part of its space.
    teacher = open_network(name, with_text=not is_folder(name))
    space = teacher.space().fingerprint

    def embeddings(
        network: ProductModel, built: str, rows: Int64[np.ndarray, "n"]
    ) -> Float32[np.ndarray, "n w"]:
        part = audited.take(rows)
        return kept_embeddings(
            network, part.catalog, part.sha256.to_list(), backbone=built, device=device
        )

    found = declared(
        space,
        embeddings(model, backbone, queries),
        embeddings(teacher.model, teacher.info.backbone, queries),
        embeddings(teacher.model, teacher.info.backbone, gallery),
    )
    for one in found:
        progress.notify(f"queries by this student find {one.recall:.1%} of what its teacher's do")
    return found


def some_rows(
    rows: Int64[np.ndarray, "n"], most: int, rng: np.random.Generator
) -> Int64[np.ndarray, "m"]:
    """At most so many of the rows, in order."""
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))


def recall_in_space(
    student: Float32[np.ndarray, "q w"],
    teacher: Float32[np.ndarray, "q w"],
    gallery: Float32[np.ndarray, "g w"],
) -> float:
    """The share of the teacher's first 10 results that are among the student's first 10.

    Args:
        student: embeddings of the queries by the student.
        teacher: embeddings of the same queries by the teacher.
        gallery: embeddings of other images by the teacher.
    """
    items, count = unit_vectors(gallery), min(AT, len(gallery))
    both = zip(_first(student, items, count), _first(teacher, items, count), strict=True)
    return float(np.mean([len(np.intersect1d(own, wanted)) / count for own, wanted in both]))


def _first(
    queries: Float32[np.ndarray, "q w"], items: Float32[np.ndarray, "g w"], count: int
) -> Int64[np.ndarray, "q {count}"]:
    scores = unit_vectors(queries) @ items.T
    return np.argpartition(-scores, count - 1, axis=1)[:, :count]


def declared(
    space: str,
    student: Float32[np.ndarray, "q w"],
    teacher: Float32[np.ndarray, "q w"],
    gallery: Float32[np.ndarray, "g w"],
) -> tuple[EmbedsInto, ...]:
    """What a bundle says of the teacher's space; nothing where nothing could be measured.

    Args:
        space: fingerprint of the teacher's space.
        student: see `recall_in_space`.
        teacher: likewise.
        gallery: likewise.
    """
    if not len(student) or not len(gallery):
        return ()
    recall = recall_in_space(student, teacher, gallery)
    return (EmbedsInto(space=space, recall=recall, num_queries=len(student)),)
