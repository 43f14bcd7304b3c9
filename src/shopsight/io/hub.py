"""Repositories of models on the Hugging Face Hub, by the Hub's own client.

Only what a user named by `hf:OWNER/NAME` is asked for. The client brings the token (HF_TOKEN, or
what `hf auth login` keeps), the address (HF_ENDPOINT) and the offline mode (HF_HUB_OFFLINE). What
is downloaded is bounded here, compared with the hashes of the commit, and never sought on a host
that is not the Hub's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from shopsight.errors import HubError, ShopsightError, first_line
from shopsight.extras import require
from shopsight.progress import Advance

PREFIX = "hf:"
PATIENCE_S = 30.0
"""How long the Hub may stay silent."""
MOST_FILES = 10_000
"""In a listing: a repository of more is none of ours."""
_CHUNK_BYTES = 1 << 20
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_NAME = re.compile(rf"({_PART}/{_PART})(?:@([A-Za-z0-9][A-Za-z0-9._/-]{{0,200}}))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# Where the Hub redirects to for large files.
_HUB_DOMAINS = ("huggingface.co", "hf.co")
_CLIENT_LIBRARIES = frozenset({"huggingface_hub", "httpx", "httpx2", "httpcore", "httpcore2"})


@dataclass(frozen=True)
class HubName:
    """A repository, and which state of it.

    Attributes:
        repo: "OWNER/NAME".
        revision: a commit's hash, a branch or a tag; None is the main branch.
    """

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{PREFIX}{self.repo}" + (f"@{self.revision}" if self.revision else "")

    @property
    def is_commit(self) -> bool:
        """Whether it names one state for ever: by the whole hash of a commit."""
        return self.revision is not None and _COMMIT.fullmatch(self.revision) is not None

    def at(self, commit: str) -> HubName:
        """The same repository at a commit."""
        return replace(self, revision=commit)


@dataclass(frozen=True)
class HubFile:
    """A file of a commit.

    Attributes:
        name: its path in the repository, with forward slashes.
        num_bytes: its size.
        sha256: of a large file; None of others.
        blob_sha1: Git's hash of the file, or of the pointer to a large one; None where not given.
    """

    name: str
    num_bytes: int
    sha256: str | None
    blob_sha1: str | None


@dataclass(frozen=True)
class HubCommit:
    """What a repository holds at a commit.

    Attributes:
        name: with the commit's hash as its revision.
        files: all of them.
        private: whether only some may read it; None where the Hub does not say.
    """

    name: HubName
    files: tuple[HubFile, ...]
    private: bool | None

    @property
    def commit(self) -> str:
        """The commit's hash."""
        assert self.name.revision is not None
        return self.name.revision


def names_hub(location: str | Path) -> bool:
    """Whether it begins as the name of a repository on the Hub does."""
    return str(location).startswith(PREFIX)


def parse_hub_name(location: str | Path) -> HubName:
    r"""Read `hf:OWNER/NAME` or `hf:OWNER/NAME@REVISION`.

    >>> parse_hub_name("hf:shop/shoes@v1")
    HubName(repo='shop/shoes', revision='v1')

    Raises:
        HubError: it is not of that form.
    """
    # A path of Windows writes it with backslashes.
    text = str(location).replace("\\", "/").removeprefix(PREFIX)
    found = _NAME.fullmatch(text)
    if found is None or ".." in text or text.endswith((".git", "/", ".")):
        raise HubError(
            "does not name a repository of the Hugging Face Hub",
            where=str(location),
            fix="hf:OWNER/NAME, or hf:OWNER/NAME@REVISION   (a commit, a branch or a tag)",
        )
    return HubName(found[1], found[2])


def find_commit(name: HubName) -> HubCommit:
    """Ask the Hub which commit a name is, and what it holds.

    Raises:
        HubError: there is no such repository or revision, or it may not be read, or the Hub cannot
            be reached: then its `unreachable` is set.
        ExtraMissingError: the Hub's client is not installed.
    """
    client = require("huggingface_hub")
    with hub_errors(name), _guarded_session(name):
        api = client.HfApi(endpoint=client.constants.ENDPOINT)
        found = api.model_info(
            name.repo, revision=name.revision, files_metadata=True, timeout=PATIENCE_S
        )
    siblings = found.siblings or []
    if not (isinstance(found.sha, str) and _COMMIT.fullmatch(found.sha)):
        raise HubError("the Hub names no commit", where=str(name))
    if name.is_commit and found.sha != name.revision:
        raise HubError(f"the Hub answers with another commit, {found.sha}", where=str(name))
    if len(siblings) > MOST_FILES:
        raise HubError(
            f"holds {len(siblings):,} files, which is no shopsight bundle", where=str(name)
        )
    files = tuple(_file(one) for one in siblings)
    return HubCommit(name.at(found.sha), files, found.private)


def _file(sibling: Any) -> HubFile:
    size, large = sibling.size, sibling.lfs
    known = isinstance(size, int) and size >= 0
    return HubFile(
        str(sibling.rfilename),
        size if known else -1,
        None if large is None else str(large.sha256),
        sibling.blob_id,
    )


def download_file(commit: HubCommit, file: HubFile, path: Path, *, advance: Advance) -> None:
    """Download one file of a commit, and compare it with what the commit lists.

    Args:
        commit: where it is.
        file: one of its files.
        path: is written; what stands there after an error is not whole.
        advance: is given the bytes as they come.

    Raises:
        HubError: it is longer, shorter or another one than is listed, or cannot be had, or the Hub
            refers to a host that is not its own.
    """
    client = require("huggingface_hub")
    name = commit.name
    path_there = f"{name.repo}/resolve/{commit.commit}/{quote(file.name)}"
    url = f"{client.constants.ENDPOINT}/{path_there}"
    # Packed, it would have another size on the way.
    headers = {**client.utils.build_hf_headers(), "Accept-Encoding": "identity"}
    large, small = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
    small.update(f"blob {file.num_bytes}\0".encode())
    received = 0
    with (
        hub_errors(name),
        _guarded_session(name) as session,
        session.stream("GET", url, headers=headers, follow_redirects=True) as response,
        path.open("wb") as written,
    ):
        client.utils.hf_raise_for_status(response)
        for chunk in response.iter_bytes(_CHUNK_BYTES):
            received += len(chunk)
            if received > file.num_bytes:
                break
            written.write(chunk)
            large.update(chunk)
            small.update(chunk)
            advance(len(chunk))
    # A large file's hash of Git is that of a pointer to it.
    found = small.hexdigest() if file.sha256 is None else large.hexdigest()
    listed = file.blob_sha1 if file.sha256 is None else file.sha256
    if received != file.num_bytes:
        came = "more" if received > file.num_bytes else f"{received:,} bytes"
        problem = f"{came} came, where the commit lists {file.num_bytes:,} bytes"
    elif listed is not None and found != listed:
        problem = "its hash is not the one that the commit lists"
    else:
        return
    raise HubError(f"{file.name}: {problem}", where=str(name), fix="the same command once more")


@contextmanager
def _guarded_session(name: HubName) -> Iterator[Any]:
    """The client's session: within the block it gives up in time, and asks only the Hub's hosts."""
    client = require("huggingface_hub")
    session = client.get_session()
    before = session.timeout, session.event_hooks
    own = urlsplit(client.constants.ENDPOINT).netloc

    def refuse_others(request: Any) -> None:
        asked = urlsplit(str(request.url))
        if asked.netloc == own:
            return
        host = asked.hostname or ""
        of_hub = any(host == one or host.endswith(f".{one}") for one in _HUB_DOMAINS)
        if asked.scheme != "https" or not of_hub:
            raise HubError(
                f"the Hub refers to another host, {host}, which is not asked", where=str(name)
            )

    hooks = dict(before[1])
    hooks["request"] = [*hooks.get("request", ()), refuse_others]
    session.timeout, session.event_hooks = PATIENCE_S, hooks
    try:
        yield session
    finally:
        session.timeout, session.event_hooks = before


@contextmanager
def hub_errors(name: HubName, *, writing: bool = False) -> Iterator[None]:
    """Say what the Hub or its client refuses within the block as an error of ours.

    Args:
        name: what is read or written.
        writing: it is written.

    Raises:
        HubError: instead of the client's error.
    """
    try:
        yield
    except ShopsightError:
        raise
    # The client has changed its HTTP library, hence its errors, more than once.
    except Exception as error:
        found = _hub_error(name, error, writing=writing)
        if found is None:
            raise
        raise found from error


def _hub_error(name: HubName, error: Exception, *, writing: bool) -> HubError | None:
    """The error of ours; None where it is not one of the network or of the Hub."""
    chain = list(_causes(error))
    kinds = [type(one).__name__ for one in chain]
    where = str(name)
    if "OfflineModeIsEnabled" in kinds:
        what = "HF_HUB_OFFLINE is set, and this is not kept on this machine"
        fix = "unset HF_HUB_OFFLINE, and run the same command once with a network"
        return HubError(what, where=where, fix=fix, unreachable=True)
    status = next((found for one in chain if (found := _status(one)) is not None), None)
    if status is not None:
        return _refusal(name, status, kinds, chain, writing=writing)
    ours = any(
        isinstance(one, OSError) or type(one).__module__.partition(".")[0] in _CLIENT_LIBRARIES
        for one in chain
    )
    if not ours:
        return None
    late = any("Timeout" in kind for kind in kinds)
    return HubError(
        f"the Hub does not answer within {PATIENCE_S:.0f} s"
        if late
        else "the Hub cannot be reached",
        where=where,
        details=[f"{kinds[-1]}: {first_line(chain[-1])}"],
        fix="run the same command with a network; HF_ENDPOINT names another Hub",
        unreachable=True,
    )


def _refusal(
    name: HubName, status: int, kinds: list[str], chain: list[BaseException], *, writing: bool
) -> HubError:
    where, page = str(name), f"https://huggingface.co/{name.repo}"
    token = "hf auth login   (or HF_TOKEN), with a token that may "
    token += "write to it" if writing else "read it"
    if "GatedRepoError" in kinds:
        what, fix = "its owner gives it to those who asked for it", f"ask for it on {page}"
    elif status in (401, 403):
        what = f"the Hub refuses it to you (status {status})"
        if not writing:
            what += ": it is private, or it does not exist"
        fix = token
    elif "RevisionNotFoundError" in kinds:
        what, fix = f"there is no revision {name.revision}", f"{page}/commits/main lists them"
    elif status == 404:
        what, fix = "there is no such repository or file, or it is private", f"{page}\n{token}"
    elif status == 429:
        what, fix = "the Hub is asked too often (status 429)", "try again in a few minutes"
    else:
        what, fix = f"the Hub answers with status {status}", "try again later"
    return HubError(what, status=status, where=where, details=[first_line(chain[0])], fix=fix)


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _status(error: BaseException) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None
