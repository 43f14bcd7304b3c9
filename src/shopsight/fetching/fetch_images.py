"""Ask hosts for images by threads, and keep what they send.

The threads ask, and look at what came; this process's main thread alone writes, so that when it is
interrupted nothing is written any more.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from shopsight.errors import ImageError, RemoteError
from shopsight.fetching.host_queues import Clock, Failure, HostQueues, Patience, Wanted
from shopsight.fetching.image_content import ImageFacts, read_facts
from shopsight.fetching.records import FetchRecord
from shopsight.fetching.store import PhotoStore
from shopsight.files import sha256_bytes
from shopsight.io.access import Access
from shopsight.io.addresses import web_parts
from shopsight.io.connections import connections_per_host, interrupt_connections
from shopsight.io.logins import with_login
from shopsight.io.web_request import Answer, Request, StatusError, ask
from shopsight.progress import notify, task

MOST_BYTES = 25_000_000
"""The most that an image may have."""
ANSWER_S = 60.0
"""How long one may take, redirects included."""
MOST_THREADS = 32
MOST_WAITING = 8
"""Images that came and are not on disk yet, at the most; and one for each thread."""
# How long those are waited for that still read when a command is interrupted.
_ENDING_S = 5.0


@dataclass(frozen=True)
class FetchRules:
    """How hosts are asked.

    Attributes:
        most_bytes: an image may have.
        answer_s: it may take.
        patience: with hosts that fail.
        clock: the time.
    """

    most_bytes: int = MOST_BYTES
    answer_s: float = ANSWER_S
    patience: Patience = field(default_factory=Patience)
    clock: Clock = field(default_factory=Clock)


class _StoppedError(Exception):
    """The command was interrupted while an image came in."""


@dataclass(frozen=True)
class _Result:
    """What came of an image: a failure, or an answer with what is in it."""

    wanted: Wanted
    failure: Failure | None = None
    answer: Answer | None = None
    facts: ImageFacts | None = None
    sha256: str | None = None


def fetch_images(
    wanted: Sequence[Wanted],
    store: PhotoStore,
    access: Access,
    *,
    per_host: int,
    rules: FetchRules,
) -> None:
    """Fetch images into a store; what became of each is in its records.

    An image whose file the store has is asked for conditionally. One that fails keeps the file that
    it had.

    Args:
        wanted: the images, each address once.
        store: where they are kept.
        access: which hosts may be asked.
        per_host: requests to one host at a time.
        rules: how hosts are asked.

    Raises:
        WriteError: the disk is full; what was kept stays.
        KeyboardInterrupt: likewise.
    """
    with connections_per_host(per_host), task("Fetching", len(wanted)) as advance:
        try:
            for result in _results(wanted, store, access, per_host, rules):
                _keep(result, store)
                advance(1)
        finally:
            store.settle()


def _results(
    wanted: Sequence[Wanted],
    store: PhotoStore,
    access: Access,
    per_host: int,
    rules: FetchRules,
) -> Iterator[_Result]:
    """What came of each image, in the order of the answers."""
    found: queue.Queue[_Result | BaseException] = queue.Queue(MOST_WAITING)
    notes: queue.SimpleQueue[str] = queue.SimpleQueue()
    queues = HostQueues(
        wanted,
        per_host=per_host,
        patience=rules.patience,
        clock=rules.clock,
        notify=notes.put,
    )
    known = {
        one.canonical: record
        for one in wanted
        if (record := store.records.get(one.canonical)) is not None and store.has_file(record)
    }
    number = min(MOST_THREADS, len(wanted), per_host * queues.num_hosts)
    worker = _Worker(queues, found, known, access, rules)
    # Of an interrupted command none is waited for that is still in the middle of an answer.
    threads = [threading.Thread(target=worker.run, daemon=True) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        left = len(wanted)
        while left:
            _notify_all(notes)
            try:
                result = found.get(timeout=0.2)
            except queue.Empty:
                continue
            if isinstance(result, BaseException):
                raise result
            left -= 1
            yield result
        _notify_all(notes)
    finally:
        queues.stop()
        _end(threads)


def _end(threads: list[threading.Thread]) -> None:
    """Break off what is still being read, if anything is, and wait for the threads for a while."""
    until_s = time.monotonic() + _ENDING_S
    while any(thread.is_alive() for thread in threads) and time.monotonic() < until_s:
        interrupt_connections()
        for thread in threads:
            thread.join(0.05)


def _notify_all(notes: queue.SimpleQueue[str]) -> None:
    """Report what the threads have to say, which only the main thread may."""
    with suppress(queue.Empty):
        while True:
            notify(notes.get_nowait())


@dataclass(frozen=True)
class _Worker:
    """Asks for images until none is left."""

    queues: HostQueues
    found: queue.Queue[_Result | BaseException]
    known: dict[str, FetchRecord]
    access: Access
    rules: FetchRules

    def run(self) -> None:
        try:
            while (wanted := self.queues.take()) is not None:
                result = self._asked(wanted)
                for one, failure in self.queues.report(wanted, result.failure):
                    self._put(result if one is wanted else _Result(one, failure))
        except _StoppedError:
            pass
        except BaseException as error:
            # A bug: the main thread says so.
            self._put(error)

    def _put(self, result: _Result | BaseException) -> None:
        while not self.queues.is_stopped:
            with suppress(queue.Full):
                self.found.put(result, timeout=0.2)
                return

    def _asked(self, wanted: Wanted) -> _Result:
        record = self.known.get(wanted.canonical)
        is_same = record is not None and _is_asked_alike(wanted, record)
        request = Request(
            self.access,
            self.rules.most_bytes,
            take=self._received,
            answer_s=self.rules.answer_s,
            validators=record.validators if record is not None and is_same else None,
        )
        try:
            parts = with_login(web_parts(wanted.asked))
            answer = ask(parts, request, fresh=wanted.tries > 0)
            if answer.is_unchanged:
                return _Result(wanted, answer=answer)
            facts = read_facts(
                answer.content,
                asked=wanted.asked,
                answered=answer.validators.address,
                is_measured=answer.is_measured,
            )
        except (RemoteError, ImageError) as error:
            if self.queues.is_stopped:
                raise _StoppedError from error
            return _Result(wanted, failure=error)
        return _Result(wanted, None, answer, facts, sha256_bytes(answer.content))

    def _received(self, _total: int | None, blocks: Iterator[bytes]) -> bytes:
        kept = list[bytes]()
        for block in blocks:
            if self.queues.is_stopped:
                raise _StoppedError
            kept.append(block)
        return b"".join(kept)


def _is_asked_alike(wanted: Wanted, record: FetchRecord) -> bool:
    """Whether the file that is known is that of this address, of this version and width.

    A shop gives a changed image another version: what the server knew the old one by says nothing.
    """
    return (wanted.version, wanted.asked_width) == (record.version, record.asked_width)


def _keep(result: _Result, store: PhotoStore) -> None:
    """Write down what came of an image."""
    wanted, answer = result.wanted, result.answer
    before = store.records.get(wanted.canonical)
    when = datetime.now(UTC).isoformat(timespec="seconds")
    if result.failure is not None:
        # The file that it had stays, with the address and the width that it came from.
        has_file = before is not None and before.sha256 is not None
        record = before if before is not None and has_file else _new_record(wanted)
        status = result.failure.status if isinstance(result.failure, StatusError) else None
        status = 200 if isinstance(result.failure, ImageError) else status
        reason, error = result.failure.reason, in_a_line(result.failure)
        store.keep(replace(record, status=status, when=when, reason=reason, error=error), None)
        return
    assert answer is not None
    if answer.is_unchanged:
        assert before is not None
        store.keep(replace(before, status=304, when=when, reason=None, error=None), None)
        return
    assert result.facts is not None
    known = answer.validators
    store.keep(
        replace(
            _new_record(wanted),
            sha256=result.sha256,
            format=result.facts.kind,
            bytes=len(answer.content),
            width=result.facts.width,
            height=result.facts.height,
            etag=known.etag,
            last_modified=known.last_modified,
            final_url=known.address,
            status=200,
            when=when,
        ),
        answer.content,
    )


def _new_record(wanted: Wanted) -> FetchRecord:
    return FetchRecord(
        wanted.canonical, wanted.url, version=wanted.version, asked_width=wanted.asked_width
    )


def in_a_line(failure: Failure) -> str:
    """What went wrong, and the flag that allows it where there is one."""
    is_flag = failure.fix is not None and failure.fix.startswith("--")
    return f"{failure.what} ({failure.fix})" if is_flag else failure.what
