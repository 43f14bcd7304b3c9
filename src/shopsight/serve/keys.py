"""Keys of clients: from a file or the environment, never from the command line, where all read it.

The read key opens every route that answers; the write key also those that change the index or the
model. Keys are compared in constant time, as bytes.
"""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass
from pathlib import Path

from shopsight.errors import ConfigError

READ_VARIABLE, WRITE_VARIABLE = "SHOPSIGHT_READ_KEY", "SHOPSIGHT_WRITE_KEY"
SHORTEST_KEY, LONGEST_KEY = 16, 4096
_BEARER = "bearer "
_EXAMPLE = 'python -c "import secrets; print(secrets.token_urlsafe(32))" > FILE'


@dataclass(frozen=True)
class Keys:
    """The service's keys.

    Attributes:
        read: None lets everybody read.
        write: None lets nobody write.
    """

    read: bytes | None = None
    write: bytes | None = None

    def may_read(self, authorization: str) -> bool:
        """Whether a request with this header may read; who may write may read."""
        return self.read is None or _is_one_of(authorization, (self.read, self.write))

    def may_write(self, authorization: str) -> bool:
        """Whether a request with this header may write."""
        return _is_one_of(authorization, (self.write,))


def read_keys(read_file: Path | None, write_file: Path | None) -> Keys:
    """Read both keys, each from its file or else from its variable of the environment.

    Raises:
        ConfigError: A file cannot be read, or what it holds is no key.
    """
    return Keys(
        read=_key(read_file, READ_VARIABLE, "--read-key-file"),
        write=_key(write_file, WRITE_VARIABLE, "--write-key-file"),
    )


def _is_one_of(authorization: str, keys: tuple[bytes | None, ...]) -> bool:
    if not authorization.lower().startswith(_BEARER):
        return False
    # Headers are bytes, which were decoded as this.
    given = authorization[len(_BEARER) :].strip().encode("latin-1", "replace")
    # All are compared, so that the time does not say which one it was like.
    found = [key is not None and hmac.compare_digest(given, key) for key in keys]
    return any(found)


def _key(file: Path | None, variable: str, flag: str) -> bytes | None:
    if file is None:
        text = os.environ.get(variable)
        return None if text is None else _checked(text.encode("utf-8", "surrogateescape"), variable)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"the key's file cannot be read: {error.strerror or error}",
            where=f"{flag} {file}",
            fix=_EXAMPLE,
        ) from error
    return _checked(data, f"{flag} {file}")


def _checked(data: bytes, where: str) -> bytes:
    key = data.removeprefix(b"\xef\xbb\xbf").strip()
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY or len(key.split()) != 1:
        raise ConfigError(
            f"a key is one word of {SHORTEST_KEY} to {LONGEST_KEY:,} bytes; here are {len(key)}",
            where=where,
            fix=_EXAMPLE,
        )
    return key
