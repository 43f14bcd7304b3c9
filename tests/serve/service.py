"""A service of a real bundle in a process of its own, and clients that ask it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

LONGEST_S = 240.0
BOUNDARY = "a-boundary-of-the-tests"
WRITE = "a-key-to-write-with"


@dataclass
class Answer:
    """What the service said.

    Attributes:
        status: of HTTP.
        headers: with names in lower case.
        body: its bytes.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def error(self) -> str:
        return str(self.json()["error"]["what"])


@dataclass
class Service:
    """A running `shopsight serve`.

    Attributes:
        process: of the command.
        port: on 127.0.0.1.
        lines: what it wrote, so far.
    """

    process: subprocess.Popen[str]
    port: int = 0
    lines: list[str] = field(default_factory=list)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONGEST_S)
        try:
            connection.request(method, path, body, dict(headers or {}))
            found = connection.getresponse()
            names = {name.lower(): value for name, value in found.getheaders()}
            return Answer(found.status, names, found.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers=headers)

    def post_files(self, path: str, files: Sequence[bytes], **headers: str) -> Answer:
        """A form with a field `file` for each."""
        body, kind = form([("file", data) for data in files])
        return self.ask("POST", path, body, {"Content-Type": kind} | headers)

    def post_image(self, path: str, data: bytes, kind: str = "image/jpeg") -> Answer:
        """The bytes of an image as the body."""
        return self.ask("POST", path, data, {"Content-Type": kind})

    def connect(self) -> socket.socket:
        """A connection for what no library sends."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=LONGEST_S)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """Stop it as a container engine does; gives its exit code."""
        self.process.terminate()
        return self.process.wait(LONGEST_S)

    def wait_for(self, text: str) -> None:
        """Wait until a line holds a text."""
        ends = time.monotonic() + LONGEST_S
        while not any(text in line for line in self.lines):
            assert time.monotonic() < ends, self.lines
            assert self.process.poll() is None or any(text in one for one in self.lines), self.lines
            time.sleep(0.02)


def form(fields: Sequence[tuple[str, bytes | str]]) -> tuple[bytes, str]:
    """A form's body and its content type; bytes are files."""
    parts = []
    for name, value in fields:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
        if isinstance(value, bytes):
            head += '; filename="secret-name.jpg"\r\nContent-Type: image/jpeg'
        data = value if isinstance(value, bytes) else value.encode()
        parts.append(f"{head}\r\n\r\n".encode() + data + b"\r\n")
    body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
    return body, f"multipart/form-data; boundary={BOUNDARY}"


@contextmanager
def serving(
    model: Path | str, *flags: str, environment: Mapping[str, str] | None = None
) -> Iterator[Service]:
    """A service on a free port, for as long as the block lasts."""
    command = [sys.executable, "-m", "shopsight", "serve", str(model), "--port", "0", *flags]
    with _running(command, environment or {}) as service:
        yield service


@contextmanager
def serving_within(model: Path | str, **limits: float) -> Iterator[Service]:
    """A service with other limits."""
    script = str(Path(__file__).with_name("limited_service.py"))
    with _running([sys.executable, script, str(model), json.dumps(limits)], {}) as service:
        yield service


@contextmanager
def _running(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Service]:
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=os.environ | {"OMP_NUM_THREADS": "1"} | dict(environment),
    )
    service = Service(process)
    assert process.stderr is not None
    reader = threading.Thread(target=_read_lines, args=(process.stderr, service.lines))
    reader.start()
    try:
        service.wait_for("serving at ")
        (line,) = [line for line in service.lines if "serving at " in line]
        found = re.search(r":(\d+) ", line)
        assert found, line
        service.port = int(found[1])
        yield service
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(LONGEST_S)
        reader.join(LONGEST_S)
        process.stderr.close()


HANGUP = getattr(signal, "SIGHUP", 0)


def _read_lines(stream: IO[str], lines: list[str]) -> None:
    for line in stream:
        lines.append(line)
