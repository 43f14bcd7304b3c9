"""How numbers, counts, lists and commands are written, in messages, tables and pages."""

from __future__ import annotations

import math
import os
import re
import shlex
import subprocess
from collections.abc import Sequence

from shopsight.control_characters import one_line

NOT_A_NUMBER = "\N{EN DASH}"
# What neither cmd.exe nor PowerShell reads as anything but itself.
_PLAIN_ON_WINDOWS = re.compile(r"[\w./\\:=+-]+")


def counted(count: int, noun: str) -> str:
    """Write a number with its noun.

    >>> counted(1, "image"), counted(1200, "class"), counted(2, "copy")
    ('1 image', '1,200 classes', '2 copies')
    """
    if count == 1:
        return f"1 {noun}"
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{count:,} {noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{count:,} {noun[:-1]}ies"
    return f"{count:,} {noun}s"


def one_of(nouns: str) -> str:
    """What one of several is called.

    >>> one_of("images"), one_of("batches"), one_of("passes"), one_of("sizes")
    ('image', 'batch', 'pass', 'size')
    """
    return nouns[:-2] if nouns.endswith(("sses", "xes", "ches", "shes")) else nouns[:-1]


def listed(names: Sequence[str], *, most: int = 5) -> str:
    """Write names in a row, the first few of a long list with its total.

    >>> listed(["a", "b"]), listed(["a", "b", "c"], most=2)
    ('a, b', 'a, b, ... (3 in all)')
    """
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown}, ... ({len(names):,} in all)"


def lines_of(text: str) -> list[str]:
    r"""The lines of a text, without their ends.

    `str.splitlines` also splits at what stands within cells and strings: form feeds, U+2028 ...

    >>> lines_of("a\u2028b\r\nc\rd\n")
    ['a\u2028b', 'c', 'd']
    """
    lines = re.split(r"\r\n|\r|\n", text)
    return lines if lines[-1] else lines[:-1]


def count_text(value: float) -> str:
    """Write a count.

    >>> count_text(12345)
    '12,345'
    """
    return f"{value:,.0f}"


def is_unicode(text: str) -> bool:
    r"""Whether a text can be written as UTF-8.

    Python reads a file name that is not UTF-8, such as `caf\xe9` of an old archive, with halves of
    surrogate pairs for the bytes that are not. Neither polars nor a file of text takes them.

    >>> is_unicode("café"), is_unicode("caf\udce9")
    (True, False)
    """
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def fix_in_line(fix: str) -> str:
    r"""The fixes of an error within a line: the commands or flags, without what is said of them.

    >>> fix_in_line("--drop LABEL   (drops it)\n--label-map FILE")
    '--drop LABEL or --label-map FILE'
    """
    return " or ".join(line.partition("   ")[0] for line in fix.splitlines())


def as_unicode(text: str) -> str:
    r"""The text with an escape for each character that UTF-8 cannot hold.

    >>> as_unicode("caf\udce9")
    'caf\\udce9'
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def has_escapes(text: str) -> bool:
    r"""Whether `as_unicode` wrote an escape for a byte that is not UTF-8.

    >>> has_escapes(as_unicode("caf\udce9")), has_escapes("café")
    (True, False)
    """
    return r"\udc" in text


def percent_text(value: float | None, digits: int = 1) -> str:
    """Write a fraction as a percentage; None and NaN as a dash.

    >>> percent_text(0.8756), percent_text(0.8756, 0)
    ('87.6 %', '88 %')
    """
    if value is None or math.isnan(value):
        return NOT_A_NUMBER
    return f"{100 * value:.{digits}f} %"


def percent_with_ends(value: float, low: float | None, high: float | None) -> str:
    """Write a fraction with its interval; without one, where an end is None or NaN.

    >>> percent_with_ends(0.991, 0.98, 0.997), percent_with_ends(0.991, None, None)
    ('99.1 % [98.0, 99.7]', '99.1 %')
    """
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return percent_text(value)
    return f"{percent_text(value)} [{100 * low:.1f}, {100 * high:.1f}]"


def decimal_text(value: float | None, digits: int = 3) -> str:
    """Write a number with its decimals; None and NaN as a dash.

    >>> decimal_text(0.12345)
    '0.123'
    """
    return NOT_A_NUMBER if value is None or math.isnan(value) else f"{value:.{digits}f}"


def human_bytes(count: float) -> str:
    """`1_536_000` -> `"1.5 MB"` (decimal units, as disks are sold)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration_text(seconds: float) -> str:
    """Write a duration in its two largest units.

    >>> duration_text(5160), duration_text(75), duration_text(42), duration_text(0.25)
    ('1 h 26 min', '1 min 15 s', '42 s', '0.2 s')
    """
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest_s} s"
    hours, rest_min = divmod(minutes, 60)
    return f"{hours} h {rest_min} min"


def command_line(words: Sequence[object], *, windows: bool = os.name == "nt") -> str:
    r"""Write a command so that the user's shell reads these words when it is pasted.

    On Windows in double quotes, which cmd.exe and PowerShell both take: neither knows the other's
    way to write a `$`, a `%` or a double quote itself, so words that hold one are best avoided.

    Args:
        words: the program and its arguments; paths may be given as such.
        windows: write for cmd.exe and PowerShell, not for a POSIX shell.

    >>> command_line(["shopsight", "audit", "my photos & more"], windows=False)
    "shopsight audit 'my photos & more'"
    >>> print(command_line(["shopsight", "audit", "new\nline"], windows=False))
    shopsight audit $'new\012line'
    >>> command_line(["shopsight", "audit", r"D:\photos\a&b"], windows=True)
    'shopsight audit "D:\\photos\\a&b"'
    """
    texts = [str(word) for word in words]
    if not windows:
        return " ".join(_quoted_on_posix(word) for word in texts)
    return " ".join(_quoted_on_windows(word) for word in texts)


def _quoted_on_posix(word: str) -> str:
    if one_line(word) == word:
        return shlex.quote(word)
    # Shells read these escapes; the characters themselves would be lost on their way to the eye.
    return "$'" + "".join(_escaped(character) for character in word) + "'"


def _escaped(character: str) -> str:
    if character in "\\'":
        return "\\" + character
    if one_line(character) == character:
        return character
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(character))


def _quoted_on_windows(word: str) -> str:
    if _PLAIN_ON_WINDOWS.fullmatch(word):
        return word
    quoted = subprocess.list2cmdline([word])
    if quoted.startswith('"'):
        return quoted
    # It quotes for blanks only; the backslashes before a closing quote must be doubled.
    backslashes = len(word) - len(word.rstrip("\\"))
    return f'"{quoted}{chr(92) * backslashes}"'
