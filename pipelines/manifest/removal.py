"""What is left of a source file that was replaced or taken out: parts no longer registered, results of other rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.manifest.parquet import parquet_bytes
from pipelines.manifest.parts import Part, read_parts
from pipelines.manifest.receipts import digest_of, read_receipts, write_receipt
from pipelines.manifest.storage import Storage

# The costly families, and the columns of a sample that their results depend on, besides each other.
MADE_FROM = {"fetch": ("url",), "scores": ("url", "caption"), "embeddings": ("url",), "captions": ("url",)}
ADOPTED = {"img2dataset", "pictures"}  # whose pictures are used where they lie


def remove_unregistered(storage: Storage, source: str) -> Counter[str]:
    """Removes all that was made of parts of a source that it no longer has: `removed_parts`, `removed_pictures`.

    Receipts go first, as they vouch for the rest, and the families last, as they say what there is: a run that is killed leaves
    what the next one removes.
    """
    # Files before the registry: a part that another job registers meanwhile is not among them.
    receipts = storage.glob(f"receipts/*/source={source}/*.json")
    families = [path for room in ("manifest", "partial") for path in storage.glob(f"{room}/*/source={source}/*.parquet")]
    folders = storage.glob(f"images/{source}/*")
    registered = {part.name for part in read_parts(storage, source)}

    def unregistered(paths: list[str]) -> list[str]:
        return [path for path in paths if _part_name(path) not in registered]

    removed = {_part_name(path) for path in unregistered(families)}
    pictures = sum(_pictures(storage, f"manifest/fetch/source={source}/{name}.parquet") for name in removed)
    storage.remove(unregistered(receipts))
    for folder in unregistered(folders):
        storage.remove_folder(folder)
    storage.remove(unregistered(families))
    return Counter(removed_parts=len(removed), removed_pictures=pictures)


def remove_outdated_results(storage: Storage, part: Part, samples: pa.Table) -> None:
    """Removes cached results of rows that are about to become other pairs, as where a file was replaced.

    A result belongs to what it was made from, not to its row. Of pictures that are used where they lie all of `fetch` is read
    again, which costs no request. Downloads of a fetch that was killed go where any URL has changed.
    """
    path = part.path("samples")
    if not storage.exists(path):
        return
    earlier = storage.read_parquet(path, ["sample_id", "url", "caption"])
    for family, columns in MADE_FROM.items():
        same = _unchanged(earlier, samples, columns)
        if len(same) == len(earlier):
            continue
        storage.remove_folder(f"partial/{family}/{part.source}/{part.name}")
        if not storage.exists(part.path(family)):
            continue
        if family == "fetch" and part.source in ADOPTED:
            storage.remove([part.receipt_path(family), part.path(family)])
            continue
        results = storage.read_parquet(part.path(family))
        kept = results.filter(pa.array(np.isin(results["sample_id"].to_numpy(), same)))
        receipt = read_receipts(storage, family, [part]).get(part)
        if receipt is not None:
            # First, so that after a kill in between the next run comes here again: the rows are still outdated.
            write_receipt(storage, part, replace(receipt, digest=digest_of(parquet_bytes(kept)), rows_out=len(kept)))
        storage.write_parquet(part.path(family), kept)


def _unchanged(earlier: pa.Table, samples: pa.Table, columns: Sequence[str]) -> np.ndarray:
    """The ids, uint64, of the rows of `earlier` that have the same values in these columns of `samples`."""
    before, after = earlier["sample_id"].to_numpy(), samples["sample_id"].to_numpy()
    common, places, places_after = np.intersect1d(before, after, assume_unique=True, return_indices=True)
    same = np.ones(len(common), dtype=bool)
    for column in columns:
        values, values_after = earlier[column].take(pa.array(places)), samples[column].take(pa.array(places_after))
        both_null = pc.and_(pc.is_null(values), pc.is_null(values_after))
        same &= pc.or_(pc.fill_null(pc.equal(values, values_after), False), both_null).to_numpy()
    return common[same]


def _part_name(path: str) -> str:
    return path.rpartition("/")[2].partition(".")[0]


def _pictures(storage: Storage, path: str) -> int:
    """How many pictures a part of `fetch` has under the root."""
    if not storage.exists(path):
        return 0
    tars = storage.read_parquet(path, ["tar"])["tar"].to_pylist()
    return sum(tar is not None and tar.startswith("images/") for tar in tars)
