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

from filters.duplicates.agreement import agreement
from filters.duplicates.alignment import SIDE
from filters.duplicates.descriptors import descriptors
from filters.duplicates.semantic import most_similar, rounded
from infra.compat.errors import RequestError
from pipelines.corpus.evaluation_file import EvalFile
from pipelines.corpus.evaluation_search import EvalSet, file_of
from pipelines.corpus.stored_pictures import prepared_of_samples
from pipelines.images.small import packed, small_square, unpacked
from pipelines.images.square import ROOM, upright_pixels
from pipelines.manifest.join import read_columns
from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import schema_of

TIER = "agreement"
LEAST_COSINE = 0.5  # of descriptors: below it nearly nothing is a copy
Square = tuple[np.ndarray, int]  # uint8[SIDE, SIDE, 3], and the pixels of the picture's shorter side
Found = tuple[str, str, float]  # set, item and agreement


def require_squares(sets: Sequence[EvalSet]) -> None:
    """RequestError where none of the sets, if there are any, has squares."""
    if sets and all(file_of(each).squares is None for each in sets):
        named = ", ".join(each.name for each in sets)
        raise RequestError(f"dedup.eval_agreement needs squares, and {named} has none; run `pairmill index-evalset --squares`")


def agreeing_matches(
    storage: Storage, part: Part, ids: np.ndarray, sets: Sequence[EvalSet], least: float, quality: int
) -> tuple[pa.Table, dict[int, str]]:
    """sample_id, set, item, tier and agreement of the samples among `ids`, uint64[N], that agree with an item by `least`; and
    sample → why its picture could not be read.

    Samples whose PDQ is of a lower `quality` are left out, and sets without squares passed over. Of several sets that with the
    most agreement is named.
    """
    files = [(each.name, file) for each in sets if (file := file_of(each)).squares is not None]
    is_told = _are_told(storage, part, quality) if files else np.zeros(0, np.uint64)
    rows, unread = list[dict[str, object]](), dict[int, str]()
    for shown_by, squares, errors in prepared_of_samples(storage, part, np.intersect1d(ids, is_told), _square):
        unread |= errors
        best = most_agreeing(squares, files) if squares else []
        for sample, place in shown_by:
            name, item, agreed = best[place]
            if agreed >= least:
                rows.append({"sample_id": sample, "set": name, "item": item, "tier": TIER, "agreement": agreed})
    schema = schema_of("eval_matches")
    fields = [schema.field(name) for name in ("sample_id", "set", "item", "tier", "agreement")]
    return pa.Table.from_pylist(rows, pa.schema(fields)).sort_by("sample_id"), unread


def _are_told(storage: Storage, part: Part, quality: int) -> np.ndarray:
    """The samples, uint64[N], whose PDQ is of that quality, or has none."""
    table = read_columns(storage, part, {"pdq_quality": None})
    is_told = pc.greater_equal(pc.fill_null(table["pdq_quality"], 100), quality)
    ids: np.ndarray = table.filter(is_told)["sample_id"].to_numpy()
    return ids


def square_of(pixels: np.ndarray) -> Square:
    """What is compared of pixels uint8[H, W, 3]."""
    return small_square(pixels), min(pixels.shape[:2])


def _square(index: int, data: bytes) -> tuple[Square, int]:
    square = square_of(upright_pixels(data, ROOM * SIDE))
    return square, square[0].nbytes


def most_agreeing(squares: Sequence[Square], files: Sequence[tuple[str, EvalFile]]) -> list[Found]:
    """For each square the set and item that it agrees with most."""
    best: list[Found] = [("", "", 0.0)] * len(squares)
    vectors = rounded(descriptors(np.stack([square for square, _ in squares])))
    for name, file in files:
        assert file.descriptors is not None and file.squares is not None
        items, cosines = most_similar(vectors, file.descriptors)
        for row in np.flatnonzero(cosines >= LEAST_COSINE).tolist():
            square, pixels = squares[row]
            agreed = agreement(unpacked(packed(square)), unpacked(file.squares[items[row]]), pixels)
            if agreed > best[row][2]:
                best[row] = (name, file.names([int(items[row])])[0], agreed)
    return best
