"""`hf:OWNER/NAME@REVISION` on the command line, wherever a command takes a MODEL."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from shopsight.bundle.read import bundle_folder, read_bundle
from shopsight.cache_place import cache_folder
from tests.helpers import Outcome, ProductPhotos, run_command
from tests.hub_server import TOKEN, HubServer
from tests.serve.service import serving

pytestmark = pytest.mark.enable_socket  # the Hub is on this machine
SHOES, NAME = "shop/shoes", "hf:shop/shoes"

Run = Callable[..., Outcome]


@pytest.fixture
def commit(hub: HubServer, bundle_files: dict[str, bytes]) -> str:
    """The published commit of the tiny run's bundle."""
    return hub.publish(SHOES, bundle_files)


@pytest.fixture
def run(commit: str, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command that must succeed."""

    def call(*words: object) -> Outcome:
        done = run_command(capsys, words)
        assert done.code == 0, done.err
        return done

    return call


def test_verify(run: Run, commit: str) -> None:
    (check,) = json.loads(run("verify", f"{NAME}@{commit}", "--json").out)
    assert check["engine"].startswith("torch on cpu")
    assert check["ok"] is True


def test_export_writes_beside_the_kept_copy(run: Run, commit: str) -> None:
    pytest.importorskip("onnxscript")
    run("export", NAME)
    folder = cache_folder() / "hub/shop" / f"shoes@{commit}"
    assert (folder / "exports.json").is_file()
    engines = [one["engine"] for one in json.loads(run("verify", NAME, "--json").out)]
    assert "onnxruntime on cpu, 32" in engines


def test_index_build_keeps_the_commit(
    run: Run, hub: HubServer, commit: str, bundle_files: dict[str, bytes],
    product_photos: ProductPhotos, tmp_path: Path,
) -> None:  # fmt: skip
    pytest.importorskip("qdrant_edge")
    index = tmp_path / "index"
    run("index", "build", NAME, product_photos.folder, "--out", index)
    # The branch goes on; the index is of the commit that built it.
    hub.publish(SHOES, bundle_files | {"README.md": b"another card"})
    hub.asked.clear()
    photo = sorted(product_photos.folder.rglob("*.jpg"))[0]
    assert photo.name in run("search", index, photo, "--top", "60").out
    assert hub.asked == []
    about = json.loads(run("index", "info", index, "--json").out)
    assert about["model"] == f"{NAME}@{commit}"


def test_adapt(run: Run, commit: str, product_photos: ProductPhotos, tmp_path: Path) -> None:
    words = ("--group", "product", "--out", tmp_path / "bundle", "--keep-anyway", "--json")
    done = json.loads(run("adapt", NAME, product_photos.table, *words).out)
    assert done["model"] == str(tmp_path / "bundle")
    own = read_bundle(bundle_folder(f"{NAME}@{commit}")).info
    assert read_bundle(tmp_path / "bundle").info.space.fingerprint != own.space.fingerprint


def test_serve(commit: str, hub: HubServer, product_photos: ProductPhotos, tmp_path: Path) -> None:
    """A process of its own, which asks the Hub once and serves the commit."""
    photo = sorted(product_photos.folder.rglob("*.jpg"))[0].read_bytes()
    environment = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "SHOPSIGHT_CACHE": str(tmp_path)}
    with serving(NAME, environment=environment) as service:
        model = service.get("/v1/models").json()["model"]
        assert model["name"] == f"shoes@{commit}"
        assert service.post_files("/v1/predict", [photo]).status == 200
        assert service.stop() == 0
    assert f"GET /{SHOES}/resolve/{commit}/model.safetensors" in hub.asked


@pytest.mark.parametrize(
    "words",
    [
        ("verify", "hf:shop/hats"),
        ("export", "hf:shop/hats"),
        ("serve", "hf:shop/hats", "--port", "0"),
        ("index", "build", "hf:shop/hats", "PHOTOS", "--out", "OUT"),
        ("adapt", "hf:shop/hats", "PHOTOS", "--out", "OUT"),
    ],
    ids=lambda words: words[0],
)
def test_no_such_repository(
    words: tuple[str, ...], commit: str, capsys: pytest.CaptureFixture[str],
    product_photos: ProductPhotos, tmp_path: Path,
) -> None:  # fmt: skip
    places = {"PHOTOS": product_photos.table, "OUT": tmp_path / "out"}
    done = run_command(capsys, tuple(places.get(word, word) for word in words))
    assert done.code == 2
    assert "there is no such repository" in done.err
    assert "hf:shop/hats" in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["hf:shoes", "hf:shop/shoes@", "hf:../shoes", "hf:"])
@pytest.mark.parametrize("command", ["verify", "export", "serve"])
def test_what_is_no_name(
    name: str, command: str, hub: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run_command(capsys, (command, name))
    assert done.code == 2
    assert "hf:OWNER/NAME" in done.err
    assert hub.asked == []
