"""Connections to web servers: the address that is checked is the one that is connected to.

A host's connections are kept and used again, and at most `CONNECTIONS_PER_HOST` are open at a
time, however many threads read. Names are looked up here and not by a library, so that a name
cannot lead to a public address when it is checked and to a private one when it is connected to.
"""

from __future__ import annotations

import io
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPConnection, HTTPResponse
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

from shopsight.errors import RemoteError
from shopsight.io.access import Access
from shopsight.io.addresses import endpoint, is_private, joined
from shopsight.runtime import certificate_file

CONNECTIONS_PER_HOST = 6
"""As browsers have it."""
CONNECT_S = 10.0
"""How long to wait for a connection."""
SILENCE_S = 20.0
"""How long to wait for the next bytes of an answer."""
ANSWER_S = 300.0
"""How long an answer may take in all, however steadily it drips."""

_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class _BeforeDeadline(io.RawIOBase):
    """What a socket receives, until a moment after which every read is a time-out.

    The socket's own time-out starts anew with each byte: a server that sends one byte now and then
    would hold a thread forever.
    """

    def __init__(self, sock: socket.socket, answer_s: float | None, spent_s: float) -> None:
        self._sock = sock
        # It keeps the socket open until the answer is read.
        self._file = sock.makefile("rb", buffering=0)
        self._answer_s = ANSWER_S if answer_s is None else answer_s
        self._deadline_s = time.monotonic() + self._answer_s - spent_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        left_s = self._deadline_s - time.monotonic()
        try:
            if left_s > 0:
                self._sock.settimeout(min(SILENCE_S, left_s))
                return self._file.readinto(buffer)
        except TimeoutError:
            if left_s > SILENCE_S:
                raise
        raise TimeoutError(f"it takes more than {self._answer_s:g} s")

    def close(self) -> None:
        self._file.close()
        super().close()

    def makefile(self, mode: str) -> io.BufferedReader:
        """What `HTTPResponse` asks of a socket."""
        assert mode == "rb"
        return io.BufferedReader(self)


class _Response(HTTPResponse):
    def __init__(self, received: _BeforeDeadline, method: str | None = None) -> None:
        super().__init__(received, method=method)  # type: ignore[arg-type]


class Connection(HTTPConnection):
    """One connection to one server, perhaps by way of a proxy.

    Args:
        parts: an address at the server.
        access: which private hosts may be asked.

    Attributes:
        private: whether it leads into a private network; known once it is connected.
        used: number of answers that came over it.
        is_interrupted: its answer is not waited for any more.
        answer_s: how long the next answer may take; None: `ANSWER_S`.
        spent_s: how much of that other answers of the same request took, which redirected it.
    """

    def __init__(self, parts: SplitResult, access: Access) -> None:
        end = endpoint(joined(parts))
        assert end is not None
        self._end, self._access = end, access
        self.secure = parts.scheme == "https"
        self.proxy = _proxy_for(parts.scheme, end[0])
        self.private = False
        self.used = 0
        self.is_interrupted = False
        self.answer_s: float | None = None
        self.spent_s = 0.0
        self.response_class = self._response  # type: ignore[assignment]
        super().__init__(*(self.proxy or end), timeout=CONNECT_S)
        if self.proxy and self.secure:
            self.set_tunnel(*end)

    def _response(self, sock: socket.socket, method: str | None = None) -> _Response:
        spent_s = 0.0 if self.answer_s is None else self.spent_s
        return _Response(_BeforeDeadline(sock, self.answer_s, spent_s), method)

    def connect(self) -> None:
        """Connect to an address of the host that was checked.

        Raises:
            RemoteError: the host is in a private network that `access` does not allow.
            OSError: there is no connection.
        """
        host, port = self._end
        if self.proxy is None:
            addresses = _addresses(host, port)
        else:
            # The proxy looks the name up; what this machine knows of it is checked all the same.
            with suppress(OSError):
                _allowed(_addresses(host, port), self._end, self._access)
            addresses = _addresses(*self.proxy)
        if self.proxy is None:
            addresses = _allowed(addresses, self._end, self._access)
            self.private = is_private(addresses[0][1])
        self.sock = _connected(addresses)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.proxy and self.secure:
            self._tunnel()  # type: ignore[attr-defined]
        if self.secure:
            self.sock = _tls().wrap_socket(self.sock, server_hostname=host)

    def answer(self, parts: SplitResult, headers: dict[str, str]) -> HTTPResponse:
        """Ask for an address and read the head of the answer.

        Raises:
            RemoteError: as `connect`.
            OSError, http.client.HTTPException: no answer, or none that can be read.
        """
        target = parts._replace(scheme="", netloc="")
        if self.proxy and not self.secure:
            target = parts._replace(netloc=parts.netloc.rpartition("@")[2])
        self.request("GET", joined(target), headers={"Host": _host_header(parts), **headers})
        return self.getresponse()


@dataclass
class Host:
    """What is remembered of a server.

    Attributes:
        places: one for each connection that may be open.
        idle: connections that wait for the next request.
        lent: connections that a request has.
        failures: requests that failed for good since the last answer.
        busy_until_s: the server asked for no request before this moment, on the monotonic clock.
        silent_until_s: the server is not asked before this moment, because it did not answer.
    """

    places: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(CONNECTIONS_PER_HOST)
    )
    idle: list[Connection] = field(default_factory=list)
    lent: set[Connection] = field(default_factory=set)
    failures: int = 0
    busy_until_s: float = 0.0
    silent_until_s: float = 0.0

    @classmethod
    def with_places(cls, number: int) -> Host:
        """A server to which so many connections may be open."""
        return cls(threading.BoundedSemaphore(number))


_hosts: dict[tuple[str, str, int], Host] = {}
_per_host = CONNECTIONS_PER_HOST
_lock = threading.Lock()


def host_state(parts: SplitResult) -> Host:
    """What is remembered of the server of an address."""
    end = endpoint(joined(parts))
    assert end is not None
    with _lock:
        return _hosts.setdefault((parts.scheme, *end), Host.with_places(_per_host))


@contextmanager
def connections_per_host(number: int) -> Iterator[None]:
    """Have at most so many connections to each server within the block, instead of six.

    What was learned of the hosts before is forgotten, and so is what the block learns.
    """
    global _per_host  # noqa: PLW0603 - the hosts are the process's, whoever asks them
    before = _per_host
    forget_hosts()
    _per_host = number
    try:
        yield
    finally:
        _per_host = before
        forget_hosts()


@contextmanager
def connection(parts: SplitResult, access: Access, *, fresh: bool) -> Iterator[Connection]:
    """Lend a connection to a server; one that the block leaves open is kept for the next request.

    Args:
        parts: an address at the server.
        access: which private hosts may be asked.
        fresh: take none that was used before: the server may have closed it meanwhile.

    Raises:
        RemoteError: the host is in a private network that `access` does not allow.
    """
    host = host_state(parts)
    with host.places:
        lent = None if fresh else _idle(host)
        if lent is not None and lent.private and not access.allows(*_end(parts)):
            host.idle.append(lent)
            raise private_error(*_end(parts))
        lent = lent or Connection(parts, access)
        host.lent.add(lent)
        try:
            yield lent
        except RemoteError:
            # The server answered: what is left of the connection is as good as before.
            raise
        except BaseException:
            lent.close()
            raise
        finally:
            host.lent.discard(lent)
            if lent.sock is not None:
                host.idle.append(lent)


def forget_hosts() -> None:
    """Close the connections that wait, and forget what was learned of the hosts."""
    with _lock:
        for host in _hosts.values():
            while (lent := _idle(host)) is not None:
                lent.close()
        _hosts.clear()


def interrupt_connections() -> None:
    """Break off the answers that are being read, whose readers then have an `OSError`."""
    with _lock:
        lent = [one for host in _hosts.values() for one in tuple(host.lent)]
    for one in lent:
        one.is_interrupted = True
        sock = one.sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may have held it
    _lock = threading.Lock()
    # A connection that two processes share would give each the other's answers.
    _hosts.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def private_error(host: str, port: int) -> RemoteError:
    """The error of an address that leads into a private network."""
    return RemoteError(
        "private",
        f"{host}:{port} is in a private network, where a table or a redirect may lead only if you "
        "allow it",
        fix="--allow-private",
    )


def _end(parts: SplitResult) -> tuple[str, int]:
    end = endpoint(joined(parts))
    assert end is not None
    return end


def _idle(host: Host) -> Connection | None:
    try:
        return host.idle.pop()
    except IndexError:
        return None


def _host_header(parts: SplitResult) -> str:
    host, port = _end(parts)
    name = f"[{host}]" if ":" in host else host
    return name if port in {80, 443} and parts.port is None else f"{name}:{port}"


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate_file())


def _proxy_for(scheme: str, host: str) -> tuple[str, int] | None:
    """Host and port of the proxy that the environment or the system names; None without one."""
    address = getproxies().get(scheme)
    if not address or host in _LOCAL_NAMES or proxy_bypass(host):
        return None
    parts = urlsplit(address if "://" in address else f"http://{address}")
    return (parts.hostname, parts.port or 80) if parts.hostname else None


def _addresses(host: str, port: int) -> list[tuple[socket.AddressFamily, str, int]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, str(end[0]), port) for family, _, _, _, end in found]


def _allowed(
    addresses: list[tuple[socket.AddressFamily, str, int]], end: tuple[str, int], access: Access
) -> list[tuple[socket.AddressFamily, str, int]]:
    """The addresses that may be connected to, at least one.

    Raises:
        RemoteError: all are private and not allowed.
    """
    if access.allows(*end):
        return addresses
    public = [one for one in addresses if not is_private(one[1])]
    if not public:
        raise private_error(*end)
    return public


def _connected(addresses: list[tuple[socket.AddressFamily, str, int]]) -> socket.socket:
    """A connection to the first address that takes one; the last one's error else."""
    for number, (family, ip, port) in enumerate(addresses, start=1):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(CONNECT_S)
            sock.connect((ip, port))
        except BaseException as error:
            sock.close()
            if number == len(addresses) or not isinstance(error, OSError):
                raise
        else:
            return sock
    raise OSError("the host has no address")
