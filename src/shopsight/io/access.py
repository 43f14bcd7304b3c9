"""What may be read on the word of a table, a link, a server or a run, which others wrote.

What the user typed may be read. What a table's cells, links in a folder and redirects name may lead
to the files of the data and to any public web server. More needs a flag: a host in a private
network (this machine, the office, a cloud's metadata service) would be asked on the reader's
behalf, an object store with the reader's credentials, and a file outside the data is one that its
author has no business with. A run is asked for nothing remote without a flag.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from shopsight.io.addresses import endpoint, host_of, protocol_of
from shopsight.io.confinement import real_root

_WEB = ("http", "https")


@dataclass(frozen=True)
class Access:
    """What may be read; `PUBLIC` is for what the user or the caller named.

    Attributes:
        private: any host in a private network.
        hosts: these web servers, private ones too, as `endpoint` gives them: those that the user
            typed.
        web: public web servers.
        remote: object stores of any protocol, and web servers as well.
        stores: these object stores, as `host_of` gives them: those that the user typed.
        roots: local files are read below these folders alone, all of whose links are followed
            (`confinement.real_root`); None: all files.
    """

    private: bool = False
    hosts: frozenset[tuple[str, int]] = frozenset()
    web: bool = True
    remote: bool = False
    stores: frozenset[str] = frozenset()
    roots: tuple[str, ...] | None = None

    def allows(self, host: str, port: int) -> bool:
        """Whether the host may be asked although it is in a private network."""
        return self.private or (host, port) in self.hosts

    def allows_web(self, end: tuple[str, int] | None) -> bool:
        """Whether this web server, as `endpoint` gives it, may be asked if it is public."""
        return self.web or self.remote or end in self.hosts

    def allows_url(self, address: str) -> bool:
        """Whether this address of a public web server, or of an object store, may be read."""
        if protocol_of(address) in _WEB:
            return self.allows_web(endpoint(address))
        return self.allows_store(address)

    def allows_store(self, address: str) -> bool:
        """Whether this address of an object store may be read."""
        return self.remote or host_of(address) in self.stores

    def typed(self, *locations: object) -> Access:
        """The access with the servers and stores of these addresses, which the user typed.

        Paths add none.
        """
        hosts, stores = set(self.hosts), set(self.stores)
        for location in map(str, locations):
            place = host_of(location)
            if protocol_of(location) not in _WEB:
                stores |= set() if place is None else {place}
            elif (end := endpoint(location)) is not None:
                hosts.add(end)
        return replace(self, hosts=frozenset(hosts), stores=frozenset(stores))

    def within(self, *folders: str) -> Access:
        """The access with the files below more folders, links in their paths followed."""
        if self.roots is None:
            return self
        return replace(self, roots=tuple(dict.fromkeys([*self.roots, *map(real_root, folders)])))

    def joined(self, *others: Access) -> Access:
        """What this or one of the others may read."""
        each = (self, *others)
        confined = [one.roots for one in each if one.roots is not None]
        roots = tuple(dict.fromkeys(root for roots in confined for root in roots))
        return Access(
            private=any(one.private for one in each),
            hosts=frozenset().union(*(one.hosts for one in each)),
            web=any(one.web for one in each),
            remote=any(one.remote for one in each),
            stores=frozenset().union(*(one.stores for one in each)),
            roots=roots if len(confined) == len(each) else None,
        )

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {
            "private": self.private,
            "hosts": sorted(self.hosts),
            "web": self.web,
            "remote": self.remote,
            "stores": sorted(self.stores),
            "roots": None if self.roots is None else list(self.roots),
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any] | None) -> Access:
        """The access that `to_json` wrote; public hosts only where nothing was kept."""
        if kept is None:
            return cls()
        roots = kept.get("roots")
        return cls(
            private=bool(kept["private"]),
            hosts=frozenset((str(host), int(port)) for host, port in kept["hosts"]),
            web=bool(kept.get("web", True)),
            remote=bool(kept.get("remote", False)),
            stores=frozenset(map(str, kept.get("stores", ()))),
            roots=None if roots is None else tuple(map(str, roots)),
        )


PUBLIC = Access()
"""Any local file, any public web server."""
