"""Kaggle's data sets and competitions, by kagglehub with the user's own credentials.

kagglehub shows the progress, resumes a broken download, checks the checksums that Kaggle gives
and keeps what it fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from shopsight.errors import ExtraMissingError, SourceError
from shopsight.extras import require

Kind = Literal["datasets", "competitions"]


def fetch_from_kaggle(kind: Kind, handle: str) -> Path:
    """The folder of a data set ("owner/name") or a competition ("name"), fetched when needed.

    Raises:
        SourceError: kagglehub is missing, Kaggle refuses or cannot be reached; with the steps.
    """
    try:
        kagglehub = require("kagglehub")
    except ExtraMissingError as error:
        raise _refused(kind, handle, error.what) from error
    download: Callable[[str], str] = (
        kagglehub.dataset_download if kind == "datasets" else kagglehub.competition_download
    )
    try:
        return Path(download(handle))
    # kagglehub's errors have no common base: its own, those of requests, and plain ones.
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise _refused(kind, handle, first) from error


def _refused(kind: Kind, handle: str, why: str) -> SourceError:
    url = f"https://www.kaggle.com/{kind}/{handle}"
    steps = ["pip install 'shopsight[kaggle]'"]
    if kind == "competitions":
        steps.append(f"accept the rules at {url}/rules (a Kaggle account is needed)")
    steps += [
        "create an API token at https://www.kaggle.com/settings and save it as "
        "~/.kaggle/kaggle.json, or set KAGGLE_USERNAME and KAGGLE_KEY",
        f"or download {url} by hand, unpack it, and name the folder with --root",
    ]
    return SourceError(
        f"not at hand, and not fetched from Kaggle: {why}",
        where=handle,
        details=[f"{number}. {step}" for number, step in enumerate(steps, 1)],
        fix="run the command again after these steps",
    )
