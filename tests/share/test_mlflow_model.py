from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import shopsight
from shopsight import api
from shopsight.errors import ConfigError
from shopsight.share.pyfunc import _load_pyfunc
from tests.helpers import ProductPhotos

pandas = pytest.importorskip("pandas")

HAS_MLFLOW = importlib.util.find_spec("mlflow") is not None
ASK_MLFLOW = """
import json, sys
import mlflow, pandas
folder, *photos = sys.argv[1:]
model = mlflow.pyfunc.load_model(folder)
table = pandas.DataFrame({"image": [open(photo, "rb").read() for photo in photos]})
answers = model.predict(table, params={"top": 2})
names = [column.name for column in model.metadata.get_output_schema().inputs]
assert list(answers.columns) == names, names
print(json.dumps(answers[["labels", "probabilities"]].to_dict("list")))
"""


@pytest.fixture(scope="module")
def folder(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run in the form of MLflow. Do not change it."""
    out = tmp_path_factory.mktemp("mlflow") / "shoes"
    done = api.push(tiny_run, f"mlflow:{out}")
    assert done.to == str(out)
    assert done.url is None
    return out


def test_the_folder_says_what_mlflow_reads(folder: Path, tiny_run: Path) -> None:
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    own = {"MLmodel", "requirements.txt", "conda.yaml", "python_env.yaml"}
    assert files == own | {f"bundle/{path.name}" for path in (tiny_run / "model").iterdir()}
    model = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
    function = model["flavors"]["python_function"]
    assert function["loader_module"] == "shopsight.share.pyfunc"
    assert (folder / function["data"] / "model.json").is_file()
    inputs = json.loads(model["signature"]["inputs"])
    assert inputs == [{"type": "binary", "name": "image", "required": True}]
    needed = (folder / "requirements.txt").read_text(encoding="utf-8").split()
    assert f"shopsight[train]=={shopsight.__version__}" in needed
    conda = yaml.safe_load((folder / "conda.yaml").read_text(encoding="utf-8"))
    assert conda["dependencies"][-1] == {"pip": needed}
    python = yaml.safe_load((folder / "python_env.yaml").read_text(encoding="utf-8"))
    assert python["dependencies"] == ["-r requirements.txt"]


def test_the_loader_predicts_as_shopsight_does(
    folder: Path, tiny_run: Path, product_photos: ProductPhotos
) -> None:
    photos = sorted(product_photos.folder.rglob("*.jpg"))[:5]
    table = pandas.DataFrame(
        {"image": [*(path.read_bytes() for path in photos), b"no image"]}, index=list("abcdef")
    )
    answers = _load_pyfunc(str(folder / "bundle")).predict(table, {"top": 2})
    expected = list(shopsight.load(tiny_run).predict(photos, top=2))
    assert list(answers.index) == list("abcdef")
    assert [tuple(one) for one in answers["labels"][:5]] == [one.labels for one in expected]
    for found, right in zip(answers["probabilities"][:5], expected, strict=True):
        assert found == pytest.approx(right.probabilities, abs=1e-6)
    assert answers["label"].iloc[0] == expected[0].labels[0]
    assert answers["error"].isna().tolist() == [True] * 5 + [False]
    assert answers["labels"].iloc[5] == []


@pytest.mark.parametrize(
    "table",
    [
        pandas.DataFrame({"photo": [b"x"]}),
        pandas.DataFrame({"image": ["/etc/passwd"]}),
        pandas.DataFrame({"image": [7]}),
        [b"x"],
    ],
)
def test_what_is_no_column_of_bytes_is_refused(folder: Path, table: object) -> None:
    with pytest.raises(ConfigError, match="image"):
        _load_pyfunc(str(folder / "bundle")).predict(table)


@pytest.mark.skipif(not HAS_MLFLOW, reason="MLflow is not installed")
def test_mlflow_itself_loads_it(
    folder: Path, tiny_run: Path, product_photos: ProductPhotos
) -> None:
    photos = sorted(map(str, product_photos.folder.rglob("*.jpg")))[:4]
    done = subprocess.run(
        [sys.executable, "-c", ASK_MLFLOW, str(folder), *photos],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])
    expected = list(shopsight.load(tiny_run).predict(photos, top=2))
    assert [tuple(one) for one in answers["labels"]] == [one.labels for one in expected]
    for found, right in zip(answers["probabilities"], expected, strict=True):
        assert found == pytest.approx(right.probabilities, abs=1e-6)


def test_with_exports_no_torch_is_asked_for(exported_run: Path, tmp_path: Path) -> None:
    api.push(exported_run, f"mlflow:{tmp_path / 'out'}")
    needed = (tmp_path / "out" / "requirements.txt").read_text(encoding="utf-8").split()
    assert f"shopsight=={shopsight.__version__}" in needed


def test_it_replaces_its_own_folder_and_no_other(tiny_run: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(ConfigError, match="not replaced"):
        api.push(tiny_run, f"mlflow:{mine}")
    assert (mine / "notes.txt").read_text(encoding="utf-8") == "keep"
    for _ in range(2):
        api.push(tiny_run, f"mlflow:{tmp_path / 'out'}")
    assert not [path for path in tmp_path.iterdir() if path.name not in ("mine", "out")]
