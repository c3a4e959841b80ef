"""A manifest of drawn samples with stored pictures, as fetch and stage1 leave one, written directly."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from pipelines.manifest.ids import sample_ids
from pipelines.manifest.parts import Part, SourceFile, parts_of, register_files
from pipelines.manifest.pictures import checksum_of
from pipelines.manifest.receipts import Receipt, write_receipt
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import conform
from sharding.tar import TarWriter

SOURCE, ORDINAL = "coyo", 4


def fill_pictured(storage: Storage, files: int, rows: int, pictures: Sequence[bytes]) -> list[Part]:
    """`files` files of `rows` samples each, a part each, whose pictures are the given ones in turn; all are kept by stage 1.

    The tar of a part holds a copy of each of its pictures, in the order of its samples, with caption and json beside as fetch
    writes them.
    """
    register_files(storage, SOURCE, [SourceFile(f"{number}.parquet", number, rows, 1, "x") for number in range(files)])
    parts = [part for number in range(files) for part in parts_of(SOURCE, [SourceFile("", number, rows, 1, "")])]
    checksums = [checksum_of(picture) for picture in pictures]
    for part in parts:
        ids = sample_ids(ORDINAL, part.file, part.first_row, part.rows)
        chosen = [(part.file * rows + row) % len(pictures) for row in range(rows)]
        tar, places = f"images/{SOURCE}/{part.name}/000000.tar", []
        stream = io.BytesIO()
        writer = TarWriter(stream)
        for sample_id, picture in zip(ids.tolist(), chosen, strict=True):
            members = {"jpg": pictures[picture], "txt": b"a caption", "json": b"{}"}
            places.append(writer.add(f"{sample_id:016x}", members)["jpg"])
        writer.close()
        storage.write(tar, stream.getvalue())
        families = {
            "samples": {
                "source": pa.repeat(SOURCE, rows),
                "url": [f"http://pictures.test/{part.file}/{row}" for row in range(rows)],
                "caption": [f"caption {row} of file {part.file}" for row in range(rows)],
                "language": ["en" if row % 2 else "fr" for row in range(rows)],
                "width": pa.array(np.arange(rows) % 1000, pa.int32()),
            },
            "fetch": {
                "status": pa.repeat("ok", rows),
                "stored_checksum": pa.array([checksums[picture] for picture in chosen], pa.uint64()),
                "mime": pa.repeat("image/jpeg", rows),
                "tar": pa.repeat(tar, rows),
                "offset": pa.array([offset for offset, _ in places], pa.int64()),
                "length": pa.array([length for _, length in places], pa.int64()),
            },
            "stage1": {"keep": pa.repeat(True, rows), "reasons": pa.array([[]] * rows, pa.list_(pa.string()))},
        }
        for family, columns in families.items():
            storage.write_parquet(part.path(family), conform(pa.table({"sample_id": ids, **columns}), family))
            write_receipt(storage, part, Receipt(family, SOURCE, part.name, "f", "d", rows, rows))
    return parts
