"""What counts as an image file: by its suffix, and by its first bytes.

The one list for every verb. Two sorts of files are images: those that are read, and those that are
not (camera raw, Photoshop ...). The latter become rows too: decoding them fails with a message that
names the kind and a way out, so a folder of them is counted and never just absent. Everything else
that lies about under an image's name (the page of a server that refused, a Git LFS pointer, a
video) is told by its first bytes, so that the message can say what it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

HEAD_BYTES = 1024
"""`kind_of_bytes` looks at no more than this many bytes from the start of a file."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file.

    Attributes:
        words: how a sentence names it: "a HEIC photo".
        suffixes: those of its names, in lower case, with the dot.
        way_out: what can be done about a file that is not read; empty where it is. HEIC has one,
            and is read where its extra is installed.
        is_image: whether files of this kind become rows.
    """

    words: str
    suffixes: frozenset[str] = frozenset()
    way_out: str = ""
    is_image: bool = False


def _suffixes(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _read(words: str, suffixes: str) -> Kind:
    return Kind(words, _suffixes(suffixes), is_image=True)


def _not_read(words: str, suffixes: str, way_out: str = "export it as JPEG or PNG") -> Kind:
    return Kind(words, _suffixes(suffixes), way_out, is_image=True)


KINDS: dict[str, Kind] = {
    # Images that are read.
    "jpeg": _read("a JPEG", ".jpg .jpeg .jpe .jfif .jif .pjpeg .pjp .mpo"),
    "png": _read("a PNG", ".png .apng"),
    "webp": _read("a WebP", ".webp"),
    "gif": _read("a GIF", ".gif"),
    "bmp": _read("a BMP", ".bmp .dib"),
    "tiff": _read("a TIFF", ".tif .tiff"),
    "avif": _read("an AVIF", ".avif .avifs"),
    "pnm": _read("a PNM", ".pgm .ppm .pnm .pbm .pfm"),
    "jpeg2000": _read("a JPEG 2000", ".jp2 .j2k .j2c .jpc .jpf .jpx"),
    "ico": _read("an icon", ".ico"),
    "tga": _read("a TGA", ".tga .icb .vda"),
    # Images that are not read.
    "heic": Kind(
        "a HEIC photo",
        _suffixes(".heic .heif .hif .heics .heifs"),
        'pip install "shopsight[heic]" reads it, or save it as JPEG',
        is_image=True,
    ),
    "jpeg-xl": _not_read("a JPEG XL", ".jxl"),
    "jpeg-xr": _not_read("a JPEG XR", ".jxr .wdp .hdp"),
    "photoshop": _not_read("a Photoshop file", ".psd .psb"),
    "gimp": _not_read("a GIMP file", ".xcf"),
    "raw": _not_read(
        "a camera raw file",
        ".3fr .ari .arw .bay .cap .cr2 .cr3 .crw .dcr .dcs .dng .erf .fff .gpr .iiq .k25 .kdc .mef "
        ".mos .mrw .nef .nrw .orf .pef .raf .rw2 .rwl .sr2 .srf .srw .x3f",
        "develop it and export it as JPEG",
    ),
    "svg": _not_read("an SVG drawing", ".svg .svgz", "export it as PNG"),
    "eps": _not_read("an EPS drawing", ".eps .epsf", "export it as PNG"),
    "metafile": _not_read("a Windows metafile", ".emf .wmf", "export it as PNG"),
    "cursor": _not_read("a Windows cursor", ".cur .ani"),
    "icns": _not_read("a Mac icon", ".icns"),
    "pfm": _not_read("a color PFM", ""),
    "exr": _not_read("an OpenEXR image", ".exr"),
    "hdr": _not_read("a Radiance HDR image", ".hdr"),
    "dds": _not_read("a DirectDraw surface", ".dds"),
    "qoi": _not_read("a QOI", ".qoi"),
    "pcx": _not_read("a PCX", ".pcx"),
    "sgi": _not_read("an SGI image", ".sgi .rgb .rgba .bw"),
    "dicom": _not_read("a DICOM image", ".dcm .dicom"),
    # What lies under the name of an image and is none.
    "html": Kind("an HTML page", way_out="the server sent it instead of the image; download again"),
    "xml": Kind("an XML document", way_out="often a server's refusal; download the image again"),
    "json": Kind("JSON", way_out="often a server's refusal; download the image again"),
    "git-lfs": Kind("a Git LFS pointer", way_out="get the file itself: git lfs pull"),
    "pdf": Kind("a PDF", way_out="export its pages as PNG"),
    "video": Kind("a video", way_out="export frames of it as JPEG"),
    "sound": Kind("a sound file"),
    "archive": Kind("an archive", way_out="unpack it"),
    "numpy": Kind("a NumPy array", way_out="save it as PNG"),
    "apple-double": Kind("what macOS keeps beside a file", way_out="delete it"),
    "zeros": Kind("nothing but zero bytes", way_out="copy or download it again"),
    "text": Kind("text"),
}  # fmt: skip

SUFFIXES_OF_FORMAT: dict[str, frozenset[str]] = {
    name: kind.suffixes for name, kind in KINDS.items() if kind.is_image
}
"""Suffixes by image format, of formats that are read and of those that are not."""

IMAGE_SUFFIXES: frozenset[str] = frozenset().union(*SUFFIXES_OF_FORMAT.values())

OTHER_SUFFIXES: frozenset[str] = _suffixes(
    ".txt .text .md .rst .rtf .log .csv .tsv .tab .parquet .feather .arrow .json .jsonl .ndjson "
    ".geojson .xml .html .htm .xhtml .mht .css .yaml .yml .toml .ini .cfg .conf .lst .list "
    ".names .xls .xlsx .ods .doc .docx .odt .ppt .pptx .pdf .zip .tar .tgz .gz .bz2 .xz .zst .7z "
    ".rar .mp4 .m4v .mov .avi .mkv .webm .wmv .mpg .mpeg .3gp .mts .m2ts .mp3 .wav .m4a .ogg "
    ".flac .py .pyc .ipynb .js .ts .sh .bat .ps1 .sql .db .sqlite .sqlite3 .exe .dll .so .jar "
    ".npy .npz .mat .pkl .pickle .pt .pth .ckpt .onnx .safetensors .h5 .hdf5 .tfrecord .lmdb "
    ".mdb .aae .xmp .thm .lrv .lnk .url .webloc .md5 .sha1 .sha256 .sig .torrent .bak .tmp .part "
    ".crdownload .download .lock"
)
"""Suffixes of files that are no images, whatever they begin with: nobody needs to open them."""


def has_image_suffix(name: str) -> bool:
    """Whether a file name ends like an image's, of a format that is read or of one that is not."""
    return suffix_of(name) in IMAGE_SUFFIXES


def suffix_of(name: str) -> str:
    """The suffix of a file name or path with its dot, in lower case; empty without one."""
    return name[name.rfind(".") :].lower() if "." in name else ""


def is_image_kind(kind: str | None) -> bool:
    """Whether `kind`, as `kind_of_bytes` names it, is an image format, read or not."""
    return kind is not None and kind in SUFFIXES_OF_FORMAT


def no_image_message(kind: str) -> str:
    """Say of a file of a kind that is not read what it is, and the way out, in one line."""
    found = KINDS[kind]
    verdict = f"{found.words}, which is not read" if found.is_image else f"{found.words}, no image"
    return f"{verdict}: {found.way_out}" if found.way_out else verdict


# In the order in which they are tried; a dot is any byte.
_SIGNATURES: tuple[tuple[str, re.Pattern[bytes]], ...] = tuple(
    (kind, re.compile(pattern, re.DOTALL))
    for kind, pattern in (
        ("jpeg", rb"\xff\xd8\xff"),
        ("png", rb"\x89PNG\r\n\x1a\n"),
        ("webp", rb"RIFF....WEBP"),
        ("gif", rb"GIF8[79]a"),
        # The four reserved bytes are zero; the size of the header tells the versions apart.
        ("bmp", rb"BM........(?:..\x00\x00)[\x0c\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00"),
        # Without the file header, as on Windows' clipboard: size, width, height, 1 plane, depth.
        ("bmp", rb"[\x28\x6c\x7c]\x00\x00\x00.{8}\x01\x00[\x01\x04\x08\x10\x18\x20]\x00"),
        ("raw", rb"II\*\x00....CR\x02|IIR[OS]|MMO[RS]|IIU\x00|FUJIFILMCCD-RAW|FOVb|\x00MRM"),
        ("jpeg-xr", rb"II\xbc\x01"),
        ("tiff", rb"II\*\x00|MM\x00\*|II\+\x00|MM\x00\+"),
        ("jpeg2000", rb"\x00\x00\x00\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
        ("jpeg-xl", rb"\xff\x0a|\x00\x00\x00\x0cJXL \r\n\x87\n"),
        ("pnm", rb"P[1-6][\s#]|Pf[\r\n]"),
        ("pfm", rb"PF[\r\n]"),
        ("ico", rb"\x00\x00\x01\x00[^\x00]\x00...[\x00\xff][\x00\x01]"),
        ("cursor", rb"\x00\x00\x02\x00[^\x00]\x00...[\x00\xff]|RIFF....ACON"),
        ("photoshop", rb"8BPS"),
        ("gimp", rb"gimp xcf"),
        ("exr", rb"v/1\x01"),
        ("hdr", rb"#\?(?:RADIANCE|RGBE)"),
        ("dds", rb"DDS "),
        ("qoi", rb"qoif"),
        ("icns", rb"icns"),
        ("sgi", rb"\x01\xda[\x00\x01][\x01\x02]"),
        ("pcx", rb"\x0a[\x00\x02-\x05][\x00\x01][\x01\x02\x04\x08]"),
        ("metafile", rb"\xd7\xcd\xc6\x9a|\x01\x00\x00\x00.{36} EMF"),
        ("eps", rb"%!PS-Adobe|\xc5\xd0\xd3\xc6"),
        ("dicom", rb".{128}DICM"),
        ("git-lfs", rb"version https://git-lfs\.github\.com/spec/"),
        ("pdf", rb"%PDF"),
        ("archive", rb"PK\x03\x04|PK\x05\x06|\x1f\x8b|BZh|\xfd7zXZ|7z\xbc\xaf|Rar!"),
        ("archive", rb"\x28\xb5\x2f\xfd|.{257}ustar"),
        ("video", rb"RIFF....AVI |\x1aE\xdf\xa3|\x00\x00\x01[\xb3\xba]|FLV\x01"),
        ("video", rb"\x30\x26\xb2\x75|....(?:moov|mdat|wide|pnot)"),
        ("sound", rb"RIFF....WAVE|ID3|fLaC|OggS"),
        ("numpy", rb"\x93NUMPY"),
        ("apple-double", rb"\x00\x05\x16\x07"),
        ("zeros", rb"\x00{16,}\Z"),
    )
)  # fmt: skip
# After a byte order mark, blanks and comments, in any case.
_TEXT_SIGNATURES = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        ("svg", rb"(?:<!doctype svg[^>]*>\s*)?<svg[\s>]"),
        ("html", rb"<!doctype html|<(?:html|head|body|meta|title|script|div|p|h1|center)[\s>]"),
        ("json", rb'[{\[]\s*(?:["{\[\]}]|-?\d)'),
    )
)
_BEFORE_TEXT = re.compile(rb"(?:\xef\xbb\xbf)?\s*(<\?xml[^>]*>)?(?:\s|<!--.*?-->)*", re.DOTALL)
_NOT_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
# Brands of the ISO container (ISO/IEC 14496-12), in the order in which they decide.
_KIND_OF_BRAND = (
    ("avif", {b"avif", b"avis"}),
    ("heic", {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}),
    ("raw", {b"crx "}),
    ("heic", {b"mif1", b"msf1"}),
    ("jpeg-xl", {b"jxl "}),
    ("jpeg2000", {b"jp2 ", b"jpx "}),
)


def kind_of_bytes(head: bytes) -> str | None:
    """Tell the kind of a file by its first bytes.

    Args:
        head: the start of a file, or all of it; `HEAD_BYTES` of it are looked at.

    Returns:
        A key of `KINDS`; None when the bytes look like nothing known. TIFF-based camera raw
        (NEF, ARW, DNG) is "tiff" here: only its tags tell.
    """
    head = head[:HEAD_BYTES]
    for kind, signature in _SIGNATURES:
        if signature.match(head):
            return kind
    if head[4:8] == b"ftyp":
        return _kind_of_container(head)
    if is_tga(head):
        return "tga"
    return _kind_of_text(head)


def _kind_of_container(head: bytes) -> str:
    """Tell photos from videos: both are containers of one format, which lists its brands."""
    end = min(int.from_bytes(head[:4], "big") or len(head), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}
    for kind, known in _KIND_OF_BRAND:
        if brands & known:
            return kind
    return "video"


def is_tga(head: bytes) -> bool:
    """Whether 18 bytes are the header of a TGA, which has no signature: every field must fit."""
    if len(head) < 18:
        return False
    map_type, image_type, depth, descriptor = head[1], head[2], head[16], head[17]
    map_start, map_length = (int.from_bytes(head[at : at + 2], "little") for at in (3, 5))
    width, height = (int.from_bytes(head[at : at + 2], "little") for at in (12, 14))
    if width == 0 or height == 0 or descriptor & 0xC0:
        return False
    if image_type in {1, 9}:
        return map_type == 1 and depth == 8 and map_length > 0 and head[7] in {15, 16, 24, 32}
    # Editors may leave a color map in files that do not use it.
    if map_type not in {0, 1} or (map_type == 0 and (map_start, map_length, head[7]) != (0, 0, 0)):
        return False
    return depth in {2: {15, 16, 24, 32}, 10: {15, 16, 24, 32}, 3: {8, 16}, 11: {8, 16}}.get(
        image_type, set()
    )


def _kind_of_text(head: bytes) -> str | None:
    before = _BEFORE_TEXT.match(head)
    assert before is not None, "every part of the pattern may be absent"
    for kind, signature in _TEXT_SIGNATURES:
        if signature.match(head, before.end()):
            return kind
    if before[1]:
        return "xml"
    if head[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return "text"  # UTF-16
    return "text" if head.strip() and not _NOT_TEXT.search(head) and _is_utf8(head) else None


def _is_utf8(head: bytes) -> bool:
    """Whether the bytes are UTF-8, of which the last character may be cut off."""
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 3 and len(head) >= HEAD_BYTES
    return True
