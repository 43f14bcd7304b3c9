"""What the user can get wrong, one class per subject.

Every error says what is wrong, where, with which values, and what to do next. Code that calls
shopsight catches `ShopsightError`; the command line prints it and exits with 2.
"""

from __future__ import annotations

from collections.abc import Sequence

from shopsight.address_secrets import masked
from shopsight.control_characters import one_line, printable

SHOWN_DETAILS = 5
_LONGEST_LINE = 500


class ShopsightError(Exception):
    """Something the user caused and can fix.

    Args:
        what: one line: what is wrong, with the values.
        where: the file, table or setting it is about.
        details: the offending items; the first five are shown, with their total.
        fix: the next step, best as a command; a line each, where there are several.
    """

    shown_details = SHOWN_DETAILS

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        details: Sequence[str] = (),
        fix: str | None = None,
    ) -> None:
        self.what = masked(what)
        self.where = None if where is None else masked(where)
        self.details = tuple(map(masked, details))
        self.fix = None if fix is None else masked(fix)
        super().__init__(self._render())

    def _render(self) -> str:
        lines = [one_line(f"{self.where}: {self.what}" if self.where else self.what)]
        lines += [f"  {one_line(detail)}" for detail in self.details[: self.shown_details]]
        if len(self.details) > self.shown_details:
            lines.append(f"  ... {len(self.details)} in all")
        if self.fix:
            first, *others = printable(self.fix).split("\n")
            lines += [f"  fix: {first}", *(f"       {other}" for other in others)]
        return "\n".join(lines)


class ConfigError(ShopsightError):
    """A recipe or a setting that cannot be used."""


class UntrustedRecipeError(ConfigError):
    """A recipe that somebody else may have written, and what it reaches; all of it is shown."""

    shown_details = 100


class CatalogError(ShopsightError):
    """A catalog (folder, table, named data set) that cannot be read as one."""


class TableError(CatalogError):
    """A file whose bytes cannot be read as rows and columns."""


class SourceError(CatalogError):
    """A named data set that is not on this machine and cannot be fetched."""


class TaxonomyError(ShopsightError):
    """A taxonomy that is not there, or whose lines are no paths."""


class ImageError(ShopsightError):
    """Bytes that cannot be decoded to an image.

    Attributes:
        reason: a short stable word for tables: "missing", "empty", "not an image", "truncated",
            "damaged", "too large", "unsupported", "unreadable" (the file system refused),
            "bad box", "no box" (where the model needs one), "changed" (not the file that was
            audited), or that of a `LocationError`.
    """

    def __init__(
        self, reason: str, what: str, *, where: str | None = None, fix: str | None = None
    ) -> None:
        self.reason = reason
        super().__init__(what, where=where, fix=fix)


class LocationError(ShopsightError):
    """A file or an address that may not be read, or is larger than may be read.

    Attributes:
        reason: a short stable word for tables, a key of `shopsight.io.reasons.REASONS`.
    """

    def __init__(
        self, reason: str, what: str, *, where: str | None = None, fix: str | None = None
    ) -> None:
        self.reason = reason
        super().__init__(what, where=where, fix=fix)


class RemoteError(LocationError):
    """An address whose content cannot be read."""


class ArchiveError(ShopsightError):
    """An archive that cannot be unpacked.

    Attributes:
        reason: "damaged", "too large" (its content), or "not allowed" (what it holds).
    """

    def __init__(
        self, reason: str, what: str, *, where: str | None = None, fix: str | None = None
    ) -> None:
        self.reason = reason
        super().__init__(what, where=where, fix=fix)


class ChangedFilesError(ShopsightError):
    """Images of a run that are no longer the files that it was made with.

    A check that failed, not a mistake in the command: the command line exits with 1.
    """


class AuditError(ShopsightError):
    """The audit found faults that would corrupt a score."""


class SplitError(ShopsightError):
    """A split that cannot be made, or that leaks."""


class WeightsError(ShopsightError):
    """Weights that are missing, or do not fit the network."""


class TrainingError(ShopsightError):
    """Training that cannot start or cannot continue."""


class SoupError(ShopsightError):
    """Weights that cannot be averaged."""


class BundleError(ShopsightError):
    """A model bundle that is incomplete, changed, or of another version."""


class ExportError(ShopsightError):
    """A network that cannot be exported, or whose export answers otherwise."""


class EmbeddingError(ShopsightError):
    """Embeddings that cannot be used, or that belong to another embedding space."""


class SearchError(ShopsightError):
    """An index or a search: an unknown id, a filter that does not fit, an index that is damaged."""


class ServiceError(ShopsightError):
    """A service that refuses, or cannot be reached.

    Attributes:
        status: of HTTP; None where there was no answer.
    """

    def __init__(
        self,
        what: str,
        *,
        status: int | None = None,
        where: str | None = None,
        fix: str | None = None,
    ) -> None:
        self.status = status
        super().__init__(what, where=where, fix=fix)


class HubError(ShopsightError):
    """A repository on the Hugging Face Hub that cannot be read or written.

    Attributes:
        status: of HTTP; None where there was no answer.
        unreachable: the Hub could not be asked: what was kept before may do.
    """

    def __init__(
        self,
        what: str,
        *,
        status: int | None = None,
        where: str | None = None,
        details: Sequence[str] = (),
        fix: str | None = None,
        unreachable: bool = False,
    ) -> None:
        self.status = status
        self.unreachable = unreachable
        super().__init__(what, where=where, details=details, fix=fix)


class MetricError(ShopsightError):
    """Numbers from which the metric cannot be computed."""


class CompareError(ShopsightError):
    """Runs that cannot be compared honestly."""


class WriteError(ShopsightError):
    """A file or folder that cannot be written, or not replaced."""


class ReadOnlyError(WriteError):
    """A place where this user may not write, such as a share that is read-only."""


class HeldFileError(WriteError):
    """A file or folder that another program has open; it can be written when that has ended."""


class LockedError(WriteError):
    """A run, folder or file of results that another process is writing."""


class ExtraMissingError(ShopsightError):
    """An optional dependency that is not installed."""


class DamagedFileError(ShopsightError):
    """A file that shopsight wrote, which was cut off or changed since and cannot be read."""


def first_line(error: BaseException) -> str:
    """The first line of another library's error, short enough for one of our details."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}..."
