"""Lines of csv as records. A record that is broken is given with a reason, and costs no other.

csv has one trap: a quote that never closes makes all lines behind it one record. So a record of several lines is believed only
if it is written strictly and none of its lines could be a record of its own, or one with too many fields; else its first line is
rejected, and reading goes on with the second.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from pipelines.sources.records import BOM, WRONG_FIELD_COUNT, Record

csv.field_size_limit(1 << 30)  # captions of 100 KB are data, not an error
MOST_CHARACTERS = 1 << 24  # of one record
UNCLOSED_QUOTE, BROKEN_QUOTES = "unclosed_quote", "broken_quotes"
ESCAPED = '\\"'
ESCAPED_QUOTE = re.compile(r'(?<!\\)\\"')


class _NeverCloses(Exception):
    """A line behind an open quote is a record of its own."""


class _Lines:
    """Lines for csv's reader, which asks for further ones while a quote is open; remembers those of the record being read."""

    def __init__(self, lines: Iterable[str], is_record: Callable[[str], bool]) -> None:
        self.lines, self.is_record = iter(lines), is_record
        self.returned, self.of_record, self.characters, self.ended = deque[str](), list[str](), 0, False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.returned.popleft() if self.returned else next(self.lines, None)
        if line is None:
            self.ended = True
            raise StopIteration
        line = line.removeprefix(BOM)
        self.of_record.append(line)
        if len(self.of_record) > 1:
            self.characters += len(line)
            if self.characters > MOST_CHARACTERS or self.is_record(line):
                raise _NeverCloses
        return line

    def start_record(self) -> None:
        self.of_record, self.characters = [], 0

    def give_back(self) -> str:
        """Gives back all lines of the record but the first, which it returns."""
        first, *others = self.of_record
        self.returned.extendleft(reversed(others))
        return first


def csv_records(lines: Iterable[str], delimiter: str, fields: int, is_url: Callable[[list[str]], bool]) -> Iterator[Record]:
    """The records of csv lines, a row each.

    `fields` is how many a record has; `is_url` says of such a record whether its URL looks like one.
    """

    def is_record(line: str) -> bool:
        try:
            record = next(csv.reader([line], delimiter=delimiter, strict=True))
        except (csv.Error, StopIteration):
            return False
        return len(record) >= fields and is_url(record)

    source = _Lines(lines, is_record)
    reader = csv.reader(source, delimiter=delimiter)
    while True:
        source.start_record()
        try:
            record = next(reader)
        except StopIteration:
            return
        except _NeverCloses:
            yield Record([source.give_back()], UNCLOSED_QUOTE)
            continue
        if len(source.of_record) > 1 and not _is_strict(source.of_record, delimiter, fields):
            yield Record([source.give_back()], UNCLOSED_QUOTE)
        elif not record:
            continue
        elif len(record) != fields:
            yield Record([delimiter.join(record)], WRONG_FIELD_COUNT)
        elif source.ended and _is_open(source.of_record[0], delimiter):
            yield Record([source.of_record[0]], UNCLOSED_QUOTE)
        elif ESCAPED in source.of_record[0] and not _is_strict(source.of_record, delimiter, fields):
            yield Record([source.of_record[0]], BROKEN_QUOTES)
        else:
            yield Record(list(record))


def _is_strict(lines: list[str], delimiter: str, fields: int) -> bool:
    """Whether the lines are one record of so many fields whose quotes close before a delimiter or the end."""
    try:
        records = list(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error:
        return False
    return len(records) == 1 and len(records[0]) == fields


def _is_open(line: str, delimiter: str) -> bool:
    """Whether the last line of a file has a quote that is open at its end."""
    try:
        next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error as error:
        return "unexpected end of data" in str(error)
    return False


def escapes_quotes(lines: Iterable[str], delimiter: str, fields: int) -> bool:
    """Whether more of the lines are records if quotes are escaped by backslashes, as Spark and MySQL write them, than if not."""
    escaped = [line for line in lines if ESCAPED in line]
    plain = sum(_is_strict([line], delimiter, fields) for line in escaped)
    return sum(_is_strict([line], delimiter, fields) for line in doubled_quotes(escaped)) > plain


def doubled_quotes(lines: Iterable[str]) -> Iterator[str]:
    """The lines with quotes that are escaped by backslashes as csv has them: doubled."""
    for line in lines:
        yield ESCAPED_QUOTE.sub('""', line) if ESCAPED in line else line
