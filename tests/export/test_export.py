"""A bundle is exported, proven, and opened by other engines; or refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from shopsight.bundle.exports import EXPORTS_FILE, Parity, read_exports
from shopsight.bundle.read import read_bundle
from shopsight.cache_place import use_cache_dir
from shopsight.commands.export import export
from shopsight.commands.verify import verify
from shopsight.errors import BundleError, ConfigError, ExportError
from shopsight.export.onnx_graph import ExportedNetwork, write_graph
from shopsight.export.parity import images_to_prove, measure, problems
from shopsight.inference import exported_engines
from shopsight.inference.exported_engines import open_exported
from shopsight.inference.load import load
from shopsight.inference.onnxruntime_engine import OnnxRuntimeEngine
from tests.helpers import edit_json, run_command

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="session")
def exported(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its fp32 and int8 files."""
    run = tmp_path_factory.mktemp("exported") / "run"
    shutil.copytree(tiny_run, run)
    export(run, precision=("fp32", "int8"), max_drop=100.0)
    return run


@pytest.fixture
def own(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "run"))


def parity(**changes: object) -> Parity:
    values = {
        "engine": "onnxruntime",
        "precision": "int8",
        "num_images": 900,
        "images": "val",
        "embedding_error": 0.1,
        "logit_error": 0.1,
        "same": 0.97,
        "num_near_ties": 3,
        "change": 0.01,
        "cosine": 0.99,
        "neighbors": 0.9,
        "accuracy_drop": 0.2,
        "drop_low": -0.6,
        "drop_high": 1.0,
        "num_labeled": 900,
    }
    return Parity.model_validate(values | changes)


def test_what_was_proven_is_written_with_the_files(exported: Path) -> None:
    folder = exported / "model"
    found = read_exports(folder, read_bundle(folder).info)
    assert [one.file for one in found.artifacts] == ["model.fp32.onnx", "model.int8.onnx"]
    exact, rounded = found.artifacts
    proof = exact.proof("onnxruntime", "fp32")
    assert proof is not None
    assert max(proof.logit_error, proof.embedding_error) < 1e-4
    assert (proof.same, proof.lost, proof.gained) == (1.0, 0, 0)
    assert proof.num_images > 0
    assert len(rounded.calibration) >= 16
    assert rounded.proof("onnxruntime", "int8") is not None
    # The bundle itself is the same model: nothing of model.json changed.
    assert "exports" not in json.loads((folder / "model.json").read_text(encoding="utf-8"))


def test_every_engine_gives_the_labels_of_torch(exported: Path) -> None:
    run = load(exported, engine="torch", precision="32")
    catalog_images = [str(path) for path in sorted(Path(exported.parent).rglob("*.jpg"))][:5]
    golden = run.golden
    assert golden is not None
    images = [*golden.images, *catalog_images]
    expected = [one.labels[0] for one in run.predict(images)]
    for engine, precision in (("onnxruntime", "32"), ("openvino", "32")):
        if not exported_engines.is_installed(engine):
            continue
        other = load(exported, engine=engine, precision=precision)
        assert other.engine.name == f"{engine} on cpu, {precision}"
        assert [one.labels[0] for one in other.predict(images)] == expected


def test_batches_of_any_size(exported: Path) -> None:
    rng = np.random.default_rng(0)
    bundle = read_bundle(exported / "model")
    side = bundle.info.preprocess.size_px
    pixels = rng.integers(0, 256, (19, side, side, 3), dtype=np.uint8)
    for name in ("onnxruntime", "openvino"):
        if not exported_engines.is_installed(name):
            continue
        engine = open_exported(bundle, name, "32")
        embedding, logits = engine.run(pixels)
        assert embedding.shape == (19, bundle.info.embedding_dim)
        for start, end in ((0, 1), (1, 3), (3, 10), (10, 19)):
            found = engine.run(pixels[start:end])
            assert found[0] == pytest.approx(embedding[start:end], abs=1e-4)
            assert found[1] == pytest.approx(logits[start:end], abs=1e-4)
        assert engine.run(pixels[:0])[1].shape == (0, len(bundle.info.labels))


def test_the_fastest_is_found_once(own: Path, tmp_path: Path, said: list[str]) -> None:
    with use_cache_dir(tmp_path / "cache"):
        first = load(own).engine.name
        assert sum("engine:" in line for line in said) == 1
        assert load(own).engine.name == first
        assert sum("engine:" in line for line in said) == 1
        assert "int8" not in first


def test_another_file_than_was_exported_is_refused(own: Path, said: list[str]) -> None:
    path = own / "model" / "model.fp32.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match="its hash is another"):
        load(own, engine="onnxruntime")
    assert load(own).engine.name.startswith("torch")
    assert any("is not used" in line for line in said)
    path.unlink()
    with pytest.raises(BundleError, match="missing"):
        load(own, engine="onnxruntime")


def test_what_was_not_exported_says_how(tiny_run: Path, own: Path) -> None:
    with pytest.raises(BundleError, match=r"not exported for onnxruntime[\s\S]*shopsight export"):
        load(tiny_run, engine="onnxruntime")
    with pytest.raises(BundleError, match="does not compute in bf16"):
        load(own, engine="onnxruntime", precision="bf16")
    with pytest.raises(ConfigError, match="run on the CPU"):
        load(own, engine="onnxruntime", device="cuda")


def test_exports_of_other_weights_are_refused(own: Path) -> None:
    edit_json(own / "model" / EXPORTS_FILE, weights_sha256="0" * 64)
    with pytest.raises(BundleError, match="of other weights"):
        load(own, engine="onnxruntime")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"artifacts": [{"file": "../x.onnx"}]}, "no list of exports"),
        ({"format_version": 2}, "no list of exports"),
        ({"artifacts": 3}, "no list of exports"),
    ],
)
def test_a_list_that_somebody_edited_is_refused(own: Path, change: dict, message: str) -> None:
    edit_json(own / "model" / EXPORTS_FILE, **change)
    with pytest.raises(BundleError, match=message):
        load(own, engine="onnxruntime")


def test_eight_bits_need_their_instructions(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exported_engines, "has_vnni", lambda: False)
    with pytest.raises(BundleError, match="VNNI"):
        load(own, engine="onnxruntime", precision="int8")
    monkeypatch.setattr(exported_engines, "has_vnni", lambda: True)
    assert (
        load(own, engine="onnxruntime", precision="int8", verify=False).engine.precision == "int8"
    )


def test_settings_that_do_not_go_together(tiny_run: Path) -> None:
    with pytest.raises(ConfigError, match="does not know tpu"):
        export(tiny_run, to=("tpu",))
    with pytest.raises(ConfigError, match="only OpenVINO"):
        export(tiny_run, precision=("bf16",))
    with pytest.raises(ConfigError, match="no number of points"):
        export(tiny_run, max_drop=-1)


def test_nothing_is_written_where_it_answers_otherwise(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    whole = ExportedNetwork.forward

    def wrong(self: ExportedNetwork, images: object) -> object:
        embedding, logits = whole(self, images)  # type: ignore[arg-type]
        return embedding, logits.flip(1)

    monkeypatch.setattr(ExportedNetwork, "forward", wrong)
    with pytest.raises(ExportError, match="outputs differ by"):
        export(run)
    assert not list((run / "model").glob("*.onnx"))
    assert not (run / "model" / EXPORTS_FILE).exists()
    assert load(run).engine.name.startswith("torch")


def test_a_graph_of_a_cnn_has_no_arithmetic_on_strides(tiny_run: Path, tmp_path: Path) -> None:
    engine = load(tiny_run, engine="torch", precision="32").engine
    write_graph(engine.model, tmp_path / "a.onnx", name="tiny")  # type: ignore[attr-defined]
    kinds = {node.op_type for node in onnx.load(str(tmp_path / "a.onnx")).graph.node}
    assert not kinds & {"Range", "Gather"}


def test_a_proven_loss_is_refused_and_an_unproven_one_is_stated() -> None:
    assert problems(parity(), max_drop=0.3) == []
    # Half the interval is .8 points: it must be .3, which takes (.8 / .3)^2 as many images.
    assert images_to_prove(parity(), max_drop=0.3) == 6_400
    lost = parity(accuracy_drop=2.0, drop_low=0.9, drop_high=3.1)
    assert problems(lost, max_drop=0.3) == [
        "accuracy falls by 2.00 points, 0.90 at the least (--max-drop 0.3)"
    ]
    assert images_to_prove(parity(drop_low=-0.2, drop_high=0.25), max_drop=0.3) is None
    assert "same" in problems(parity(precision="bf16"), max_drop=1)[0]


def test_graphs_of_others_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(BundleError, match="cannot open the graph"):
        OnnxRuntimeEngine(path, precision="32")


def test_verify_says_what_each_engine_gives(own: Path) -> None:
    found = verify(own)
    assert [one.engine for one in found][:2] == ["torch on cpu, 32", "onnxruntime on cpu, 32"]
    assert all(one.ok for one in found[:2])
    assert found[0].accuracy == found[1].accuracy
    golden = own / "model" / "golden.npz"
    arrays = dict(np.load(golden))
    arrays["logits"] = arrays["logits"][:, ::-1]
    np.savez(golden, **arrays)
    assert not any(one.ok for one in verify(own) if one.engine.endswith("32"))


def test_on_the_command_line(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    done = run_command(capsys, ("export", run, "--json"))
    assert done.code == 0, done.err
    assert [one["file"] for one in json.loads(done.out)["artifacts"]] == ["model.fp32.onnx"]
    done = run_command(capsys, ("export", run))
    assert "proven on" in done.out
    done = run_command(capsys, ("verify", run, "--json"))
    assert done.code == 0, done.err
    assert all(one["ok"] for one in json.loads(done.out))
    done = run_command(capsys, ("export", run, "--to", "tpu"))
    assert done.code == 2
    assert "--to onnx,openvino" in done.err


def test_measures_are_those_of_the_outputs(exported: Path) -> None:
    from shopsight.export.parity import Proof
    from shopsight.inference.predictor import readout_of
    from shopsight.metrics.families import Families

    bundle = read_bundle(exported / "model")
    engine = open_exported(bundle, "onnxruntime", "32")
    side = bundle.info.preprocess.size_px
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (12, side, side, 3), dtype=np.uint8)
    embedding, logits = engine.run(pixels)
    turned = logits.copy()
    turned[0] = np.roll(turned[0], 1)
    targets = turned.argmax(1)
    proof = Proof(
        pixels, (embedding, turned), readout_of(bundle.info), "noise", targets, Families.alone(12)
    )
    found = measure(engine, "fp32", proof)
    assert (found.lost, found.gained, found.num_labeled) == (1, 0, 12)
    assert found.accuracy_drop == pytest.approx(100 / 12)
    assert found.cosine == pytest.approx(1.0, abs=1e-5)
    assert found.neighbors == 1.0
    assert problems(found, max_drop=0.3)
