"""Published rows → the tables `samples` and `rejects`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from filters.duplicates.hashes import hash_rows
from filters.text.words import count_words
from pipelines.manifest.ids import sample_ids
from pipelines.manifest.parts import Part
from pipelines.runtime.step import PartResult
from pipelines.sources.rows import Rows
from pipelines.sources.settings import IngestSettings
from pipelines.sources.source import Source


def to_samples(rows: Rows, source: Source, part: Part, settings: IngestSettings) -> PartResult:
    """Published rows as the tables `samples` and `rejects`: together they hold each row of the part exactly once."""
    ids = sample_ids(source.ordinal, part.file, part.first_row, part.rows)
    columns = rows.file_columns or rows.table.column_names
    table, faults = source.published(rows.table, columns, settings)
    offsets = np.arange(len(table)) if rows.offsets is None else np.asarray(rows.offsets, dtype=np.int64)
    url = pc.utf8_trim_whitespace(table["url"])
    rejected = ~pc.fill_null(pc.greater(pc.binary_length(url), 0), False).to_numpy()
    rejects = {offset: ("no_url", caption) for offset, caption in _captions(table, offsets, rejected)}
    for row, reason, raw in reversed(faults):  # of a row with several the first counts
        rejected[row] = True
        rejects[int(offsets[row])] = (reason, raw)
    sound = table.set_column(0, "url", url)
    if rejects:
        sound = sound.filter(pa.array(~rejected))
    caption = _without_nul(pc.fill_null(sound["caption"], ""))
    samples = pa.table(
        {
            **{name: sound[name] for name in sound.column_names},
            "sample_id": ids[offsets[~rejected]],
            "source": pa.repeat(source.name, len(sound)),
            "caption": caption,
            # NULL where there never was a text: its length is then no reason to drop a picture.
            "caption_chars": pc.utf8_length(caption) if source.has_captions else pa.nulls(len(sound), pa.int32()),
            "caption_words": count_words(caption),
            # Equal pairs have the same hash, and hardly any others do.
            "pair_hash": hash_rows(xxhash.xxh3_64_intdigest, "\n", sound["url"], caption),
        }
    )
    models = json.dumps(source.score_models(columns, settings), sort_keys=True)
    samples = samples.replace_schema_metadata({"pairmill.score_models": models})
    all_rejects = sorted([*rows.rejects, *((offset, *reject) for offset, reject in rejects.items())])
    reasons = Counter(f"reason.{reason}" for _, reason, _ in all_rejects)
    counts = {"read": part.rows, "samples": len(samples), "rejected": len(all_rejects), **reasons}
    return PartResult(samples, counts, other_families={"rejects": _rejects_table(all_rejects, ids)})


def _without_nul(captions: pa.ChunkedArray) -> pa.ChunkedArray:
    """Strips NUL bytes: readers disagree about the text after one. Hardly any has one, so the raw bytes are searched first."""
    buffers = [np.frombuffer(data, np.uint8) for chunk in captions.chunks if (data := chunk.buffers()[2]) is not None]
    return pc.replace_substring(captions, "\x00", "") if any(data.min(initial=1) == 0 for data in buffers) else captions


def _captions(table: pa.Table, offsets: np.ndarray, mask: np.ndarray) -> list[tuple[int, str]]:
    """(offset, caption) of the rows in mask bool[N]."""
    captions = table["caption"].filter(pa.array(mask)).to_pylist()
    return [(offset, caption or "") for offset, caption in zip(offsets[mask].tolist(), captions, strict=True)]


def _rejects_table(rejects: Sequence[tuple[int, str, str]], ids: np.ndarray) -> pa.Table:
    return pa.table(
        {
            "sample_id": ids[np.array([offset for offset, _, _ in rejects], dtype=np.int64)],
            "reason": pa.array([reason for _, reason, _ in rejects], pa.string()),
            "raw": pa.array([raw for _, _, raw in rejects], pa.string()),
        }
    )
