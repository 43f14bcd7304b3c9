"""Addresses: which protocols are read, by whom, and how an address is shown."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit
from urllib.request import url2pathname

from shopsight.address_secrets import masked
from shopsight.errors import RemoteError
from shopsight.paths import is_url

Kind = Literal["file", "web", "store"]

KIND_OF_PROTOCOL: Mapping[str, Kind] = {
    "file": "file",
    **dict.fromkeys(("http", "https"), "web"),
    **dict.fromkeys(("s3", "gs", "gcs", "az", "abfs", "abfss"), "store"),
}
"""The protocols that are read, and who reads them."""

_PORTS = {"http": 80, "https": 443}
# A letter that is not ASCII, a blank or a quote becomes %XX; what is escaped already stays.
_PATH_SAFE = "/%:@!$&'()*+,;=~?"
# `zip://a.jpg::http://host/b.zip`, `simplecache::s3://bucket/a.jpg`; not `http://[::1]/a.jpg`.
_CHAINED = re.compile(r"^[\w+.-]+::|::[A-Za-z][\w+.-]*:/")
# Networks of IPv6 whose last 32 bits are an address of IPv4.
_HOLD_IPV4 = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96")))


def protocol_of(location: str) -> str | None:
    """`"HTTP://host/a.jpg"` -> `"http"`; None for a path."""
    return location.partition(":")[0].lower() if is_url(location) else None


def check_protocol(address: str) -> Kind:
    """Who reads this address.

    Raises:
        RemoteError: nobody: one address within another (`zip://a.jpg::http://host/b.zip`), or a
            protocol that is not in `KIND_OF_PROTOCOL`.
    """
    if _CHAINED.search(address):
        raise RemoteError(
            "bad address",
            "one address within another is not read",
            where=shown(address),
            fix="download the file, unpack it, and name what is in it",
        )
    protocol = protocol_of(address) or ""
    if protocol not in KIND_OF_PROTOCOL:
        raise RemoteError(
            "unknown protocol",
            f"{protocol}:// is no protocol that is read",
            where=shown(address),
            fix=f"copy the files to this machine, or use one of {', '.join(KIND_OF_PROTOCOL)}",
        )
    return KIND_OF_PROTOCOL[protocol]


def local_path(location: str) -> str:
    """The path of a `file://` address; anything else as it is.

    Raises:
        RemoteError: it names a file of another machine.
    """
    if protocol_of(location) != "file":
        return location
    host, slash, path = location.partition("://")[2].partition("/")
    if host.lower() not in {"", "localhost"} or path.startswith("/"):
        raise RemoteError(
            "bad address",
            "it names a file of another machine",
            where=location,
            fix="copy the file to this machine, and give its path",
        )
    return url2pathname(slash + path)


def web_parts(address: str) -> SplitResult:
    """The parts of an http address, its path escaped as servers expect it, without `.` and `..`.

    Raises:
        RemoteError: it cannot be taken apart.
    """
    try:
        parts = urlsplit(address.strip())
        host, _ = _host_and_port(parts)
    except ValueError as error:
        raise _bad(address, str(error)) from None
    if not host:
        raise _bad(address, "it names no host")
    path = _without_dots(quote(parts.path, safe=_PATH_SAFE.removesuffix("?")))
    return parts._replace(
        scheme=parts.scheme.lower(),
        path=path,
        query=quote(parts.query, safe=_PATH_SAFE),
        fragment="",
    )


def endpoint(address: str) -> tuple[str, int] | None:
    """Host, in lower case, and port of an http address; None where it names none."""
    try:
        host, port = _host_and_port(urlsplit(address.strip()))
    except ValueError:
        return None
    return (host, port) if host else None


def host_of(location: str) -> str | None:
    """What an address is counted under: `"host"`, `"host:8080"`, `"s3://bucket"`; None for a path.

    >>> host_of("http://127.0.0.1:1/a.jpg"), host_of("S3://bucket/a.jpg"), host_of("a.jpg")
    ('127.0.0.1:1', 's3://bucket', None)
    """
    protocol = protocol_of(location)
    if protocol is None or protocol == "file":
        return None
    rest = location.partition("://")[2]
    place = rest.partition("/")[0].rpartition("@")[2].lower()
    return place if protocol in _PORTS else f"{protocol}://{place}"


def shown(location: str) -> str:
    """The address without secrets, for messages and reports."""
    return masked(location)


def joined(parts: SplitResult) -> str:
    """The address of these parts."""
    return urlunsplit(parts)


def is_private(ip: str) -> bool:
    """Whether an IP address is one that only some machines reach, in any spelling of IPv6.

    >>> [is_private(ip) for ip in ("127.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "8.8.8.8")]
    [True, True, True, False]
    """
    address = ipaddress.ip_address(ip.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address.teredo is not None:
            inner = address.teredo[1]
        if inner is None and any(address in network for network in _HOLD_IPV4):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_private(str(inner))
    is_of_site = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
    return not address.is_global or address.is_multicast or is_of_site


def _host_and_port(parts: SplitResult) -> tuple[str, int]:
    host = (parts.hostname or "").rstrip(".")
    # Names that are too long are an error too; also a UnicodeError is a ValueError.
    host = host.encode("idna").decode()
    return host, parts.port or _PORTS.get(parts.scheme.lower(), 0)


def _without_dots(path: str) -> str:
    """The path as browsers ask for it, by RFC 3986: `/data/../a.jpg` is `/a.jpg`."""
    kept = list[str]()
    parts = path.split("/")[1:]
    for part in parts:
        if part == "..":
            kept = kept[:-1]
        elif part != ".":
            kept.append(part)
    ends_in_folder = bool(parts) and parts[-1] in {".", ".."}
    return "/" + "/".join(kept) + ("/" if ends_in_folder and kept else "")


def _bad(address: str, why: str) -> RemoteError:
    return RemoteError("bad address", f"not an address: {why}", where=shown(address))
