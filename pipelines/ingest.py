"""ingest SOURCE FILES…: published metadata → the family `samples`. A broken row is counted and kept in `rejects`.

Tag tables once named with --join-tags belong to the source: files ingested later are joined with them too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from filters.duplicates.hashes import hash_rows
from filters.text.words import count_words
from pipelines.manifest.ids import sample_ids
from pipelines.manifest.parts import Part, SourceFile, read_parts, register_files
from pipelines.manifest.storage import Storage
from pipelines.recipe import recipe_of
from pipelines.runtime import command_line
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import start_ray
from pipelines.runtime.step import Made, Step, run_step
from pipelines.sources import source_named
from pipelines.sources.files import Rows, expand, inspect, read_rows
from pipelines.sources.settings import IngestSettings
from pipelines.sources.source import Source
from pipelines.sources.tags import inspect_tags, join_tags, register_tags


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Registers the files and ingests every part that is not done."""
    parser = command_line.parser("ingest", __doc__ or "")
    parser.add_argument("source", metavar="SOURCE", help="laion2b-en, laion2b-multi, coyo, wukong …")
    parser.add_argument("files", nargs="+", metavar="FILES", help="paths, URIs, or patterns in quotes")
    what = "published tables of hash and pwatermark, punsafe or aesthetic, to be joined by LAION's hash"
    parser.add_argument("--join-tags", nargs="+", action="extend", default=[], metavar="FILE", help=what)
    options = parser.parse_args(argv)
    settings = recipe_of(options).ingest
    source = source_named(options.source)
    found = [inspect(uri, source) for uri in expand(options.files)]
    named = [inspect_tags(uri) for uri in expand(options.join_tags)]
    storage = Storage(options.root)
    storage.require_writable()
    start_ray(options.address)
    files = register_files(storage, source.name, found, settings.part_rows)
    tables, parts = register_tags(storage, source.name, named), read_parts(storage, source.name)
    outcome = run_step(storage, ingest_step(source, files, settings), parts)
    if tables and not outcome.failed:
        tagged = join_tags(storage, source.name, tables, parts)
        outcome.counts["tagged"], outcome.failed = tagged.counts["tagged"], tagged.failed
    return command_line.summary(outcome)


def ingest_step(source: Source, files: Sequence[SourceFile], settings: IngestSettings) -> Step:
    """The step that reads parts of these files."""
    by_ordinal = {file.ordinal: file for file in files}

    def identity(part: Part) -> Mapping[str, Any]:
        file = by_ordinal[part.file]
        return {"uri": file.uri, "size": file.size, "stamp": file.stamp, **settings.model_dump(exclude={"part_rows"})}

    work = partial(_ingest, source=source.name, uris={file.ordinal: file.uri for file in files}, settings=settings)
    return Step("samples", (), identity, work)


def _ingest(
    storage: Storage, part: Part, reporter: Reporter, *, source: str, uris: Mapping[int, str], settings: IngestSettings
) -> Made:
    origin = source_named(source)
    rows = read_rows(uris[part.file], origin, part.first_row, part.rows)
    made = to_samples(rows, origin, part, settings)
    reporter(part.rows)
    return made


def to_samples(rows: Rows, source: Source, part: Part, settings: IngestSettings) -> Made:
    """Published rows as the tables `samples` and `rejects`: together they hold each row of the part exactly once."""
    ids = sample_ids(source.ordinal, part.file, part.first_row, part.rows)
    table = source.published(rows.table, settings)
    offsets = np.arange(len(table)) if rows.offsets is None else np.asarray(rows.offsets, dtype=np.int64)
    url = pc.utf8_trim_whitespace(table["url"])
    has_url = pc.fill_null(pc.greater(pc.binary_length(url), 0), False).to_numpy(zero_copy_only=False)
    without = [(int(offset), "no_url", caption) for offset, caption in _without_url(offsets, table, ~has_url)]
    kept = table.set_column(0, "url", url)
    if without:
        kept = kept.filter(pa.array(has_url))
    caption = _without_nul(pc.fill_null(kept["caption"], ""))
    samples = pa.table(
        {
            **{name: kept[name] for name in kept.column_names},
            "sample_id": ids[offsets[has_url]],
            "source": pa.repeat(source.name, len(kept)),
            "caption": caption,
            "caption_chars": pc.utf8_length(caption),
            "caption_words": count_words(caption),
            # Equal pairs, and hardly any others, share it.
            "pair_hash": hash_rows(xxhash.xxh3_64_intdigest, "\n", kept["url"], caption),
        }
    )
    models = json.dumps(dict(source.models(rows.table.column_names, settings)), sort_keys=True)
    samples = samples.replace_schema_metadata({"pairmill.score_models": models})
    rejects = sorted([*rows.rejects, *without])
    reasons = {f"reason.{name}": sum(reason == name for _, reason, _ in rejects) for _, name, _ in rejects}
    counts = {"read": part.rows, "samples": len(samples), "rejected": len(rejects), **reasons}
    return Made(samples, counts, others={"rejects": _rejects_table(rejects, ids)})


def _without_nul(captions: pa.ChunkedArray) -> pa.ChunkedArray:
    """What reads of a NUL on is up to whom one asks, so captions have none. Hardly any has: the bytes are looked at first."""
    buffers = [np.frombuffer(data, np.uint8) for chunk in captions.chunks if (data := chunk.buffers()[2]) is not None]
    return pc.replace_substring(captions, "\x00", "") if any(data.min(initial=1) == 0 for data in buffers) else captions


def _without_url(offsets: np.ndarray, table: pa.Table, mask: np.ndarray) -> list[tuple[int, str]]:
    captions = table["caption"].filter(pa.array(mask)).to_pylist()
    return [(offset, caption or "") for offset, caption in zip(offsets[mask], captions, strict=True)]


def _rejects_table(rejects: Sequence[tuple[int, str, str]], ids: np.ndarray) -> pa.Table:
    return pa.table(
        {
            "sample_id": ids[np.array([offset for offset, _, _ in rejects], dtype=np.int64)],
            "reason": pa.array([reason for _, reason, _ in rejects], pa.string()),
            "raw": pa.array([raw for _, _, raw in rejects], pa.string()),
        }
    )


if __name__ == "__main__":
    command_line.run("ingest", main)
