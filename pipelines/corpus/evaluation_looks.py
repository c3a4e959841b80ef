"""Which items that a hash matched samples really show: the second look, at the few pictures that have a candidate.

Hashes see shades of grey, coarsely: to them flags in other colours are one, and so are two coins of a currency. So a picture with
a candidate is read again, and laid over the look that the set keeps of each of its candidates, until one agrees. What cannot be
looked at stands as it is: a candidate of a set without looks, one of a picture that is not stored or cannot be read, and the next
one of a picture, such as a placeholder, that was laid over `MOST` items already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa

from filters.duplicates.agreement import agreement
from filters.duplicates.alignment import SIDE
from pipelines.corpus.evaluation_file import EvalFile
from pipelines.corpus.evaluation_search import Candidate, Candidates, EvalSet, candidates, file_of, named
from pipelines.corpus.settings import DedupSettings
from pipelines.corpus.stored_pictures import prepared_of_samples
from pipelines.images.small import PACKED_LOOK, look, look_square, small_square
from pipelines.images.square import ROOM, upright_pixels
from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage

MOST = 64  # items that a picture is laid over
REMEMBERED = 1 << 12  # pairs: placeholders and logos are met again and again
Look = tuple[bytes, int]  # a packed look, and the pixels of the picture's shorter side


def look_of(pixels: np.ndarray) -> Look:
    """What is compared of pixels uint8[H, W, 3]."""
    return look(small_square(pixels)).tobytes(), min(pixels.shape[:2])


def confirmed_matches(
    storage: Storage, part: Part, samples: pa.Table, sets: Sequence[EvalSet], settings: DedupSettings
) -> tuple[pa.Table, dict[int, str]]:
    """`eval_matches` of the samples of a part, those that agree with the item by `eval_hash_agreement`, with that; and sample →
    why its picture could not be looked at.
    """
    found = candidates(samples, sets, settings)
    has_look = np.array([file_of(each).looks is not None for each in sets], bool)
    ids = samples["sample_id"].to_numpy()[found.rows(has_look)] if settings.eval_hash_agreement else []
    looks, unread = dict[int, Look](), dict[int, str]()
    for shown_by, items, errors in prepared_of_samples(storage, part, np.unique(ids), _look):
        unread |= errors
        looks |= {sample: items[place] for sample, place in shown_by}
    rows = {row: looks[sample] for row, sample in enumerate(samples["sample_id"].to_pylist()) if sample in looks} if looks else {}
    return confirmed(samples, sets, found, rows, settings), unread


def confirmed(
    samples: pa.Table, sets: Sequence[EvalSet], found: Candidates, looks: Mapping[int, Look], settings: DedupSettings
) -> pa.Table:
    """`eval_matches` with `agreement` of `candidates`, given the looks of rows of samples; without one a candidate stands."""
    files, least = [file_of(each) for each in sets], settings.eval_hash_agreement
    kept, shares = list[Candidate](), list[float | None]()
    for row in found.rows(np.ones(len(sets), bool)).tolist():
        own = (Candidate(row, *candidate[1:].tolist()) for candidate in found.of(row))  # few of thousands are asked for
        match, share = _first_agreeing(own, looks.get(row) if least else None, files, least)
        kept += [match] if match else []
        shares += [share] if match else []
    table = named(samples, sets, np.array(kept, np.int64).reshape(-1, len(Candidate._fields)))
    return table.append_column("agreement", pa.array(shares, pa.float32()))


def _first_agreeing(
    own: Iterable[Candidate], shown: Look | None, files: Sequence[EvalFile], least: float
) -> tuple[Candidate | None, float | None]:
    """The first candidate of a picture that agrees, and by how much; or that cannot be looked at."""
    others = set[tuple[int, int]]()
    for candidate in own:
        file = files[candidate.set]
        item = candidate.hashed // (1 + len(file.variants))
        if (candidate.set, item) in others:  # by another variant
            continue
        if shown is None or file.looks is None or len(others) == MOST:
            return candidate, None
        share = _agreement(shown, file.looks[item].tobytes())
        if share >= least:
            return candidate, share
        others.add((candidate.set, item))
    return None, None


@lru_cache(REMEMBERED)
def _agreement(shown: Look, item: bytes) -> float:
    values, pixels = shown
    one, other = (look_square(np.frombuffer(each, np.uint8)) for each in (values, item))
    return agreement(one, other, pixels)


def _look(index: int, data: bytes) -> tuple[Look, int]:
    return look_of(upright_pixels(data, ROOM * SIDE)), PACKED_LOOK
