"""A web server on this machine that answers as a test tells it to."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from shopsight.io.connections import forget_hosts

Route = Callable[[BaseHTTPRequestHandler], None]


def reply(
    body: bytes = b"", *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Route:
    """An answer with its length, unless `headers` say another."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | dict(headers or {})).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def redirect(there: str, status: int = 302) -> Route:
    """A redirect with a short page."""
    return reply(b"<p>elsewhere</p>", status=status, headers={"Location": there})


def raw(data: bytes) -> Route:
    """Bytes as they are, and then the end of the connection."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(data)
        handler.close_connection = True

    return answer


def files_below(folder: Path) -> dict[str, Route | list[Route]]:
    """Routes to all files of a folder."""
    return {
        f"/{path.relative_to(folder).as_posix()}": reply(path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


@dataclass
class WebServer:
    """What is served, and what was asked for.

    Attributes:
        url: its address, without a slash at the end.
        routes: answers by path; of a list each request takes the next, and the last one stays.
            Any other path is not found.
        asked: path of each request, in order.
        headers: of the last request.
        connections: number of connections so far.
    """

    url: str
    routes: dict[str, Route | list[Route]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    connections: int = 0

    def route(self, path: str) -> Route:
        self.asked.append(path)
        found = self.routes.get(path, reply(b"not here", status=404))
        if not isinstance(found, list):
            return found
        return found.pop(0) if len(found) > 1 else found[0]


@contextmanager
def serving(certificate: Path | None = None) -> Iterator[WebServer]:
    """Serve until the block ends, with a certificate by https; then connections are closed."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            server.connections += 1

        def do_GET(self) -> None:
            server.headers = dict(self.headers)
            server.route(self.path)(self)

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
    scheme = "http" if certificate is None else "https"
    server = WebServer(f"{scheme}://127.0.0.1:{listening.server_port}")
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        forget_hosts()
        listening.shutdown()
        thread.join()
        listening.server_close()
