"""Why an address could not be read, in a word, and what that means for a host and its images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from shopsight.io.addresses import host_of

REASONS: Mapping[str, str] = {
    "missing": "lacks",
    "forbidden": "forbids",
    "refused": "refused",
    "timed out": "did not answer in time for",
    "no such host": "was not found for",
    "not trusted": "has no trusted certificate for",
    "interrupted": "broke off",
    "too many requests": "turned away, as too many requests,",
    "server error": "failed on",
    "bad answer": "gave no usable answer for",
    "given up": "failed too often and was not asked for",
    "private": "is in a private network (--allow-private) and was not asked for",
    "not allowed": "is not asked without --allow-remote for",
    "too large": "sent too much for",
    "bad address": "cannot be addressed for",
    "unknown protocol": "has an unknown protocol for",
    "no driver": "needs a driver that is not installed for",
}
"""Each reason of a `RemoteError`, and what is said of a host: "host H refused 24 of 24"."""


_TEXTS = {"start": pl.String, "reason": pl.String}
# `https://host:8080` of an address, all that `host_of` looks at.
_UP_TO_HOST = "^([^/]+://[^/]*)"


@dataclass
class HostCount:
    """What a host was asked for, and what it did not give.

    Attributes:
        host: its name, with the port where one was given; of a store, with the bucket.
        asked: number of files.
        failed: number of those that were not given, by reason.
    """

    host: str
    asked: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    @property
    def line(self) -> str:
        """Both in a sentence: `host 127.0.0.1:1 refused 24 of 24`."""
        parts = (
            f"{REASONS[reason]} {count:,} of {self.asked:,}"
            for reason, count in self.failed.most_common()
        )
        return f"host {self.host} {', '.join(parts)}"


def count_by_host(refs: Sequence[str], reasons: Sequence[str] | pl.Series) -> list[HostCount]:
    """What each host gave and did not give, in the order of the hosts; paths are passed over.

    >>> [one.line for one in count_by_host(["http://a.b/1", "http://a.b/2"], ["refused", ""])]
    ['host a.b refused 1 of 2']

    Args:
        refs: addresses and paths.
        reasons: why each was not given; empty, or none of `REASONS`, where it was.
    """
    asked = pl.DataFrame({"start": refs, "reason": reasons}, schema=_TEXTS)
    starts = pl.col("start").str.extract(_UP_TO_HOST)
    counts = asked.group_by(starts, "reason", maintain_order=True).len().drop_nulls("start")
    hosts: dict[str, HostCount] = {}
    for start, reason, images in counts.iter_rows():
        host = host_of(start)
        if host is not None:
            count = hosts.setdefault(host, HostCount(host))
            count.asked += images
            if reason in REASONS:
                count.failed[reason] += images
    return list(hosts.values())
