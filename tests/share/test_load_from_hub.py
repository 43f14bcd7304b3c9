from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import constants, get_session

import shopsight
from shopsight import api
from shopsight.bundle.hub_bundle import hub_bundle
from shopsight.bundle.read import bundle_folder, read_bundle
from shopsight.cache_place import cache_folder, use_cache_dir
from shopsight.errors import BundleError, ConfigError, ExtraMissingError, HubError, WriteError
from shopsight.io import hub as hub_door
from shopsight.io.hub import parse_hub_name
from shopsight.progress import use_listener
from tests.helpers import ProductPhotos, Recorder
from tests.hub_server import HubServer, hub_serving

pytestmark = pytest.mark.enable_socket  # the Hub is on this machine
SHOES = "shop/shoes"


def kept(owner: str = "shop") -> list[str]:
    """What is in the cache of an owner, but for locks."""
    folder = cache_folder() / "hub" / owner
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return [name for name in found if not name.endswith(".lock")]


def truncated(content: bytes) -> Any:
    """An answer that promises more than it gives, and ends the connection."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[: len(content) // 2])
        handler.close_connection = True

    return answer


def whole(content: bytes, status: int = 200, location: str | None = None) -> Any:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        if location is not None:
            handler.send_header("Location", location)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


@pytest.mark.parametrize(
    ("text", "repo", "revision"),
    [
        ("hf:shop/shoes", "shop/shoes", None),
        ("hf:shop/shoes@main", "shop/shoes", "main"),
        ("hf:shop/shoes@refs/pr/1", "shop/shoes", "refs/pr/1"),
        # As `Path` writes it on Windows.
        ("hf:shop\\shoes@v1.0", "shop/shoes", "v1.0"),
    ],
)
def test_names_of_repositories(text: str, repo: str, revision: str | None) -> None:
    name = parse_hub_name(text)
    assert (name.repo, name.revision) == (repo, revision)


@pytest.mark.parametrize(
    "text",
    [
        *("hf:", "hf:shoes", "hf:a/b/c", "hf://shop/shoes", "hf:shop/../shoes", "hf:shop/shoes@"),
        *("hf:shop/shoes@../x", "hf:/shop", "hf:shop/sh oes", "hf:shop/shoes?x=1", "hf:-a/b"),
    ],
)
def test_what_names_no_repository_is_refused_before_anything_is_asked(text: str) -> None:
    with pytest.raises(HubError, match="hf:OWNER/NAME"):
        shopsight.load(text)


def test_a_bundle_is_downloaded_once_and_predicts_as_it_did(
    hub: HubServer, bundle_files: dict[str, bytes], tiny_run: Path, product_photos: ProductPhotos
) -> None:
    commit = hub.publish(SHOES, bundle_files)
    recorder = Recorder()
    with use_listener(recorder):
        model = shopsight.load("hf:shop/shoes")
    photos = sorted(product_photos.folder.rglob("*.jpg"))[:6]
    expected = list(shopsight.load(tiny_run, precision="32").predict(photos))
    answers = list(shopsight.load(f"hf:shop/shoes@{commit}", precision="32").predict(photos))
    assert [one.labels for one in answers] == [one.labels for one in expected]
    assert [one.probabilities for one in answers] == [one.probabilities for one in expected]
    assert model.labels == ("dress", "hat", "shoe")
    # What the branch was is said and kept.
    assert any(f"hf:shop/shoes@{commit}" in line for line in recorder.lines)
    assert json.loads((cache_folder() / "hub/shop/shoes.json").read_text(encoding="utf-8")) == {
        "": commit
    }
    assert [one for one in hub.asked if "model.safetensors" in one] == [
        f"GET /shop/shoes/resolve/{commit}/model.safetensors"
    ]
    assert kept() == ["shoes.json", f"shoes@{commit}"]


def test_a_commit_that_is_kept_needs_neither_network_nor_client(
    hub: HubServer, bundle_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hub.publish(SHOES, bundle_files)
    first = bundle_folder(f"hf:shop/shoes@{commit}")
    hub.asked.clear()
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    # As another process would: nothing is remembered but on the disk.
    again = hub_bundle(parse_hub_name(f"hf:shop/shoes@{commit}"), check=lambda _: None)
    assert again == first
    assert hub.asked == []


def test_without_a_network_the_commit_that_a_branch_was_is_taken(
    hub: HubServer, bundle_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = hub.publish(SHOES, bundle_files)
    first = bundle_folder("hf:shop/shoes@main")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.asked.clear()
    recorder = Recorder()
    with use_listener(recorder):
        again = hub_bundle(parse_hub_name("hf:shop/shoes@main"), check=lambda _: None)
    assert again == first
    assert hub.asked == []
    assert any(commit in line for line in recorder.lines)
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        bundle_folder("hf:shop/hats")


def test_a_branch_that_moved_is_the_new_commit(
    hub: HubServer, bundle_files: dict[str, bytes]
) -> None:
    first = hub.publish(SHOES, bundle_files)
    assert bundle_folder("hf:shop/shoes").name == f"shoes@{first}"
    second = hub.publish(SHOES, bundle_files | {"README.md": b"new"})
    # In one process a branch stays what it was.
    assert bundle_folder("hf:shop/shoes").name == f"shoes@{first}"
    found = hub_bundle(parse_hub_name("hf:shop/shoes"), check=lambda _: None)
    assert found.name == f"shoes@{second}"
    assert kept() == ["shoes.json", *sorted([f"shoes@{first}", f"shoes@{second}"])]


def test_a_private_repository_needs_the_token(
    hub: HubServer, bundle_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.publish(SHOES, bundle_files, private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    with pytest.raises(HubError, match="HF_TOKEN") as caught:
        shopsight.load("hf:shop/shoes")
    assert caught.value.status == 401
    assert "hf_of_nobody" not in str(caught.value)
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_owner")
    assert shopsight.load("hf:shop/shoes").labels


@pytest.mark.parametrize(
    ("status", "says"),
    [(403, "refuses it to you"), (429, "too often"), (500, "status 500"), (404, "no such")],
)
def test_what_the_hub_answers_is_said(hub: HubServer, status: int, says: str) -> None:
    hub.instead["/api/models/shop/shoes"] = whole(b'{"error": "no"}', status)
    with pytest.raises(HubError, match=says) as caught:
        shopsight.load("hf:shop/shoes")
    assert caught.value.status == status
    assert caught.value.fix


def test_a_repository_or_revision_that_is_not_there(
    hub: HubServer, bundle_files: dict[str, bytes]
) -> None:
    hub.publish(SHOES, bundle_files)
    with pytest.raises(HubError, match="there is no such repository"):
        shopsight.load("hf:shop/hats")
    with pytest.raises(HubError, match="there is no revision v9"):
        shopsight.load("hf:shop/shoes@v9")
    assert kept() == []


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with hub_serving() as gone:
        pass
    monkeypatch.setattr(constants, "ENDPOINT", gone.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with use_cache_dir(tmp_path / "cache"), pytest.raises(HubError, match="cannot be reached"):
        shopsight.load("hf:shop/shoes")


def test_a_hub_that_stays_silent_is_given_up(
    hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_door, "PATIENCE_S", 0.2)

    def silent(handler: BaseHTTPRequestHandler) -> None:
        # The client hangs up meanwhile.
        handler.connection.settimeout(5)
        handler.rfile.read(1)
        handler.close_connection = True

    hub.instead["/api/models/shop/shoes"] = silent
    with pytest.raises(HubError, match="does not answer"):
        shopsight.load("hf:shop/shoes")


def test_without_the_client_its_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with (
        use_cache_dir(tmp_path),
        pytest.raises(ExtraMissingError, match=r'pip install "shopsight\[hub\]"'),
    ):
        shopsight.load("hf:shop/shoes")


def test_only_files_of_a_bundle_are_downloaded(
    hub: HubServer, bundle_files: dict[str, bytes]
) -> None:
    others = {"weights.pkl": b"\x80", "modeling.py": b"import os", "photos/a.jpg": b"x"}
    others |= {".gitattributes": b"", "pytorch_model.bin": b"\x80", "sub/model.json": b"{}"}
    commit = hub.publish(SHOES, bundle_files | others)
    recorder = Recorder()
    with use_listener(recorder):
        folder = bundle_folder("hf:shop/shoes")
    assert {path.name for path in folder.iterdir()} == set(bundle_files)
    for name in others:
        assert f"GET /shop/shoes/resolve/{commit}/{name}" not in hub.asked
    assert any("weights.pkl" in line and "modeling.py" in line for line in recorder.lines)


@pytest.mark.parametrize(
    "name", ["../model.json", "a/../../x", "..\\x", "/etc/passwd", "C:/x", "a//b", "x\0"]
)
def test_a_name_that_leads_out_is_refused(
    hub: HubServer, bundle_files: dict[str, bytes], name: str
) -> None:
    hub.publish(SHOES, bundle_files)
    hub.repositories[SHOES].listed[name] = {}
    with pytest.raises(HubError, match="lead out of its folder"):
        shopsight.load("hf:shop/shoes")
    assert not [one for one in hub.asked if "resolve" in one]
    assert kept() == []


@pytest.mark.parametrize(
    ("file", "size"),
    [("model.json", 10**9), ("model.safetensors", 10**13), ("golden.npz", -1), ("README.md", None)],
)
def test_a_size_beyond_its_limit_is_refused_before_the_download(
    hub: HubServer, bundle_files: dict[str, bytes], file: str, size: int | None
) -> None:
    hub.publish(SHOES, bundle_files)
    hub.repositories[SHOES].listed[file] = {"size": size}
    with pytest.raises(HubError, match=f"{file} has"):
        shopsight.load("hf:shop/shoes")
    assert not [one for one in hub.asked if "resolve" in one]


def test_a_file_that_is_longer_than_it_is_listed_is_cut_off(
    hub: HubServer, bundle_files: dict[str, bytes]
) -> None:
    commit = hub.publish(SHOES, bundle_files)
    path = f"/shop/shoes/resolve/{commit}/golden.npz"
    hub.instead[path] = whole(bundle_files["golden.npz"] + b"x" * 5_000_000)
    with pytest.raises(HubError, match=r"golden\.npz: more came"):
        shopsight.load("hf:shop/shoes")
    assert kept() == []


@pytest.mark.parametrize("file", ["golden.npz", "model.safetensors", "model.json"])
def test_other_content_than_the_commit_lists_is_refused(
    hub: HubServer, bundle_files: dict[str, bytes], file: str
) -> None:
    commit = hub.publish(SHOES, bundle_files)
    content = bytearray(bundle_files[file])
    content[len(content) // 2] ^= 1
    hub.instead[f"/shop/shoes/resolve/{commit}/{file}"] = whole(bytes(content))
    with pytest.raises(HubError, match=f"{file}: its hash"):
        shopsight.load("hf:shop/shoes")
    assert kept() == []


def test_weights_that_changed_in_the_repository_are_refused_by_the_bundle(
    hub: HubServer, bundle_files: dict[str, bytes]
) -> None:
    content = bytearray(bundle_files["model.safetensors"])
    content[-1] ^= 1
    hub.publish(SHOES, bundle_files | {"model.safetensors": bytes(content)})
    with pytest.raises(BundleError, match="no whole bundle: the weights changed"):
        shopsight.load("hf:shop/shoes")
    assert kept() == []


@pytest.mark.parametrize("missing", ["model.json", "model.safetensors", "golden.npz"])
def test_a_repository_without_a_bundle(
    hub: HubServer, bundle_files: dict[str, bytes], missing: str
) -> None:
    hub.publish(SHOES, {name: data for name, data in bundle_files.items() if name != missing})
    with pytest.raises(HubError, match=f"holds no shopsight bundle: no {missing}"):
        shopsight.load("hf:shop/shoes")


@pytest.mark.parametrize(
    "there", ["http://localhost:{port}/x", "https://example.com/x", "https://evil-hf.co/x"]
)
def test_a_redirect_to_another_host_is_not_followed(
    hub: HubServer, bundle_files: dict[str, bytes], there: str
) -> None:
    commit = hub.publish(SHOES, bundle_files)
    address = there.format(port=hub.url.rpartition(":")[2])
    path = f"/shop/shoes/resolve/{commit}/model.safetensors"
    hub.instead[path] = whole(b"", 302, address)
    with pytest.raises(HubError, match="refers to another host"):
        shopsight.load("hf:shop/shoes")
    assert "GET /x" not in hub.asked
    assert kept() == []


def test_another_commit_than_was_asked_for_is_refused(
    hub: HubServer, bundle_files: dict[str, bytes]
) -> None:
    commit = hub.publish(SHOES, bundle_files)
    info = {"id": SHOES, "modelId": SHOES, "sha": "0" * 40, "siblings": [], "tags": []}
    path = f"/api/models/shop/shoes/revision/{commit}"
    hub.instead[path] = whole(json.dumps(info).encode())
    with pytest.raises(HubError, match="answers with another commit"):
        shopsight.load(f"hf:shop/shoes@{commit}")


def test_a_connection_that_ends_leaves_nothing_half(
    hub: HubServer, bundle_files: dict[str, bytes]
) -> None:
    commit = hub.publish(SHOES, bundle_files)
    path = f"/shop/shoes/resolve/{commit}/golden.npz"
    hub.instead[path] = truncated(bundle_files["golden.npz"])
    with pytest.raises(HubError):
        shopsight.load("hf:shop/shoes")
    assert kept() == []
    del hub.instead[path]
    assert shopsight.load("hf:shop/shoes").labels


def test_an_interrupt_leaves_nothing_half(
    hub: HubServer, bundle_files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.publish(SHOES, bundle_files)

    class Interrupting(Recorder):
        def task(self, title: str, total: int | None, unit: str) -> Any:
            def stop(_: int) -> None:
                raise KeyboardInterrupt

            return nullcontext(stop)

    with use_listener(Interrupting()), pytest.raises(KeyboardInterrupt):
        shopsight.load("hf:shop/shoes")
    assert kept() == []
    # The client's session is as it was: later requests have no guard of ours.
    assert len(get_session().event_hooks["request"]) == 1


def test_a_cache_that_cannot_be_written_is_said(
    hub: HubServer, bundle_files: dict[str, bytes], tmp_path: Path
) -> None:
    hub.publish(SHOES, bundle_files)
    (tmp_path / "file").write_bytes(b"")
    with use_cache_dir(tmp_path / "file"), pytest.raises(WriteError, match="--cache-dir FOLDER"):
        shopsight.load("hf:shop/shoes")


def test_every_verb_takes_the_name(
    hub: HubServer, bundle_files: dict[str, bytes], product_photos: ProductPhotos, tmp_path: Path
) -> None:
    commit = hub.publish(SHOES, bundle_files)
    name = "hf:shop/shoes"
    photos = sorted(product_photos.folder.rglob("*.jpg"))[:4]
    assert len(list(api.predict(name, photos))) == 4
    assert all(one.ok for one in api.verify(name))
    assert api.evaluate(name, product_photos.folder).headline == "accuracy"
    found = api.embed(name, product_photos.folder, out=tmp_path / "embeddings")
    about = json.loads((tmp_path / "embeddings/embeddings.json").read_text(encoding="utf-8"))
    # The index and the embeddings know the commit, not the branch that moves.
    assert about["model"] == f"hf:shop/shoes@{commit}"
    assert found is not None
    with pytest.raises(ConfigError, match="stays as it was published"):
        api.calibrate(name, product_photos.folder)


def test_the_command_line_takes_the_name(
    hub: HubServer, bundle_files: dict[str, bytes], product_photos: ProductPhotos, tmp_path: Path
) -> None:
    commit = hub.publish(SHOES, bundle_files)
    photo = str(next(product_photos.folder.rglob("*.jpg")))
    words = [sys.executable, "-m", "shopsight", "predict", f"hf:shop/shoes@{commit}", photo]
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "SHOPSIGHT_CACHE": str(tmp_path / "own")}
    done = subprocess.run(
        words, env=environment, capture_output=True, encoding="utf-8", check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert any(label in done.stdout for label in ("dress", "hat", "shoe"))


def test_the_kept_copy_is_what_was_published(
    hub: HubServer, bundle_files: dict[str, bytes]
) -> None:
    hub.publish(SHOES, bundle_files)
    folder = bundle_folder("hf:shop/shoes")
    found = {path.name: hashlib.sha256(path.read_bytes()).digest() for path in folder.iterdir()}
    assert found == {name: hashlib.sha256(data).digest() for name, data in bundle_files.items()}
    assert np.isfinite(read_bundle(folder).golden.logits).all()
