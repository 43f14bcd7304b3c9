"""Debian packages, made by hand."""

from __future__ import annotations

import io
import tarfile


def ar_archive(members: dict[str, bytes]) -> bytes:
    """An ar archive of these members."""
    parts = [b"!<arch>\n"]
    for name, data in members.items():
        head = f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n"
        parts += [head.encode(), data, b"\n" * (len(data) % 2)]
    return b"".join(parts)


def tar_xz(files: dict[str, bytes]) -> bytes:
    """A tar archive of these files, packed by xz."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:xz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()
