"""Which image is asked for next, of which host, and when: politeness is per host.

A host is asked for a few images at a time. One that fails is asked again after 1, 2, 4 ... 60 s,
while other images are asked for. A host that asks for patience gets it. After 20 failures in a row
a host is left alone for a minute and then asked once; when that fails too it is given up, and its
other images are failures without a request.
"""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from shopsight.errors import ImageError, RemoteError
from shopsight.io.addresses import host_of
from shopsight.io.web_request import StatusError
from shopsight.text import counted, duration_text

PASSING = frozenset(
    {"timed out", "interrupted", "too many requests", "server error", "refused", "no such host"}
)
"""Why a request may fail that succeeds later. Every other failure is final."""


@dataclass(frozen=True)
class Patience:
    """How often and after which pauses a host is asked again.

    Attributes:
        tries: requests for one image.
        first_pause_s: before the second; doubled for each further one.
        longest_pause_s: of those pauses.
        jitter: a pause is longer by up to this fraction of it, at random: what failed together is
            not asked for together.
        late_tries: requests for one image whose answers are too late, each of which takes long.
        longest_asked_s: how long a host is waited for that asks for more.
        failures: in a row, after which a host is left alone.
        recovery_s: for how long.
    """

    tries: int = 8
    first_pause_s: float = 1.0
    longest_pause_s: float = 60.0
    jitter: float = 0.25
    late_tries: int = 3
    longest_asked_s: float = 600.0
    failures: int = 20
    recovery_s: float = 60.0

    def most_tries(self, reason: str) -> int:
        """Requests for one image that fails for this reason."""
        return min(self.tries, self.late_tries) if reason == "timed out" else self.tries

    def pause_s(self, tries: int) -> float:
        """How long to wait after so many tries."""
        nominal_s = min(self.longest_pause_s, self.first_pause_s * 2.0 ** (tries - 1))
        return min(self.longest_pause_s, nominal_s * random.uniform(1, 1 + self.jitter))


class Clock:
    """The time, and waiting for it; a test's goes faster."""

    def now_s(self) -> float:
        return time.monotonic()

    def wait(self, changed: threading.Condition, seconds: float | None) -> None:
        """Wait until something changed, or the time is over."""
        changed.wait(seconds)


Failure = RemoteError | ImageError


@dataclass(slots=True)
class Wanted:
    """An image that is to be fetched.

    Attributes:
        canonical: its address, by which it is known.
        url: as the table has it.
        version: of its address, see `ImageAddress`.
        asked: what the server is asked for.
        asked_width: the width in that, if any.
        tries: requests so far.
        failure: of the last of them.
        is_probe: it finds out whether a host answers again.
    """

    canonical: str
    url: str
    version: str
    asked: str
    asked_width: int | None = None
    tries: int = 0
    failure: Failure | None = None
    is_probe: bool = False


Finished = tuple[Wanted, Failure | None]


@dataclass
class _Host:
    """The images of one host that were not answered yet.

    Attributes:
        name: of the host.
        fresh: images that were not asked for.
        later: images that failed, each with the moment from which it may be asked for again.
        in_work: number of requests at this moment.
        failures: requests that failed since the last answer.
        busy_until_s: it is not asked before.
        is_given_up: it is asked for nothing more.
        asked_too_long: its last answer asked for more patience than there is.
        is_doubted: it failed so often that it is asked for one image at a time.
    """

    name: str
    fresh: deque[Wanted] = field(default_factory=deque)
    later: list[tuple[float, int, Wanted]] = field(default_factory=list)
    in_work: int = 0
    failures: int = 0
    busy_until_s: float = 0.0
    asked_too_long: bool = False
    is_given_up: bool = False
    is_doubted: bool = False

    @property
    def has_more(self) -> bool:
        return bool(self.fresh or self.later)

    def ready_s(self) -> float:
        """The moment from which the next image may be asked for; there is one."""
        return self.busy_until_s if self.fresh else max(self.busy_until_s, self.later[0][0])

    def take(self, now_s: float) -> Wanted:
        """The next image: one whose pause is over; where the host is doubted, a fresh one."""
        is_due = bool(self.later) and self.later[0][0] <= now_s
        if self.fresh and (self.is_doubted or not is_due):
            taken = self.fresh.popleft()
        else:
            taken = heapq.heappop(self.later)[2]
        taken.is_probe = self.is_doubted
        self.in_work += 1
        return taken

    def drop_all(self) -> Iterator[Wanted]:
        """All that were not answered; none is left."""
        yield from self.fresh
        yield from (wanted for _, _, wanted in self.later)
        self.fresh.clear()
        self.later.clear()


class HostQueues:
    """Hands out images to the threads that ask for them.

    Args:
        wanted: the images.
        per_host: requests to one host at a time.
        patience: with hosts that fail.
        clock: the time.
        notify: gets a line about a host that is waited for or given up.
    """

    def __init__(
        self,
        wanted: Iterable[Wanted],
        *,
        per_host: int,
        patience: Patience,
        clock: Clock,
        notify: Callable[[str], None],
    ) -> None:
        self._per_host, self._patience = per_host, patience
        self._clock, self._notify = clock, notify
        self._changed = threading.Condition()
        self._stopped = False
        self._number = 0
        self._hosts: dict[str, _Host] = {}
        for one in wanted:
            name = host_of(one.asked) or ""
            self._hosts.setdefault(name, _Host(name)).fresh.append(one)
        # Those that have something left, in turn.
        self._turns = deque(self._hosts.values())

    @property
    def num_hosts(self) -> int:
        return len(self._hosts)

    def stop(self) -> None:
        """Hand out no more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    @property
    def is_stopped(self) -> bool:
        return self._stopped

    def take(self) -> Wanted | None:
        """The next image, as soon as it may be asked for; None where none is left."""
        with self._changed:
            while not self._stopped:
                now_s = self._clock.now_s()
                host, soonest_s = self._next_host(now_s)
                if host is not None:
                    return host.take(now_s)
                in_work = any(host.in_work for host in self._turns)
                if not (in_work or self._turns):
                    self._changed.notify_all()
                    return None
                pause_s = None if soonest_s is None else max(0.0, soonest_s - now_s)
                self._clock.wait(self._changed, pause_s)
            return None

    def _next_host(self, now_s: float) -> tuple[_Host | None, float | None]:
        """A host that may be asked now; else the moment when one may be."""
        soonest_s = None
        for _ in range(len(self._turns)):
            host = self._turns[0]
            if not (host.has_more or host.in_work):
                self._turns.popleft()
                continue
            self._turns.rotate(-1)
            if not host.has_more or host.in_work >= (1 if host.is_doubted else self._per_host):
                continue
            ready_s = host.ready_s()
            if ready_s <= now_s:
                return host, None
            soonest_s = ready_s if soonest_s is None else min(soonest_s, ready_s)
        return None, soonest_s

    def report(self, wanted: Wanted, failure: Failure | None) -> list[Finished]:
        """Say what came of an image that was handed out.

        Returns:
            The images that are done with: this one, unless it is asked for again, and those of a
            host that is given up.
        """
        with self._changed:
            host = self._hosts[host_of(wanted.asked) or ""]
            host.in_work -= 1
            wanted.tries += 1
            wanted.failure = failure
            self._changed.notify_all()
            if failure is None or failure.reason not in PASSING:
                host.failures, host.is_doubted, host.asked_too_long = 0, False, False
                return [(wanted, failure)]
            return self._failed(host, wanted, failure)

    def _failed(self, host: _Host, wanted: Wanted, failure: Failure) -> list[Finished]:
        now_s, host.failures = self._clock.now_s(), host.failures + 1
        pause_s = self._patience.pause_s(wanted.tries)
        asked_s = failure.asked_s if isinstance(failure, StatusError) else None
        gives_up = wanted.is_probe or (asked_s is not None and self._asks_again(host, asked_s))
        if asked_s is not None:
            pause_s = max(pause_s, min(asked_s, self._patience.longest_asked_s))
        if asked_s is not None or failure.reason == "too many requests":
            # It speaks of all images, not of this one.
            host.busy_until_s = max(host.busy_until_s, now_s + pause_s)
        if host.failures >= self._patience.failures and not host.is_doubted:
            host.is_doubted = True
            host.busy_until_s = max(host.busy_until_s, now_s + self._patience.recovery_s)
            self._notify(
                f"host {host.name} failed {host.failures} times in a row ({failure.what}): left "
                f"alone for {duration_text(host.busy_until_s - now_s)}, then asked once"
            )
        if gives_up and not host.is_given_up:
            return [(wanted, failure), *self._given_up(host, failure)]
        if host.is_given_up or wanted.tries >= self._patience.most_tries(failure.reason):
            return [(wanted, failure)]
        self._number += 1
        heapq.heappush(host.later, (now_s + pause_s, self._number, wanted))
        return []

    def _asks_again(self, host: _Host, asked_s: float) -> bool:
        """Whether a host asks for more patience than there is, for the second time in a row."""
        longest_s = self._patience.longest_asked_s
        if asked_s <= longest_s:
            host.asked_too_long = False
            return False
        if host.asked_too_long:
            return host.busy_until_s <= self._clock.now_s()
        host.asked_too_long = True
        self._notify(
            f"host {host.name} asks to wait {duration_text(asked_s)}: it is asked again after "
            f"{duration_text(longest_s)}"
        )
        return False

    def _given_up(self, host: _Host, failure: Failure) -> list[Finished]:
        host.is_given_up = True
        rest = list(host.drop_all())
        what = f"not asked: the host was given up ({failure.what})"
        given_up = RemoteError("given up", what, fix="--retry-failed asks it again")
        if rest:
            self._notify(
                f"host {host.name} is given up: {counted(len(rest), 'image')} not asked for; "
                "--retry-failed asks again"
            )
        # What was asked before has an answer of its own.
        return [(wanted, wanted.failure or given_up) for wanted in rest]
