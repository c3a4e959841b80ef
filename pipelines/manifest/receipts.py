"""Receipts: what a step did to a part. A part is done when its receipt carries the fingerprint it would get now."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import NoneType
from typing import Any

import pyarrow as pa
import xxhash

from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage, require_kind

PIECE = 1 << 20  # bytes of a file that are read at a time
KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("family", "source", "part", "fingerprint", "digest", "finished_at"), (str,)),
    **dict.fromkeys(("rows_in", "rows_out"), (int,)),
    **dict.fromkeys(("counts", "settings", "inputs"), (dict,)),
    "seconds": (int, float),
}


@dataclass(frozen=True)
class Receipt:
    """The account of one step on one part.

    `digest` is that of the family's bytes, `inputs` those of the families that were read; counts add up over parts. `seconds` are
    of all runs where results are cached, else of the last.
    """

    family: str
    source: str
    part: str
    fingerprint: str
    digest: str
    rows_in: int
    rows_out: int
    counts: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str | None] = field(default_factory=dict)
    seconds: float = 0.0
    finished_at: str = ""


def digest_of(data: Any) -> str:
    """The name of a content, any buffer: xxh3-128, 32 hex digits."""
    return xxhash.xxh3_128_hexdigest(data)


def digest_of_file(file: pa.NativeFile) -> str:
    """The same of the content of an open file, read in pieces."""
    digest = xxhash.xxh3_128()
    while piece := file.read(PIECE):
        digest.update(piece)
    return digest.hexdigest()


def fingerprint_of(document: Mapping[str, Any]) -> str:
    """The name of a request: equal documents, and only these, give equal fingerprints."""
    return digest_of(json.dumps(document, sort_keys=True).encode())


def write_receipt(storage: Storage, part: Part, receipt: Receipt) -> None:
    """Marks the part done; the data it vouches for must have landed before."""
    storage.write_json(part.receipt_path(receipt.family), asdict(receipt))


def read_receipts(storage: Storage, family: str, parts: Sequence[Part]) -> dict[Part, Receipt]:
    """The receipts of a family for those parts that have one."""
    documents = storage.read_many([part.receipt_path(family) for part in parts])
    return {
        part: _receipt(storage, part.receipt_path(family), document)
        for part, document in zip(parts, documents, strict=True)
        if document is not None
    }


def completed(storage: Storage, family: str, parts: Sequence[Part]) -> dict[Part, Receipt]:
    """The receipts of a family for those parts whose tables are there as well: one that was deleted is made again."""
    receipts = read_receipts(storage, family, parts)
    folders = {part.path(family).rpartition("/")[0] for part in receipts}
    there = {path for folder in folders for path in storage.glob(f"{folder}/*.parquet")}
    return {part: receipt for part, receipt in receipts.items() if part.path(family) in there}


def _receipt(storage: Storage, path: str, document: bytes) -> Receipt:
    """The receipt in a document; RequestError when there is none in it."""
    try:
        receipt = Receipt(**json.loads(document))
        for name, kinds in KINDS.items():
            require_kind(name, getattr(receipt, name), *kinds)
        for count in receipt.counts.values():
            require_kind("a count", count, int)
        for digest in receipt.inputs.values():
            require_kind("the digest of an input", digest, str, NoneType)
    except (ValueError, TypeError) as error:  # no JSON, or other fields than a receipt's
        raise storage.broken(path, "JSON of a receipt", error) from None
    return receipt
