"""The harness of `bench/bench_scale.py`: its arithmetic, and that each function still runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def bench_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))


def test_the_exponent_is_the_slope_of_the_last_sizes() -> None:
    from scaling import exponent

    sizes = [10_000, 100_000, 1_000_000, 10_000_000]
    assert exponent(sizes, [5.0, 0.1, 1.0, 10.0]) == pytest.approx(1.0)
    assert exponent(sizes[:3], [0.1, 1.0, 100.0]) == pytest.approx(1.5)
    # A hundredth of a second is start-up and noise.
    assert exponent(sizes[:3], [0.01, 0.06, 6.0]) == pytest.approx(2.0)
    assert exponent(sizes[:2], [0.01, 6.0]) is None


def test_a_line_that_was_cut_is_no_record(tmp_path: Path) -> None:
    from scaling import newest, read_records

    path = tmp_path / "scale.jsonl"
    record = {"state": "now", "area": "data", "name": "split", "rows": 1000, "seconds": 1.0}
    lines = [json.dumps(record), json.dumps({**record, "seconds": 2.0}), '{"state": "no']
    path.write_text("\n".join(lines), encoding="utf-8")
    assert [found["seconds"] for found in newest(read_records(path)).values()] == [2.0]
    assert list(read_records(tmp_path / "none.jsonl")) == []


def test_the_plot_is_an_image_of_its_own() -> None:
    from scale_plot import plot

    names = ("split", "fold <b>")
    records = [
        {"name": name, "rows": rows, "cpu_seconds": rows / 1e5}
        for name in names
        for rows in (10_000, 100_000)
    ]
    drawn = plot(records)
    assert drawn.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert "split  1 s" in drawn
    assert "fold &lt;b&gt;" in drawn


def run(folder: Path, *flags: str) -> str:
    command = [sys.executable, str(ROOT / "bench" / "bench_scale.py"), *flags]
    command += ["--results", str(folder / "scale.jsonl")]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_known_is_not_measured_again(tmp_path: Path) -> None:
    flags = ("--only", "fingerprint", "--sizes", "300")
    assert "data fingerprint 300:" in run(tmp_path, *flags)
    again = run(tmp_path, *flags)
    assert "data fingerprint 300:" not in again
    assert "| fingerprint" in again


@pytest.mark.slow
def test_every_function_runs(tmp_path: Path) -> None:
    run(tmp_path, "--sizes", "300")
    for line in (tmp_path / "scale.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        assert record["status"] == "ok", record
