"""Who owns a folder of shards: an export overwrites and removes nothing that it did not write.

Two notes hold the same token: `exports/<name>.json` below the manifest's root, and `receipts/export.json` in the folder. The
latter also says how many shards of each split the export has written or is about to write. It is written before them, so a file
that is called like a shard beyond these numbers is somebody else's, even where an export was killed.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.compat.errors import RequestError
from infra.compat.paths import absolute
from pipelines.manifest.precedence import LATEST_EXPORT
from pipelines.manifest.storage import Storage
from sharding.layout import SUMMARY, index_file, receipt_file, shard_name, shard_of, split_of, tar_file

NOTE = "receipts/export.json"
META = "meta.json"  # of an export of conversations: what a training reads
CARD = "data-card.md"  # of an export for a training stage
NAMED = 3  # of the files of others, in an error
FILES = (tar_file, index_file, receipt_file)


@dataclass(frozen=True)
class Claim:
    """A folder that belongs to an export of a manifest; `shards` of each split may lie in it."""

    out: Storage
    note: Mapping[str, Any]

    @property
    def shards(self) -> Mapping[str, int]:
        """Split → how many shards were or will be written."""
        shards: Mapping[str, int] = self.note["shards"]
        return shards

    def extend(self, shards: Mapping[str, int]) -> Claim:
        """Notes that so many shards are about to be written, besides those that may be there."""
        splits = {*shards, *self.shards}
        return self._noted({split: max(shards.get(split, 0), self.shards.get(split, 0)) for split in splits})

    def remove_beyond(self, shards: Mapping[str, int]) -> None:
        """Removes the export's own shards beyond these numbers: whoever reads `*.tar` must see one export alone."""
        for split, claimed in self.shards.items():
            for number in range(shards.get(split, 0), claimed):
                self.out.remove(file(shard_name(split, number)) for file in FILES)
        self._noted(dict(shards))

    def _noted(self, shards: dict[str, int]) -> Claim:
        note = {**self.note, "shards": shards}
        if note != self.note:
            self.out.write_json(NOTE, note)
        return Claim(self.out, note)


def claim(storage: Storage, name: str, out: Storage, *, force: bool) -> Claim:
    """The folder as this export's own; RequestError where it holds what the export did not write, unless `force`d."""
    note, own = _note(out), _read(storage, _own(name))
    is_copied = note is not None and _is_copied(storage, name, note)
    # An export has one token in all folders that it was ever written to.
    fresh = uuid.uuid4().hex if own is None or is_copied else own["token"]
    if note is None:
        note = _note_of_earlier_version(storage, name, out)
    elif own is None or own["token"] != note["token"] or is_copied:
        if not force:
            raise RequestError(
                f"--out {out.root} holds export {note['name']!r} of {note['root']}, not {name!r} of {storage.root}; give another "
                "folder, or --force to replace it"
            )
        if note["root"] == storage.root:
            forget(storage, note["name"])
        note = {**note, "token": fresh}
    foreign = _foreign(out, note["shards"] if note else None)
    if foreign and not force:
        more = f" and {len(foreign) - NAMED} more" if len(foreign) > NAMED else ""
        raise RequestError(
            f"--out {out.root} holds {', '.join(foreign[:NAMED])}{more}, which export {name!r} did not write; give another "
            "folder, or --force to replace what it holds"
        )
    shards = dict(note["shards"]) if note else {}
    for file in foreign:
        split, _, number = (shard_of(file) or "").rpartition("-")
        if split:
            shards[split] = max(shards.get(split, 0), int(number) + 1)
    token = note["token"] if note else fresh
    claimed = {"token": token, "name": name, "root": storage.root, "shards": shards}
    storage.write_json(_own(name), {"token": token, "uri": out.root})
    out.write_json(NOTE, claimed)
    return Claim(out, claimed)


def forget(storage: Storage, name: str) -> None:
    """Removes what the manifest says of an export whose shards are gone or about to change."""
    family = f"shards_{name}"
    storage.remove([*storage.glob(f"receipts/{family}/*/*.json"), *storage.glob(f"manifest/{family}/*/*.parquet")])
    latest = _read(storage, LATEST_EXPORT)
    if latest and latest["family"] == family:
        storage.remove([LATEST_EXPORT])


def _own(name: str) -> str:
    return f"exports/{name}.json"


def _read(storage: Storage, path: str) -> Any:
    if not storage.exists(path):
        return None
    note = storage.read_json(path)
    if not (isinstance(note, dict) and {"token", "family"} & note.keys()):
        raise storage.broken(path, "JSON of an export", ValueError("it names none"))
    return note


def _note(out: Storage) -> dict[str, Any] | None:
    """The note in the folder; RequestError where it is none of ours."""
    if not out.exists(NOTE):
        return None
    note = out.read_json(NOTE)
    if not (isinstance(note, dict) and {"token", "name", "root", "shards"} <= note.keys() and isinstance(note["shards"], dict)):
        raise RequestError(f"{out.full(NOTE)} is no note of an export; give another folder, or delete the file")
    return note


def _is_copied(storage: Storage, name: str, note: Mapping[str, Any]) -> bool:
    """Whether the manifest is a copy of the one that owns the folder, which is still there; a moved one is not."""
    if note["root"] == storage.root or note["name"] != name:
        return False
    first = Storage(note["root"])
    if first.is_local and storage.is_local and Path(first.base).resolve() == Path(storage.base).resolve():
        return False
    try:
        own = _read(first, _own(name))
    except (OSError, ImportError, RequestError):  # it is gone, or cannot be asked
        return False
    return bool(own and own["token"] == note["token"])


def _note_of_earlier_version(storage: Storage, name: str, out: Storage) -> dict[str, Any] | None:
    """What the note would say of shards that this manifest exported here before there were notes."""
    latest = _read(storage, LATEST_EXPORT)
    if not latest or latest["family"] != f"shards_{name}" or absolute(latest["uri"]) != out.root:
        return None
    names = (path.removeprefix("receipts/").removesuffix(".json") for path in out.glob(receipt_file("*")))
    return {"token": uuid.uuid4().hex, "shards": _counts(names)}


def _counts(shards: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for shard in shards:
        if (split := split_of(shard)) is not None:
            counts[split] = max(counts.get(split, 0), int(shard.rpartition("-")[2]) + 1)
    return counts


def _foreign(out: Storage, own: Mapping[str, int] | None) -> list[str]:
    """The files that are called like those of a dataset and are not the export's own; `own` is None where none is."""
    files = [file for file in out.glob("*") if file == SUMMARY or shard_of(file)]
    if own is not None:
        return [file for file in files if file != SUMMARY and not _is_own(shard_of(file) or "", own)]
    return files


def _is_own(shard: str, own: Mapping[str, int]) -> bool:
    split, _, number = shard.rpartition("-")
    return int(number) < own.get(split, 0)
