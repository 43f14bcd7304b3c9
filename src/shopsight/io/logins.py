"""Names and passwords that addresses came with: in memory, and nowhere else.

Whatever keeps or shows an address has it without them; the client of web servers asks here for what
goes with a host. The processes that train on several devices are told by their pipe.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import SplitResult

from shopsight.address_secrets import without_logins
from shopsight.io.addresses import endpoint, joined

_logins: dict[tuple[str, int], str] = {}


def without_login(address: str) -> str:
    """The address without its name and password, which are remembered for its host.

    The first ones hold, which are those that the user typed: a table's come later.
    """
    plain = without_logins(address)
    if plain != address:
        end = endpoint(address)
        if end is not None:
            _logins.setdefault(
                end, address.partition("://")[2].partition("/")[0].rpartition("@")[0]
            )
    return plain


def with_login(parts: SplitResult) -> SplitResult:
    """The address with what is remembered for its host; its own name and password go before."""
    login = _logins.get(endpoint(joined(parts)) or ("", 0))
    if login is None or "@" in parts.netloc:
        return parts
    return parts._replace(netloc=f"{login}@{parts.netloc}")


def kept_logins() -> list[tuple[str, int, str]]:
    """Host, port and login of all that are remembered, for a process that goes on with the work.

    They are handed on by a pipe, never by an argument, a variable or a file.
    """
    return [(host, port, login) for (host, port), login in _logins.items()]


def keep_logins(logins: Iterable[tuple[str, int, str]]) -> None:
    """Remember what `kept_logins` gave in the process that started this one."""
    for host, port, login in logins:
        _logins.setdefault((host, port), login)


def forget_logins() -> None:
    """Forget them all."""
    _logins.clear()
