"""A model whose folder is replaced is loaded anew.

Whoever trains or calibrates swaps a bundle's folder whole, so its files are others then. They are
looked at every other second; what is there is loaded once it has stayed the same from one look to
the next, as a folder that is being copied does not, and answers only if it loads and its golden
outputs are right. Otherwise the old model goes on, until the folder changes again.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from shopsight.bundle.format import INFO_FILE, WEIGHTS_FILE
from shopsight.bundle.read import bundle_folder
from shopsight.errors import ShopsightError
from shopsight.progress import notify
from shopsight.serve.refusals import RefusedError
from shopsight.serve.service import Service

EVERY_S = 2.0

Stamp = tuple[tuple[int, int, int], ...]


async def reload_when_replaced(service: Service, *, every_s: float = EVERY_S) -> None:
    """Look at the model's folder until the service stops."""
    model = service.model
    served = before = stamp(model.folder)
    while not service.draining:
        await asyncio.sleep(every_s)
        now = await asyncio.to_thread(stamp, model.folder)
        if service.model is not model:
            # A signal or a request was first.
            model, served = service.model, now
        elif now is not None and now == before and now != served:
            served = now
            try:
                model = await service.reload()
            except RefusedError as refused:
                notify(f"reload: {refused.what}")
        before = now


def stamp(folder: Path) -> Stamp | None:
    """What changes when a bundle is replaced; None while it is not there."""
    try:
        place = bundle_folder(folder)
        found = [(place / name).stat() for name in (INFO_FILE, WEIGHTS_FILE)]
    except (OSError, ShopsightError):
        return None
    return tuple((one.st_ino, one.st_mtime_ns, one.st_size) for one in found)
