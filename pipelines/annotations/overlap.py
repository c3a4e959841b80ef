"""Which pictures of instruction data evaluation sets show, by their hashes and looks: the search of `dedup`."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pyarrow as pa

from pipelines.corpus.evaluation_hashing import picture_hashes
from pipelines.corpus.evaluation_looks import Look, confirmed, look_of
from pipelines.corpus.evaluation_search import EvalSet, candidates
from pipelines.corpus.settings import DedupSettings
from sharding.decode import decode_picture
from sharding.named_files import NamedFiles

AT_ONCE = 2048  # pictures that are looked up together


def shown(pictures: Sequence[str], sets: Sequence[EvalSet]) -> tuple[dict[str, str], int]:
    """(URI → "set: item" of those that a set shows, how many cannot be read). Pictures are read and decoded by threads."""
    matched: dict[str, str] = {}
    unreadable, files = 0, NamedFiles()
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(pictures), AT_ONCE):
            chosen = pictures[start : start + AT_ONCE]
            rows = list(pool.map(partial(_hashes, files), chosen))
            unreadable += rows.count(None)
            sound = [(number, row) for number, row in enumerate(rows) if row is not None]
            samples, settings = _table([(number, hashes) for number, (hashes, _) in sound]), DedupSettings()
            looks = {row: look for row, (_, (_, look)) in enumerate(sound)}
            matches = confirmed(samples, sets, candidates(samples, sets, settings), looks, settings)
            for match in matches.to_pylist():
                matched[chosen[match["sample_id"]]] = f"{match['set']}: {match['item']}"
    return matched, unreadable


def _hashes(files: NamedFiles, uri: str) -> tuple[tuple[int, bytes, int], Look] | None:
    """phash, PDQ and its quality, and the look; None of a picture that cannot be read."""
    try:
        image = decode_picture(files.read(uri))
        return picture_hashes(image), look_of(np.asarray(image))
    except (OSError, ValueError):
        return None


def _table(rows: Sequence[tuple[int, tuple[int, bytes, int]]]) -> pa.Table:
    column = partial(pa.array)
    return pa.table(
        {
            "sample_id": column([number for number, _ in rows], pa.uint64()),
            "phash": column([phash for _, (phash, _, _) in rows], pa.uint64()),
            "pdq": column([pdq.hex() for _, (_, pdq, _) in rows], pa.string()),
            "pdq_quality": column([quality for _, (_, _, quality) in rows], pa.int32()),
            "published": pa.nulls(len(rows), pa.uint64()),
        }
    )
