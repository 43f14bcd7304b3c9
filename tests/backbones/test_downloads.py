from __future__ import annotations

from pathlib import Path

import pytest

from shopsight.backbones.create import create_backbone
from shopsight.errors import WeightsError


def test_without_a_network_the_error_names_the_cache_and_three_fixes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Sockets are blocked in tests: exactly the user without network and without a cache."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError) as caught:
        create_backbone("timm:resnet18.a1_in1k")
    text = str(caught.value)
    assert f"looked for timm/resnet18.a1_in1k in {tmp_path}\n" in text
    assert [line.strip().removeprefix("fix: ")[:2] for line in text.splitlines()[-3:]] == [
        "1.", "2.", "3.",
    ]  # fmt: skip
    assert "--set model.weights=FILE" in text
    assert "--backbone embedded:tf_efficientnet_lite0" in text
