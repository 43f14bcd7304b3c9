from __future__ import annotations

import pytest

from shopsight.backbones.create import create_backbone
from shopsight.errors import ConfigError, ExtraMissingError
from tests.helpers import embed


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")
def test_fastervit_names_its_license(said: list[str]) -> None:
    pytest.importorskip("timm")
    try:
        backbone = create_backbone("fastervit:faster_vit_0_224", weights="random")
    except ExtraMissingError:
        pytest.skip("the fastervit extra is not installed")
    assert "non-commercial" in said[0]
    assert embed(backbone).shape == (2, backbone.embedding_dim)
    with pytest.raises(ConfigError, match="224 px only"):
        create_backbone("fastervit:faster_vit_0_224", weights="random", size_px=160)
