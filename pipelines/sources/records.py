"""Lines of text as records: tsv and JSON, and what csv and tsv share. A record that its format breaks is given with a reason, and
costs no other. Blank lines are no records in any format.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

WRONG_FIELD_COUNT = "wrong_field_count"
REPEATED_HEADER, URL_ELSEWHERE = "repeated_header", "url_in_another_column"
INVALID_JSON, NESTED_VALUE = "invalid_json", "nested_value"
URL = re.compile(r"\s*(?:https?:)?//\S+\s*", re.IGNORECASE)
# What a URL without a scheme has: the name of a host or of a file, or an IP address.
NAME_IN_URL = re.compile(r"\w\.[^\W\d_]\w+(?=[:/?#]|$)|^(?:\d+\.){3}\d+(?=[:/?#]|$)")
URL_BESIDE_TAB = re.compile(r"https?://\S+ *\t|\t *https?://", re.IGNORECASE)
BOM = "\ufeff"
BLANK = BOM + string.whitespace

Spellings = Sequence[tuple[str, ...]]  # for each column the names that an object may have for it


class Record(NamedTuple):
    """The fields of a record, or of a broken one the text as the only field, and why."""

    fields: list[str | None]
    reason: str | None = None


def tsv_records(lines: Iterable[str], *, url_first: bool) -> Iterator[Record]:
    """The records of a tsv of two columns, in which quotes mean nothing.

    A caption may hold tabs and a URL may not, so a line is split at the tab beside the URL. Where two files were joined, the URL
    may be at the other end. A line whose URL is at neither end, or with another URL beside a tab, has further columns or is two.
    """
    for line in lines:
        text = line.removeprefix(BOM).rstrip("\r\n")
        if not text:
            continue
        fields = text.split("\t", 1) if url_first else text.rsplit("\t", 1)
        if len(fields) == 2 and not URL.fullmatch(fields[0 if url_first else 1]):
            swapped = text.rsplit("\t", 1)[::-1] if url_first else text.split("\t", 1)[::-1]
            if URL.fullmatch(swapped[0 if url_first else 1]):
                fields = swapped
            elif any(map(URL.fullmatch, text.split("\t"))):
                fields = [text]
        if len(fields) == 2 and URL_BESIDE_TAB.search(fields[1 if url_first else 0]):
            fields = [text]
        yield Record(list(fields)) if len(fields) == 2 else Record([text], WRONG_FIELD_COUNT)


def is_like_url(text: str) -> bool:
    """Whether a field is a URL, with a scheme or without: one word that has the name of a host or of a file."""
    word = text.strip(BLANK)
    return bool(URL.fullmatch(word)) or (bool(NAME_IN_URL.search(word)) and len(word.split(None, 1)) == 1)


def table_records(records: Iterable[Record], names: Collection[str], url: int) -> Iterator[Record]:
    """The records of csv or tsv as they are joined with `cat`: a header in their middle is a reject.

    So is a record whose URL is in another column, as behind a header that names the columns in another order.
    """
    headers = {_plain(name) for name in names}
    for record in records:
        field = record.fields[url] if record.reason is None else None
        if field is None or URL.fullmatch(field):
            yield record
        elif _plain(field) in headers:
            yield Record(["\t".join(map(str, record.fields))], REPEATED_HEADER)
        elif any(map(URL.fullmatch, map(str, record.fields))) and not is_like_url(field) and field.strip(BLANK):
            yield Record(["\t".join(map(str, record.fields))], URL_ELSEWHERE)
        else:
            yield record


def _plain(name: str) -> str:
    return name.strip(BLANK).lower()


def parse_json(text: str) -> Any:
    """The value of a JSON document; ValueError where it is none, or one nested so deeply that it cannot be read."""
    try:
        return json.loads(text.removeprefix(BOM))  # one lies within a text where files were joined
    except RecursionError:
        raise ValueError("nested too deeply") from None


def json_line_records(lines: Iterable[str], spellings: Spellings) -> Iterator[Record]:
    """The records of JSON lines: an object each; blank lines are none."""
    for line in lines:
        if not line.strip(BLANK):
            continue
        try:
            values = parse_json(line)
        except ValueError:
            values = None
        yield _of_object(values, spellings) or Record([line.rstrip("\r\n")], INVALID_JSON)


def object_records(objects: list[Any], spellings: Spellings) -> Iterator[Record]:
    """The records of a JSON array of objects."""
    for values in objects:
        yield _of_object(values, spellings) or Record([json.dumps(values, ensure_ascii=False)], INVALID_JSON)


def array_records(arrays: dict[str, list[Any]]) -> Iterator[Record]:
    """The records of parallel arrays of equal length."""
    for values in zip(*arrays.values(), strict=True):
        yield _of_values(list(values))


def _of_object(values: Any, spellings: Spellings) -> Record | None:
    """The record of an object, None of another value: for each column the value of the first of its names that the object has."""
    return _of_values([_first_of(values, names) for names in spellings]) if isinstance(values, dict) else None


def _first_of(values: dict[str, Any], names: tuple[str, ...]) -> Any:
    for name in names:
        if name in values:
            return values[name]
    return None


def _of_values(values: list[Any]) -> Record:
    """Numbers, true and false as text, NaN as NULL. A list or object is no text: a caption would read as its notation."""
    if any(isinstance(value, (list, dict)) for value in values):
        return Record([json.dumps(values, ensure_ascii=False)], NESTED_VALUE)
    return Record([value if value is None or isinstance(value, str) else _as_text(value) for value in values])


def _as_text(value: float | bool) -> str | None:
    return None if value != value else json.dumps(value)
