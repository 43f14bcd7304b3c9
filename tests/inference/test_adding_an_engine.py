"""The page "Add an engine" does what it says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.helpers import ProductPhotos

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "add-an-engine.md"


def test_the_engine_of_the_page_gives_the_golden_outputs(
    bundle_folder: Path,
    product_photos: ProductPhotos,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    shutil.copytree(bundle_folder, tmp_path / "runs" / "first" / "model")
    shutil.copytree(product_photos.folder / "hat", tmp_path / "new-photos")
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(blocks), str(PAGE), "exec"), {})
    proof, *answers = capsys.readouterr().out.splitlines()
    assert "torch in float64" in proof
    assert len(answers) == 20
