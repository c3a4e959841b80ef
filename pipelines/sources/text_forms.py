"""What a text file is: its first rows tell, not its name.

JSON begins with a brace or a bracket. A table whose first line has the columns of the source is csv, separated by whatever
separates them. One without such a line is believed only of a source that is published so (CC3M, CC12M), and only if one of its
two columns holds URLs.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import replace

from infra.compat.errors import RequestError
from pipelines.sources.compression import checksum_notice
from pipelines.sources.csv_records import escapes_quotes
from pipelines.sources.json_forms import json_form
from pipelines.sources.records import BLANK, URL
from pipelines.sources.rows import NoRows, TextForm
from pipelines.sources.settings import IngestSettings
from pipelines.sources.source import Source
from pipelines.sources.text_streams import text_head

SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
LINE_END = re.compile(r"\r\n|\n|\r")
CONTROL = re.compile(r"[\0-\x08\x0e-\x1f]")
LOOK = 100  # rows that tell what a file is
URL_SHARE, COLUMN_SHARE = 0.5, 0.5


def text_form(uri: str, source: Source, settings: IngestSettings) -> TextForm:
    """What the file is; RequestError where it cannot be of the source."""
    text, is_cut = text_head(uri)
    lines = _whole_lines(text, is_cut=is_cut)
    start = text.lstrip("\ufeff \t\r\n")[:1]
    if not lines:
        raise NoRows(f"{uri} has no rows; leave it out or fetch it again")
    line_end = "\n" if "\n" in text else ""
    if start in ("{", "["):
        form = json_form(uri, source, settings, lines, line_end)
    else:
        form = _with_header(source, settings, lines) or _without_header(uri, source, settings, lines)
    if form.kind == "csv" and escapes_quotes(lines, form.separator, len(form.columns)):
        form = replace(form, escapes_quotes=True, notice=f"{form.notice}, quotes escaped by backslashes".removeprefix(", "))
    notice = ", ".join(filter(None, (form.notice, checksum_notice(uri))))
    names = tuple(sorted({*form.header, *form.columns, *source.names_of_pairs(settings)}))
    return replace(form, notice=notice, header_names=names, newline="" if form.kind == "csv" else line_end)


def _whole_lines(text: str, *, is_cut: bool) -> list[str]:
    """The first lines that are not blank; the last of a text that is cut is left out."""
    *lines, last = LINE_END.split(text)
    whole = [line for line in (lines if is_cut and lines else [*lines, last]) if line.strip("\ufeff")]
    return whole[: LOOK + 1]


def _with_header(source: Source, settings: IngestSettings, lines: Sequence[str]) -> TextForm | None:
    """The form of a table whose first line has the columns of the source; None where it has not."""
    for separator in SEPARATORS:
        try:  # an open quote would make what follows a part of the header
            names = next(csv.reader(lines[:1], delimiter=separator, strict=True), [])
        except csv.Error:
            continue
        names = [name.strip().removeprefix("\ufeff") for name in names]
        known = source.columns_read(names, settings)
        if any(map(CONTROL.search, names)):  # as of a compressed file whose first bytes are damaged
            return None
        if {"url", "caption"} <= known.keys() and not any(URL.fullmatch(name) for name in names):
            if separator == "\t" and source.columns and len(names) == 2:  # as published, but for the header
                columns = tuple(sorted(known, key=lambda ours: names.index(known[ours].in_file)))
                notice = "a first line names the columns"
                return TextForm("tsv", columns, separator, tuple(names), url=columns.index("url"), notice=notice)
            usual = source.format == "csv" and separator == ","
            notice = "" if usual else f"csv separated by {SEPARATORS[separator]}, with a header"
            return TextForm("csv", tuple(names), separator, tuple(names), url=names.index(known["url"].in_file), notice=notice)
    return None


def _without_header(uri: str, source: Source, settings: IngestSettings, lines: Sequence[str]) -> TextForm:
    if not source.columns:
        source.require_columns(_fields_of(lines[0]), uri, settings)
        raise RequestError(f"{uri} has no columns of {source.name} in its first line ({lines[0][:60]!r}); check the file")
    rows = [line for line in lines if line.strip()]
    separator = max(SEPARATORS, key=lambda sign: (sum(_url_at(line, sign) is not None for line in rows), sign == "\t"))
    places = [_url_at(line, separator) for line in rows]
    counts = [len(_split(line, separator)) for line in rows]
    if sum(place is not None for place in places) < URL_SHARE * len(rows):
        raise RequestError(
            f"{uri}: no column of its first rows holds URLs ({rows[0][:60]!r}), so it is no {source.name} file; "
            "check SOURCE or the file"
        )
    usual_count = max(set(counts), key=counts.count)
    if usual_count > 2 and counts.count(usual_count) >= COLUMN_SHARE * len(rows) and len(rows) > 2:
        raise RequestError(
            f"{uri} has {usual_count} columns separated by {SEPARATORS[separator]}, but {source.name} is published with "
            f"{' and '.join(source.columns)} alone; name them in a first line, or use the source pairs"
        )
    url_first = sum(place == 0 for place in places) * 2 >= sum(place is not None for place in places)
    columns = ("url", "caption") if url_first else ("caption", "url")
    notices = [] if columns == source.columns else [f"{columns[0]} before {columns[1]}, unlike {source.name} as published"]
    if separator != "\t":
        notices.append(f"separated by {SEPARATORS[separator]}")
    first = _split(rows[0], separator)
    has_header = (
        len(rows) > 2
        and _names_columns(first)
        and all(place is not None or line.strip(BLANK) == rows[0] for line, place in zip(rows[1:], places[1:], strict=True))
    )
    if has_header:
        notices.append(f"the first line ({rows[0]!r}) is taken for a header")
    kind = "tsv" if separator == "\t" else "csv"
    header = tuple(first) if has_header else ()
    return TextForm(kind, columns, separator, header, url=columns.index("url"), notice=", ".join(notices))


def _names_columns(fields: Sequence[str]) -> bool:
    """Whether a first line looks like the names of two columns: short, and no URL."""
    return len(fields) == 2 and all(0 < len(field.split()) <= 3 and len(field) <= 30 and "://" not in field for field in fields)


def _fields_of(line: str) -> list[str]:
    return max((next(csv.reader([line], delimiter=separator), []) for separator in SEPARATORS), key=len)


def _url_at(line: str, separator: str) -> int | None:
    """Whether the first (0) or another field (its place, from the end -1) is a URL; None where none is."""
    fields = _split(line, separator)
    if len(fields) < 2:
        return None
    return 0 if URL.fullmatch(fields[0]) else -1 if any(map(URL.fullmatch, fields[1:])) else None


def _split(line: str, separator: str) -> list[str]:
    """The fields of a line; quotes mean nothing between tabs."""
    return line.split(separator) if separator == "\t" or '"' not in line else next(csv.reader([line], delimiter=separator), [])
