"""Secrets in addresses: names and passwords, and what a signed address is signed with.

A name and password are taken out of an address before it is kept anywhere. What a query holds stays
in the catalog, which cannot be read without; in messages it is masked.
"""

from __future__ import annotations

import re

_LOGIN = re.compile(r"(?<![\w+.-])([A-Za-z][\w+.-]*://)[^\s/?#\"'<>]+@")
_SECRET = re.compile(
    r"([?&;](?:[\w.-]*(?:signature|token|secret|passw(?:or)?d|credential|api[_-]?key|accesskeyid)"
    r"|sig|key|auth|pwd?)=)[^&#\s\"'<>]+",
    re.IGNORECASE,
)
LOGIN_PATTERN = r"([A-Za-z][A-Za-z0-9_+.-]*://)[^\s/?#\x22'<>]+@"
"""A name and password for a regular expression of polars; the first group is what stays."""


def without_logins(text: str) -> str:
    """Text whose addresses have no name and password.

    >>> without_logins("https://me:secret@host/a@b.jpg")
    'https://host/a@b.jpg'
    """
    return _LOGIN.sub(r"\1", text) if "@" in text else text


def masked(text: str) -> str:
    """Text for messages: addresses without name and password, and without secrets in their query.

    >>> masked("https://me:secret@host/a.jpg?w=80&sig=abc%3D&v=2")
    'https://host/a.jpg?w=80&sig=***&v=2'
    """
    return _SECRET.sub(r"\1***", without_logins(text)) if "://" in text else text
