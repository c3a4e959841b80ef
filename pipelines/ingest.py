"""ingest SOURCE FILES…: published metadata → the family `samples`. A broken row is counted and kept in `rejects`.

Tag tables given once with --join-tags belong to the source: files ingested later are joined with them too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pipelines.manifest.parts import Part, SourceFile, read_parts, register_files
from pipelines.manifest.storage import Storage
from pipelines.recipe import recipe_of
from pipelines.runtime import command_line
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import start_ray
from pipelines.runtime.step import Made, Step, run_step
from pipelines.sources import source_named
from pipelines.sources.files import expand, inspect, read_rows
from pipelines.sources.samples import to_samples
from pipelines.sources.settings import IngestSettings
from pipelines.sources.source import Source
from pipelines.sources.tags import inspect_tags, join_tags, register_tags


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Registers the files and ingests every part that is not done."""
    parser = command_line.parser("ingest", __doc__ or "")
    parser.add_argument("source", metavar="SOURCE", help="laion2b-en, laion2b-multi, coyo, wukong …")
    parser.add_argument("files", nargs="+", metavar="FILES", help="paths, URIs, or patterns in quotes")
    tags_help = "published tables of hash and pwatermark, punsafe or aesthetic, to be joined by LAION's hash"
    parser.add_argument("--join-tags", nargs="+", action="extend", default=[], metavar="FILE", help=tags_help)
    options = parser.parse_args(argv)
    settings = recipe_of(options).ingest
    source = source_named(options.source)
    new_files = [inspect(uri, source) for uri in expand(options.files)]
    new_tables = [inspect_tags(uri) for uri in expand(options.join_tags)]
    storage = Storage(options.root)
    storage.require_writable()
    start_ray(options.address)
    files = register_files(storage, source.name, new_files, settings.part_rows)
    tables, parts = register_tags(storage, source.name, new_tables), read_parts(storage, source.name)
    outcome = run_step(storage, ingest_step(source, files, settings), parts)
    if tables and not outcome.failed:
        tagged = join_tags(storage, source.name, tables, parts)
        outcome.counts["tagged"], outcome.failed = tagged.counts["tagged"], tagged.failed
    return command_line.summary(outcome)


def ingest_step(source: Source, files: Sequence[SourceFile], settings: IngestSettings) -> Step:
    """The step that turns parts of these files into samples."""
    by_ordinal = {file.ordinal: file for file in files}

    def identity(part: Part) -> Mapping[str, Any]:
        file = by_ordinal[part.file]
        return {"uri": file.uri, "size": file.size, "stamp": file.stamp, **settings.model_dump(exclude={"part_rows"})}

    work = partial(_ingest, source=source.name, uris={file.ordinal: file.uri for file in files}, settings=settings)
    content = (to_samples, read_rows, Source.published, source.convert, source.models, source.format, source.columns)
    return Step("samples", (), identity, work, content)


def _ingest(
    storage: Storage, part: Part, reporter: Reporter, *, source: str, uris: Mapping[int, str], settings: IngestSettings
) -> Made:
    schema = source_named(source)
    rows = read_rows(uris[part.file], schema, part.first_row, part.rows)
    result = to_samples(rows, schema, part, settings)
    reporter(part.rows)
    return result


if __name__ == "__main__":
    command_line.run("ingest", main)
