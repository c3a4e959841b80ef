"""What an export would write and read, without writing anything."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from pipelines.exporting.plan import BYTES, HELD_OUT, TRAIN
from pipelines.exporting.reading import pictures_of, read_pictures, window_bytes
from pipelines.exporting.run import plan_step, types_of
from pipelines.exporting.settings import ExportSettings
from pipelines.exporting.sizes import shard_counts
from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import run_items
from pipelines.runtime.step import Step

PROBED_PARTS, PROBED_PICTURES = 16, 64


def estimate(storage: Storage, parts: Sequence[Part], settings: ExportSettings, name: str, workers: int) -> dict[str, Any]:
    """Samples, shards, bytes, requests for pictures, and the seconds that reading them takes `workers` workers.

    The rate of reading is measured on a few pictures of the first parts. RequestError as an export's.
    """
    step = plan_step(storage, parts, settings, name)
    items = [{"label": str(part), "part": asdict(part), "probe": number < PROBED_PARTS} for number, part in enumerate(parts)]
    work = partial(_counts_of_part, storage=storage, step=step, settings=settings)
    total = sum(part.rows for part in parts)
    counts, failed = Counter[str](), dict[str, str]()
    for label, result, error in run_items(items, work, name="plan", unit="rows", total=total):
        if error is None:
            counts.update(result)
        else:
            failed[label] = error
    types_of(counts, settings)
    shards = sum(shard_counts(counts, settings).values())
    samples, size = counts[TRAIN] + counts[HELD_OUT], counts[BYTES + TRAIN] + counts[BYTES + HELD_OUT]
    seconds = size * counts["probe.seconds"] / counts["probe.bytes"] / workers if counts["probe.bytes"] else 0.0
    return {
        "kept": counts["kept"],
        TRAIN: counts[TRAIN],
        HELD_OUT: counts[HELD_OUT],
        "shards": shards,
        "bytes": size,
        "requests": _requests(samples, shards, size, settings.read_memory),
        "seconds": round(seconds, 1),
        "parts": len(parts),
        "failed": failed,
    }


def _counts_of_part(
    item: dict[str, Any], reporter: Reporter, *, storage: Storage, step: Step, settings: ExportSettings
) -> dict[str, float]:
    result = step.work(storage, Part(**item["part"]), reporter)
    counts: dict[str, float] = dict(result.counts)
    rows = result.table.slice(0, PROBED_PICTURES) if item["probe"] else result.table.slice(0, 0)
    started = time.perf_counter()
    pictures = read_pictures(storage, pictures_of(rows), settings.read_memory)
    read = sum(len(data) for data in pictures if isinstance(data, bytes))
    return counts | {"probe.bytes": read, "probe.seconds": time.perf_counter() - started}


def _requests(samples: int, shards: int, size: int, memory: int) -> int:
    """About how many requests read the pictures: two are read by one where they are neighbours in a tar and in a window."""
    windows = max(shards, size // window_bytes(memory))
    return round(samples * (1 - 1 / windows)) + shards if windows else 0
