"""How it begins and how it ends: bad places, signals, reloads, requests that are under way."""

from __future__ import annotations

import http.client
import io
import shutil
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from shopsight.cli.app import app
from shopsight.errors import BundleError, ConfigError, ShopsightError
from shopsight.serve import server
from shopsight.serve.host_check import host_check
from shopsight.serve.keys import Keys
from shopsight.serve.served_model import ServedModel
from shopsight.text import human_bytes
from tests.serve.service import HANGUP, LONGEST_S, serving, serving_within

pytestmark = pytest.mark.enable_socket  # the service is on this machine


def _refusal(*arguments: str) -> ShopsightError:
    result = CliRunner().invoke(app, ["serve", *arguments])
    assert isinstance(result.exception, ShopsightError), result.output
    return result.exception


def test_a_port_in_use(tiny_run: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        error = _refusal(str(tiny_run), "--port", port)
    assert isinstance(error, ConfigError)
    assert f"--port {port}" in str(error)
    assert "name another port" in str(error)


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        (("--host", "0.0.0.0"), "no read key keeps them out"),
        (("--host", "no.such.host.invalid"), "no such address"),
        (("--host", "203.0.113.7", "--open"), "cannot listen there"),
        (("--port", "99999"), "a port is at most 65535"),
        (("--read-key-file", "nothing.key"), "cannot be read"),
        (("--allow-origin", "shop"), "is no origin"),
    ],
)
def test_what_cannot_be_served(tiny_run: Path, flags: tuple[str, ...], what: str) -> None:
    open_too = ("--open",) if "no such" in what else ()
    assert what in str(_refusal(str(tiny_run), *flags, *open_too))


def test_no_model(tmp_path: Path) -> None:
    assert isinstance(_refusal(str(tmp_path)), BundleError)


@pytest.mark.posix("Windows has no SIGTERM: a process is killed")
def test_a_stop_answers_what_is_under_way(tiny_run: Path, photo: bytes) -> None:
    """Clients that keep their connections ask on while it stops: not one request is lost."""
    lost, answered = list[str](), list[int]()
    with serving(tiny_run) as service:
        stopped = threading.Event()

        def ask() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=LONGEST_S)
            while True:
                try:
                    connection.connect()
                except ConnectionRefusedError:
                    return  # Nobody took it: another replica would.
                while connection.sock is not None:
                    try:
                        connection.request(
                            "POST", "/v1/predict", photo, {"Content-Type": "image/jpeg"}
                        )
                        found = connection.getresponse()
                        found.read()
                        answered.append(found.status)
                    except OSError as error:
                        lost.append(repr(error))
                        connection.close()
                    except http.client.HTTPException as error:
                        lost.append(repr(error))
                        connection.close()

        clients = [threading.Thread(target=ask) for _ in range(8)]
        for client in clients:
            client.start()
        time.sleep(1.0)
        service.process.terminate()
        time.sleep(0.3)
        assert service.get("/readyz").status == 503
        assert service.process.wait(LONGEST_S) == 0
        stopped.set()
        for client in clients:
            client.join(LONGEST_S)
    assert lost == []
    assert set(answered) <= {200, 429}
    assert answered.count(200) > 20
    assert "stopped\n" in service.lines


@pytest.mark.posix("Windows has no SIGTERM: a process is killed")
def test_a_second_signal_stops_at_once(tiny_run: Path) -> None:
    with serving(tiny_run) as service:
        held = service.connect()
        held.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
        service.signal(signal.SIGTERM)
        service.wait_for("stopping")
        service.signal(signal.SIGTERM)
        started = time.monotonic()
        service.process.wait(LONGEST_S)
        # Without it, it would wait for the body as long as `Limits.stop_seconds` says: 20 s.
        assert time.monotonic() - started < 15
        held.close()


@pytest.mark.posix("Windows has no SIGHUP")
def test_a_hangup_loads_the_model_anew(own_run: Path, tiny_folds_run: Path, photo: bytes) -> None:
    with serving(own_run) as service:
        first = service.get("/v1/models").json()["model"]["hash"]
        # A folder that is no model any more: the old one goes on.
        weights = own_run / "model" / "model.safetensors"
        whole = weights.read_bytes()
        weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        service.signal(HANGUP)
        service.wait_for("the model that was there goes on")
        assert service.get("/v1/models").json()["model"]["hash"] == first
        assert service.post_files("/v1/predict", [photo]).status == 200
        shutil.rmtree(own_run / "model")
        shutil.copytree(tiny_folds_run / "model", own_run / "model")
        service.signal(HANGUP)
        service.wait_for("answers, ")
        second = service.get("/v1/models").json()["model"]["hash"]
        assert second != first
        assert service.post_files("/v1/predict", [photo]).status == 200
        assert str(own_run) not in "".join(service.lines)
        assert service.stop() == 0


def test_a_folder_that_is_replaced_is_loaded_anew(
    own_run: Path, tiny_folds_run: Path, photo: bytes
) -> None:
    with serving(own_run) as service:
        first = service.get("/v1/models").json()["model"]["hash"]
        shutil.rmtree(own_run / "model")
        shutil.copytree(tiny_folds_run / "model", own_run / "model")
        service.wait_for("answers, ")
        second = service.get("/v1/models").json()["model"]["hash"]
        assert second != first
        # Another one that does not work is said once, and the old one goes on.
        golden = own_run / "model" / "golden.npz"
        golden.write_bytes(golden.read_bytes()[:-100])
        info = own_run / "model" / "model.json"
        info.write_text(info.read_text("utf-8") + "\n", encoding="utf-8")
        service.wait_for("the model that was there goes on")
        assert service.get("/v1/models").json()["model"]["hash"] == second
        assert service.post_files("/v1/predict", [photo]).status == 200
        assert service.stop() == 0


@pytest.mark.posix("consoles of Windows send no Ctrl-C to one process")
def test_ctrl_c_stops(tiny_run: Path) -> None:
    with serving(tiny_run) as service:
        service.signal(signal.SIGINT)
        assert service.process.wait(LONGEST_S) == 0


def test_too_little_memory_is_said(
    tiny_run: Path, photo: bytes, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setattr(server, "memory_budget_bytes", lambda: 50_000_000)

    def load() -> ServedModel:
        raise BundleError("far enough")

    place = server.Place("127.0.0.1", 0, Keys(), host_check("127.0.0.1", ()))
    with pytest.raises(BundleError, match="far enough"):
        server.run_service(place, load)
    assert any(f"more than {human_bytes(50_000_000)} to decode are refused" in one for one in said)
    file = io.BytesIO()
    Image.new("RGB", (5000, 4900), (10, 90, 30)).save(file, "PNG")
    with serving_within(tiny_run, decode_bytes=50_000_000) as small:
        found = small.post_files("/v1/predict", [photo, file.getvalue(), photo]).json()
        reasons = [one["error"] and one["error"]["reason"] for one in found["predictions"]]
        assert reasons == [None, "too large", None]
