"""Files whose rows are mostly rejected: they are read wrongly, or are no files of the source."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pipelines.manifest.ids import ROW_BITS
from pipelines.manifest.parts import Part, read_files, read_parts
from pipelines.manifest.receipts import read_receipts
from pipelines.manifest.storage import Storage

EXAMPLES, CHARACTERS = 3, 60


def mostly_rejected(storage: Storage, source: str, uris: Collection[str]) -> dict[str, str]:
    """Those of the files of which more than half of the rows are rejected: URI → the numbers, and three of the rows."""
    receipts = read_receipts(storage, "samples", read_parts(storage, source))
    parts_of_file, causes = dict[int, list[Part]](), {}
    for part in sorted(receipts, key=lambda part: part.first_row):
        parts_of_file.setdefault(part.file, []).append(part)
    for file in read_files(storage, source):
        parts = parts_of_file.get(file.ordinal, [])
        rejected = sum(receipts[part].counts.get("rejected", 0) for part in parts)
        rows = sum(part.rows for part in parts)
        if file.uri in uris and rejected * 2 > rows:
            causes[file.uri] = (
                f"{rejected:,} of its {rows:,} rows are rejected ({_examples(storage, parts)}); check the file, or take it out: "
                f"pairmill ingest {source} --remove FILE"
            )
    return causes


def _examples(storage: Storage, parts: Sequence[Part]) -> str:
    examples = list[str]()
    for part in parts:
        rows = storage.read_parquet(part.path("rejects")).slice(0, EXAMPLES - len(examples)).to_pylist()
        for row in rows:
            number = row["sample_id"] & ((1 << ROW_BITS) - 1)
            examples.append(f"row {number} {row['reason']}: {row['raw'][:CHARACTERS]!r}")
    return ", ".join(examples)
