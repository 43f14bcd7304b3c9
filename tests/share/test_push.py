from __future__ import annotations

import io
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from PIL import Image

import shopsight
from shopsight import api
from shopsight.bundle.exports import read_exports, write_exports
from shopsight.bundle.read import read_bundle
from shopsight.errors import BundleError, ConfigError, ExtraMissingError, HubError
from shopsight.files import sha256_file, write_json
from shopsight.inference.reference_images import reference_images
from shopsight.progress import use_listener
from shopsight.runs.run_folder import RunFolder
from shopsight.share.shared_copy import without_paths
from tests.helpers import ProductPhotos, Recorder, train_small
from tests.hub_server import HubServer

pytestmark = [
    pytest.mark.enable_socket,  # the Hub is on this machine
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),  # its client's own
]
TO = "hf:shop/shoes"


def published(hub: HubServer, name: str = "shop/shoes", branch: str = "main") -> dict[str, bytes]:
    """What the newest commit of a branch holds, but for what the Hub puts there."""
    repository = hub.repositories[name]
    files = repository.commits[repository.branches[branch]]
    return {name: content for name, content in files.items() if name != ".gitattributes"}


def front_matter(files: dict[str, bytes]) -> dict[str, Any]:
    text = files["README.md"].decode()
    assert text.startswith("---\n")
    found: dict[str, Any] = yaml.safe_load(text.split("---\n")[1])
    return found


def test_what_was_pushed_predicts_the_same(
    hub: HubServer, tiny_run: Path, product_photos: ProductPhotos
) -> None:
    done = api.push(tiny_run, TO)
    commit = hub.repositories["shop/shoes"].branches["main"]
    assert done.to == f"hf:shop/shoes@{commit}"
    assert done.load == f'shopsight.load("hf:shop/shoes@{commit}")'
    assert hub.repositories["shop/shoes"].private
    # One commit beside that of the new repository.
    assert len(hub.repositories["shop/shoes"].commits) == 2
    photos = sorted(product_photos.folder.rglob("*.jpg"))
    there = shopsight.load(done.to, precision="32", device="cpu").predict(photos)
    here = shopsight.load(tiny_run, precision="32", device="cpu").predict(photos)
    assert [(one.labels, one.probabilities) for one in there] == [
        (one.labels, one.probabilities) for one in here
    ]


def test_no_photo_and_no_path_leaves_the_house(
    hub: HubServer, exported_run: Path, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    run = shutil.copytree(exported_run, tmp_path / "run")
    model = run / "model"
    info = json.loads((model / "model.json").read_text(encoding="utf-8"))
    info["catalog"], info["weights"] = "/home/ann/secret/photos", "C:\\Users\\ann\\best.safetensors"
    write_json(model / "model.json", info)
    metrics = json.loads((model / "metrics.json").read_text(encoding="utf-8"))
    write_json(model / "metrics.json", metrics | {"of": ["/home/ann/secret/strangers"]})
    api.push(run, TO)
    files = published(hub)
    assert {"exports.json", "model.fp32.onnx", "model.int8.onnx"} < set(files)
    assert set(files) == {path.name for path in model.iterdir()}
    private = [b"/home/ann", b"Users", str(tmp_path).encode(), str(product_photos.folder).encode()]
    private += [str(Path(shopsight.__file__).parent).encode(), sys.prefix.encode(), b".jpg"]
    for name, content in files.items():
        shown = content.replace(b'"photo.jpg"', b"") if name == "README.md" else content
        assert not [one for one in private if one in shown], name
    assert json.loads(files["model.json"])["catalog"] == "photos"
    assert json.loads(files["model.json"])["weights"] == "best.safetensors"
    assert json.loads(files["metrics.json"])["of"] == ["strangers"]
    with np.load(io.BytesIO(files["golden.npz"])) as golden:
        images = [golden[name].tobytes() for name in golden.files if name.startswith("image")]
    assert tuple(images) == reference_images()
    photos = {path.read_bytes() for path in product_photos.folder.rglob("*.jpg")}
    assert set(read_bundle(model).golden.images) <= photos, "the bundle's own are photos"


def test_the_card_has_the_figures_that_the_run_measured(hub: HubServer, tiny_run: Path) -> None:
    api.push(tiny_run, TO, license="cc-by-4.0")
    files = published(hub)
    about = front_matter(files)
    scores = json.loads(RunFolder(tiny_run).scores_file.read_text(encoding="utf-8"))["test"]
    measured = scores["metrics"]["accuracy"]
    result = about["model-index"][0]["results"][0]
    assert about["license"] == "cc-by-4.0"
    assert about["library_name"] == "shopsight"
    assert about["pipeline_tag"] == "image-classification"
    assert result["dataset"]["split"] == "test"
    first = result["metrics"][0]
    assert first["type"] == "accuracy"
    assert first["value"] == pytest.approx(measured["value"], abs=1e-6)
    assert f"{measured['low']:.2%} to {measured['high']:.2%}" in first["name"]
    text = files["README.md"].decode()
    assert f"Accuracy {measured['value']:.2%}" in text
    assert f"on {scores['counts']['images']} images (test images)" in text
    assert 'shopsight.load("hf:shop/shoes")' in text
    assert "report.html" not in text


def test_a_bundle_without_its_run_has_its_validation_score(
    hub: HubServer, tiny_run: Path, tmp_path: Path
) -> None:
    bundle = shutil.copytree(tiny_run / "model", tmp_path / "bundle")
    api.push(bundle, TO)
    result = front_matter(published(hub))["model-index"][0]["results"][0]
    metrics = json.loads((bundle / "metrics.json").read_text(encoding="utf-8"))
    assert result["dataset"]["split"] == "validation"
    assert result["metrics"][0]["value"] == pytest.approx(metrics["val_accuracy"], abs=1e-6)
    write_json(bundle / "metrics.json", {})
    api.push(bundle, TO)
    assert "model-index" not in front_matter(published(hub))
    assert "license" not in front_matter(published(hub))


def test_a_hostile_name_of_the_data_stays_a_text(
    hub: HubServer, tiny_run: Path, tmp_path: Path
) -> None:
    bundle = shutil.copytree(tiny_run / "model", tmp_path / "bundle")
    info = json.loads((bundle / "model.json").read_text(encoding="utf-8"))
    write_json(bundle / "model.json", info | {"catalog": 'a"\n---\nlicense: mit # : [x]\u2028'})
    api.push(bundle, TO)
    about = front_matter(published(hub))
    assert "license" not in about
    assert about["model-index"][0]["results"][0]["dataset"]["name"].startswith('a"\n---')


@pytest.mark.parametrize("file", ["model.safetensors", "golden.npz"])
def test_a_changed_bundle_is_not_pushed(hub: HubServer, own_run: Path, file: str) -> None:
    path = own_run / "model" / file
    if file == "golden.npz":
        with np.load(path) as golden:
            arrays = dict(golden)
        np.savez(path, **arrays | {"logits": arrays["logits"] + 1})
    else:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(bytes(content))
    with pytest.raises(BundleError):
        api.push(own_run, TO)
    assert hub.asked == []


def test_a_changed_export_is_not_pushed(hub: HubServer, exported_run: Path, tmp_path: Path) -> None:
    own_run = shutil.copytree(exported_run, tmp_path / "run")
    path = own_run / "model" / "model.fp32.onnx"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(BundleError, match="not the file that was exported"):
        api.push(own_run, TO)
    assert hub.asked == []


def test_an_export_that_names_folders_of_the_exporter_is_not_pushed(
    hub: HubServer, exported_run: Path, tmp_path: Path
) -> None:
    own_run = shutil.copytree(exported_run, tmp_path / "run")
    model, path = own_run / "model", own_run / "model" / "model.fp32.onnx"
    graph = onnx.load(path)
    note = graph.graph.node[0].metadata_props.add()
    note.key, note.value = "pkg.torch.onnx.stack_trace", "/home/ann/shopsight/graph.py, line 50"
    path.write_bytes(graph.SerializeToString())
    exports = read_exports(model, read_bundle(model).info)
    artifact = exports.artifacts[0].model_copy(update={"sha256": sha256_file(path)})
    write_exports(model, exports.with_artifact(artifact))
    with pytest.raises(BundleError, match="wrote folders of this machine"):
        api.push(own_run, TO)
    assert hub.asked == []


def test_files_that_are_gone_are_removed_and_others_stay(
    hub: HubServer, exported_run: Path, tiny_run: Path
) -> None:
    first = api.push(exported_run, TO)
    files = published(hub)
    hub.publish("shop/shoes", {**files, "LICENSE": b"mine", ".gitattributes": b""})
    second = api.push(tiny_run, TO)
    assert "exports.json" in hub.repositories["shop/shoes"].commits[first.to.partition("@")[2]]
    left = published(hub)
    assert left["LICENSE"] == b"mine"
    assert not {"exports.json", "model.fp32.onnx"} & set(left)
    assert shopsight.load(second.to).labels


def test_the_same_again_makes_no_commit(hub: HubServer, tiny_run: Path) -> None:
    first = api.push(tiny_run, TO)
    recorder = Recorder()
    with use_listener(recorder):
        second = api.push(tiny_run, TO)
    assert first.to == second.to
    assert any("there is no new commit" in line for line in recorder.lines)


def test_a_branch_and_a_message(hub: HubServer, tiny_run: Path) -> None:
    api.push(tiny_run, TO)
    before = hub.repositories["shop/shoes"].branches["main"]
    done = api.push(tiny_run, TO, revision="spring", message="For the spring", license="mit")
    repository = hub.repositories["shop/shoes"]
    assert repository.branches["main"] == before
    assert done.to.endswith(repository.branches["spring"])
    assert hub.messages[-1] == "For the spring"


def test_a_public_repository_must_be_meant(hub: HubServer, tiny_run: Path) -> None:
    commit = hub.publish("shop/shoes", {"README.md": b"mine"})
    with pytest.raises(HubError, match="everybody may read this repository"):
        api.push(tiny_run, TO)
    assert hub.repositories["shop/shoes"].branches["main"] == commit
    api.push(tiny_run, TO, public=True)
    assert "model.json" in published(hub)
    api.push(tiny_run, "hf:shop/open", public=True)
    assert not hub.repositories["shop/open"].private


def test_without_the_right_token_nothing_is_pushed(
    hub: HubServer, tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    with pytest.raises(HubError, match="with a token that may write") as caught:
        api.push(tiny_run, TO)
    assert caught.value.status == 401
    assert hub.repositories == {}


@pytest.mark.parametrize(
    ("to", "options", "says"),
    [
        ("shoes", {}, "neither a repository of the Hub nor a folder"),
        ("mlflow:", {}, "neither a repository of the Hub nor a folder"),
        ("hf:shop/shoes@v1", {}, "--revision BRANCH"),
        ("mlflow:out", {"public": True}, "--public"),
    ],
)
def test_what_cannot_be_pushed_to(
    hub: HubServer, tiny_run: Path, to: str, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        api.push(tiny_run, to, **options)
    assert hub.asked == []


def test_without_the_client_nothing_is_begun(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setattr("shopsight.extras.is_installed", lambda module: module != "huggingface_hub")
    with pytest.raises(ExtraMissingError, match=r"shopsight\[hub\]"):
        api.push(tiny_run, TO)


@pytest.mark.slow
def test_a_model_that_may_answer_unknown_is_shared_whole(
    hub: HubServer, product_photos: ProductPhotos, tmp_path: Path
) -> None:
    run = train_small(product_photos.folder, tmp_path / "run")
    api.calibrate(run, product_photos.folder)
    done = api.push(run, TO)
    photos = sorted(product_photos.folder.rglob("*.jpg"))[:8]
    there = [one.unknown for one in shopsight.load(done.to, precision="32").predict(photos)]
    here = [one.unknown for one in shopsight.load(run, precision="32").predict(photos)]
    assert there == here
    assert all(one is not None for one in here)


def test_an_ensemble_is_shared(hub: HubServer, tiny_folds_run: Path, tmp_path: Path) -> None:
    done = api.push(tiny_folds_run, TO)
    assert shopsight.load(done.to).info.members == 2
    split = front_matter(published(hub))["model-index"][0]["results"][0]["dataset"]["split"]
    assert split in ("test", "validation")


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("/home/ann/photos", "photos"),
        ("val images of /data/shop/photos/", "val images of photos"),
        ("C:\\Users\\ann\\shop", "shop"),
        ("C:/Users/ann/shop", "shop"),
        ("\\\\server\\share\\shop", "shop"),
        ("~/shop/photos", "photos"),
        ("s3://bucket/of/ann/photos", "photos"),
        ("pretrained: timm/resnet18 (IN-1k)", "pretrained: timm/resnet18 (IN-1k)"),
        ("shoes / hats", "shoes / hats"),
        ("photos", "photos"),
        ("", ""),
    ],
)
def test_paths_are_cut_down_to_their_names(text: str, cut: str) -> None:
    assert without_paths(text) == cut


def test_golden_images_of_the_copy_decode() -> None:
    for data in reference_images():
        assert Image.open(io.BytesIO(data)).size[0] > 0
