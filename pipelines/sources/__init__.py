"""One file per published schema. A source turns the rows of its files into the columns of `samples`.

To add a source: write a module here, or a plugin, with `SOURCES`. Ordinals go into every sample_id: a number once given is never
given again.

source.py         what a source is: which published columns ours are read from
published.py      our columns, and how their values are read
patterns.py       which files paths, folders and patterns name
files.py          published files: format, columns, row count, and runs of rows
parquet_files.py  parquet, with only the columns that are needed
text_files.py     text formats: columns, row count, and runs of rows
text_forms.py     what a text file is, by its first rows
json_forms.py     what a JSON file is
text_streams.py   files as lines of text
compression.py    files, decompressed
encodings.py      which encoding a text has
records.py        lines as records: tsv, JSON
csv_records.py    lines as records: csv
rows.py           a run of rows as read
rejects.py        files whose rows are mostly rejected
samples.py        published rows → samples and rejects
tag_tables.py     published tag tables: reading and checking one
tags.py           tag tables joined to samples by LAION's hash
settings.py       settings of `ingest`
*.py              a published schema, as its first line says
"""

from __future__ import annotations

from infra.compat.errors import RequestError, nearest
from pipelines.runtime.plugins import defined_in, with_plugins
from pipelines.sources.source import Source


def sources() -> dict[str, Source]:
    """All sources by name: those of the modules here, and of plugins; RequestError when a plugin's repeats a name or ordinal."""
    ours: list[Source] = defined_in(__name__, "SOURCES")
    return {source.name: source for source in with_plugins(ours, "SOURCES", Source, "name", "ordinal")}


def source_named(name: str) -> Source:
    """The source of that name; RequestError suggests the nearest."""
    known = sources()
    if name not in known:
        raise RequestError(f"unknown source {name!r}; {nearest(name, known)}")
    return known[name]
