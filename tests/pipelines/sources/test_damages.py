"""Whatever bytes of whatever file are damaged: each row is a sample or a reject, or the file is refused in one line."""

import io
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.compat.errors import RequestError
from tests.support.text_files import compressed, read, written

CAPTIONS = [
    "A red fox",
    'She said "hello"',
    "Zwei Stühle, ein Tisch; eine Lampe | alt",
    "一只猫坐在窗台上",
    "two\nlines",
    "tab\there",
]
CAPTIONS += ["", 'a 5" screen', "a+b ~{ ~} \x1b", "x" * 3000, "\u2028 and \x85", "🦊"]
URLS = ["https://example.org/{}.jpg", "example.org/{}", "//cdn.example.org/{}", "images/{}.jpg", ""]
KINDS = {"wukong": ["csv", "semicolons", "tabs", "bars", "jsonl", "objects"], "sbu": ["arrays", "csv"], "cc12m": ["tsv"]}
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32-be", "gb18030"]
COMPRESSIONS = ["none", "gzip", "bz2", "xz", "zstd", "lz4"]


def damaged(data: bytes, draw: random.Random) -> bytes:
    """The data with some bytes changed, put in, left out, repeated, set to zero or cut off."""
    for _ in range(draw.choice([1, 1, 2, 5])):
        at, size = draw.randrange(len(data) + 1), draw.choice([1, 1, 4, 50, 1000])
        piece, rest = data[at : at + size], data[at + size :]
        data = draw.choice(
            [
                data[:at],
                data[:at] + bytes(byte ^ 1 << draw.randrange(8) for byte in piece) + rest,
                data[:at] + draw.randbytes(size) + data[at:],
                data[:at] + rest,
                data[:at] + piece + piece + rest,
                data[:at] + bytes(len(piece)) + rest,
                data + draw.choice([b"\n", bytes(9), b"garbage", data[:50]]),
            ]
        )
    return data


def parquet(rows: list[tuple[str, str]], draw: random.Random) -> bytes:
    table = pa.table({"url": [url for url, _ in rows], "caption": [caption for _, caption in rows]})
    codec, checksum = draw.choice(["none", "snappy", "zstd", "gzip", "lz4"]), draw.random() < 0.3
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=draw.choice([5, 1000]), compression=codec, write_page_checksum=checksum)
    return sink.getvalue()


def damaged_file(draw: random.Random) -> tuple[str, bytes]:
    """A source, and a damaged file of it."""
    rows = [(draw.choice(URLS).format(n), draw.choice(CAPTIONS)) for n in range(draw.choice([0, 1, 2, 30, 100]))]
    source = draw.choice([*KINDS, "parquet"])
    if source == "parquet":
        return "wukong", damaged(parquet(rows, draw), draw)
    kind = draw.choice(KINDS[source])
    text = "".join(f"{u}\t{c}\n" for u, c in rows) if kind == "tsv" else written(rows, kind) * draw.choice([1, 1, 2])
    data = text.encode(draw.choice(ENCODINGS))
    in_text = draw.random() < 0.5
    whole = compressed(damaged(data, draw) if in_text else data, draw.choice(COMPRESSIONS))
    return source, whole if in_text else damaged(whole, draw)


@pytest.mark.parametrize("count", [200, pytest.param(2500, marks=pytest.mark.slow)])
def test_damage_anywhere_loses_no_row_that_is_counted(tmp_path: Path, count: int) -> None:
    read_whole = 0
    for seed in range(count):
        draw, path = random.Random(seed), tmp_path / "file"
        source, content = damaged_file(draw)
        path.write_bytes(content)
        try:
            read(path, source, draw.choice([17, 1000]))  # which compares the rows with their number
            read_whole += 1
        except RequestError as refused:
            assert "\n" not in str(refused) and len(str(refused)) < 1000 and str(path) in str(refused), seed
    assert read_whole * 20 > count
