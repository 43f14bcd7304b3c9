from __future__ import annotations

import random

import pytest

from shopsight.errors import TableError
from shopsight.tables.encodings import decode_table, has_escapes

WORDS = {
    "cp1250": "šaty boty košile ponožky čepice sukně mikina tričko šála pásek žabky",
    "cp1251": "платье обувь сумка рубашка брюки носки шапка юбка куртка шарф",
    "cp1252": "Mütze Röcke Gürtel Täschchen Größe Müsli Käse Äpfel Übergröße",
    "cp1253": "φόρεμα παπούτσια τσάντα πουκάμισο παντελόνι κάλτσες καπέλο φούστα",
    "cp1254": "ayakkabı çanta gömlek çorap şapka atkı tişört kazağı",
    "cp1255": "שמלה נעליים תיק חולצה מכנסיים גרביים כובע חצאית",
    "cp1256": "فستان حذاء حقيبة قميص بنطلون جوارب قبعة تنورة",
    "cp1257": "suknelė rankinė marškiniai kelnės kojinės kepurė šalikas diržas",
    "koi8_r": "платье обувь сумка рубашка брюки носки шапка юбка",
    "shift_jis": "靴 帽子 鞄 ドレス シャツ ズボン 靴下 スカート",
    "gbk": "鞋子 帽子 包 连衣裙 衬衫 裤子 袜子 裙子",
    "big5": "鞋子 帽子 包 洋裝 襯衫 褲子 襪子 裙子",
    "euc_kr": "신발 모자 가방 드레스 셔츠 바지 양말 치마",
    "cp874": "รองเท้า กระเป๋า เสื้อ กางเกง ถุงเท้า หมวก",
}
FRENCH = "écharpe maillot été forêt pâte thé café crème"


def table(labels: list[str], encoding: str) -> bytes:
    rows = [f"images/{i:03}.jpg,{label}" for i, label in enumerate(labels * 4)]
    return "\n".join(["file,label", *rows, ""]).encode(encoding)


@pytest.mark.parametrize("encoding", WORDS)
def test_three_words_tell_the_encoding_of_a_table(encoding: str) -> None:
    words = WORDS[encoding].split()
    for seed in range(6):
        labels = random.Random(seed).sample(words, 3)
        data = table(labels, encoding)
        text, notes = decode_table(data, None, "t.csv")
        assert text == data.decode(encoding), labels
        assert "e.g. '" in notes[0]
        assert "--encoding NAME" in notes[0]


def test_many_words_tell_it_surely() -> None:
    for encoding, words in {**WORDS, "cp1252 ": FRENCH}.items():
        data = table([*words.split(), "shoe", "hat"], encoding.strip())
        assert decode_table(data, None, "t.csv")[0] == data.decode(encoding.strip())


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8", "utf-8-sig"]
)
def test_unicode_with_and_without_its_mark(encoding: str) -> None:
    data = table(["靴", "帽子", "鞄"], encoding)
    text, notes = decode_table(data, None, "t.csv")
    assert text == data.decode(encoding).removeprefix("\ufeff")
    assert bool(notes) == (not encoding.startswith("utf-8"))


@pytest.mark.parametrize("data", [b"", b"a", b"\0", b"a\0", b"a\0b", b"\0a"])
def test_a_byte_or_two_are_not_taken_for_utf_16(data: bytes) -> None:
    assert decode_table(data, None, "t.csv") == (data.decode("ascii"), [])


def test_the_note_names_the_other_reading_of_one_short_word() -> None:
    _, notes = decode_table(table(["trøje", "øl"], "cp1252"), None, "t.csv")
    assert "trøje" in notes[0]
    assert "it could be" in notes[0]


def test_an_encoding_that_is_named_is_taken() -> None:
    data = table(["été"], "cp850")
    assert decode_table(data, "cp850", "t.csv") == (data.decode("cp850"), [])


def test_one_broken_character_leaves_utf_8_what_it_is() -> None:
    data = table(["Größe", "Mütze", "Käse"], "utf-8").replace("ß".encode(), b"\xdf", 1)
    text, notes = decode_table(data, None, "t.csv")
    assert has_escapes(text)
    assert text.count("Größe") == 3
    assert notes == []


@pytest.mark.parametrize("name", ["latin-99", "hex", "undefined", "a\0b", ""])
def test_an_unknown_encoding(name: str) -> None:
    with pytest.raises(TableError, match="is not a known encoding"):
        decode_table(b"a,b", name, "t.csv")


def test_utf_16_that_is_cut_off() -> None:
    with pytest.raises(TableError, match="the table is not utf-16-le text") as caught:
        decode_table(table(["a", "b"], "utf-16-le")[:-1], None, "t.csv")
    assert "copy or download it again" in str(caught.value)


def test_an_encoding_that_does_not_fit_names_the_line() -> None:
    with pytest.raises(TableError, match="is not utf-8 text") as caught:
        decode_table(table(["a", "café"], "cp1252"), "utf-8", "t.csv")
    assert "first in line 3" in str(caught.value)


def test_bytes_that_are_no_text_are_refused_with_the_flag() -> None:
    data = b"file,label\n" + bytes(range(128, 256)) + b",\x81\x8d\x8f\x90\x9d\xff\xfe\n"
    with pytest.raises(TableError, match="encoding of the table is not clear") as caught:
        decode_table(data, None, "t.csv")
    assert "--encoding NAME" in str(caught.value)
