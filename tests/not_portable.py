"""Calls that work on Linux and not on Windows: what tests/windows.py must refuse.

Run as a program with a folder, it makes each call in a folder of its own below and prints what
each raised as JSON: the name of the call, then "" or the error's class and Windows' number.
"""

from __future__ import annotations

import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.windows import MAX_PATH

Call = Callable[[Path], object]


def sync_a_file_open_for_reading(folder: Path) -> None:
    (folder / "a").write_bytes(b"a")
    with (folder / "a").open("rb") as file:
        os.fsync(file.fileno())


def remove_an_open_file(folder: Path) -> None:
    with (folder / "a").open("wb"):
        (folder / "a").unlink()


def remove_a_folder_with_an_open_file(folder: Path) -> None:
    (folder / "inner").mkdir()
    with (folder / "inner" / "a").open("wb"):
        shutil.rmtree(folder / "inner")


def replace_an_open_file(folder: Path) -> None:
    (folder / "new").write_bytes(b"new")
    with (folder / "a").open("wb"):
        (folder / "new").replace(folder / "a")


def rename_an_open_file(folder: Path) -> None:
    with (folder / "a").open("wb"):
        (folder / "a").rename(folder / "b")


def rename_a_folder_with_an_open_file(folder: Path) -> None:
    (folder / "inner").mkdir()
    with (folder / "inner" / "a").open("wb"):
        (folder / "inner").rename(folder / "other")


def rename_the_working_directory(folder: Path) -> None:
    (folder / "inner").mkdir()
    before = Path.cwd()
    os.chdir(folder / "inner")
    try:
        (folder / "inner").rename(folder / "other")
    finally:
        os.chdir(before)


def _mapped(path: Path) -> mmap.mmap:
    path.write_bytes(b"mapped")
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def remove_a_mapped_file(folder: Path) -> None:
    with _mapped(folder / "a"):
        (folder / "a").unlink()


def replace_a_mapped_file(folder: Path) -> None:
    (folder / "new").write_bytes(b"new")
    with _mapped(folder / "a"):
        (folder / "new").replace(folder / "a")


def truncate_a_mapped_file(folder: Path) -> None:
    with _mapped(folder / "a"):
        (folder / "a").write_bytes(b"")


def rename_over_a_file(folder: Path) -> None:
    (folder / "a").touch()
    (folder / "b").touch()
    (folder / "a").rename(folder / "b")


def replace_an_empty_folder(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    (folder / "a").replace(folder / "b")


def remove_a_read_only_file(folder: Path) -> None:
    (folder / "a").touch()
    (folder / "a").chmod(0o444)
    (folder / "a").unlink()


def make_a_reserved_folder(folder: Path) -> None:
    (folder / "aux.v2").mkdir()


def write_a_reserved_file(folder: Path) -> None:
    (folder / "NUL.txt").write_bytes(b"")


def write_a_name_with_a_colon(folder: Path) -> None:
    (folder / "a:b").write_bytes(b"")


def touch_a_name_with_a_question_mark(folder: Path) -> None:
    (folder / "a?").touch()


def rename_to_a_name_with_a_trailing_dot(folder: Path) -> None:
    (folder / "a").touch()
    (folder / "a").rename(folder / "a.")


def write_a_path_of_260_characters(folder: Path) -> None:
    room = MAX_PATH - len(str(folder)) - len("/")
    (folder / ("n" * room)).write_bytes(b"")


def make_a_folder_that_differs_by_case(folder: Path) -> None:
    (folder / "Shirt").mkdir()
    (folder / "shirt").mkdir()


def write_a_file_that_differs_by_case(folder: Path) -> None:
    (folder / "A.jpg").write_bytes(b"")
    (folder / "a.JPG").write_bytes(b"")


def miss_a_file_of_another_case(folder: Path) -> None:
    (folder / "A.jpg").write_bytes(b"")
    if (folder / "a.jpg").exists():
        raise FileExistsError(folder / "a.jpg")


def make_a_symbolic_link(folder: Path) -> None:
    (folder / "link").symlink_to(folder)


def open_a_folder(folder: Path) -> None:
    os.close(os.open(folder, os.O_RDONLY))


def write_text_without_an_encoding(folder: Path) -> None:
    (folder / "a").write_text("a")


def read_text_without_an_encoding(folder: Path) -> None:
    (folder / "a").write_bytes(b"")
    (folder / "a").read_text()


def read_a_subprocess_without_an_encoding(folder: Path) -> None:
    subprocess.run([sys.executable, "-c", ""], text=True, capture_output=True, check=True)


def expect_line_feeds(folder: Path) -> None:
    (folder / "a").write_text("a\n", encoding="utf-8")
    if (folder / "a").read_bytes() != b"a\n":
        raise ValueError((folder / "a").read_bytes())


def import_a_module_of_posix(_folder: Path) -> None:
    import fcntl  # noqa: F401


def use_a_function_of_posix(_folder: Path) -> None:
    os.sched_getaffinity(0)


def import_a_function_of_posix(_folder: Path) -> None:
    from os import fork  # noqa: F401


def use_a_signal_of_posix(_folder: Path) -> int:
    return signal.SIGKILL


def ask_for_a_process(_folder: Path) -> None:
    os.kill(os.getpid(), 0)


def interrupt_a_process(_folder: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        try:
            process.send_signal(signal.SIGINT)
        finally:
            process.kill()


def print_what_cp1252_lacks(_folder: Path) -> None:
    program = "import sys; sys.stdout.write('\\u88d9')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    if done.returncode:
        raise UnicodeError(done.stderr)


CALLS: dict[Call, str] = {
    sync_a_file_open_for_reading: "OSError",
    remove_an_open_file: "PermissionError 32",
    remove_a_folder_with_an_open_file: "PermissionError 32",
    replace_an_open_file: "PermissionError 5",
    rename_an_open_file: "PermissionError 32",
    rename_a_folder_with_an_open_file: "PermissionError 5",
    rename_the_working_directory: "PermissionError 32",
    remove_a_mapped_file: "PermissionError 5",
    replace_a_mapped_file: "PermissionError 5",
    truncate_a_mapped_file: "OSError 1224",
    rename_over_a_file: "FileExistsError 183",
    replace_an_empty_folder: "PermissionError 5",
    remove_a_read_only_file: "PermissionError 5",
    make_a_reserved_folder: "OSError 123",
    write_a_reserved_file: "OSError 123",
    write_a_name_with_a_colon: "OSError 123",
    touch_a_name_with_a_question_mark: "OSError 123",
    rename_to_a_name_with_a_trailing_dot: "OSError 123",
    write_a_path_of_260_characters: "FileNotFoundError 206",
    make_a_folder_that_differs_by_case: "FileExistsError 183",
    write_a_file_that_differs_by_case: "NotPortableError",
    miss_a_file_of_another_case: "FileExistsError",
    make_a_symbolic_link: "OSError 1314",
    open_a_folder: "PermissionError",
    write_text_without_an_encoding: "NotPortableError",
    read_text_without_an_encoding: "NotPortableError",
    read_a_subprocess_without_an_encoding: "NotPortableError",
    expect_line_feeds: "ValueError",
    import_a_module_of_posix: "ModuleNotFoundError",
    use_a_function_of_posix: "AttributeError",
    import_a_function_of_posix: "ImportError",
    use_a_signal_of_posix: "AttributeError",
    ask_for_a_process: "NotPortableError",
    interrupt_a_process: "ValueError",
    print_what_cp1252_lacks: "UnicodeError",
}
"""Each call, and what it raises under the rules."""
NEED_PROC = ("open_file", "working_directory", "mapped_file")
"""Endings of calls that are refused where /proc says what a process holds."""


def outcome(call: Call, folder: Path) -> str:
    """What a call raises: "" or the error's class, then Windows' number if it has one."""
    folder.mkdir()
    try:
        call(folder)
    except Exception as error:
        return f"{type(error).__name__} {getattr(error, 'winerror', None) or ''}".strip()
    return ""


if __name__ == "__main__":
    below = Path(sys.argv[1])
    outcomes = {call.__name__: outcome(call, below / call.__name__) for call in CALLS}
    sys.stdout.write(json.dumps(outcomes))
