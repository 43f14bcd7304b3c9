"""Push a bundle to the Hugging Face Hub, in one commit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shopsight.bundle.hub_bundle import is_bundle_file
from shopsight.errors import HubError
from shopsight.extras import require
from shopsight.io.hub import HubCommit, HubName, find_commit, hub_errors
from shopsight.progress import notify, task

MAIN = "main"


@dataclass(frozen=True)
class Pushed:
    """What was committed.

    Attributes:
        name: the repository at the new commit.
        url: of the commit.
    """

    name: HubName
    url: str


def push_folder(
    folder: Path, name: HubName, *, public: bool, branch: str | None, message: str
) -> Pushed:
    """Make the bundle in a folder the newest commit of a branch.

    The repository is made where there is none. Files of a bundle that lie there and are not in the
    folder are removed; all others stay.

    Args:
        folder: holds the files of a bundle, and nothing else.
        name: of the repository.
        public: everybody may read it.
        branch: None is the main one; it is made where there is none.
        message: of the commit.

    Raises:
        HubError: the Hub refuses it, or everybody may read the repository and `public` is not set.
        ExtraMissingError: the Hub's client is not installed.
    """
    client = require("huggingface_hub")
    api = client.HfApi(endpoint=client.constants.ENDPOINT)
    files = sorted(path for path in folder.iterdir() if is_bundle_file(path.name))
    with hub_errors(name, writing=True), _quiet(client):
        api.create_repo(name.repo, private=not public, exist_ok=True)
        before = _before(name, branch)
        _check_visibility(name, before, public=public)
        if branch is not None:
            api.create_branch(name.repo, branch=branch, exist_ok=True)
        names = {path.name for path in files}
        stale = [] if before is None else [one.name for one in before.files]
        operations: list[Any] = [
            client.CommitOperationAdd(path_in_repo=path.name, path_or_fileobj=path)
            for path in files
        ]
        operations += [
            client.CommitOperationDelete(path_in_repo=one)
            for one in stale
            if is_bundle_file(one) and one not in names
        ]
        with task(f"Uploading to {name.repo}", total=len(files), unit="files") as advance:
            done = api.create_commit(
                name.repo, operations, commit_message=message, revision=branch or MAIN
            )
            advance(len(files))
    if before is not None and done.oid == before.commit:
        notify(f"{before.name} holds all of it already: there is no new commit")
    return Pushed(name.at(done.oid), str(done.commit_url))


def _before(name: HubName, branch: str | None) -> HubCommit | None:
    """What the branch holds; None where it, or the whole repository, is new."""
    try:
        return find_commit(HubName(name.repo, branch))
    except HubError as error:
        if error.unreachable or error.status in (401, 403):
            raise
    return None if branch is None else _before(name, None)


def _check_visibility(name: HubName, before: HubCommit | None, *, public: bool) -> None:
    if before is not None and before.private is False and not public:
        raise HubError(
            "everybody may read this repository; nothing was pushed",
            where=str(name),
            fix="--public, where that is meant; or make the repository private on its page",
        )
    if before is not None and before.private and public:
        notify(f"{name.repo} is private, and stays so: its page makes it public")


@contextmanager
def _quiet(client: Any) -> Iterator[None]:
    """The client draws no progress bars and logs no warnings: it is for listeners to show those."""
    bars, log = client.utils, client.utils.logging
    shown, verbosity = not bars.are_progress_bars_disabled(), log.get_verbosity()
    bars.disable_progress_bars()
    log.set_verbosity_error()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if shown:
            bars.enable_progress_bars()
