"""Labels that are paths, all written in one way: `Apparel > Dresses`."""

from __future__ import annotations

from shopsight.catalog.catalog import Catalog
from shopsight.catalog.label_map import renamed_labels
from shopsight.label_tree import is_path, path_parts, path_text
from shopsight.text import counted


def unify_paths(catalog: Catalog, separator: str | None) -> Catalog:
    """Write paths with `PATH_SEPARATOR`, without blanks around names and without empty ones.

    Args:
        catalog: the images, of any source.
        separator: the text between names, as the user says; None is a ">" with blanks around it.

    Returns:
        The catalog; a note says how many labels were written otherwise, with an example, or that
        no label has the separator, and none is a path already.
    """
    parts = {label: path_parts(label, separator) for label in catalog.labels}
    changed = {
        label: text
        for label, names in parts.items()
        if len(names) > 1 and (text := path_text(names)) != label
    }
    if not changed:
        if separator is None or not catalog.labels or any(map(is_path, catalog.labels)):
            return catalog
        note = f"no label has the --path-separator {separator!r}, e.g. {catalog.labels[0]!r}"
        return catalog.with_notes(note)
    example = min(changed)
    note = (
        f"paths: {counted(len(changed), 'label')} written with ' > ', e.g. {example!r} is read as "
        f"{changed[example]!r}"
    )
    return renamed_labels(catalog, changed).with_notes(note)
