"""Kaggle's data sets and competitions, by kagglehub with the user's own credentials.

kagglehub shows the progress, resumes a broken download, checks Kaggle's checksums and keeps what it
fetched.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Literal

from shopsight.errors import ExtraMissingError, SourceError
from shopsight.extras import require

KaggleKind = Literal["datasets", "competitions"]
# Names of the errors for a missing network. They come from requests, which kagglehub depends on and
# shopsight does not.
_UNREACHABLE = {"ConnectionError", "Timeout", "TimeoutError", "ConnectTimeout", "gaierror"}


def fetch_from_kaggle(
    kind: KaggleKind, handle: str, *, wanted_by: str = "", flag: str = "--root"
) -> Path:
    """Fetch a data set or a competition, unless kagglehub still has it.

    Args:
        kind: which of the two.
        handle: "owner/name" of a data set, "name" of a competition.
        wanted_by: the named data set that needs these files, where it is another one.
        flag: the flag that names the folder of a copy fetched by hand.

    Returns:
        The folder of its files.

    Raises:
        SourceError: kagglehub is missing, or Kaggle refuses or cannot be reached; with the steps
            that remain to be done.
    """
    refused = partial(_refused, kind, handle, wanted_by, flag)
    try:
        kagglehub = require("kagglehub")
    except ExtraMissingError as error:
        raise refused(error.what, ['pip install "shopsight[kaggle]"']) from error
    download: Callable[[str], str] = (
        kagglehub.dataset_download if kind == "datasets" else kagglehub.competition_download
    )
    try:
        return Path(download(handle))
    # kagglehub's errors have no common base: its own, those of requests, and plain ones.
    except Exception as error:
        if _is_unreachable(error):
            raise refused("Kaggle cannot be reached", ["connect to the network"]) from error
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise refused(first, []) from error


def _refused(
    kind: KaggleKind, handle: str, wanted_by: str, flag: str, why: str, first: list[str]
) -> SourceError:
    """The error, with the steps that remain: those in `first`, and what else is missing."""
    url = f"https://www.kaggle.com/{kind}/{handle}"
    steps = list(first)
    if kind == "competitions":
        steps.append(f"accept the rules at {url}/rules (a Kaggle account is needed)")
    if not has_credentials():
        steps.append(
            "create an API token at https://www.kaggle.com/settings and save it as "
            f"{_token_folder() / 'kaggle.json'}, or set KAGGLE_USERNAME and KAGGLE_KEY"
        )
    steps.append(f"or download {url} by hand, unpack it, and name the folder with {flag}")
    missing = f"needs the images of {handle}, which are " if wanted_by else ""
    return SourceError(
        f"{missing}not on this machine, and Kaggle did not give them: {why}",
        where=wanted_by or handle,
        details=[f"{number}. {step}" for number, step in enumerate(steps, 1)],
        fix="run the command again after these steps",
    )


def has_credentials() -> bool:
    """Whether the user has a token that kagglehub finds."""
    if os.environ.get("KAGGLE_API_TOKEN"):
        return True
    if os.environ.get("KAGGLE_USERNAME") and os.environ.get("KAGGLE_KEY"):
        return True
    home = _token_folder()
    return any((home / name).is_file() for name in ("kaggle.json", "access_token"))


def _token_folder() -> Path:
    return Path(os.environ.get("KAGGLE_CONFIG_DIR") or Path.home() / ".kaggle")


def _is_unreachable(error: BaseException) -> bool:
    names = {kind.__name__ for cause in _causes(error) for kind in type(cause).__mro__}
    return bool(names & _UNREACHABLE)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
