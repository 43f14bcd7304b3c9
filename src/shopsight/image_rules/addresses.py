"""The form of an image's address: what a marketplace cannot read, and what makes a copy smaller."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

# Sizes in pixels before the suffix, of Shopify and WordPress: shirt_200x.jpg, shirt-300x200.jpg.
# Numbers of two digits are centimeters elsewhere: poster-50x70.jpg.
_SIZE_IN_NAME = re.compile(
    r"([_-](?:\d{3,4}x\d{3,4}|\d{3,4}x|x\d{3,4})(?:_crop_[a-z]+)?(?:@[23]x)?)"
    r"(?:\.progressive)?\.[a-z]{3,4}$",
    re.IGNORECASE,
)
# Shopify alone: shirt_grande.jpg, shirt_50x.jpg
_SHOPIFY_SIZE = re.compile(
    r"(_(?:pico|icon|thumb|small|compact|medium|large|grande|\d{1,4}x\d{0,4}|x\d{1,4}))"
    r"\.[a-z]{3,4}$",
    re.IGNORECASE,
)
_SHOPIFY = re.compile(r"^cdn\.shopify\.com/|/cdn/shop/")
# Cloudinary and its like: /w_200,h_200,c_fill/shirt.jpg, /fit-in/200x200/shirt.jpg
_SIZE_IN_PATH = re.compile(
    r"/((?:[a-z]{1,2}_[a-z0-9.:]+,)*[wh]_\d{1,4}(?:,[a-z]{1,2}_[a-z0-9.:]+)*"
    r"|fit-in/\d{1,4}x\d{1,4}|\d{3,4}x\d{3,4})/",
    re.IGNORECASE,
)
# Magento: /cache/<hash>/
_MAGENTO_CACHE = re.compile(r"/(cache/[0-9a-f]{32})/", re.IGNORECASE)
_SIZE_PARAMETERS = frozenset(
    {"width", "height", "w", "h", "wid", "hei", "sw", "sh", "imwidth", "maxwidth", "resize"}
)
_SIZE_VALUE = re.compile(r"\d{1,4}(?:[x,]\d{1,4})?")


def address_fault(address: str) -> str | None:
    """What of an address a marketplace cannot read; None where all is well.

    Args:
        address: an http or https address.

    >>> address_fault("https://shop.example/a b.jpg")
    'a blank'
    """
    odd = next((character for character in address if not character.isascii()), None)
    if odd is not None:
        return f"{odd!r}, not ASCII"
    if any(character.isspace() or not character.isprintable() for character in address):
        return "a blank"
    if "," in address:
        return "a comma"
    return None


def shrunk_by(address: str) -> str | None:
    """What in an address asks its host for a smaller copy; None where it names the original.

    >>> shrunk_by("https://cdn.shopify.com/s/files/1/shirt_200x.jpg?v=17")
    '_200x'
    >>> shrunk_by("https://shop.example/shirt.jpg?v=1&width=400")
    'width=400'
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    for name, value in parse_qsl(parts.query):
        if name.lower() in _SIZE_PARAMETERS and _SIZE_VALUE.fullmatch(value):
            return f"{name}={value}"
    patterns = [_SIZE_IN_NAME, _SIZE_IN_PATH, _MAGENTO_CACHE]
    if _SHOPIFY.search(parts.netloc.lower() + parts.path):
        patterns.append(_SHOPIFY_SIZE)
    found = (pattern.search(parts.path) for pattern in patterns)
    return next((match[1] for match in found if match is not None), None)
