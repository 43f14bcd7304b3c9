"""Cells and headers of tables of images: what is meant, and what else stands in such columns."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

IMAGES = tuple(f"images/{number}.jpg" for number in range(8))
"""The images that lie beside each table."""

ODD_IMAGES: tuple[Any, ...] = (
    *("", " ", None, "nan", "images/missing.jpg", "images/0.JPG", "0.jpg", "0", "images/0"),
    *(
        "images\\1.jpg",
        "./images/1.jpg",
        "images//1.jpg",
        "../in/images/1.jpg",
        "images",
        ".",
        "..",
    ),
    *("/home/me/shop/images/1.jpg", "C:\\shop\\images\\2.jpg", "\\\\server\\share\\images\\2.jpg"),
    *(
        "file:images/1.jpg",
        "file:///etc/hostname",
        "file://host/images/1.jpg",
        "FILE:///images/1.jpg",
    ),
    *("s3://bucket/1.jpg", "gs://bucket/1.jpg", "az://box/1.jpg", "S3://b/k", "abfs://x@y/1.jpg"),
    *("HTTP://127.0.0.1:1/1.jpg", "http://127.0.0.1:1/1.jpg", "https://[::1]:1/1.jpg", "http://"),
    *(
        "http://127.0.0.1:99999/1.jpg",
        "http://[::1",
        "http://127.0.0.1:x/1.jpg",
        "ftp://127.0.0.1:1/a",
    ),
    *(
        "zip://a.jpg::http://127.0.0.1:1/a.zip",
        "memory://1.jpg",
        "data:image/png;base64,iVBORw0KGgo=",
    ),
    *("unknown://x/1.jpg", "javascript:alert(1)", "mailto:a@b", "://", "http:///1.jpg", "//1.jpg"),
    *("<p><em>nice shoe</em></p>", '<img src="images/1.jpg">', '{"url": "images/1.jpg"}', "[]"),
    *('["images/1.jpg", "images/2.jpg"]', "images/1.jpg|images/2.jpg", "images/1.jpg,images/2.jpg"),
    *("images/\0.jpg", "images/\n1.jpg", "x" * 300 + ".jpg", "x/" * 3000, "~/1.jpg", "$HOME/1.jpg"),
    *(
        "images/*.jpg",
        "images/1.jpg?x=1",
        "images/1.jpg#a",
        "images/%31.jpg",
        "-",
        "--out",
        "\ud83d",
    ),
    *(0, 1.5, True, "=HYPERLINK(1)", "Kl\u00e4der.jpg", "\u202e1.jpg", "images/1.jpg " * 50),
)
ODD_LABELS: tuple[Any, ...] = (
    *("", " ", None, "nan", "NaN", "null", "None", "none", "N/A", "-", "0", "0.0", "1e5", "-1"),
    *("['a', 'b']", "['a' 'b']", "('a',)", "{'a', 'b'}", "{a: 1}", "[a, b]", "[]", "[1, 0, 1]"),
    *('["a", "b"]', "array(['a', 'b'], dtype=object)", "[1. 0. 0.]", "tensor([0, 1])", "[['a']]"),
    *(
        "['a', 'b'",
        "a|b",
        "a, b",
        "a;b",
        "a b",
        "shoe,",
        ",shoe",
        "shoe/hat",
        "(rare)",
        "[[[[" * 99,
    ),
    *(
        "Shoe",
        "SHOE",
        " shoe",
        "shoe ",
        "scho\u0308n",
        "sch\u00f6n",
        "x" * 5000,
        "a\nb",
        "a\0b",
        "\x07",
    ),
    *(
        "\u202e",
        "\ufeffshoe",
        "\u00a0",
        "../../x",
        "/",
        "CON",
        ".",
        "..",
        "=1+1",
        "\U0001f45f",
        "true",
    ),
    *(
        0,
        1,
        1.5,
        float("nan"),
        float("inf"),
        True,
        "<b>shoe</b>",
        "{label}",
        "%s",
        "\\x00",
        "\ud83d",
    ),
)
ODD_NUMBERS: tuple[Any, ...] = (
    *(
        0,
        -5,
        1,
        3,
        10,
        1e9,
        -1e300,
        0.5,
        float("nan"),
        float("inf"),
        None,
        "",
        "7",
        "7,5",
        "wide",
        "1e3",
    ),
)
HEADERS = {
    "image": (
        "image",
        "filename",
        "file",
        "path",
        "image_url",
        "Image Src",
        "url",
        "id",
        "picture",
    ),
    "label": ("label", "class", "category", "target", "articleType", "tags", "labels", "Type"),
    "split": ("split", "set", "subset", "is_valid", "fold"),
    "group": ("group", "product_id", "sku", "productDisplayName"),
    "box": ("box_x", "box_y", "box_w", "box_h"),
    "text": ("title", "description", "text", "Body (HTML)"),
}
ODD_HEADERS = (
    "",
    " ",
    "image",
    "label",
    "Image ",
    "\ufefflabel",
    "images/1.jpg",
    "a,b",
    "x" * 500,
    "\0",
)
SPLIT_CELLS = ("train", "val", "test", "Training", "validation", "", "all", "0", "1", None)


def _mostly(usual: st.SearchStrategy[Any], odd: tuple[Any, ...], often: int) -> Any:
    return st.integers(0, often).flatmap(
        lambda number: st.sampled_from(odd) if not number else usual
    )


def _cells(kind: str, often: int) -> st.SearchStrategy[Any]:
    usual: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
        "image": (IMAGES, ODD_IMAGES),
        "label": (("shoe", "hat", "dress"), ODD_LABELS),
        "split": (("train", "train", "val", "test"), SPLIT_CELLS),
        "group": (("p1", "p2", "p3", "p4"), ODD_LABELS),
        "box": ((1, 2, 8, 10), ODD_NUMBERS),
        "text": (("a blue shoe", "two hats"), ODD_LABELS),
        "any": (("x", "y"), (*ODD_IMAGES, *ODD_LABELS, *ODD_NUMBERS)),
    }
    cells, odd = usual[kind]
    return _mostly(st.sampled_from(cells), odd, often)


Rows = list[list[Any]]


@st.composite
def grids(draw: st.DrawFn, *, most: int = 16, least: int = 0) -> tuple[list[str], Rows]:
    """The header and rows of a table; mostly it names images and their labels."""
    extra = st.sampled_from(["label", "label", "image", "split", "group", "text", "any", "any"])
    kinds = ["image", "label", *draw(st.lists(extra, max_size=3))]
    kinds += ["box"] * (4 if draw(st.integers(0, 4)) == 0 else 0)
    if draw(st.integers(0, 15)) == 0:
        kinds = draw(st.permutations(kinds))[: draw(st.integers(0, 3))]
    # How often a cell is an odd one.
    often = draw(st.sampled_from([3, 10, 40, 10_000, 10_000]))
    header, boxes = [], iter(HEADERS["box"])
    for kind in kinds:
        usual = (next(boxes),) if kind == "box" else HEADERS.get(kind, ("x", "y", "price"))[:3]
        any_header = (*HEADERS.get(kind, ("z",)), *ODD_HEADERS)
        header.append(draw(_mostly(st.sampled_from(usual), any_header, often)))
    count = draw(st.integers(least, most))
    return header, [[draw(_cells(kind, often)) for kind in kinds] for _ in range(count)]
