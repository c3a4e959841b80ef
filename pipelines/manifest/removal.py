"""Parts that are no longer registered, as after a source file was replaced by a shorter one or taken out."""

from __future__ import annotations

from collections import Counter

from pipelines.manifest.parts import read_parts
from pipelines.manifest.storage import Storage


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


def _part_name(path: str) -> str:
    return path.rpartition("/")[2].partition(".")[0]


def _pictures(storage: Storage, path: str) -> int:
    """How many pictures a part of `fetch` has under the root."""
    if not storage.exists(path):
        return 0
    tars = storage.read_parquet(path, ["tar"])["tar"].to_pylist()
    return sum(tar is not None and tar.startswith("images/") for tar in tars)
