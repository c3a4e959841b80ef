"""Registered files: one JSON record a file, `<folder>/<ordinal>.json`, as a source's files and its tag tables are kept.

A record is made where there is none, so of several jobs that register at once each gets ordinals of its own: a job that loses the
race for one takes the next. A removed file's record stays, marked, so that its ordinal is never given again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from infra.compat.files import file_system
from pipelines.manifest.storage import Storage, json_bytes, require_kind

Record = Mapping[str, Any]
KINDS = {"uri": str, "ordinal": int, "rows": int, "size": int, "stamp": str}


def identity_of(uri: str) -> str:
    """The same for all spellings of a file's URI: of a local file its path with links followed."""
    fs, path = file_system(uri)
    if "file" in (fs.protocol if isinstance(fs.protocol, tuple) else (fs.protocol,)):
        return str(Path(path).resolve())
    scheme, _, rest = str(fs.unstrip_protocol(path)).partition("://")
    return f"{scheme}://{re.sub('/{2,}', '/', rest)}"


def read_records(storage: Storage, folder: str, *, removed: bool = False) -> list[Record]:
    """The records of a folder by ordinal; those of removed files on request."""
    _upgrade(storage, folder)
    paths = storage.glob(f"{folder}/*.json")
    documents = zip(paths, storage.read_many(paths), strict=True)
    records = [_record(storage, path, document) for path, document in documents if document is not None]
    return sorted((r for r in records if removed or not r.get("removed")), key=lambda record: int(record["ordinal"]))


def read_record(storage: Storage, folder: str, ordinal: int) -> Record:
    """The record of one ordinal, by one read; FileNotFoundError where there is none."""
    path = _path(folder, ordinal)
    return _record(storage, path, storage.read(path))


def _record(storage: Storage, path: str, document: bytes) -> Record:
    """The record in a document; RequestError when there is none in it."""
    try:
        record: Record = json.loads(document)
        for name, kind in KINDS.items():
            require_kind(name, record[name], kind)
        require_kind("part_rows", record.get("part_rows", 1), int)  # a tag table has none
    except (ValueError, TypeError, KeyError) as error:
        raise storage.broken(path, "JSON of a registered file", error) from None
    return record


def register(storage: Storage, folder: str, records: Sequence[Record]) -> list[Record]:
    """Keeps records under their URIs' ordinals, or the next ones; returns them with these, and the spellings first used."""
    known = read_records(storage, folder, removed=True)
    by_identity = {identity_of(record["uri"]): record for record in known if not record.get("removed")}
    ordinal, registered = len(known), list[Record]()
    for record in records:
        identity = identity_of(record["uri"])
        while identity not in by_identity:
            numbered = {**record, "ordinal": ordinal}
            is_first = storage.create(_path(folder, ordinal), json_bytes(numbered))
            winner = numbered if is_first else read_record(storage, folder, ordinal)
            ordinal += 1
            if not winner.get("removed"):
                by_identity[identity_of(winner["uri"])] = winner
        by_identity[identity] = _replace(storage, folder, by_identity[identity], record)
        registered.append(by_identity[identity])
    return registered


def mark_removed(storage: Storage, folder: str, record: Record) -> None:
    """Marks a record's file as removed; its ordinal stays taken."""
    storage.write_json(_path(folder, record["ordinal"]), {**record, "removed": True})


def _replace(storage: Storage, folder: str, earlier: Record, record: Record) -> Record:
    replaced = {**record, "uri": earlier["uri"], "ordinal": earlier["ordinal"]}
    if replaced != earlier:
        storage.write_json(_path(folder, earlier["ordinal"]), replaced)
    return replaced


def _path(folder: str, ordinal: int) -> str:
    return f"{folder}/{ordinal:06d}.json"


def _upgrade(storage: Storage, folder: str) -> None:
    """Writes the records of `<folder>.json`, where an earlier version kept all; several jobs may do so at once."""
    with suppress(FileNotFoundError):
        document = storage.read_json(f"{folder}.json")
        shared = {"part_rows": document["part_rows"]} if "part_rows" in document else {}
        for place, record in enumerate(document["files"]):
            # Tag tables all had the ordinal 0: their order was that of the list.
            ordinal = record["ordinal"] if shared else place
            storage.create(_path(folder, ordinal), json_bytes({**record, **shared, "ordinal": ordinal}))
        storage.remove([f"{folder}.json"])
