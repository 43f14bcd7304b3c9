"""Which columns of a table name its images, and in which folder these lie."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import polars as pl

from shopsight.errors import CatalogError
from shopsight.image_files.file_lookup import Folders
from shopsight.image_files.find_files import find_files
from shopsight.image_files.image_cells import names_a_file, read_image_cells, stands_for_nothing
from shopsight.image_files.image_roots import MAX_FOLDERS, Roots
from shopsight.image_files.name_spellings import LOOSE_WAYS
from shopsight.paths import is_url
from shopsight.tables.column_names import IMAGE_NAMES, LABEL_NAMES, canonical, ranked
from shopsight.text import command_line, counted, listed

SAMPLED_ROWS = 50
_SHOWN_NAME = 120
# A column of another name must match this fraction of files to be chosen as the image column.
CLEAR_FRACTION = 0.5
# Numbers of rows and names of products are in columns of these names as well.
VAGUE_NAMES = frozenset({"id", "name"})
MAIN_WORDS = frozenset({"main", "primary", "first", "cover", "hero", "default", "featured", "base"})
SECOND_WORDS = frozenset(
    {
        *("additional", "other", "extra", "alt", "alternate", "alternative", "secondary", "second"),
        *("variant", "swatch", "gallery", "hover", "thumb", "thumbnail", "small", "mini", "icon"),
        *("mask", "masks", "depth", "segmentation", "overlay"),
    }
)


@dataclass(frozen=True)
class ImageColumns:
    """The choice of image columns.

    Attributes:
        columns: their names; several only where the user named them.
        root: the folder or URL in which the files lie.
        others: further columns that name image files and were not chosen.
    """

    columns: tuple[str, ...]
    root: str
    others: tuple[str, ...] = ()

    def note(self) -> str:
        """A line for the user."""
        one = len(self.columns) == 1
        names = ", ".join(repr(name) for name in self.columns)
        line = f"image from column{'' if one else 's'} {names}, files under {self.root}"
        if not self.others:
            return line
        flags = [word for name in (*self.columns, *self.others) for word in ("--image", name)]
        others = ", ".join(repr(name) for name in self.others)
        return f"{line} (also naming images: {others}; {command_line(flags)} takes all)"


_Found = tuple[bool, tuple[str, ...]]
"""Whether a name leads to a file, and how the two differ."""


@dataclass(frozen=True)
class _Score:
    """How many of the sampled names of a column are files under a root."""

    column: str
    root: str
    fraction: float
    names_files: bool
    """The names have the suffix of an image; others are ids."""
    is_local: bool
    """The names are no addresses, which lead to files whatever the folder."""

    @property
    def is_sure(self) -> bool:
        """Whether no other folder needs to be looked into."""
        is_telling = canonical(self.column) not in VAGUE_NAMES or self.names_files
        return self.fraction == 1.0 and self.is_local and is_telling


def choose_image_columns(
    table: pl.DataFrame,
    path: str,
    folders: Folders,
    *,
    named: Sequence[str],
    images_root: str | None,
    taken: Collection[str] = (),
) -> ImageColumns:
    """Choose the image columns by their names and by whether their cells lead to files.

    Args:
        table: the user's table.
        path: its file.
        folders: what was listed already.
        named: the columns, if the user named them.
        images_root: the folder, if the user named it.
        taken: columns that mean something else, as the user said.

    Raises:
        CatalogError: no column names existing files, several do so equally well, or the files of
            these names are in several folders.
    """
    named = tuple(dict.fromkeys(named))
    columns = named or _candidates(table, taken)
    samples = {column: sample for column in columns if (sample := _sample(table[column]))}
    roots = Roots(folders, path, images_root, samples)
    scores = _scores(folders, samples, roots)
    if named:
        root = _best_root(scores, roots, table, path, columns)
        return ImageColumns(named, root)
    of_column: dict[str, list[_Score]] = {}
    for score in scores:
        of_column.setdefault(score.column, []).append(score)
    best = {
        column: max(of_column[column], key=lambda score: score.fraction)
        for column in samples
        if column in of_column
    }
    chosen, others = _choose(best, scores, roots, table, path)
    return ImageColumns((chosen,), _best_root(scores, roots, table, path, [chosen]), others)


def _candidates(table: pl.DataFrame, taken: Collection[str]) -> tuple[str, ...]:
    """The columns that may name images, likely names first; numbers of classes name none."""
    taken = {*taken, *ranked(table.columns, LABEL_NAMES)}
    text = {pl.String, pl.Categorical}
    named = ranked(table.columns, IMAGE_NAMES)
    usable = [
        name
        for name, kind in table.schema.items()
        if kind in text
        or kind.is_integer()
        or (name in named and kind.is_float())
        or (isinstance(kind, pl.List) and kind.inner == pl.String)
    ]
    usable = [name for name in usable if name not in taken] or usable
    return tuple(dict.fromkeys([*(name for name in named if name in usable), *usable]))


def _sample(column: pl.Series) -> list[str]:
    values = column.drop_nulls()
    if values.dtype == pl.String:
        values = values.filter(values != "")
    step = max(1, len(values) // SAMPLED_ROWS)
    cells = values.gather_every(step).head(SAMPLED_ROWS)
    names = read_image_cells(cells).names
    return [name for name in names if not stands_for_nothing(name)]


def _scores(folders: Folders, samples: dict[str, list[str]], roots: Roots) -> list[_Score]:
    """How well each column names files in each folder; the likelier folders may be enough."""
    scores: list[_Score] = []
    for some in (roots.near, roots.far):
        places = some()
        scores += [
            _score(column, root, sample, _is_found_directly(folders, root, sample))
            for column, sample in samples.items()
            for root in places
        ]
        if any(score.is_sure for score in scores):
            return scores
    return scores + [
        _score(column, roots.home, sample, _is_found_by_ends(folders, roots, sample))
        for column, sample in samples.items()
    ]


def _is_found_directly(folders: Folders, root: str, sample: Sequence[str]) -> list[_Found]:
    matches = (folders.find(root, name) for name in sample)
    return [(bool(match.files), match.ways) for match in matches]


def _is_found_by_ends(folders: Folders, roots: Roots, sample: Sequence[str]) -> list[_Found]:
    found = find_files(
        sample,
        roots.home,
        folders=folders,
        most_folders=None if roots.is_named else MAX_FOLDERS,
        take_whole_folder=roots.is_named,
        take_spread=True,
    )
    return [
        (file is not None or name in found.unclear, found.ways.get(row, ()))
        for row, (name, file) in enumerate(zip(sample, found.files, strict=True))
    ]


def _score(column: str, root: str, sample: Sequence[str], found: Sequence[_Found]) -> _Score:
    is_known = canonical(column) in IMAGE_NAMES
    num_files = sum(names_a_file(name) for name in sample)
    names_files = num_files >= CLEAR_FRACTION * len(sample)
    # Prices lead to files by their digits, and pages of products are addresses too.
    count = sum(
        is_found
        and (is_known or (LOOSE_WAYS.isdisjoint(ways) and (names_files or not is_url(name))))
        for name, (is_found, ways) in zip(sample, found, strict=True)
    )
    is_local = not any(map(is_url, sample))
    return _Score(column, root, count / len(sample), names_files, is_local)


def _best_root(
    scores: Sequence[_Score],
    roots: Roots,
    table: pl.DataFrame,
    path: str,
    columns: Sequence[str],
) -> str:
    """The folder with most of the columns' files; of equal ones the nearest."""
    by_root: dict[str, dict[str, float]] = {}
    for score in scores:
        if score.column in columns:
            fractions = by_root.setdefault(score.root, {})
            fractions[score.column] = max(score.fraction, fractions.get(score.column, 0.0))
    sums = {root: sum(fractions.values()) for root, fractions in by_root.items()}
    best = max(sums.values(), default=0.0)
    if best == 0.0:
        raise _nothing_found(scores, roots, table, path, columns)
    equal = [root for root, value in sums.items() if value == best]
    rivals = [root for root in equal if root in roots.found_far]
    if equal[0] in rivals and len(rivals) > 1:
        raise CatalogError(
            f"{counted(len(rivals), 'folder')} hold files of the names in column {columns[0]!r}",
            where=path,
            details=rivals,
            fix="--images-root DIR names the right one",
        )
    return equal[0]


def _choose(
    best: dict[str, _Score],
    scores: Sequence[_Score],
    roots: Roots,
    table: pl.DataFrame,
    path: str,
) -> tuple[str, tuple[str, ...]]:
    """The column of the images, and others that name image files too."""
    clear = [column for column, score in best.items() if score.fraction >= CLEAR_FRACTION]
    known = [column for column in clear if canonical(column) in IMAGE_NAMES]
    surely = [column for column in known if canonical(column) not in VAGUE_NAMES]
    unknown = [column for column in clear if column not in known]
    files = [column for column in unknown if best[column].names_files]
    also = [column for column in surely if best[column].names_files] + files
    if surely:
        return surely[0], tuple(column for column in also if column != surely[0])
    for group in (files, known, unknown):
        if group:
            main = _main_of(group)
            if main is None:
                raise _several_columns(group, path)
            others = also if group is files else ()
            return main, tuple(column for column in others if column != main)
    # A column with the name of images counts even where most files are missing.
    partly = [
        column
        for column, score in best.items()
        if score.fraction > 0.0 and canonical(column) in IMAGE_NAMES
    ]
    if not partly:
        raise _nothing_found(scores, roots, table, path, table.columns)
    return max(partly, key=lambda column: best[column].fraction), ()


def _main_of(columns: Sequence[str]) -> str | None:
    """The column whose name says that its images are the main ones; None where no name does."""
    if len(columns) == 1:
        return columns[0]
    words = {column: frozenset(canonical(column).split("_")) for column in columns}
    main = [column for column in columns if words[column] & MAIN_WORDS]
    if len(main) == 1:
        return main[0]
    first = [column for column in columns if not words[column] & SECOND_WORDS]
    if len(first) == 1:
        return first[0]
    # `image_link` beside `additional_image_link`, `photo` beside `photo_2`.
    inner = [
        column for column in columns if all(words[column] <= other for other in words.values())
    ]
    if len(inner) == 1:
        return inner[0]
    numbers = {column: re.fullmatch(r"(.*?)[ _-]*(\d+)", canonical(column)) for column in columns}
    series = {found[1] for found in numbers.values() if found}
    if len(series) == 1 and all(numbers.values()):
        return min(columns, key=lambda column: int(numbers[column][2]))  # type: ignore[index]
    return None


def _several_columns(columns: Sequence[str], path: str) -> CatalogError:
    all_of_them = command_line([word for name in columns for word in ("--image", name)])
    return CatalogError(
        "several columns name image files",
        where=path,
        details=columns,
        fix=f"{command_line(['--image', columns[0]])} takes one of them\n"
        f"{all_of_them} takes each as an image of its row",
    )


def _nothing_found(
    scores: Sequence[_Score],
    roots: Roots,
    table: pl.DataFrame,
    path: str,
    columns: Sequence[str],
) -> CatalogError:
    telling = [
        column for column in ranked(columns, IMAGE_NAMES) if canonical(column) not in VAGUE_NAMES
    ]
    likely = telling or list(columns)
    if not any(column in roots.samples for column in likely):
        return _no_names(table[likely[0]], path, table.columns)
    first = scores[0].column if scores else ""
    sample = roots.samples.get(first, [])
    shown = [
        name if len(name) <= _SHOWN_NAME else f"{name[:_SHOWN_NAME]}..." for name in sample[:1]
    ]
    example = f", e.g. {shown} from column {first!r}" if first else ""
    tried = list(dict.fromkeys(score.root for score in scores))
    details = [f"looked in {root}" for root in tried]
    fix = (
        "--images-root DIR names the folder of the images, --image COLUMN the column of their names"
    )
    heads = [name.replace("\\", "/").rpartition("/")[0] for name in sample]
    num_bare, folder = roots.most_bare_names(sample) if any(heads) else (0, "")
    if num_bare:
        details.insert(
            0,
            f"{num_bare} of {len(sample)} sampled names have a file in {folder}, but not in a "
            "folder of the same name: the bare name is not enough",
        )
        name = next(head for head in heads if head).rpartition("/")[2]
        fix += f"\nor give the folder the name that it has in the table: {name!r}"
    return CatalogError(
        f"no column names existing image files{example}",
        where=path,
        details=[*details, f"columns: {listed(columns)}"],
        fix=fix,
    )


def _no_names(column: pl.Series, path: str, columns: Sequence[str]) -> CatalogError:
    """The error for a column of images that holds something else."""
    cells = column.drop_nulls()
    shown = f"such as {str(cells[0])[:60]!r}" if len(cells) else "it is empty"
    fix = "--image COLUMN names the column of their names"
    if column.dtype == pl.Binary or isinstance(column.dtype, pl.Struct):
        shown = f"it holds {column.dtype}, neither names nor images"
    return CatalogError(
        "no row names an image",
        where=path,
        details=[f"column {column.name!r}: {shown}", f"columns: {listed(columns)}"],
        fix=fix,
    )
