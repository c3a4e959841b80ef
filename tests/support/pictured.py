"""A manifest of eight samples with images."""

import io
from pathlib import Path

import pyarrow as pa
from PIL import Image

from pipelines.manifest.ids import sample_ids
from pipelines.manifest.parts import Part, SourceFile, register_files
from pipelines.manifest.pictures import checksum_of
from pipelines.manifest.receipts import Receipt, write_receipt
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import conform
from sharding.tar import TarWriter

PART = Part("coyo", 0, 0, 8)
COLOURS = ("red", "green", "blue", "white", "black")


def jpeg(colour: str) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (48, 40), colour).save(data, "JPEG")
    return data.getvalue()


def pictured(root: Path, *, broken: bool = True) -> Storage:
    """Eight samples: 0 and 1 share an image, 4 has no caption, 5 no image if `broken`, 6 was not fetched, stage 1 drops 7."""
    storage = Storage(str(root))
    register_files(storage, "coyo", [SourceFile("f", 0, 8, 1, "x")])
    ids = sample_ids(4, 0, 0, 8)
    Path(storage.full("images")).mkdir(parents=True)
    with Path(storage.full("images/a.tar")).open("wb") as handle:
        writer = TarWriter(handle)
        bodies = [jpeg(colour) for colour in COLOURS] + [b"no picture" if broken else jpeg("navy")]
        places = [writer.add(str(i), {"jpg": body})["jpg"] for i, body in enumerate(bodies)]
        writer.close()
    shown = [0, 0, 1, 2, 3, 5, None, 4]
    captions = ["red", "a red square", "green", "blue", "", "what", "gone", "black"]
    samples = {"sample_id": ids, "source": ["coyo"] * 8, "url": [f"http://a/{i}" for i in shown], "caption": captions}
    place = [(None, None) if i is None else places[i] for i in shown]
    tables = {
        "samples": pa.table({**samples, "clip_similarity": pa.array([0.3] * 8, pa.float32())}),
        "fetch": pa.table(
            {
                "sample_id": ids,
                "status": ["failed" if i is None else "ok" for i in shown],
                "stored_checksum": pa.array([None if i is None else checksum_of(bodies[i]) for i in shown], pa.uint64()),
                "tar": pa.array([None if i is None else "images/a.tar" for i in shown]),
                "offset": pa.array([offset for offset, _ in place], pa.int64()),
                "length": pa.array([length for _, length in place], pa.int64()),
            }
        ),
        "stage1": pa.table({"sample_id": ids, "keep": [True] * 7 + [False], "reasons": [[]] * 7 + [["watermark"]]}),
    }
    for family, table in tables.items():
        storage.write_parquet(PART.path(family), conform(table, family))
        write_receipt(storage, PART, Receipt(family, "coyo", PART.name, "f", "d", 8, 8))
    return storage
