"""What a source is: how its published columns are named, and which of them ours are read from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import pyarrow as pa

from infra.compat.errors import RequestError
from pipelines.sources.published import PUBLISHED, Fault, can_read, read_values, readable_types
from pipelines.sources.settings import IngestSettings

Names = Mapping[str, str | tuple[str, ...]]
DEFAULTS = IngestSettings()
NAMED = 400  # characters of the names of columns, in an error


class Column(NamedTuple):
    """A column of a file, and the name that its source gives it, which may differ in upper and lower case."""

    in_file: str
    published: str


@dataclass(frozen=True)
class Source:
    """A published corpus.

    name      as on the command line
    ordinal   its number in every sample_id: 1 … 255, never given twice
    title     its name in InternVL's Table 2
    format    how its files are published
    names     our column → the published one, or several of which the first that a file has is read; upper and lower case are
              told apart only where a file has both. May depend on the file's columns and the settings. `url` and `caption`
              are needed; the others are NULL in a file without them
    usual     those of the others that its files usually have; the job says when a file lacks one
    required  further published columns without which a file is not of this source
    language  of all its captions, where it is one
    columns   url and caption, in the order of a tsv without a header; empty where the file names its columns
    models    published score → the model behind it, for the file's footer
    is_mapped whether the setting `ingest.columns` names its columns, before `names` does
    has_captions  whether it has texts at all
    fix       what to do about a file that lacks a column
    """

    name: str
    ordinal: int
    title: str
    format: Literal["parquet", "csv", "tsv", "json"]
    names: Names | Callable[[Sequence[str], IngestSettings], Names]
    usual: tuple[str, ...] = ()
    required: frozenset[str] = frozenset()
    language: str | None = None
    columns: tuple[str, ...] = ()
    models: Mapping[str, str] = field(default_factory=dict)
    is_mapped: bool = False
    has_captions: bool = True
    fix: str = "check SOURCE or the file"

    def __post_init__(self) -> None:
        if not 0 < self.ordinal < 256:
            raise ValueError(f"source {self.name!r} has the ordinal {self.ordinal}; ordinals are 1 … 255")

    def columns_read(self, columns: Sequence[str], settings: IngestSettings = DEFAULTS) -> dict[str, Column]:
        """Our column → the column of a file with these columns that it is read from; those that the file has."""
        names = self._names(columns, settings)
        chosen = {ours: first_column(theirs, columns) for ours, theirs in names.items()}
        return {ours: column for ours, column in chosen.items() if column is not None}

    def spellings(self, columns: Sequence[str], settings: IngestSettings = DEFAULTS) -> dict[str, tuple[str, ...]]:
        """Our column → the names that objects of a file may have for it: the one of `columns_read`, and others of its meaning.

        A score of another model is not of its meaning.
        """
        names, result = self._names(columns, settings), dict[str, tuple[str, ...]]()
        for ours, chosen in self.columns_read(columns, settings).items():
            published, model = names[ours], self.models.get(chosen.published)
            same = [name for name in _all(published) if self.models.get(name) == model]
            others = [column for name in same for column in columns if column.lower() == name.lower()]
            result[ours] = tuple(dict.fromkeys([chosen.in_file, *others]))
        return result

    def names_of_pairs(self, settings: IngestSettings = DEFAULTS) -> list[str]:
        """All names that the columns of URLs and captions may have."""
        names = self._names((), settings)
        return [*_all(names["url"]), *_all(names["caption"])]

    def require_columns(self, columns: Sequence[str], where: str, settings: IngestSettings = DEFAULTS) -> None:
        """Raises RequestError naming the columns a file lacks."""
        known, names = self.columns_read(columns, settings), self._names(columns, settings)
        needed = dict.fromkeys(["url", "caption", *(settings.columns if self.is_mapped else ())])
        unknown = [_first(names[ours]) for ours in needed if ours not in known]
        missing = sorted([*unknown, *(name for name in self.required if first_column((name,), columns) is None)])
        if missing:
            has = ", ".join(columns) or "none"
            raise RequestError(
                f"{where} has no column {', '.join(missing)} (it has {has[:NAMED]}{'…' * (len(has) > NAMED)}), "
                f"so it is no {self.name} file; {self.fix}"
            )

    def require_types(self, schema: pa.Schema, where: str, settings: IngestSettings = DEFAULTS) -> None:
        """Raises RequestError naming the first column that is read and has a type that its values cannot be read from."""
        for ours, (in_file, _) in self.columns_read(schema.names, settings).items():
            if schema.names.count(in_file) > 1:
                raise RequestError(f"{where} has {schema.names.count(in_file)} columns {in_file}; rename all but one")
            written = schema.field(in_file).type
            if not can_read(written, PUBLISHED[ours]):
                what, _ = readable_types(PUBLISHED[ours])
                raise RequestError(
                    f"{where}: its column {in_file} is {written}, but {ours} is read from {what}; write it as that"
                )

    def notice(self, columns: Sequence[str], settings: IngestSettings = DEFAULTS) -> str:
        """What to say of a file with these columns: those that go by an unusual name, and the usual ones that it lacks."""
        names, known = self._names(columns, settings), self.columns_read(columns, settings)
        renamed = [
            f"{ours} is read from {in_file}"
            for ours, (in_file, published) in known.items()
            if in_file != ours and published != _first(names[ours])
        ]
        lacks = [ours for ours in self.usual if ours not in known]
        return ", ".join([*renamed, *([f"no {', '.join(lacks)} (NULL in its samples)"] if lacks else [])])

    def published(
        self, raw: pa.Table, columns_of_file: Sequence[str], settings: IngestSettings = DEFAULTS
    ) -> tuple[pa.Table, list[Fault]]:
        """Raw rows as published columns, table[N] of the names and types in `PUBLISHED`, and the values that cannot be read.

        `raw` needs only those of a file's columns that are read.
        """
        known = self.columns_read(columns_of_file, settings)
        columns, faults = {}, list[Fault]()
        for ours, kind in PUBLISHED.items():
            if ours in known:
                columns[ours], bad = read_values(raw[known[ours].in_file], kind)
                faults += [Fault(row, reason, f"{known[ours].in_file}: {value}") for row, reason, value in bad]
            else:
                columns[ours] = pa.nulls(len(raw), kind)
        if self.language is not None:
            columns["language"] = pa.repeat(self.language, len(raw))
        return pa.table(columns), faults

    def score_models(self, columns: Sequence[str], settings: IngestSettings = DEFAULTS) -> dict[str, str]:
        """Our score → the model behind it, of the scores that a file with these columns has."""
        known = self.columns_read(columns, settings)
        return {ours: self.models[theirs] for ours, (_, theirs) in known.items() if theirs in self.models}

    def _names(self, columns: Sequence[str], settings: IngestSettings) -> Names:
        names = self.names(columns, settings) if callable(self.names) else self.names
        return {**names, **settings.columns} if self.is_mapped else names


def first_column(names: str | tuple[str, ...], columns: Sequence[str]) -> Column | None:
    """The first of the published names that is among a file's columns; in other case only where one column has it."""
    for name in _all(names):
        same = [column for column in columns if column.lower() == name.lower()]
        if name in same or len(same) == 1:
            return Column(name if name in same else same[0], name)
    return None


def _all(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else names


def _first(names: str | tuple[str, ...]) -> str:
    return _all(names)[0]
