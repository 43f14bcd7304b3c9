"""Folders of photos as people have them: layouts, names of every kind, links, fifos and tables."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from hypothesis import strategies as st

from tests.fuzz.file_bytes import contents, files

CLASSES = (
    *("shoe", "hat", "dress") * 6,
    "men",
    "women",
    "blue jeans",
    "T-Shirt",
    "t-shirt",
    "1",
    "2",
)
SPLITS = (
    *("train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval"),
    *("holdout", "pred", "predict", "unlabeled", "train2017", "test_set", "images_val", "Train"),
    *("training-shoes", "my test", "TEST_IMAGES", "data", "images", "photos"),
)
ODD_NAMES = (
    "Kl\u00e4der",
    unicodedata.normalize("NFD", "Kl\u00e4der"),
    *("\U0001f45f\U0001f9e2", "\u978b", "\u202egnp.exe", "zero\u200bwidth", "a\u0301" * 40),
    *("trailing.", "trailing ", " leading", "...", "-rf", "--out", "a,b", "a;b", 'quo"te', "it's"),
    *("new\nline", "tab\tname", "back\\slash", "CON", "aux.jpg", "a:b", "a*b", "what?", "<b>"),
    *(
        "%20",
        "100%",
        "#1",
        "&amp;",
        "$HOME",
        "~",
        "{label}",
        "[ab]",
        "(rare)",
        "none",
        "null",
        "nan",
    ),
    *("s3:", "http:", ".hidden", "__MACOSX", ".git", "Thumbs.db", "x" * 255, "\u00e9" * 127),
    *("\x7f", "\x1b[31mred", "\r", "bell\x07", "e" * 200),
    os.fsdecode(b"caf\xe9"),
    os.fsdecode(b"\xff\xfe"),
)
SUFFIXES = (
    *(".jpg",) * 8,
    *(".JPG", ".jpeg", ".png", ".webp", ".gif", ".tif", ".bmp", ".ico", ".tga", ".heic", ".avif"),
    *("", ".txt", ".csv", ".json", ".html", ".zip", ".mp4", ".npy", ".jpg.part", ".parquet", ".gz"),
)
LINKS = (".", "..", "/", "nowhere.jpg", "../in", "/dev/zero", "/dev/null", "shoe", "itself")
LIST_TEXTS = (
    "image,label\nshoe/a.jpg,shoe\n",
    "shoe/a.jpg 0\nhat/b.jpg 1\n",
    "train\nval\n",
    "",
    "\0\0\0",
    '{"images": []}',
)


@dataclass(frozen=True)
class Entry:
    """A file, a folder or a link.

    Attributes:
        path: below the folder of inputs.
        kind: "file", "text", "folder", "link" or "fifo".
        content: the name of a file's bytes in `contents()`, a text, or where a link leads.
    """

    path: str
    kind: str = "file"
    content: str = ""

    def make(self, root: Path) -> None:
        """Make it, unless this system has no such name or kind."""
        path = root / self.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if self.kind == "folder":
                path.mkdir(exist_ok=True)
            elif path.exists() or path.is_symlink():
                return
            elif self.kind == "link":
                path.symlink_to(self.content)
            elif self.kind == "fifo":
                os.mkfifo(path)
            elif self.kind == "text":
                path.write_text(self.content, encoding="utf-8")
            else:
                path.write_bytes(contents()[self.content])
        except (OSError, ValueError, AttributeError):
            return


Tree = tuple[Entry, ...]


def make(tree: Tree, root: Path) -> None:
    """Make all entries that this system can have."""
    for entry in tree:
        entry.make(root)


def names(*, odd: int = 1) -> st.SearchStrategy[str]:
    """Names of folders: a class or part of a split mostly."""
    usual = st.sampled_from([*CLASSES, *SPLITS])
    return st.one_of(usual, usual, usual, *[st.sampled_from(ODD_NAMES)] * odd)


@st.composite
def file_names(draw: st.DrawFn) -> str:
    stem = draw(
        st.one_of(
            st.integers(0, 30).map(str),
            st.sampled_from(["a", "shoe_1", "hat_2", "IMG 3", "A"]),
            st.sampled_from(ODD_NAMES),
        )
    )
    return stem + draw(st.sampled_from(SUFFIXES))


@st.composite
def leaves(draw: st.DrawFn, folder: str, *, most: int = 8, good: int = 6) -> list[Entry]:
    """The images of one folder."""
    count = draw(st.integers(0, most))
    chosen = draw(st.lists(files(good=good), min_size=count, max_size=count))
    plain = draw(st.integers(0, 3)) > 0
    found = []
    for number, content in enumerate(chosen):
        name = f"{number}.jpg" if plain else draw(file_names())
        found.append(Entry(str(PurePosixPath(folder, name)), "file", content))
    return found


@st.composite
def oddities(draw: st.DrawFn, folder: str) -> Entry:
    """What lies among the folders and is no class."""
    kind = draw(st.sampled_from(["file", "folder", "link", "fifo", "text"]))
    path = str(PurePosixPath(folder, draw(file_names() if kind != "folder" else names(odd=2))))
    content = {
        "file": files(good=1),
        "folder": st.just(""),
        "link": st.sampled_from(LINKS),
        "fifo": st.just(""),
        "text": st.sampled_from(LIST_TEXTS),
    }[kind]
    return Entry(path, kind, draw(content))


LAYOUTS = (
    *(("class",), ("class",), ("plain split", "class"), ("split", "class"), ("class", "split")),
    *(("class", "class"), ("split", "class", "class"), ("photos", "photos", "class")),
    *(("data", "split", "images", "class"), (), ("any",), ("any", "any", "any")),
)
"""Levels of folders between the root and the images; the commonest layout twice."""
_LEVELS = {
    "class": CLASSES,
    "split": SPLITS,
    "plain split": ("train", "val", "test"),
    "any": (*CLASSES, *SPLITS, *ODD_NAMES),
}


@st.composite
def trees(draw: st.DrawFn, root: str = "photos", *, good: int = 6, most: int = 8) -> Tree:
    """A folder of photos."""
    levels = draw(st.sampled_from(LAYOUTS))
    odd = draw(st.sampled_from([False, False, True]))
    entries = [Entry(root, "folder")]
    for _ in range(draw(st.integers(2, 6)) if levels else 1):
        parts = [draw(names(odd=2)) if odd else draw(_part(level)) for level in levels]
        entries += draw(leaves(str(PurePosixPath(root, *parts)), most=most, good=good))
    if odd:
        below = sorted({str(PurePosixPath(entry.path).parent) for entry in entries})
        for _ in range(draw(st.integers(1, 3))):
            entries.append(draw(oddities(draw(st.sampled_from([root, *below])))))
    return tuple(entries)


def _part(level: str) -> st.SearchStrategy[str]:
    return st.sampled_from(_LEVELS.get(level, (level,)))


@st.composite
def trainable(draw: st.DrawFn, root: str = "photos") -> Tree:
    """A folder of classes of which each has enough images, and some oddities."""
    usual = st.sampled_from([*dict.fromkeys(CLASSES)])
    name = draw(st.sampled_from([usual, usual, st.sampled_from(ODD_NAMES), names()]))
    labels = draw(st.lists(name, min_size=2, max_size=4, unique=True))
    first = draw(st.integers(0, 5))
    entries = []
    for place, label in enumerate(labels):
        for number in range(draw(st.integers(5, 7))):
            content = f"photo {(first + 7 * place + number) % 24}"
            entries.append(Entry(str(PurePosixPath(root, label, f"{number}.jpg")), "file", content))
    for _ in range(draw(st.integers(0, 2))):
        entries += draw(leaves(str(PurePosixPath(root, draw(st.sampled_from(labels)), "more"))))
        entries.append(draw(oddities(root)))
    return tuple(entries)
