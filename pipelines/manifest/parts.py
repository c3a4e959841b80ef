"""Which files a source has, and the parts they are cut into: the plan every job works from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from infra.compat.errors import RequestError
from pipelines.manifest.layout import upgrade
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import is_internal

PART_ROWS = 1_000_000


@dataclass(frozen=True)
class SourceFile:
    """A file of a source: its place in the source for ever, rows, bytes, and a stamp that changes with its content."""

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


def read_files(storage: Storage, source: str) -> list[SourceFile]:
    """The files of a source in order; none when it was never ingested."""
    return [SourceFile(**file) for file in _registered(storage, source)["files"]]


def register_files(storage: Storage, source: str, files: Iterable[SourceFile], part_rows: int = PART_ROWS) -> list[SourceFile]:
    """Adds files to a source, append only: a known URI keeps its ordinal, a new one takes the next.

    A source is cut into parts of one size for good; RequestError when it was registered with another.
    """
    known = _registered(storage, source)
    if known["files"] and known["part_rows"] != part_rows:
        raise RequestError(
            f"{source} was ingested in parts of {known['part_rows']} rows; give --set ingest.part_rows={known['part_rows']}"
        )
    by_uri = {file.uri: file for file in (SourceFile(**file) for file in known["files"])}
    for file in files:
        ordinal = by_uri[file.uri].ordinal if file.uri in by_uri else len(by_uri)
        by_uri[file.uri] = SourceFile(file.uri, ordinal, file.rows, file.size, file.stamp)
    ordered = sorted(by_uri.values(), key=lambda file: file.ordinal)
    document = {"source": source, "part_rows": part_rows, "files": [asdict(file) for file in ordered]}
    storage.write_json(_registry(source), document)
    return ordered


def _registry(source: str) -> str:
    return f"sources/{source}.json"


def _registered(storage: Storage, source: str) -> dict[str, Any]:
    path = _registry(source)
    registered: dict[str, Any] = storage.read_json(path) if storage.exists(path) else {"part_rows": PART_ROWS, "files": []}
    return registered


def parts_of(source: str, files: Iterable[SourceFile], part_rows: int = PART_ROWS) -> list[Part]:
    """Cuts files into parts of at most `part_rows` rows; a part never spans two files."""
    return [
        Part(source, file.ordinal, first, min(part_rows, file.rows - first))
        for file in files
        for first in range(0, file.rows, part_rows)
    ]


def read_parts(storage: Storage, source: str) -> list[Part]:
    """The parts of a source, as it was ingested."""
    return parts_of(source, read_files(storage, source), _registered(storage, source)["part_rows"])


def all_parts(storage: Storage) -> list[Part]:
    """Every part of every ingested source, in the order of sample ids within each source.

    A manifest of an earlier version is brought to this one's layout first.
    """
    upgrade(storage)
    sources = [path.removeprefix("sources/").removesuffix(".json") for path in storage.glob("sources/*.json")]
    return [part for source in sources for part in read_parts(storage, source)]
