"""Which names a request may call the service by, and which pages may ask it.

A page of any site can let a browser ask a service on the user's own machine, under a name that it
leads there (DNS rebinding). So a service that only this machine reaches answers to this machine's
names alone; and a request that a browser sends for a page of another site is refused, unless
`--allow-origin` names the site.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from shopsight.errors import ConfigError
from shopsight.serve.refusals import RefusedError

_OWN_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class HostCheck:
    """What `Host` and `Origin` may say.

    Attributes:
        names: allowed in `Host`, without port; None allows all.
        origins: pages that may ask, beside the service's own.
    """

    names: frozenset[str] | None
    origins: frozenset[str]

    def check(self, host: str, origin: str | None) -> None:
        """Refuse a request by another name, or from a page of another site.

        Raises:
            RefusedError: with 403.
        """
        if self.names is not None and _without_port(host) not in self.names:
            raise RefusedError(
                403,
                "this service answers to this machine's own names",
                fix="ask it as 127.0.0.1 or localhost; a proxy sets Host so",
            )
        if origin is None or origin.lower() in self.origins:
            return
        # Browsers send it with every POST, of the service's own page too.
        if urlsplit(origin).netloc.lower() != host.lower():
            raise RefusedError(
                403,
                "a page of another site asks",
                fix="name the site when the service is started: --allow-origin https://shop.example",
            )


def host_check(host: str, origins: tuple[str, ...]) -> HostCheck:
    """The check of a service that listens on `host`.

    Raises:
        ConfigError: One of `origins` is no origin.
    """
    known = frozenset(map(_origin, origins))
    names = None
    if is_loopback(host):
        sites = {_without_port(urlsplit(one).netloc) for one in known}
        names = _OWN_NAMES | {host.lower()} | sites
    return HostCheck(names, known)


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path not in {"", "/"}:
        raise ConfigError(
            f"{text!r} is no origin",
            where="--allow-origin",
            fix="--allow-origin https://shop.example",
        )
    return f"{parts.scheme}://{parts.netloc}".lower()


def _without_port(host: str) -> str:
    name, colon, port = host.lower().rpartition(":")
    return name if colon and (port.isdigit() or not port) else host.lower()
