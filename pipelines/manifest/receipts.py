"""Receipts: what a step did to a part. A part is done when its receipt carries the fingerprint it would get now."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import xxhash

from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage


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


def _receipt(storage: Storage, path: str, document: bytes) -> Receipt:
    """The receipt in a document; RequestError when there is none in it."""
    try:
        return Receipt(**json.loads(document))
    except (ValueError, TypeError) as error:  # no JSON, or other fields than a receipt's
        raise storage.broken(path, "JSON of a receipt", error) from None
