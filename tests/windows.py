"""Windows imposed on Linux and macOS: what Windows refuses is refused to our calls.

A pass proves nothing about Windows by itself; a failure shows what would fail there. Use:

    python -m pytest -p tests.windows ...           the tests, and every Python that they start
    python tests/windows.py -m shopsight audit ...  a command, and every Python that it starts

A rule applies to a call whose nearest caller outside the standard library is `shopsight` or one
of its tests. Other libraries run their POSIX code here, which says nothing about Windows; files
that they hold open or mapped count. What a rule finds is raised as the error that Windows
raises, `winerror` included, or as `NotPortableError` where Windows would go on with other bytes
or another file.

Imposed:

- `os.fsync` of a descriptor that is open for reading only fails.
- A file that this process holds open or mapped is not renamed, replaced or removed, nor is a
  folder that contains one, nor the working directory; a mapped file is not truncated. Read from
  /proc, so not on macOS.
- `os.rename` does not replace a file, `os.replace` does not replace a folder.
- A file without write permission is not opened for writing, replaced or removed, for root
  either; `chmod` changes that permission and no other.
- Reserved names, forbidden characters (the backslash among them), a trailing dot or space, and
  paths of 260 characters (folders: 248) are refused.
- Names are found in any case. A second name that differs by case only is refused.
- A folder is not opened as a file. Symbolic links need a privilege that users do not have.
- Modules and attributes that Windows lacks are missing; `os.kill` and `Popen.send_signal` end a
  process and do nothing else.
- Text is written with CRLF. Text opened, or read from a subprocess, without an encoding is an
  error: it would be cp1252. Standard streams that are no terminal are cp1252 with CRLF.

Not imposed: backslashes and drives in paths, UNC, `os.name` and `sys.platform` (branches on them
run their POSIX side), another process's open files, junctions, the order of `os.listdir`, spawn
as the way processes start, exit codes of ended processes, HOME against USERPROFILE, cmd.exe.

PYTEST_DONT_REWRITE: workers of pytest-xdist import this before pytest.
"""

from __future__ import annotations

import builtins
import errno
import functools
import importlib.util
import io
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

Function = Callable[..., Any]
# Now, as from Python 3.13 on it imports a module when it is first asked.
STDLIB = sysconfig.get_path("stdlib")
Arguments = tuple[tuple[Any, ...], dict[str, Any]]
Check = Callable[..., Arguments]

STARTUP = Path(__file__).parent / "windows_startup"
"""On PYTHONPATH, its sitecustomize.py imposes the rules on every Python that is started."""
MAX_PATH = 260
MAX_FOLDER_PATH = 248
PORTABLE_LIBRARIES = ("lightning", "lightning_fabric", "fsspec")
"""What these do to files they do on every platform alike, and at our request."""

RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³]) *(\..*)?", re.I)
FORBIDDEN = re.compile(r'[\x00-\x1f<>:"|?*\\]|[. ]$')

ERRORS = {
    5: (errno.EACCES, "Access is denied"),
    32: (errno.EACCES, "The process cannot access the file because another process uses it"),
    123: (errno.EINVAL, "The filename, directory name, or volume label syntax is incorrect"),
    183: (errno.EEXIST, "Cannot create a file when that file already exists"),
    206: (errno.ENOENT, "The filename or extension is too long"),
    1224: (errno.EINVAL, "The operation cannot be performed on a file with a mapped section"),
    1314: (errno.EINVAL, "A required privilege is not held by the client"),
}
"""By Windows' number: the errno that Python derives from it, and the message."""

MISSING_MODULES = {
    *("crypt", "curses", "fcntl", "grp", "nis", "posix", "pty", "pwd"),
    *("readline", "resource", "spwd", "syslog", "termios", "tty"),
}
# From typeshed: what stands under `sys.platform != "win32"`.
MISSING = {
    "os": re.compile(
        r"(CLD|EFD|EX|F|GRND|MFD|POSIX|PRIO|P|RTLD|RWF|SCHED|SPLICE|ST|W|XATTR)_?[A-Z_]*"
        r"|O_(ACCMODE|ASYNC|CLOEXEC|DIRECT|DIRECTORY|DSYNC|NDELAY|NOATIME|NOCTTY|NOFOLLOW"
        r"|NONBLOCK|PATH|SYNC|TMPFILE)|SEEK_(DATA|HOLE)|chown|chroot|confstr|copy_file_range"
        r"|ctermid|environb|eventfd\w*|f(chdir|chmod|chown|datasync|ork|orkpty|pathconf|statvfs"
        r"|walk)|get(e?[gu]id|envb|grouplist|groups|loadavg|pgid|pgrp|priority|random|res[gu]id"
        r"|sid|xattr)|initgroups|killpg|lchown|listxattr|lockf|major|makedev|memfd_create|minor"
        r"|mkfifo|mknod|nice|openpty|pathconf|pidfd_open|pipe2|posix_\w+|pread|preadv|pwrite"
        r"|pwritev|readv|register_at_fork|removexattr|sched_\w+|sendfile|set(re|res|e)?[gu]id"
        r"|set(groups|pgid|pgrp|priority|sid|xattr)|spawn[lv]pe?|splice|statvfs|sync|sysconf"
        r"|tc[gs]etpgrp|ttyname|uname|wait|wait[34]|waitid|writev"
    ),
    "signal": re.compile(
        r"ITIMER_\w+|ItimerError|SIG_(BLOCK|SETMASK|UNBLOCK)|SIG(ALRM|BUS|CHLD|CLD|CONT|HUP|IO|IOT"
        r"|KILL|PIPE|POLL|PROF|PWR|QUIT|RT\w+|STKFLT|STOP|SYS|TRAP|TSTP|TTIN|TTOU|URG|USR[12]"
        r"|VTALRM|WINCH|XCPU|XFSZ)|alarm|[gs]etitimer|pause|pidfd_send_signal|pthread_\w+"
        r"|siginterrupt|sigpending|sig\w*wait\w*"
    ),
    "time": re.compile(r"CLOCK_\w+|clock_\w+|pthread_getcpuclockid|tzset"),
    "mmap": re.compile(r"(MADV|MAP|PROT)_\w+"),
    "socket": re.compile(r"AF_(UNIX|NETLINK|PACKET|VSOCK)|SO_(REUSEPORT|PEERCRED)|\w+_fds"),
    "select": re.compile(r"E?POLL\w+|PIPE_BUF|e?poll"),
}
"""By module: the attributes that Windows lacks."""


class NotPortableError(Exception):
    """A call of ours that Windows would answer otherwise, and not with an error."""


def windows_error(number: int, path: object) -> OSError:
    """The error that Python raises on Windows for its error `number` about `path`."""
    code, message = ERRORS[number]
    error = OSError(code, f"[WinError {number}] {message}", str(path))
    error.winerror = number  # type: ignore[attr-defined]
    return error


# --- whose call it is


@functools.cache
def _our_folders() -> tuple[str, ...]:
    spec = importlib.util.find_spec("shopsight")
    package = Path(spec.origin).parent if spec and spec.origin else Path("src/shopsight").resolve()
    return f"{package}{os.sep}", f"{Path(__file__).parent}{os.sep}"


@functools.cache
def _owner(filename: str) -> str:
    """Who wrote a file of code: "ours", "theirs", or "between" for what is looked through."""
    if filename == __file__ or filename.startswith("<"):
        return "between"
    if filename.startswith(_our_folders()):
        return "ours"
    if "site-packages" in filename:
        portable = any(f"site-packages/{name}/" in filename for name in PORTABLE_LIBRARIES)
        return "between" if portable else "theirs"
    return "between" if filename.startswith(STDLIB) else "theirs"


def our_frame() -> FrameType | None:
    """The frame that made the call, if it is ours."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        owner = _owner(frame.f_code.co_filename)
        if owner != "between":
            return frame if owner == "ours" else None
        frame = frame.f_back
    return None


def _direct_caller() -> str:
    """The file of the code that called a function which is being checked."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    return frame.f_code.co_filename if frame else ""


def _not_portable(what: str) -> NotPortableError:
    frame = our_frame()
    place = f" ({frame.f_code.co_filename}:{frame.f_lineno})" if frame else ""
    return NotPortableError(what + place)


# --- files that are held


def _open_files() -> Iterator[str]:
    for name in os.listdir("/proc/self/fd"):
        try:
            if stat.S_ISREG(os.fstat(int(name)).st_mode):
                yield os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # closed since
            continue


def _in_place(path: str, dir_fd: int | None = None) -> str:
    """The path with its folder resolved; a link itself is not followed."""
    if dir_fd is not None:
        path = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), path)
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(folder), name)


def is_open(path: str) -> bool:
    """Whether this process holds a descriptor of `path` or of a file below it."""
    if not sys.platform.startswith("linux"):
        return False
    return any(name == path or name.startswith(f"{path}/") for name in _open_files())


def is_mapped(path: str) -> bool:
    """Whether this process has `path` or a file below it mapped into its memory."""
    if not sys.platform.startswith("linux"):
        return False
    maps = Path("/proc/self/maps").read_bytes()
    return any(os.fsencode(path) + end in maps for end in (b"\n", b"/"))


def _refuse_held(path: str, *, as_target: bool = False) -> None:
    if is_mapped(path):
        raise windows_error(5, path)
    if is_open(path):
        raise windows_error(5 if as_target or os.path.isdir(path) else 32, path)
    working = os.getcwd()
    if working == path or working.startswith(f"{path}/"):
        raise windows_error(32, path)


def _is_read_only(path: str) -> bool:
    try:
        status = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and not status.st_mode & stat.S_IWUSR


# --- names


def refuse_name(path: str, *, limit: int = MAX_PATH) -> None:
    """Refuse to create what Windows cannot name.

    Raises:
        OSError: a reserved name, a forbidden character, or a path of `limit` characters.
    """
    for part in path.split("/"):
        if part not in (".", "..") and (RESERVED.fullmatch(part) or FORBIDDEN.search(part)):
            raise windows_error(123, path)
    if len(os.path.abspath(path)) >= limit:
        raise windows_error(206, path)


def _stored(path: str) -> str:
    """The path in the case in which its existing parts are stored."""
    if not path or path == "/" or os.path.lexists(path):
        return path
    folder, name = os.path.split(path.rstrip("/"))
    folder = _stored(folder)
    try:
        names = os.listdir(folder or ".")
    except OSError:
        names = []
    same = (other for other in names if other.casefold() == name.casefold())
    return os.path.join(folder, next(same, name))


def _refuse_case_variant(given: str, stored: str) -> None:
    if os.path.basename(given) != os.path.basename(stored):
        raise _not_portable(f"{given!r} is {stored!r} where case does not count")


# --- checks of `os`: each takes the arguments of a call and gives those to call with


def _of_path(check: Callable[..., str]) -> Check:
    """The check of a function of one path, from `check(path, ...)`, which gives the path to use."""

    def check_call(path: Any = ".", *args: Any, **options: Any) -> Arguments:
        if isinstance(path, int) or _direct_caller() == shutil.__file__:
            # shutil.rmtree opens folders on POSIX, and goes by their descriptors.
            if options.get("dir_fd") is not None and check is _remove:
                check(_in_place(os.fsdecode(path), options["dir_fd"]))
            return (path, *args), options
        return (check(os.fsdecode(path), *args), *args), options

    return check_call


def _look_up(path: str, *_: Any) -> str:
    return _stored(path)


def _remove(path: str, *_: Any) -> str:
    path = _stored(path)
    if os.path.lexists(path):
        place = _in_place(path)
        _refuse_held(place)
        if _is_read_only(place):
            raise windows_error(5, path)
    return path


def _make_folder(path: str, *_: Any) -> str:
    refuse_name(path, limit=MAX_FOLDER_PATH)
    stored = _stored(path)
    if os.path.lexists(stored):
        raise windows_error(183, path)
    return stored


def _open_descriptor(path: str, flags: int, *_: Any) -> str:
    stored = _stored(path)
    if os.path.isdir(stored):
        raise PermissionError(errno.EACCES, "Permission denied", path)
    if flags & os.O_CREAT:
        refuse_name(path)
        _refuse_case_variant(path, stored)
    return stored


def _move(source: Any, target: Any, *, replaces: bool, **options: Any) -> Arguments:
    old, given = _stored(os.fspath(source)), os.fspath(target)
    new = _stored(given)
    refuse_name(given, limit=MAX_FOLDER_PATH if os.path.isdir(old) else MAX_PATH)
    same = os.path.lexists(new) and os.path.lexists(old) and os.path.samefile(old, new)
    if os.path.lexists(new) and not same:
        if not replaces:
            raise windows_error(183, given)
        if os.path.isdir(new) or _is_read_only(new):
            raise windows_error(5, given)
        _refuse_case_variant(given, new)
        _refuse_held(_in_place(new), as_target=True)
    if os.path.lexists(old):
        _refuse_held(_in_place(old))
    return (old, os.path.join(_stored(os.path.dirname(given)), os.path.basename(given))), options


def _symlink(_source: Any, target: Any, *_args: Any, **_options: Any) -> Arguments:
    raise windows_error(1314, target)


def _fsync(file: Any) -> Arguments:
    import fcntl

    number = file if isinstance(file, int) else file.fileno()
    if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "Bad file descriptor")
    return (number,), {}


def _chmod(path: Any, mode: int, **options: Any) -> Arguments:
    before = stat.S_IMODE(os.stat(path).st_mode)
    return (path, before | 0o200 if mode & stat.S_IWUSR else before & ~0o222), options


def _kill(process: int, number: int) -> Arguments:
    if number != signal.SIGTERM and _direct_caller() != subprocess.__file__:
        raise _not_portable(f"os.kill with signal {number} ends the process")
    return (process, number), {}


OS_CHECKS: dict[str, Check] = {
    **dict.fromkeys(("stat", "lstat", "listdir", "scandir", "utime"), _of_path(_look_up)),
    **dict.fromkeys(("unlink", "remove", "rmdir"), _of_path(_remove)),
    "mkdir": _of_path(_make_folder),
    "open": _of_path(_open_descriptor),
    "rename": functools.partial(_move, replaces=False),
    "replace": functools.partial(_move, replaces=True),
    "symlink": _symlink,
    "fsync": _fsync,
    "chmod": _chmod,
    "kill": _kill,
}

# --- checks of files of text, and of processes


def _open_file(path: str, *, writes: bool, truncates: bool) -> str:
    stored = _stored(path)
    if os.path.isdir(stored) or (writes and _is_read_only(stored)):
        raise PermissionError(errno.EACCES, "Permission denied", path)
    if writes:
        refuse_name(path)
        _refuse_case_variant(path, stored)
        if truncates and os.path.lexists(stored) and is_mapped(os.path.realpath(stored)):
            raise windows_error(1224, path)
    return stored


def _open(
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    *rest: Any,
    **options: Any,
) -> Arguments:
    writes = not set("wax+").isdisjoint(mode)
    if "b" not in mode:
        if encoding in (None, "locale"):
            raise _not_portable(f"{file!r} is opened as text without an encoding")
        newline = "\r\n" if newline is None and writes and "+" not in mode else newline
    if isinstance(file, str | os.PathLike):
        file = _open_file(os.fspath(file), writes=writes, truncates="w" in mode)
    return (file, mode, buffering, encoding, errors, newline, *rest), options


def _start(process: subprocess.Popen[Any], *args: Any, **options: Any) -> Arguments:
    as_text = any(options.get(name) for name in ("text", "universal_newlines", "errors"))
    if as_text and not options.get("encoding"):
        raise _not_portable("a subprocess is read as text without an encoding")
    for name in ("preexec_fn", "pass_fds"):
        if options.get(name):
            raise ValueError(f"{name} is not supported on Windows platforms")
    return (process, *args), options


def _send_signal(process: subprocess.Popen[Any], number: int) -> Arguments:
    # Popen.kill and Popen.terminate come by here too.
    if number != signal.SIGTERM and _direct_caller() != subprocess.__file__:
        raise ValueError(f"Unsupported signal: {number}")
    return (process, number), {}


# --- modules as Windows has them


class WindowsModule(ModuleType):
    """A module without what Windows lacks; what else is set on it is set on the module itself."""

    def __init__(self, real: ModuleType) -> None:
        missing = {name for name in dir(real) if MISSING[real.__name__].fullmatch(name)}
        super().__setattr__("_parts", (real, missing, {}))

    def __getattribute__(self, name: str) -> Any:
        real, missing, added = super().__getattribute__("_parts")
        if name in added:
            return added[name]
        if name in missing:
            raise AttributeError(f"module {real.__name__!r} has no attribute {name!r} on Windows")
        return getattr(real, name)

    def __setattr__(self, name: str, value: Any) -> None:
        real, missing, added = super().__getattribute__("_parts")
        if name not in missing:
            setattr(real, name, value)
        elif value is getattr(real, name):  # a test that ends puts back what it found
            added.pop(name, None)
        else:
            added[name] = value

    def __delattr__(self, name: str) -> None:
        real, missing, added = super().__getattribute__("_parts")
        if name in missing:
            added.pop(name, None)
        else:
            delattr(real, name)


def _import(real: Function) -> Function:
    modules: dict[str, WindowsModule] = {}

    def import_module(
        name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> Any:
        found = real(name, globals, locals, fromlist, level)
        importer = (globals or {}).get("__file__") or ""
        if level or _owner(importer) != "ours":
            return found
        top = name.partition(".")[0]
        if top in MISSING_MODULES:
            raise ModuleNotFoundError(f"No module named {name!r} on Windows", name=name)
        if top not in MISSING:
            return found
        lacking = [item for item in fromlist or () if MISSING[top].fullmatch(item)]
        if lacking and name == top:
            raise ImportError(f"cannot import name {lacking[0]!r} from {name!r} on Windows")
        return found if fromlist else modules.setdefault(top, WindowsModule(found))

    return import_module


# --- switched on

_checking = threading.local()


def _standard_streams() -> None:
    if sys.flags.utf8_mode or os.environ.get("PYTHONIOENCODING"):
        return
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not stream.isatty():
            newline = None if stream is sys.stdin else "\r\n"
            stream.reconfigure(encoding="cp1252", newline=newline)


def _impose(module: Any, name: str, check: Check) -> None:
    real = getattr(module, name)

    @functools.wraps(real)
    def call(*args: Any, **options: Any) -> Any:
        # What a check itself calls is not checked.
        if not getattr(_checking, "active", False) and our_frame() is not None:
            _checking.active = True
            try:
                args, options = check(*args, **options)
            finally:
                _checking.active = False
        return real(*args, **options)

    for supporting in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
        if real in supporting:
            supporting.add(call)
    setattr(module, name, call)


def inherit() -> dict[str, str]:
    """The environment in which every Python that is started has the rules imposed."""
    paths = [str(STARTUP), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@functools.cache
def install() -> None:
    """Impose the rules on this process, and on every Python that it starts."""
    if sys.platform == "win32":
        return
    _our_folders()
    for name, check in OS_CHECKS.items():
        _impose(os, name, check)
    _impose(io, "open", _open)
    builtins.open = io.open
    _impose(subprocess.Popen, "__init__", _start)
    _impose(subprocess.Popen, "send_signal", _send_signal)
    builtins.__import__ = _import(builtins.__import__)
    if str(STARTUP) not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        os.environ["PYTHONPATH"] = inherit()["PYTHONPATH"]


def install_at_startup() -> None:
    """Impose the rules, on the standard streams too. For `sitecustomize`."""
    install()
    _standard_streams()


def is_imposed() -> bool:
    """Whether this process runs under the rules."""
    return install.cache_info().currsize > 0 and sys.platform != "win32"


def pytest_addoption() -> None:
    """The first hook of a plugin named by `-p`: conftest.py has not imported shopsight yet."""
    install()


if __name__ == "__main__":
    # The command takes this process over: who ends the one ends the other.
    os.execve(sys.executable, [sys.executable, *sys.argv[1:]], inherit())
