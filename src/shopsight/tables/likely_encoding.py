"""Which encoding a few words were written in: readings of the same bytes, the likeliest first.

Tables are short: three class names are often all that is not ASCII. chardet's models of languages
need more than that, so its figures are weighed with what can be seen in a reading: whether its
words look like words, whether one language uses all of its letters, and for Chinese, Japanese and
Korean whether its characters are those that the standards themselves sorted out as frequent.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import chardet

ENCODINGS = {
    "cp1252": "Windows-1252", "cp1250": "Windows-1250", "cp1251": "Windows-1251",
    "cp1253": "Windows-1253", "cp1254": "Windows-1254", "cp1255": "Windows-1255",
    "cp1256": "Windows-1256", "cp1257": "Windows-1257", "cp874": "Windows-874",
    "koi8-r": "KOI8-R", "koi8-u": "KOI8-U", "mac-roman": "Mac Roman", "cp850": "DOS 850",
    "cp852": "DOS 852", "cp866": "DOS 866", "gb18030": "GBK/GB18030", "cp932": "Shift JIS",
    "cp950": "Big5", "cp949": "EUC-KR", "euc_jp": "EUC-JP",
}  # fmt: skip
"""What is tried beside Unicode: Python's name of each encoding, and the one that people know."""

# Files of today come from Windows; what only old systems wrote must be the better reading.
_RARITY = {
    "cp1252": 1.1, "cp1257": 0.9, "koi8-u": 0.7, "mac-roman": 0.8, "cp850": 0.8, "cp852": 0.7,
    "cp866": 0.8, "cp874": 0.5,
}  # fmt: skip
# Letters beside a to z that one language uses together.
_ALPHABETS = [
    frozenset(letters)
    for letters in (
        "äöüß", "àâæçèéêëîïôœùûüÿ", "áéíñóúü", "áâãàçéêíóôõúü", "àèéìíòóù", "æøåéèòóôêäö",
        "åäöéàšž", "éèëïóöü", "àçèéíïòóúü", "áčďéěíňóřšťúůýž",
        "áäčďéíĺľňóôŕšťúýž", "ąćęłńóśźż", "áéíóöőúüű", "ăâîşţșț", "čćđšž", "çğıöşüâîû",
        "ąčęėįšųūž", "āčēģīķļņšūž", "äõöüšž",
        "абвгдежзийклмнопрстуфхцчшщъыьэюяё", "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя",
        "абвгдеёжзійклмнопрстуўфхцчшыьэюя", "абвгдђежзијклљмнњопрстћуфхцчџшѓќѕ",
        "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋΐΰ", "אבגדהוזחטיךכלםמןנסעףפץצקרשת",
        "ابتثجحخدذرزسشصضطظعغفقكلمنهويءآأؤإئىةپچژگ",
        "".join(map(chr, range(0x0E01, 0x0E5B))),
    )
]  # fmt: skip


# The bytes of Turkish, which far more people write.
_ICELANDIC = frozenset("áðéíóúýþæö")


@dataclass(frozen=True)
class _Ideographs:
    """How frequent characters of an encoding are told: by a standard's first byte of each.

    Attributes:
        standard: the codec of the standard, whose rows are sorted by how frequent they are.
        rows: first bytes of frequent characters, and the bits that tell one of them from others.
        handicap_bits: what a reading must be better by.
    """

    standard: str
    rows: tuple[tuple[range, float], ...]
    handicap_bits: float = 0.0


_KANA_AND_KANJI = ((range(0xA4, 0xA6), 7.4), (range(0xB0, 0xD0), 11.5))
_CJK = {
    "cp949": _Ideographs("euc_kr", ((range(0xB0, 0xC9), 11.2),)),
    "gb18030": _Ideographs("gb2312", ((range(0xB0, 0xD8), 11.9),)),
    "cp950": _Ideographs("big5", ((range(0xA4, 0xC7), 12.4),)),
    "cp932": _Ideographs("euc_jp", _KANA_AND_KANJI),
    "euc_jp": _Ideographs("euc_jp", _KANA_AND_KANJI, handicap_bits=8.0),
}
_SIGNS = (range(0xA1, 0xA2), range(0xA3, 0xA4))
_SIGN_BITS, _RARE_BITS = 8.0, 18.0
_MOST_RARE = 0.15
"""A reading with a larger share of characters that are not frequent is none."""

_BESIDE_LOWER_CASE = re.compile(r"[a-z][^\x00-\x7f]|[^\x00-\x7f][a-z]")
_WORD = re.compile(r"[A-Za-z\u0080-\U0010ffff]+")
_BETWEEN_LETTERS = "-'’\u00ad\u200d"
# Vowels and tones stand on a consonant, and some vowels before one.
_ODD_THAI = re.compile(
    "(?<![\u0e01-\u0e2e\u0e31\u0e34-\u0e3a\u0e47-\u0e4e])[\u0e31-\u0e3a\u0e45-\u0e4e]"
    "|[\u0e40-\u0e44](?![\u0e01-\u0e2e])"
)
_SURE, _POSSIBLE = 0.02, 0.01
_RIVAL = 0.45
# As a factor of the best score, or of the fewest bits.
_NEAR_BITS = 1.1
_MODEL_BYTES = 300


@dataclass(frozen=True)
class Reading:
    """One way to read the bytes.

    Attributes:
        encoding: Python's name; a key of `ENCODINGS`.
        is_rival: a reading, not the first, that is about as likely as the first.
    """

    encoding: str
    is_rival: bool = False


def likely_readings(cells: Sequence[bytes]) -> list[Reading]:
    """Order the encodings that cells may have been written in.

    Args:
        cells: distinct pieces of text that hold bytes beyond ASCII.

    Returns:
        The likeliest first; empty when no reading looks like text.
    """
    wide = sorted((bits, name) for name in _CJK if (bits := _cjk_bits(cells, name)) is not None)
    narrow = _single_byte(cells)
    if narrow and (not wide or (narrow[0].is_clean and narrow[0].score >= _SURE)):
        best = narrow[0]
        rivals = [
            one.name
            for one in narrow[1:]
            if one.score >= _RIVAL * best.score and one.text.lower() != best.text.lower()
        ]
        order = [one.name for one in narrow] + [name for _, name in wide]
    else:
        rivals = [name for bits, name in wide[1:] if bits <= _NEAR_BITS * wide[0][0]]
        rivals += [one.name for one in narrow if one.is_clean and one.score >= _POSSIBLE]
        order = [name for _, name in wide] + [one.name for one in narrow]
    return [Reading(name, is_rival=name in rivals) for name in order]


@dataclass(frozen=True)
class _SingleByte:
    name: str
    text: str
    score: float
    is_clean: bool


def _single_byte(cells: Sequence[bytes]) -> list[_SingleByte]:
    """Readings by encodings of one byte a character, the likeliest first."""
    joined = b"\n".join(cells) + b"\n"
    # The models count pairs of letters: of a few words they see enough only when repeated.
    joined *= max(1, _MODEL_BYTES // len(joined))
    found = chardet.detect_all(
        joined,
        ignore_threshold=True,
        compat_names=False,
        include_encodings=[name for name in ENCODINGS if name not in _CJK],
    )
    readings = []
    for one in found:
        name = one["encoding"]
        if name not in ENCODINGS:
            continue
        try:
            texts = [cell.decode(name) for cell in cells]
        except UnicodeDecodeError:
            continue
        clean = sum(map(_looks_written, texts)) / len(texts)
        if clean <= 0.5:
            continue
        score = (one["confidence"] + 0.001) * clean**2 * _RARITY.get(name, 1.0)
        score *= _of_one_language(texts)
        readings.append(_SingleByte(name, "\n".join(texts), score, clean == 1.0))
    return sorted(readings, key=lambda reading: -reading.score)


def _looks_written(text: str) -> bool:
    """Whether the words of a cell are words: letters, and capitals only where these stand."""
    if _ODD_THAI.search(text):
        return False
    for word in _WORD.findall(text):
        if word.isascii():
            continue
        kinds = [unicodedata.category(letter) for letter in word]
        if any(kind in {"Cc", "Cn", "Co", "Cs"} for kind in kinds):
            return False
        inner = zip(word[1:-1], kinds[1:-1], strict=True)
        if any(kind[0] not in "LM" and letter not in _BETWEEN_LETTERS for letter, kind in inner):
            return False
        # Boxes and half-tones of DOS, at the ends of words too.
        if any("\u2500" <= letter <= "\u259f" for letter in word):
            return False
        if word[1:] != word[1:].lower() and word != word.upper():
            return False
    return True


def _of_one_language(texts: Sequence[str]) -> float:
    """How likely the letters of all cells are to stand in one table."""
    letters = {letter for letter in "".join(texts).lower() if not letter.isascii()}
    letters = {letter for letter in letters if letter.isalpha()} - set("ªº")
    if any(letters <= alphabet for alphabet in _ALPHABETS):
        return 1.0
    return 0.5 if letters <= _ICELANDIC else 0.2


def _cjk_bits(cells: Sequence[bytes], name: str) -> float | None:
    """The bits that a reading's characters take to be told; None when it is no reading."""
    kind = _CJK[name]
    bits, count, rare = kind.handicap_bits, 0, 0
    for cell in cells:
        try:
            text = cell.decode(name)
        except UnicodeDecodeError:
            return None
        if _BESIDE_LOWER_CASE.search(text):
            return None
        for letter in text:
            if letter.isascii():
                continue
            count += 1
            cost = _bits(letter, kind)
            rare += cost == _RARE_BITS
            bits += cost
    return bits if count and rare <= _MOST_RARE * count else None


def _bits(letter: str, kind: _Ideographs) -> float:
    try:
        lead = letter.encode(kind.standard)[0]
    except UnicodeEncodeError:
        return _RARE_BITS
    if any(lead in row for row in _SIGNS):
        return _SIGN_BITS
    return next((bits for row, bits in kind.rows if lead in row), _RARE_BITS)
