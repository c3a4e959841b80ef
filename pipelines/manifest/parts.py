"""A source's files, and the parts they are cut into."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase

from infra.compat.errors import RequestError, nearest
from pipelines.manifest.layout import upgrade
from pipelines.manifest.registry import Record, identity_of, mark_removed, read_record, read_records, register
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import is_internal

PART_ROWS = 1_000_000


@dataclass(frozen=True)
class SourceFile:
    """A file of a source: its permanent place in the source, rows, bytes, and a stamp that changes with its content."""

    uri: str
    ordinal: int
    rows: int
    size: int
    stamp: str


@dataclass(frozen=True, order=True)
class Part:
    """The unit of work: `rows` rows of file `file` of `source`, from `first_row` on."""

    source: str
    file: int
    first_row: int
    rows: int

    @property
    def name(self) -> str:
        """The part's file name without ending; sorts as its sample ids do."""
        return f"{self.file:06d}-{self.first_row:010d}"

    def path(self, family: str) -> str:
        """Where this part of a family lies."""
        room = "partial" if is_internal(family) else "manifest"
        return f"{room}/{family}/source={self.source}/{self.name}.parquet"

    def receipt_path(self, family: str) -> str:
        """Where the receipt for this part of a family lies."""
        return f"receipts/{family}/source={self.source}/{self.name}.json"

    def __str__(self) -> str:
        return f"{self.source}/{self.name}"


def parts_of(source: str, files: Iterable[SourceFile], part_rows: int = PART_ROWS) -> list[Part]:
    """Cuts files into parts of at most `part_rows` rows; a part never spans two files."""
    return [
        Part(source, file.ordinal, first, min(part_rows, file.rows - first))
        for file in files
        for first in range(0, file.rows, part_rows)
    ]


def read_files(storage: Storage, source: str) -> list[SourceFile]:
    """The files of a source in order; none when it was never ingested."""
    return [_file(record) for record in read_records(storage, _folder(source))]


def file_of(storage: Storage, part: Part) -> SourceFile:
    """The file that a part is a run of rows of."""
    return _file(read_record(storage, _folder(part.source), part.file))


def register_files(
    storage: Storage, source: str, files: Iterable[SourceFile], part_rows: int = PART_ROWS, heads: Mapping[str, str] | None = None
) -> list[SourceFile]:
    """Adds files to a source: a known one, however its URI is spelled, keeps its ordinal, a new one takes the next.

    A source is cut into parts of one size for good; RequestError when it was registered with another. `heads` (URI → digest of
    the first bytes) are kept, and a new file that looks like a known one is named on stderr.
    """
    known = read_records(storage, _folder(source))
    for size in {record["part_rows"] for record in known} - {part_rows}:
        raise RequestError(f"{source} was ingested in parts of {size} rows; give --set ingest.part_rows={size}")
    records = [{**asdict(file), "part_rows": part_rows, "head": (heads or {}).get(file.uri, "")} for file in files]
    _warn_of_copies(source, register(storage, _folder(source), records), known)
    return read_files(storage, source)


def _warn_of_copies(source: str, registered: Sequence[Record], known: Sequence[Record]) -> None:
    """One line on stderr where new files have the size, rows and first bytes of known ones."""
    ordinals = {record["ordinal"] for record in known}
    by_shape = {_shape(record): record["uri"] for record in known}
    copies = []
    for record in registered:
        if record["ordinal"] not in ordinals:
            # An earlier version kept no digest of the first bytes.
            original = by_shape.get(_shape(record)) or by_shape.get((*_shape(record)[:2], ""))
            copies += [(record["uri"], original)] if original not in (None, record["uri"]) else []
            by_shape.setdefault(_shape(record), record["uri"])
    if copies:
        (copy, original), more = copies[0], f", and {len(copies) - 1} more alike" if len(copies) > 1 else ""
        sys.stderr.write(
            f"warning: {copy} has the size, rows and first bytes of {original}{more}; their rows count twice; "
            f"if they were moved or copied: pairmill ingest {source} --remove {shlex.quote(original)}\n"
        )


def _shape(record: Record) -> tuple[int, int, str]:
    return record["size"], record["rows"], record.get("head", "")


def remove_files(storage: Storage, source: str, names: Iterable[str]) -> None:
    """Takes files out of a source, by path, pattern or folder; their parts are then no longer registered.

    One that was taken out before is no error; RequestError for one that never was there, before any is taken out.
    """
    records = {identity_of(record["uri"]): record for record in read_records(storage, _folder(source), removed=True)}
    chosen: dict[int, Record] = {}
    for name in names:
        if not name.strip():
            raise RequestError("--remove has an empty name, as where a shell's variable is not set; name files of the source")
        named = _named(records, identity_of(name))
        if not named:
            known = [record["uri"] for record in records.values() if not record.get("removed")]
            raise RequestError(f"--remove {name}: no file of {source}; {nearest(name, known)}")
        chosen |= {record["ordinal"]: record for record in named}
    for record in chosen.values():
        if not record.get("removed"):
            mark_removed(storage, _folder(source), record)


def _named(records: Mapping[str, Record], name: str) -> list[Record]:
    """The records, by identity, of a file, else of a folder or pattern."""
    if name in records:
        return [records[name]]
    return [record for own, record in records.items() if own.startswith(f"{name}/") or fnmatchcase(own, name)]


def _folder(source: str) -> str:
    return f"sources/{source}"


def _file(record: Record) -> SourceFile:
    return SourceFile(record["uri"], record["ordinal"], record["rows"], record["size"], record["stamp"])


def read_parts(storage: Storage, source: str) -> list[Part]:
    """The parts of a source, as it was ingested."""
    records = read_records(storage, _folder(source))
    return [part for record in records for part in parts_of(source, [_file(record)], record["part_rows"])]


def is_manifest(storage: Storage) -> bool:
    """Whether anything was ever ingested under a root."""
    return bool(_sources(storage))


def _sources(storage: Storage) -> list[str]:
    paths = [*storage.glob("sources/*.json"), *storage.glob("sources/*/*.json")]
    return sorted({path.removesuffix(".json").split("/")[1] for path in paths})


def all_parts(storage: Storage) -> list[Part]:
    """Every part of every ingested source, in the order of sample ids within each source.

    A manifest of an earlier version is brought to this one's layout first.
    """
    upgrade(storage)
    return [part for source in _sources(storage) for part in read_parts(storage, source)]
