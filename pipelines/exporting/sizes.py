"""Into which shards the rows of an export are cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.exporting.plan import BYTES, HELD_OUT, TRAIN
from pipelines.exporting.settings import ExportSettings
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


def _shards(rows: int, size: int, settings: ExportSettings) -> int:
    if settings.bytes_per_shard:
        return min(rows, -(-size // settings.bytes_per_shard))
    return -(-rows // settings.samples_per_shard)
