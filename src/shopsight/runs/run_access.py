"""Which images may be read on the word of a run's catalog.

A run names its images by path or address, and somebody else may have written it. While a run is
trained, and when this user resumes one of his own, its images are read as they were. Later its
local files are read, if this user's shopsight made the run (`shopsight.catalog.seal`); nothing
remote is asked without a flag. Of somebody else's run nothing is read but what the user names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from shopsight.catalog.about_record import read_about
from shopsight.catalog.seal import is_sealed
from shopsight.io.access import Access
from shopsight.read_options import ReadOptions

NOTHING = Access(web=False, roots=())


@dataclass(frozen=True)
class RunAccess:
    """What a process may read of the runs that it works on.

    Attributes:
        made_here: this command makes the run, or resumes one that this user made.
        allowed: what the user allowed in this command.
    """

    made_here: bool = False
    allowed: Access = NOTHING

    @classmethod
    def by_flags(cls, read: ReadOptions | None, *, made_here: bool = False) -> RunAccess:
        """The access that the flags of a command give."""
        read = read or ReadOptions()
        allowed = Access(
            private=read.allow_private,
            web=False,
            remote=read.allow_remote,
            roots=None if read.allow_outside else (),
        )
        return cls(made_here, allowed)

    def of(self, kept: Access, *, is_own: bool) -> Access:
        """What may be read for a catalog.

        Args:
            kept: what its file says.
            is_own: this user's shopsight wrote the file.
        """
        if self.made_here:
            return kept.joined(self.allowed)
        if not is_own:
            return self.allowed
        if self.allowed.remote:
            return replace(kept, private=False).joined(self.allowed)
        return replace(NOTHING, roots=kept.roots).joined(self.allowed)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {"made_here": self.made_here, "allowed": self.allowed.to_json()}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> RunAccess:
        """The access that `to_json` wrote."""
        return cls(bool(kept["made_here"]), Access.from_json(kept["allowed"]))


_access: ContextVar[RunAccess] = ContextVar("shopsight_run_access", default=RunAccess())  # noqa: B039


@contextmanager
def use_run_access(access: RunAccess) -> Iterator[None]:
    """Read the images of runs by this access inside the block."""
    token = _access.set(access)
    try:
        yield
    finally:
        _access.reset(token)


def run_access() -> RunAccess:
    """The access of `use_run_access`."""
    return _access.get()


def is_own_catalog(path: Path, images: pl.Series) -> bool:
    """Whether this user's shopsight wrote a run's catalog, and for these images."""
    about = read_about(path)
    return about is not None and is_sealed(about, images)
