"""Feeds of products in XML: RSS 2.0 and Atom with fields `g:...`, read as a stream.

What can be declared in a document type is refused: entities that expand to gigabytes, and those
that name other files. Nothing but the feed itself is read.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from xml.parsers import expat

import polars as pl

from shopsight.errors import TableError
from shopsight.progress import task
from shopsight.tables.numbered_rows import ROW
from shopsight.text import human_bytes

BETWEEN_REPEATED = ","
"""What stands between the values of a field that an item has several times."""

_GOOGLE = "http://base.google.com/ns/1.0"
_ITEMS = frozenset({"item", "entry"})
_ROOTS = frozenset({"rss", "feed", "rdf:RDF"})
# Long texts that nobody reads, in HTML.
_PASSED_OVER = frozenset({"description", "content", "summary"})
_REPEATED = frozenset({"additional_image_link"})
_CHUNK_BYTES = 1 << 20
_ROWS_AT_ONCE = 20_000
_MOST_FIELDS = 1_000
_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def is_xml(data: bytes) -> bool:
    """Whether bytes begin as XML does."""
    head = data[:256]
    for mark in _MARKS:
        head = head.removeprefix(mark)
    return head.replace(b"\0", b"").lstrip().startswith(b"<")


def is_feed(data: bytes) -> bool:
    """Whether the first bytes of XML are those of RSS or Atom."""
    head = data[:65_536].replace(b"\0", b"")
    return is_xml(data) and any(f"<{root}".encode() in head for root in _ROOTS)


def read_feed(data: bytes, where: str) -> pl.DataFrame:
    """Read the items of a feed.

    Args:
        data: the whole feed.
        where: its file, for errors.

    Returns:
        A row for each item: `row` (its number, from 1) and its fields by their names without
        `g:`; those of a field that it has several times have commas between them.

    Raises:
        TableError: it is no feed, is cut off or no XML, declares entities, or has no items.
    """
    reader = _Reader(where)
    with task("Reading the feed", total=len(data), unit="bytes") as advance:
        for start in range(0, len(data), _CHUNK_BYTES):
            chunk = data[start : start + _CHUNK_BYTES]
            reader.feed(chunk)
            advance(len(chunk))
    return reader.table()


class _Reader:
    """Collects the fields of items while the XML is parsed."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.path: list[str] = []
        self.item_depth = 0
        self.prefixes: dict[str, str] = {"g": _GOOGLE}
        self.item: dict[str, str] = {}
        self.of_google: set[str] = set()
        self.text: list[str] | None = None
        self.rows: list[dict[str, str]] = []
        self.frames: list[pl.DataFrame] = []
        self.fields: set[str] = set()
        self.num_items = 0
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.EntityDeclHandler = self._refuse_entity
        self.parser.ExternalEntityRefHandler = self._refuse_entity

    def feed(self, chunk: bytes) -> None:
        """Parse further bytes."""
        try:
            self.parser.Parse(chunk, False)
        except expat.ExpatError as error:
            raise self._broken(error) from error
        except (LookupError, UnicodeError) as error:
            raise TableError(f"its encoding is not known: {error}", where=self.where) from error

    def table(self) -> pl.DataFrame:
        """End the document, and give its items."""
        try:
            self.parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise self._broken(error) from error
        self._flush()
        if not self.num_items:
            raise TableError(
                "the feed has no items",
                where=self.where,
                details=["read are <item> of RSS 2.0 and <entry> of Atom"],
            )
        frame = pl.concat(self.frames, how="diagonal")
        return frame.with_row_index(ROW, offset=1).cast({ROW: pl.Int64})

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        if not self.path and name not in _ROOTS:
            raise TableError(
                f"XML that begins with <{name[:60]}>, and neither RSS nor Atom",
                where=self.where,
                fix="export it as RSS 2.0 or Atom, or as CSV",
            )
        for key, value in attributes.items():
            if key.startswith("xmlns:"):
                self.prefixes[key.removeprefix("xmlns:")] = value
        self.path.append(name)
        if not self.item_depth and name in _ITEMS:
            self.item_depth = len(self.path)
            self.item, self.of_google = {}, set()
        elif self.item_depth and len(self.path) == self.item_depth + 1:
            # What lies deeper, such as the price of shipping, is no field of the item.
            field = self._field(name)
            self.text = [] if field and field not in _PASSED_OVER else None
            if field == "link" and "href" in attributes:
                self.item.setdefault("link", attributes["href"])

    def _characters(self, text: str) -> None:
        if self.text is not None and len(self.path) == self.item_depth + 1:
            self.text.append(text)

    def _end(self, name: str) -> None:
        if self.item_depth and len(self.path) == self.item_depth:
            self._keep_item()
            self.item_depth = 0
        elif self.text is not None and len(self.path) == self.item_depth + 1:
            self._keep(name, "".join(self.text).strip())
            self.text = None
        self.path.pop()

    def _field(self, name: str) -> str:
        """The name of a field without its prefix; "" for those of other vocabularies."""
        prefix, colon, local = name.rpartition(":")
        return local if not colon or self.prefixes.get(prefix) == _GOOGLE else ""

    def _keep(self, name: str, text: str) -> None:
        field = self._field(name)
        is_google = ":" in name
        if not text or (field in self.of_google and not is_google):
            return
        if field in _REPEATED and field in self.item:
            self.item[field] += BETWEEN_REPEATED + text
        elif is_google and field not in self.of_google:
            # `g:title` goes before the `title` that every feed has.
            self.item[field] = text
        else:
            self.item.setdefault(field, text)
        if is_google:
            self.of_google.add(field)

    def _keep_item(self) -> None:
        self.num_items += 1
        self.fields |= self.item.keys()
        if len(self.fields) > _MOST_FIELDS:
            raise TableError(
                f"items of more than {_MOST_FIELDS:,} different fields", where=self.where
            )
        self.rows.append(self.item)
        if len(self.rows) >= _ROWS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if self.rows:
            names = sorted(self.fields) or ["id"]
            schema = dict.fromkeys(names, pl.String)
            self.frames.append(pl.DataFrame(self.rows, schema=schema))
            self.rows = []

    def _refuse_entity(self, *_: object) -> int:
        raise TableError(
            "the XML declares entities, which may stand for other files or for gigabytes of text",
            where=self.where,
            details=[f"line {self.parser.CurrentLineNumber:,}"],
            fix="no product feed needs them; export it again from the shop system",
        )

    def _broken(self, error: expat.ExpatError) -> TableError:
        line = f"line {error.lineno:,}"
        what = expat.ErrorString(error.code)
        if error.code == expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS]:
            read = human_bytes(self.parser.CurrentByteIndex)
            return TableError(
                f"the XML ends too early, after {read}",
                where=self.where,
                details=[line],
                fix="copy or download it again",
            )
        return TableError(f"not well-formed XML in {line}: {what}", where=self.where)
