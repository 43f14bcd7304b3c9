from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shopsight.errors import BundleError, ConfigError, WeightsError
from shopsight.inference.open_embedder import open_embedder


def test_a_preset_is_its_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preset = open_embedder("embedded", device="cpu", precision="32")
    named = open_embedder("embedded:tf_efficientnet_lite0", device="cpu", precision="32")
    assert (preset.name, preset.space) == (named.name, named.space)
    pytest.importorskip("open_clip")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="of open_clip:PE-Core-B-16/meta are not on this"):
        open_embedder("general-base")


def test_a_misspelled_preset_is_told_from_a_run_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="nor a preset 'generalbase'") as caught:
        open_embedder("generalbase")
    assert "did you mean general-base?" in str(caught.value)
    with pytest.raises(BundleError):
        open_embedder("runs/first")


def test_a_folder_with_the_name_of_a_preset_is_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fashion").mkdir()
    with pytest.raises(BundleError):
        open_embedder("fashion")


def test_folders_are_named_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index opens its model again wherever it is searched from."""
    pytest.importorskip("open_clip")
    from tests.backbones.clip_models import save_clip

    folder = save_clip(tmp_path / "clip")
    monkeypatch.chdir(tmp_path)
    embedder = open_embedder("open_clip:local-dir:clip", device="cpu", precision="32")
    monkeypatch.chdir(tmp_path.parent)
    assert embedder.name == f"open_clip:local-dir:{folder.as_posix()}"
    again = open_embedder(embedder.name, device="cpu", precision="32")
    assert again.space == embedder.space


def test_an_embedder_is_given_back() -> None:
    embedder = open_embedder("embedded", device="cpu", precision="32")
    assert open_embedder(embedder) is embedder
    (found,) = embedder.embed([np.full((32, 32, 3), 200, np.uint8)])
    assert found.vector is not None
    assert abs(float(np.linalg.norm(found.vector)) - 1) < 1e-5
