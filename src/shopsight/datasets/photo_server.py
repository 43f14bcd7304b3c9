"""A folder of photos at an address of this machine, for as long as a block lasts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

LOOPBACK = "127.0.0.1"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nothing: each photo would be a line."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # The default of five would refuse what is asked for at once.
    request_queue_size = 64


@contextmanager
def served_photos(folder: Path) -> Iterator[str]:
    """Serve the files of a folder to this machine alone; gives the address.

    Args:
        folder: need not exist yet.
    """
    handler = partial(_Quiet, directory=str(folder))
    with _Server((LOOPBACK, 0), handler) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
