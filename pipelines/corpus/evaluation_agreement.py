"""Which items of evaluation sets pictures show that no hash matched: cropped anywhere, with a caption bar or a logo, mirrored.

Each picture is read again and squeezed into a small square. The item whose descriptor is nearest, by matrix products over all
items, is laid over it, and what then agrees decides (`filters/duplicates/alignment.py`). That takes a second for some hundred
pictures and core, decoding included: it is for sets like COCO and what the hashes left, not for a billion rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.duplicates.alignment import SIDE, agreement
from filters.duplicates.descriptors import descriptors
from filters.duplicates.semantic import most_similar, rounded
from infra.compat.errors import RequestError
from pipelines.corpus.evaluation_file import EvalFile
from pipelines.corpus.evaluation_search import EvalSet, file_of
from pipelines.images.small import small_square, unpacked
from pipelines.images.square import ROOM, upright_pixels
from pipelines.manifest.parts import Part
from pipelines.manifest.selection import WITH_PICTURE
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import schema_of
from pipelines.runtime.picture_chunks import distinct_pictures, pending_samples, prepare_ahead

TIER, UNREADABLE = "agreement", "reason.unreadable"
BATCH = 1024  # pictures compared at once
LEAST_COSINE = 0.5  # of descriptors: below it nearly nothing is a copy
Found = tuple[str, str, float]  # set, item and agreement


def require_squares(sets: Sequence[EvalSet]) -> None:
    """RequestError where none of the sets, if there are any, has squares."""
    if sets and all(file_of(each).squares is None for each in sets):
        named = ", ".join(each.name for each in sets)
        raise RequestError(f"dedup.eval_agreement needs squares, and {named} has none; run `pairmill index-evalset --squares`")


def agreeing_matches(
    storage: Storage, part: Part, ids: np.ndarray, sets: Sequence[EvalSet], least: float, quality: int
) -> tuple[pa.Table, dict[str, int]]:
    """sample_id, set, item, tier and agreement of the samples among `ids`, uint64[N], that agree with an item by `least`; counts.

    Samples whose PDQ is of a lower `quality` are left out, and sets without squares passed over. Of several sets that with the
    most agreement is named.
    """
    files = [(each.name, file) for each in sets if (file := file_of(each)).squares is not None]
    nobody = pa.table({"sample_id": pa.array([], pa.uint64())})
    samples = pending_samples(storage, part, nobody, WITH_PICTURE, ["pdq_quality"]) if files else nobody
    if files:
        is_told = pc.greater_equal(pc.fill_null(samples["pdq_quality"], 100), quality)
        samples = samples.filter(pc.and_(is_told, pa.array(np.isin(samples["sample_id"].to_numpy(), ids))))
    pictures, picture_of = distinct_pictures(samples) if len(samples) else ([], [])
    matched, unreadable = dict[int, Found](), 0
    for batch in prepare_ahead(storage, pictures, BATCH, _square):
        unreadable += len(batch.errors)
        if batch.items:
            matched |= zip(batch.indices, most_agreeing(np.stack(batch.items), files), strict=True)
    rows = [
        {"sample_id": sample, "set": found[0], "item": found[1], "tier": TIER, "agreement": found[2]}
        for sample, picture in zip(samples["sample_id"].to_pylist(), picture_of, strict=True)
        if (found := matched.get(picture)) and found[2] >= least
    ]
    schema = schema_of("eval_matches")
    fields = [schema.field(name) for name in ("sample_id", "set", "item", "tier", "agreement")]
    return pa.Table.from_pylist(rows, pa.schema(fields)), {UNREADABLE: unreadable} if unreadable else {}


def _square(index: int, data: bytes) -> tuple[np.ndarray, int]:
    square = small_square(upright_pixels(data, ROOM * SIDE))
    return square, square.nbytes


def most_agreeing(squares: np.ndarray, files: Sequence[tuple[str, EvalFile]]) -> list[Found]:
    """For each of squares uint8[N, SIDE, SIDE, 3] the set and item that it agrees with most."""
    best: list[Found] = [("", "", 0.0)] * len(squares)
    vectors = rounded(descriptors(squares))
    for name, file in files:
        assert file.descriptors is not None and file.squares is not None
        items, cosines = most_similar(vectors, file.descriptors)
        for row in np.flatnonzero(cosines >= LEAST_COSINE).tolist():
            agreed = agreement(squares[row], unpacked(file.squares[items[row]]))
            if agreed > best[row][2]:
                best[row] = (name, file.names([int(items[row])])[0], agreed)
    return best
