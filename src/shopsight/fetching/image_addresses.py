"""Addresses of a shop's images: which of them are one image, and what is asked for it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult

from shopsight.images.kinds import has_image_suffix
from shopsight.io.addresses import endpoint, joined, web_parts

SIZED_HOSTS = frozenset({"cdn.shopify.com"})
"""Servers that make an image smaller when its address says `width=`, and never larger."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_VERSION, _WIDTH = "v", "width"


@dataclass(frozen=True, slots=True)
class ImageAddress:
    """An address of a table, as it is compared and as it is asked.

    Attributes:
        canonical: what is one image has one: scheme and host in lower case, the path escaped,
            without the version.
        version: the value of `v=`, which a shop changes with the image; empty without one.
        asked: what the server is asked for.
    """

    canonical: str
    version: str
    asked: str


def image_address(address: str) -> ImageAddress:
    """Read an address.

    `v=` is a version only behind the name of an image file: in `photo.php?v=17` it may well be what
    tells one image from another.

    >>> image_address("HTTPS://CDN.Shop.example/a b.jpg?v=17&crop=1").canonical
    'https://cdn.shop.example/a%20b.jpg?crop=1'
    >>> image_address("https://shop.example/photo.php?v=17").version
    ''

    Raises:
        RemoteError: it is none.
    """
    parts = web_parts(address)
    host, port = endpoint(address) or ("", 0)
    # An address of IPv6 stands in brackets.
    host = f"[{host}]" if ":" in host else host
    netloc = host if port == _DEFAULT_PORTS.get(parts.scheme) else f"{host}:{port}"
    others, versions = parts.query, list[str]()
    if has_image_suffix(parts.path):
        pairs = parts.query.split("&") if parts.query else []
        versions = [pair for pair in pairs if pair.partition("=")[0] == _VERSION]
        others = "&".join(pair for pair in pairs if pair not in versions)
    canonical = joined(parts._replace(netloc=netloc, query=others))
    version = versions[-1].partition("=")[2] if versions else ""
    return ImageAddress(canonical, version, joined(parts))


def newest(addresses: list[ImageAddress]) -> ImageAddress:
    """Of addresses of one image the one of the highest version; the first where that says nothing.

    Shopify's versions are seconds since 1970.
    """

    def rank(address: ImageAddress) -> int:
        # Also a raised 2 is a digit.
        is_number = address.version.isascii() and address.version.isdigit()
        return int(address.version) if is_number and len(address.version) < 20 else -1

    return max(addresses, key=rank)


def at_width(asked: str, width_px: int) -> str | None:
    """The address of the image at this width; None where its server does not make it smaller.

    >>> at_width("https://cdn.shopify.com/s/a.jpg?v=1&width=80", 1600)
    'https://cdn.shopify.com/s/a.jpg?v=1&width=1600'
    """
    parts: SplitResult = web_parts(asked)
    if (endpoint(asked) or ("", 0))[0] not in SIZED_HOSTS:
        return None
    pairs = parts.query.split("&") if parts.query else []
    kept = [pair for pair in pairs if pair.partition("=")[0] != _WIDTH]
    return joined(parts._replace(query="&".join([*kept, f"{_WIDTH}={width_px}"])))
