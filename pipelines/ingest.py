"""ingest [SOURCE FILES…]: published metadata → the family `samples`. A broken row is counted and kept in `rejects`.

The source `pictures` has no metadata: its FILES are pictures, tars of them, and folders of both.

Without SOURCE, every one of the recipe's `[[sources]]`. Tag tables given once with --join-tags belong to the source: files
ingested later are joined with them too.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from infra.compat.errors import RequestError
from infra.compat.files import open_file
from infra.compat.paths import absolute
from pipelines.fetching.listed_pictures import list_pictures, listing_of, picture_files
from pipelines.manifest.parts import Part, SourceFile, read_files, read_parts, register_files, remove_files
from pipelines.manifest.receipts import digest_of
from pipelines.manifest.registry import identity_of
from pipelines.manifest.removal import remove_outdated_results, remove_unregistered
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import conform
from pipelines.recipe import Recipe, recipe_of
from pipelines.runtime import command_line
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import start_ray
from pipelines.runtime.step import Outcome, PartResult, Step, run_step
from pipelines.runtime.terminal import printable
from pipelines.sources import source_named
from pipelines.sources.compression import open_bytes
from pipelines.sources.csv_records import csv_records
from pipelines.sources.encodings import encoding_of
from pipelines.sources.files import Inspected, inspect, read_rows, without_rows
from pipelines.sources.json_forms import json_form
from pipelines.sources.parquet_files import parquet_rows
from pipelines.sources.patterns import expand
from pipelines.sources.pictures import NAME as PICTURES
from pipelines.sources.published import read_values
from pipelines.sources.records import table_records
from pipelines.sources.rejects import mostly_rejected
from pipelines.sources.rows import NoRows
from pipelines.sources.samples import to_samples
from pipelines.sources.settings import IngestSettings, SourceSettings
from pipelines.sources.source import Source
from pipelines.sources.tag_tables import inspect_tags
from pipelines.sources.tags import join_tags, register_tags
from pipelines.sources.text_files import text_rows
from pipelines.sources.text_forms import text_form

HEAD_BYTES = 1 << 16


@dataclass(frozen=True)
class Published:
    """A source with its inspected files and tag tables; `empty` are further files, without rows, and why they were refused."""

    source: Source
    files: list[SourceFile]
    empty: dict[str, NoRows]
    tag_tables: list[SourceFile]
    notices: list[str]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Registers the files and ingests every part that is not done."""
    parser = command_line.parser("ingest", __doc__ or "")
    parser.add_argument("source", nargs="?", metavar="SOURCE", help="laion2b-en, laion2b-multi, coyo, wukong …")
    parser.add_argument("files", nargs="*", metavar="FILES", help="paths, URIs, or patterns in quotes")
    what = "published tables of hash and pwatermark, punsafe or aesthetic, to be joined by LAION's hash"
    parser.add_argument("--join-tags", nargs="+", action="extend", default=[], metavar="FILE", help=what)
    what = "unregister these files of SOURCE and remove all that was made of them; nothing is ingested"
    parser.add_argument("--remove", nargs="+", action="extend", default=[], metavar="FILE", help=what)
    options = parser.parse_intermixed_args(argv)  # files may follow options
    recipe = recipe_of(options)
    if options.remove:
        if not options.source or options.files or options.join_tags:
            parser.error("--remove takes a SOURCE, and nothing to ingest")
        return _remove(Storage(options.root), source_named(options.source).name, options.remove)
    storage = Storage(options.root)
    if options.source:
        if not options.files:
            parser.error("the following arguments are required: FILES")
        chosen = SourceSettings(name=options.source, files=tuple(options.files), join_tags=tuple(options.join_tags))
        published = [_inspect(_listed(storage, chosen), recipe.ingest)]
    elif recipe.sources:
        published = [_inspect(_listed(storage, source), recipe.ingest) for source in recipe.sources]
    else:
        raise RequestError("nothing to ingest; give SOURCE and FILES, or a --recipe with [[sources]]")
    published = [_with_emptied(storage, one) for one in published]
    storage.require_writable()
    start_ray(options.address)
    total = Outcome()
    for one in published:
        sys.stderr.writelines(f"{printable(notice)}\n" for notice in one.notices)
        outcome = _ingest_source(storage, one, recipe.ingest)
        total.counts.update(outcome.counts)
        total.failed |= outcome.failed
        total.parts, total.ran = total.parts + outcome.parts, total.ran + outcome.ran
    return command_line.summary(total)


def _remove(storage: Storage, source: str, files: Sequence[str]) -> dict[str, Any]:
    """Takes files out of a source; their parts, receipts and pictures are removed, and counted."""
    storage.require_writable()
    remove_files(storage, source, [_named(storage, source, absolute(file)) for file in files])
    return {**remove_unregistered(storage, source), "failed": {}}


def check(recipe: Recipe) -> None:
    """RequestError where a source of the recipe, or one of its files, cannot be ingested."""
    for source in recipe.sources:
        if source.name == PICTURES:
            picture_files(source.files)
        else:
            _inspect(source, recipe.ingest)


def _listed(storage: Storage, chosen: SourceSettings) -> SourceSettings:
    """The source with the listings of its pictures as its files, where it is one of pictures alone."""
    if chosen.name != PICTURES:
        return chosen
    storage.require_writable()
    return chosen.model_copy(update={"files": tuple(list_pictures(storage, chosen.files))})


def _named(storage: Storage, source: str, file: str) -> str:
    """What a file to take out is registered as: of pictures the listing of a tar, folder or pattern."""
    listing = listing_of(storage, file)
    registered = {identity_of(one.uri) for one in read_files(storage, source)} if source == PICTURES else set[str]()
    return listing if identity_of(listing) in registered else file


def _inspect(chosen: SourceSettings, settings: IngestSettings) -> Published:
    source = source_named(chosen.name)
    inspected, empty = list[Inspected](), dict[str, NoRows]()
    for uri in expand(chosen.files):
        try:
            inspected.append(inspect(uri, source, settings))
        except NoRows as error:
            empty[uri] = error
    files, tag_tables = [one.file for one in inspected], [inspect_tags(uri) for uri in expand(chosen.join_tags)]
    return Published(source, files, empty, tag_tables, _notices(source.name, inspected))


def _with_emptied(storage: Storage, published: Published) -> Published:
    """With the files that had rows when they were ingested and have none now; NoRows where no other file is left."""
    known = {identity_of(file.uri) for file in read_files(storage, published.source.name)}
    empty = {uri: without_rows(uri) for uri in published.empty}
    emptied = [file for uri, file in empty.items() if identity_of(uri) in known]
    if not published.files and not emptied:
        raise next(iter(published.empty.values()))
    inspected = [Inspected(file, "no rows") for file in empty.values()]
    notices = [*published.notices, *_notices(published.source.name, inspected)]
    return replace(published, files=[*published.files, *emptied], notices=notices)


def _notices(source: str, inspected: Sequence[Inspected]) -> list[str]:
    """What to say of the files, each thing once."""
    uris: dict[str, list[str]] = {}
    for one in inspected:
        uris.setdefault(one.notice, []).append(one.file.uri)
    return [
        f"{source}: {notice} in {uris[0]}{f' and {len(uris) - 1} more' if len(uris) > 1 else ''}"
        for notice, uris in uris.items()
        if notice
    ]


def _ingest_source(storage: Storage, published: Published, settings: IngestSettings) -> Outcome:
    """Ingests a source's pending parts, and joins all tag tables that were ever named for it."""
    name = published.source.name
    heads = {file.uri: _head(file.uri) for file in published.files}
    files = register_files(storage, name, published.files, settings.part_rows, heads)
    removed = remove_unregistered(storage, name)
    tag_tables, parts = register_tags(storage, name, published.tag_tables), read_parts(storage, name)
    outcome = run_step(storage, ingest_step(published.source, files, settings), parts)
    outcome.counts.update(+removed)  # without those that are 0
    outcome.failed |= mostly_rejected(storage, name, {file.uri for file in published.files})
    if tag_tables and parts and not outcome.failed:
        tagged = join_tags(storage, name, tag_tables, parts)
        outcome.counts["tagged"], outcome.failed = tagged.counts["tagged"], tagged.failed
        outcome.counts["tag_rows_skipped"] = tagged.counts["tag_rows_skipped"]
    return outcome


def _head(uri: str) -> str:
    """The digest of a file's first bytes."""
    with open_file(uri) as handle:
        return digest_of(handle.read(HEAD_BYTES))


def ingest_step(source: Source, files: Sequence[SourceFile], settings: IngestSettings) -> Step:
    """The step that turns parts of these files into samples."""
    by_ordinal = {file.ordinal: file for file in files}

    def identity(part: Part) -> Mapping[str, Any]:
        file = by_ordinal[part.file]
        return {"uri": file.uri, "size": file.size, "stamp": file.stamp, **settings.model_dump(exclude={"part_rows"})}

    work = partial(_ingest, source=source.name, uris={file.ordinal: file.uri for file in files}, settings=settings)
    names = (source.names, source.has_captions, source.language, source.models, source.format, source.columns)
    # One of each module that reads.
    readers = (read_rows, parquet_rows, text_rows, text_form, json_form, csv_records, table_records, encoding_of, open_bytes)
    content = (to_samples, *readers, read_values, Source.published, *names)
    return Step("samples", (), identity, work, content)


def _ingest(
    storage: Storage, part: Part, reporter: Reporter, *, source: str, uris: Mapping[int, str], settings: IngestSettings
) -> PartResult:
    schema = source_named(source)
    rows = read_rows(uris[part.file], schema, part.first_row, part.rows, settings)
    result = to_samples(rows, schema, part, settings)
    # Before the samples land: until then it can be told which have changed.
    remove_outdated_results(storage, part, conform(result.table, "samples"))
    reporter(part.rows)
    return result


if __name__ == "__main__":
    command_line.run("ingest", main)
