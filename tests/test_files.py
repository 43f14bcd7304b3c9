"""Files are there whole or not at all; errors say what, where and what to do next."""

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

import pytest

from shopsight.errors import ShopsightError
from shopsight.files import (
    atomic_file,
    atomic_folder,
    cache_folder,
    cache_folder_is_chosen,
    human_bytes,
    read_json,
    use_cache_dir,
    write_json,
)
from tests.helpers import set_home


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    write_json(target, {"n": 1})
    with pytest.raises(RuntimeError), atomic_file(target) as part:  # noqa: PT012
        part.write_text("half", encoding="utf-8")
        raise RuntimeError
    assert read_json(target) == {"n": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_is_swapped_whole(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for text in ("old", "new"):
        with atomic_folder(target) as part:
            (part / text).write_text(text, encoding="utf-8")
    assert [path.name for path in target.iterdir()] == ["new"]
    with pytest.raises(RuntimeError), atomic_folder(target) as part:  # noqa: PT012
        (part / "worse").write_text("", encoding="utf-8")
        raise RuntimeError
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_sizes_for_people() -> None:
    assert [human_bytes(n) for n in (999, 1_536_000, 2e12)] == ["999 B", "1.5 MB", "2.0 TB"]


def test_errors_are_cut_at_five_details_with_their_total() -> None:
    error = ShopsightError(
        "3 leak", where="splits.csv", details=[f"P-{n}" for n in range(9)], fix="split again"
    )
    assert str(error).splitlines() == [
        "splits.csv: 3 leak",
        *[f"  P-{n}" for n in range(5)],
        "  ... 9 in all",
        "  fix: split again",
    ]


def test_the_cache_folder_is_chosen_for_a_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_home(monkeypatch, tmp_path)
    monkeypatch.delenv("SHOPSIGHT_CACHE")
    assert cache_folder() == tmp_path / ".cache" / "shopsight"
    assert not cache_folder_is_chosen()
    monkeypatch.setenv("SHOPSIGHT_CACHE", str(tmp_path / "by-variable"))
    assert cache_folder() == tmp_path / "by-variable"
    with use_cache_dir("~/mine"):
        assert cache_folder() == tmp_path / "mine"
        with use_cache_dir(None):
            assert cache_folder() == tmp_path / "mine"
        with pytest.raises(ValueError, match="stop"), use_cache_dir("other"):
            raise ValueError("stop")
        assert cache_folder() == tmp_path / "mine"
        # Another thread's work, unless it is given this context, is not this block's.
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(cache_folder).result() == tmp_path / "by-variable"
            assert pool.submit(copy_context().run, cache_folder).result() == tmp_path / "mine"
    assert cache_folder() == tmp_path / "by-variable"
