"""What a JSON file is: an object a line, an array of objects, or an object of parallel arrays.

Objects need not all have the same names: a column may first be seen in the last of them, and where files were joined it may have
one name in some and another one in others. So all objects are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from infra.compat.content import State
from infra.compat.errors import RequestError
from infra.compat.files import file_system
from pipelines.sources.compression import reading
from pipelines.sources.records import parse_json
from pipelines.sources.rows import TextForm
from pipelines.sources.settings import IngestSettings
from pipelines.sources.source import Source
from pipelines.sources.text_streams import open_text


def json_form(uri: str, source: Source, settings: IngestSettings, lines: Sequence[str], newline: str) -> TextForm:
    """The form of a JSON file with these first lines, split as by `newline`; RequestError where it cannot be of the source."""
    objects = [values for line in lines if (values := _object(line))]
    if not objects:  # the first line may be longer than what was looked at
        with open_text(uri, newline) as handle:
            lines = [reading(uri, lambda: _first_line(handle))]
        objects = [values for line in lines if (values := _object(line))]
    if len(objects) * 2 > len(lines) and not (len(lines) == 1 and _is_document(objects[0], source, settings)):
        notice = "" if source.format == "json" else "JSON lines"
        return _form_of_objects("lines", _names_in_lines(uri, newline), uri, source, settings, notice)
    with open_text(uri, "\n") as handle:
        document = reading(uri, lambda: json_document(uri, handle.read()))
    if isinstance(document, list):
        return _form_of_objects("objects", _names_in(document), uri, source, settings)
    return _form_of_arrays(document, uri, source, settings)


def json_document(uri: str, text: str) -> Any:
    """The JSON document of a file; RequestError where it is none."""
    try:
        document = parse_json(text)
    except ValueError as error:
        raise RequestError(f"{uri} is no JSON ({error}); check the file, or fetch it again") from None
    if not isinstance(document, dict | list):
        raise RequestError(f"{uri} is JSON, but neither an object nor an array; check the file")
    return document


def _form_of_objects(
    kind: str, names: Sequence[str], uri: str, source: Source, settings: IngestSettings, notice: str = ""
) -> TextForm:
    source.require_columns(names, uri, settings)
    spellings = {written[0]: written for written in source.spellings(names, settings).values()}
    columns = tuple(sorted(spellings))
    others = [f"{column} is read from {' or '.join(spellings[column][1:])} where an object lacks it" for column in columns]
    notices = [notice, *(other for other, column in zip(others, columns, strict=True) if len(spellings[column]) > 1)]
    return TextForm(kind, columns, spellings=tuple(map(spellings.__getitem__, columns)), notice=", ".join(filter(None, notices)))


def _form_of_arrays(document: dict[str, Any], uri: str, source: Source, settings: IngestSettings) -> TextForm:
    names = [name for name, values in document.items() if isinstance(values, list)]
    known = source.columns_read([name for name in document if name not in names], settings)
    nested = [column.in_file for column in known.values() if isinstance(document[column.in_file], dict)]
    if {"url", "caption"} <= known.keys() and nested:
        raise RequestError(f"{uri} has objects for {', '.join(nested)}, not lists of rows; write it as an object a line")
    source.require_columns(names, uri, settings)
    chosen = sorted({column.in_file for column in source.columns_read(names, settings).values()})
    sizes = {name: len(document[name]) for name in chosen}
    if len(set(sizes.values())) > 1:
        raise RequestError(f"{uri} has arrays of unequal length ({sizes}); its rows cannot be told apart; fetch it again")
    return TextForm("array", tuple(chosen))


_names_of_file: dict[tuple[str, str], list[str]] = State()


def _names_in_lines(uri: str, newline: str) -> list[str]:
    """The names that the objects of all lines have. Those of one file are kept: all its parts need them."""
    fs, path = file_system(uri)
    key = (uri, fs.ukey(path))
    if key not in _names_of_file:
        with open_text(uri, newline) as lines:
            names = reading(uri, lambda: _names_in(map(_object, lines)))
        _names_of_file.clear()
        _names_of_file[key] = names
    return _names_of_file[key]


def _names_in(objects: Iterable[Any]) -> list[str]:
    """The names that objects have, in the order in which they are first seen."""
    return list(dict.fromkeys(name for values in objects if isinstance(values, dict) for name in values))


def _first_line(lines: Iterable[str]) -> str:
    return next((line for line in lines if line.strip("\ufeff \t\r\n")), "")


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
