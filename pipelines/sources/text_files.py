"""Text formats on any fsspec URI: columns, row count, and a run of rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

import pyarrow as pa

from infra.compat.content import State
from infra.compat.errors import RequestError
from infra.compat.files import file_system
from pipelines.sources.compression import reading
from pipelines.sources.csv_records import csv_records, doubled_quotes
from pipelines.sources.encodings import is_utf8_taken_for_utf16, is_utf16_taken_for_utf8, seven_bit_encoding
from pipelines.sources.json_forms import json_document
from pipelines.sources.records import (
    Record,
    array_records,
    is_like_url,
    json_line_records,
    object_records,
    table_records,
    tsv_records,
)
from pipelines.sources.rows import Rows, TextForm
from pipelines.sources.settings import IngestSettings
from pipelines.sources.source import Source
from pipelines.sources.text_forms import text_form
from pipelines.sources.text_streams import open_text

INVALID_UTF8, OTHER_ENCODING = "invalid_utf8", "other_encoding"
LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def text_shape(uri: str, source: Source, settings: IngestSettings) -> tuple[TextForm, int]:
    """The form of a text file and the number of its rows, broken ones too."""
    form = text_form(uri, source, settings)
    return form, reading(uri, lambda: _count_of_rows(uri, form))


def text_rows(uri: str, source: Source, first_row: int, rows: int, settings: IngestSettings) -> Rows:
    """A run of rows of a text file; a broken one is a reject."""
    form = text_form(uri, source, settings)
    records = reading(uri, lambda: list(_run(uri, form, first_row, rows)))
    sound, offsets, rejects = list[list[str | None]](), list[int](), list[tuple[int, str, str]]()
    for offset, (fields, reason) in enumerate(records):
        raw = ",".join(field or "" for field in fields)
        if reason is None and not raw.isascii() and LONE_SURROGATE.search(raw):
            reason = INVALID_UTF8
        if reason is None and ((raw.isascii() and seven_bit_encoding(raw)) or is_utf16_taken_for_utf8(raw)):
            reason = OTHER_ENCODING
        if reason is None:
            sound.append(fields)
            offsets.append(offset)
        else:
            rejects.append((offset, reason, printable(raw)))
    columns = list(zip(*sound, strict=True)) or [()] * len(form.columns)
    arrays = [pa.array(values, pa.string()) for values in columns]
    return Rows(pa.table(arrays, names=list(form.columns)), offsets, rejects)


def _count_of_rows(uri: str, form: TextForm) -> int:
    """How many rows the file has; RequestError where it goes on in another encoding, in which its lines are not told apart."""
    count = 0
    for fields, reason in _records(uri, form):
        count += 1
        if reason is not None and is_utf8_taken_for_utf16(fields[0] or ""):
            raise RequestError(f"{uri} begins in UTF-16 and goes on in another encoding at row {count - 1}; save it in UTF-8")
    return count


def printable(raw: str) -> str:
    """Text with its undecodable bytes as U+FFFD."""
    return LONE_SURROGATE.sub("\ufffd", raw)


_kept: dict[tuple[str, str, TextForm], tuple[int, Iterator[Record]]] = State()


def _run(uri: str, form: TextForm, first_row: int, rows: int) -> Iterator[Record]:
    """Records first_row … first_row + rows.

    The trick: the reader of the part before goes on where it stopped, if this process read that part; else every part of a file
    would read it from its start.
    """
    fs, path = file_system(uri)
    key = (uri, fs.ukey(path), form)
    place, records = _kept.pop(key, (0, None))
    _kept.clear()
    if records is None or place > first_row:
        place, records = 0, _records(uri, form)
    yield from islice(records, first_row - place, first_row - place + rows)
    _kept[key] = first_row + rows, records


def _records(uri: str, form: TextForm) -> Iterator[Record]:
    """All records of a file; they must be read to the end, or be dropped, before the file closes."""
    with open_text(uri, form.newline) as lines:
        if form.kind in ("csv", "tsv"):
            if form.header:
                _skip_header(lines)
            yield from table_records(_lines_of_table(lines, form), form.header_names, form.url)
        elif form.kind == "lines":
            yield from json_line_records(lines, form.spellings)
        elif form.kind == "objects":
            yield from object_records(json_document(uri, lines.read()), form.spellings)
        else:
            document = json_document(uri, lines.read())
            yield from array_records({name: document[name] for name in form.columns})


def _lines_of_table(lines: Iterable[str], form: TextForm) -> Iterator[Record]:
    if form.kind == "tsv":
        return tsv_records(lines, url_first=form.url == 0)
    lines = doubled_quotes(lines) if form.escapes_quotes else lines
    return csv_records(lines, form.separator, len(form.columns), lambda fields: is_like_url(fields[form.url]))


def _skip_header(lines: Iterable[str]) -> None:
    """Reads the first line that is not blank."""
    next((line for line in lines if line.strip("\r\n\ufeff")), None)
