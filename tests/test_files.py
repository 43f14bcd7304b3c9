"""Files are there whole or not at all; errors say what, where and what to do next."""

import errno
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context
from pathlib import Path

import pytest

from shopsight import held_files
from shopsight.cache_place import cache_folder, cache_folder_is_chosen, use_cache_dir
from shopsight.errors import (
    DamagedFileError,
    HeldFileError,
    ShopsightError,
    WriteError,
)
from shopsight.files import (
    atomic_file,
    atomic_folder,
    damage_named,
    scratch_folder,
    write_json,
    write_text,
)
from shopsight.io.json_files import read_json, read_json_table
from tests.helpers import set_home, windows_refuses


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


def test_a_scratch_folder_is_gone_before_the_result_is_there(tmp_path: Path) -> None:
    target = tmp_path / "kept"
    with atomic_folder(target) as part:
        with scratch_folder(target) as scratch:
            assert (scratch.parent, part.parent) == (tmp_path, tmp_path)
            (scratch / "archive").write_text("packed", encoding="utf-8")
            (part / "a").write_text("unpacked", encoding="utf-8")
        assert list(tmp_path.iterdir()) == [part]
    with pytest.raises(RuntimeError), scratch_folder(target):
        raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["kept", "a"]


def test_a_scratch_folder_that_is_held_does_not_undo_the_work(tmp_path: Path) -> None:
    """On Windows a scanner may hold a file in it when it is removed."""
    with atomic_folder(tmp_path / "kept") as part, ExitStack() as held:
        with scratch_folder(tmp_path / "kept") as scratch:
            held.enter_context((scratch / "archive").open("wb"))
        (part / "a").write_text("unpacked", encoding="utf-8")
    assert (tmp_path / "kept" / "a").exists()


def test_what_a_killed_process_left_in_a_scratch_folder_is_removed(tmp_path: Path) -> None:
    code = (
        "import os, sys; from shopsight.files import scratch_folder\n"
        "with scratch_folder(sys.argv[1]) as scratch:\n"
        "    (scratch / 'archive').write_text('packed', encoding='utf-8'); os._exit(9)"
    )
    target = tmp_path / "kept"
    assert subprocess.run([sys.executable, "-c", code, str(target)], check=False).returncode == 9
    (left,) = tmp_path.iterdir()
    assert (left / "archive").exists()
    with scratch_folder(target) as scratch:
        assert list(tmp_path.iterdir()) == [scratch]
    assert list(tmp_path.iterdir()) == []


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


def test_names_with_control_characters_keep_the_form_of_an_error() -> None:
    error = ShopsightError("new\nline is odd", where="\x1b[31mred", details=["a\rb", "\u202egnp"])
    lines = ["\\x1b[31mred: new\\nline is odd", "  a\\rb", "  \\u202egnp"]
    assert str(error).splitlines() == lines


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


def test_a_file_that_a_scanner_holds_for_a_moment_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(tmp_path / "a.json", 1)
    calls = windows_refuses(monkeypatch, "replace", times=3)
    write_json(tmp_path / "a.json", 2)
    assert len(calls) == 4
    assert read_json(tmp_path / "a.json") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("winerror", [5, 32, 33])
def test_what_was_written_is_kept_while_a_program_holds_the_file(
    winerror: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_files, "PATIENCE_S", 0.1)
    target = tmp_path / "predictions.csv"
    target.write_text("old", encoding="utf-8")
    calls = windows_refuses(monkeypatch, "replace", times=1000, winerror=winerror)
    with pytest.raises(HeldFileError) as raised:
        write_text(target, "hours of work")
    assert len(calls) > 1
    assert target.read_text(encoding="utf-8") == "old"
    (kept,) = [path for path in tmp_path.iterdir() if path != target]
    assert kept.read_text(encoding="utf-8") == "hours of work"
    assert raised.value.what == "it could not be replaced: another program has it open"
    assert raised.value.where == str(target)
    assert raised.value.details == (f"what was to be written is in {kept}",)
    assert f"rename {kept.name} to predictions.csv" in str(raised.value.fix)


def test_what_is_written_again_later_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_files, "PATIENCE_S", 0.1)
    target = tmp_path / "metrics.csv"
    target.write_text("old", encoding="utf-8")
    windows_refuses(monkeypatch, "replace", times=1000)
    with pytest.raises(WriteError), atomic_file(target, keep=False) as part:
        part.write_text("new", encoding="utf-8")
    assert list(tmp_path.iterdir()) == [target]


def test_other_refusals_are_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder stands in the way: waiting changes nothing."""
    (tmp_path / "a.json" / "inside").mkdir(parents=True)
    calls = windows_refuses(monkeypatch, "replace", times=0)
    with pytest.raises(WriteError, match=r"it could not be replaced: .*directory"):
        write_json(tmp_path / "a.json", 1)
    # What was written gets a name that is kept, once.
    assert len(calls) == 1
    (kept,) = tmp_path.glob(".shopsight-*.kept")
    assert read_json(kept) == 1


def test_a_folder_that_is_held_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_files, "PATIENCE_S", 0.1)
    target = tmp_path / "model"
    with atomic_folder(target) as part:
        (part / "old").write_text("", encoding="utf-8")
    real = os.replace

    def refuse(source: Path, end: Path) -> None:
        # The old folder can be moved aside, the new one cannot take its place.
        if end == target and (Path(source) / "new").exists():
            error = PermissionError(13, "used by another process")
            error.winerror = 5  # type: ignore[attr-defined]
            raise error
        real(source, end)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(WriteError) as raised, atomic_folder(target) as part:
        (part / "new").write_text("", encoding="utf-8")
    assert [path.name for path in target.iterdir()] == ["old"]
    (kept,) = [path for path in tmp_path.iterdir() if path != target]
    assert [path.name for path in kept.iterdir()] == ["new"]
    assert str(kept) in str(raised.value)


@pytest.mark.posix("Windows opens no path of 260 characters")
def test_a_name_of_the_greatest_length_can_be_written(tmp_path: Path) -> None:
    """The temporary file's name does not hold the target's."""
    target = tmp_path / ("n" * 250 + ".json")
    write_json(target, 1)
    assert read_json(target) == 1


def test_text_has_the_same_bytes_everywhere(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "one\ntwo\n")
    assert (tmp_path / "a.txt").read_bytes() == b"one\ntwo\n"


def test_a_file_that_stays_held_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_files, "PATIENCE_S", 0.1)
    (tmp_path / "a").write_text("", encoding="utf-8")
    with monkeypatch.context() as held:
        calls = windows_refuses(held, "unlink", times=1000)
        assert not held_files.remove_file(tmp_path / "a")
        assert len(calls) > 1
    assert held_files.remove_file(tmp_path / "a")
    assert not (tmp_path / "a").exists()
    assert held_files.remove_file(tmp_path / "a")


def test_a_folder_that_cannot_be_put_back_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_files, "PATIENCE_S", 0.0)
    target = tmp_path / "model"
    with atomic_folder(target) as part:
        (part / "old").write_text("", encoding="utf-8")
    real = os.replace

    def refuse(source: Path, end: Path) -> None:
        if end == target:
            error = PermissionError(13, "used by another process")
            error.winerror = 32  # type: ignore[attr-defined]
            raise error
        real(source, end)

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(HeldFileError) as raised, atomic_folder(target) as part:
        (part / "new").write_text("", encoding="utf-8")
    (new,), (old,) = tmp_path.glob(".shopsight-*.kept"), tmp_path.glob(".shopsight-*.old/model")
    assert [path.name for path in (*new.iterdir(), *old.iterdir())] == ["new", "old"]
    assert raised.value.details == (
        f"what was to be written is in {new}",
        f"what was there before is in {old}",
    )
    names = f"then rename {new.name} to model, or {old.parent.name}/model"
    assert names in str(raised.value)


def test_a_file_that_a_scanner_opens_before_it_is_flushed_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`open` on Windows sets no winerror: a refused permission alone means a held file."""
    monkeypatch.setattr(held_files, "ON_WINDOWS", True)
    real, refused = os.open, []

    def refuse(path: Path, flags: int) -> int:
        if flags == os.O_RDWR and len(refused) < 3:
            refused.append(path)
            raise PermissionError(13, "Permission denied")
        return real(path, flags)

    monkeypatch.setattr(os, "open", refuse)
    write_json(tmp_path / "a.json", 1)
    assert len(refused) == 3
    assert read_json(tmp_path / "a.json") == 1


def test_without_windows_a_refused_permission_is_not_waited_for() -> None:
    assert not held_files.is_held(PermissionError(13, "Permission denied"))


def test_a_file_system_that_flushes_no_folders_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def refuse(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    write_json(tmp_path / "a.json", 1)
    assert read_json(tmp_path / "a.json") == 1


def test_only_an_empty_folder_is_removed(tmp_path: Path) -> None:
    (tmp_path / "full" / "inside").mkdir(parents=True)
    held_files.remove_empty_folder(tmp_path / "full")
    assert (tmp_path / "full" / "inside").is_dir()
    held_files.remove_empty_folder(tmp_path / "full" / "inside")
    assert not (tmp_path / "full" / "inside").exists()


def test_a_damaged_file_of_ours_is_named_with_what_makes_it_anew(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    for content in (b"", b'{"a": ', b"\xff\xfe", b"[1]", None):
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        with pytest.raises(DamagedFileError) as caught:
            read_json_table(file, fix="train anew")
        assert (caught.value.where, caught.value.fix) == (str(file), "train anew")


def test_errors_of_ours_pass_where_damage_is_named(tmp_path: Path) -> None:
    with pytest.raises(WriteError), damage_named(tmp_path):
        raise WriteError("the disk is full")


def test_what_another_process_makes_meanwhile_is_not_taken_for_the_removed_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock that is taken anew just after it was removed must not be removed again."""
    lock, unlink = tmp_path / "a.lock", Path.unlink
    lock.touch()

    def then_made_anew(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok=missing_ok)
        path.touch()

    monkeypatch.setattr(Path, "unlink", then_made_anew)
    assert held_files.remove_unless_held(lock)
