"""Where results may not be written: into the folder of the images, over a table that is read."""

from __future__ import annotations

from pathlib import Path

from shopsight import paths
from shopsight.catalog.catalog import Catalog
from shopsight.errors import WriteError


def refuse_output_among_images(catalog: Catalog, out: str | Path) -> None:
    """Refuse, before any image is read, to write results into the folder of the images.

    A table of results in a folder of photos would be read as their labels the next time. A folder
    within the one of the photos is good: what is in it is no image.

    Args:
        catalog: the images.
        out: the folder for the results.

    Raises:
        WriteError: `out` is the root of the catalog.
    """
    root = catalog.root
    if not root or paths.is_url(root) or not paths.is_folder(root) or not paths.is_folder(out):
        return
    if Path(out).samefile(root):
        raise WriteError(
            "this is the folder of the images; results in it would be taken for a part of DATA",
            where=str(out),
            fix="give another folder, such as runs/results",
        )


def refuse_output_over_data(data: object, out: str | Path) -> None:
    """Refuse, before any work, to replace a table that is read.

    Args:
        data: what is read, or a list of such; only names of files in it count.
        out: the file to be written.

    Raises:
        WriteError: `out` is one of them.
    """
    out = Path(out)
    if not paths.is_file(out):
        return
    for one in data if isinstance(data, list | tuple) else [data]:
        if not isinstance(one, str | Path) or not str(one).endswith(out.suffix):
            continue
        if paths.is_file(one) and out.samefile(one):
            raise WriteError(
                "this is the file that is read; the results would replace it",
                where=str(out),
                fix="give another name",
            )
