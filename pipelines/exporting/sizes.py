"""Into which shards the rows of an export are cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.exporting.plan import BYTES, FIRST_HELD_OUT, HELD_OUT, TRAIN
from pipelines.exporting.settings import ExportSettings
from pipelines.runtime.external_sort import SortedFile
from sharding.layout import shard_name


def shard_counts(counts: Mapping[str, int], settings: ExportSettings) -> dict[str, int]:
    """Split → how many shards, given the counts of the plans; none for a split without rows."""
    return {split: _shards(counts[split], counts[BYTES + split], settings) for split in (TRAIN, HELD_OUT) if counts[split]}


def shard_ranks(counts: Mapping[str, int], settings: ExportSettings) -> Iterator[dict[str, Any]]:
    """The label of each shard, its split, and its ranks `first` … `end` - 1 in the order of the export; equal sizes ± 1."""
    before = 0
    for split, shards in shard_counts(counts, settings).items():
        rows = counts[split]
        for number in range(shards):
            first, end = (before + place * rows // shards for place in (number, number + 1))
            yield {"label": shard_name(split, number), "split": split, "first": first, "end": end}
        before += rows


def samples_of_splits(files: Sequence[SortedFile], lows: Sequence[int], rows: Mapping[str, int]) -> dict[str, int]:
    """The counts of the plans' `rows` as those of the samples that rows were brought together in, which the sort's files hold."""
    counts = {TRAIN: 0, HELD_OUT: 0}
    for file, low in zip(files, lows, strict=True):
        counts[TRAIN if low < FIRST_HELD_OUT else HELD_OUT] += file.rows
    sizes = {f"{BYTES}{split}": rows[f"{BYTES}{split}"] * count // max(1, rows[split]) for split, count in counts.items()}
    return counts | sizes


def _shards(rows: int, size: int, settings: ExportSettings) -> int:
    if settings.bytes_per_shard:
        return min(rows, -(-size // settings.bytes_per_shard))
    return -(-rows // settings.samples_per_shard)
