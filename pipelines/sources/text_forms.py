"""What a text file is: its first rows tell, not its name.

JSON begins with a brace or a bracket. A table whose first line has the columns of the source is csv, separated by whatever
separates them. One without such a line is believed only of a source that is published so (CC3M, CC12M), and only if one of its
two columns holds URLs.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from infra.compat.errors import RequestError
from pipelines.sources.records import URL, parse_json
from pipelines.sources.rows import NoRows
from pipelines.sources.settings import IngestSettings
from pipelines.sources.source import Source
from pipelines.sources.text_streams import HEAD, encoding_of, head_of, open_text, reading

SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
LINE_END = re.compile(r"\r\n|\n|\r")
LOOK = 100  # rows that tell what a file is
URL_SHARE, COLUMN_SHARE = 0.5, 0.5


@dataclass(frozen=True)
class TextForm:
    """What a text file is.

    kind       csv: separated, with quotes; tsv: two columns beside one tab; lines, array, objects: JSON
    columns    in the order of the fields of its records
    separator  of csv
    header     whether the first line names the columns
    url        which of the columns holds the URL
    notice     what a person should know, "" if all is as published
    newline    what ends a line, as of `io.TextIOWrapper`: "" for all usual ways. In tsv and JSON a carriage return alone is text,
               unless the file has no other end of a line
    """

    kind: str
    columns: tuple[str, ...]
    separator: str = ""
    header: bool = False
    url: int = 0
    notice: str = ""
    newline: str = ""


def text_form(uri: str, source: Source, settings: IngestSettings) -> TextForm:
    """What the file is; RequestError where it cannot be of the source."""
    head = head_of(uri)
    text = head.decode(encoding_of(head), "replace")
    lines = _whole_lines(text, is_cut=len(head) >= HEAD)
    start = text.lstrip("\ufeff \t\r\n")[:1]
    if not lines:
        raise NoRows(f"{uri} has no rows; leave it out or fetch it again")
    if start in ("{", "["):
        form = _json_form(uri, source, settings, lines)
    else:
        form = _with_header(source, settings, lines) or _without_header(uri, source, settings, lines)
    return replace(form, newline="\n" if form.kind != "csv" and "\n" in text else "")


def json_document(uri: str, text: str) -> Any:
    """The JSON document of a file; RequestError where it is none."""
    try:
        document = parse_json(text)
    except ValueError as error:
        raise RequestError(f"{uri} is no JSON ({error}); check the file, or fetch it again") from None
    if not isinstance(document, dict | list):
        raise RequestError(f"{uri} is JSON, but neither an object nor an array; check the file")
    return document


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
        if {"url", "caption"} <= known.keys() and not any(URL.fullmatch(name) for name in names):
            if separator == "\t" and source.columns and len(names) == 2:  # as published, but for the header
                columns = tuple(sorted(known, key=lambda ours: names.index(known[ours].in_file)))
                return TextForm("tsv", columns, separator, True, columns.index("url"), "a first line names the columns")
            usual = source.format == "csv" and separator == ","
            notice = "" if usual else f"csv separated by {SEPARATORS[separator]}, with a header"
            return TextForm("csv", tuple(names), separator, True, names.index(known["url"].in_file), notice)
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
    header = len(rows) > 2 and _names_columns(_split(rows[0], separator)) and all(place is not None for place in places[1:])
    if header:
        notices.append(f"the first line ({rows[0]!r}) is taken for a header")
    kind = "tsv" if separator == "\t" else "csv"
    return TextForm(kind, columns, separator, header, columns.index("url"), ", ".join(notices))


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


def _json_form(uri: str, source: Source, settings: IngestSettings, lines: Sequence[str]) -> TextForm:
    objects = [_object(line) for line in lines]
    rows = [values for values in objects if values]
    if len(rows) * 2 > len(lines) and not (len(lines) == 1 and _is_document(rows[0], source, settings)):
        names = list(dict.fromkeys(name for values in rows for name in values))
        source.require_columns(names, uri, settings)
        chosen = sorted({column.in_file for column in source.columns_read(names, settings).values()})
        return TextForm("lines", tuple(chosen), notice="" if source.format == "json" else "JSON lines")
    with open_text(uri, "\n") as handle:
        document = reading(uri, lambda: json_document(uri, handle.read()))
    if isinstance(document, list):
        names = list(dict.fromkeys(name for values in document[:LOOK] if isinstance(values, dict) for name in values))
        kind = "objects"
    else:
        names, kind = [name for name, values in document.items() if isinstance(values, list)], "array"
        known = source.columns_read([name for name in document if name not in names], settings)
        nested = [column.in_file for column in known.values() if isinstance(document[column.in_file], dict)]
        if {"url", "caption"} <= known.keys() and nested:
            raise RequestError(f"{uri} has objects for {', '.join(nested)}, not lists of rows; write it as an object a line")
    source.require_columns(names, uri, settings)
    chosen = sorted({column.in_file for column in source.columns_read(names, settings).values()})
    if kind == "array":
        sizes = {name: len(document[name]) for name in chosen}
        if len(set(sizes.values())) > 1:
            raise RequestError(f"{uri} has arrays of unequal length ({sizes}); its rows cannot be told apart; fetch it again")
    return TextForm(kind, tuple(chosen))


def _is_document(values: dict[str, Any], source: Source, settings: IngestSettings) -> bool:
    """Whether an object holds all rows of a file rather than one: its URLs or captions are a list or an object."""
    known = source.columns_read(list(values), settings)
    read = [known[ours].in_file for ours in ("url", "caption") if ours in known] or list(values)
    return any(isinstance(values[name], (list, dict)) for name in read)


def _object(line: str) -> dict[str, Any] | None:
    try:
        values = parse_json(line)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None
