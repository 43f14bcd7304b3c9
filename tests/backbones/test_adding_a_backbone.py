"""The page "Add a backbone" does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shopsight.backbones.create import LIBRARIES
from tests.helpers import make_products

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "add-a-backbone.md"


def test_the_network_of_the_page_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    make_products(tmp_path / "photos", per_class=20)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(LIBRARIES, "mine", None)  # type: ignore[arg-type]
    exec(compile("\n".join(blocks), str(PAGE), "exec"), {})
    assert (tmp_path / "runs" / "tiny" / "report.html").is_file()
    # 3 x 16 x 9 + 16, twice 16 of BatchNorm, 16 x 32 x 9 + 32, and the head of 1,000 classes.
    assert capsys.readouterr().out.splitlines()[-1] == str(448 + 32 + 4640 + 33_000)
