"""A damaged or cut file is refused by name, or it is said beforehand that its damage cannot be told."""

import lzma
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.compat.errors import RequestError
from pipelines.sources import source_named
from pipelines.sources.compression import checksum_notice
from pipelines.sources.files import inspect, read_rows
from pipelines.sources.settings import IngestSettings
from tests.support.text_files import compressed, lz4_of_raw_blocks, read, written, zstd_of_raw_blocks

ROWS = [(f"http://a/{number}", random.Random(number).randbytes(30).hex()) for number in range(60)]
EXPECTED = [("", url, caption) for url, caption in ROWS]
TEXT = written(ROWS, "csv").encode()
CHECKED = {
    "gzip": compressed(TEXT, "gzip"),
    "bz2": compressed(TEXT, "bz2"),
    "xz": compressed(TEXT, "xz"),
    "zstd": zstd_of_raw_blocks(TEXT, checksum=True),
    "lz4": lz4_of_raw_blocks(TEXT, checksum=True),
}
UNCHECKED = {
    "zstd": zstd_of_raw_blocks(TEXT, checksum=False),
    "zstd of Arrow": compressed(TEXT, "zstd"),
    "lz4": lz4_of_raw_blocks(TEXT, checksum=False),
    "lz4 of Arrow": compressed(TEXT, "lz4"),
    "xz": lzma.compress(TEXT, check=lzma.CHECK_NONE),
}
ALL = CHECKED | {f"{name}, no checksum": data for name, data in UNCHECKED.items()}
REFUSED = r"is damaged, or ends early|has no column|compressed by|no column of its first rows|in its first line|is empty"


def outcome(path: Path, data: bytes) -> list[tuple[str, str | None, str | None]] | None:
    """The rows of the file, None where it is refused in one line."""
    path.write_bytes(data)
    try:
        return read(path, "wukong")
    except RequestError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return None


@pytest.mark.parametrize("by", ALL)
def test_a_compressed_file_that_is_cut_anywhere_is_refused(tmp_path: Path, by: str) -> None:
    whole, path = ALL[by], tmp_path / "file"
    assert outcome(path, whole) == EXPECTED
    for end in {*range(1, 20), *range(20, len(whole), 97), *range(len(whole) - 12, len(whole))}:
        assert outcome(path, whole[:end]) is None, end


@pytest.mark.parametrize("by", CHECKED)
def test_a_damaged_byte_of_a_file_with_checksums_is_noticed(tmp_path: Path, by: str) -> None:
    whole, path = CHECKED[by], tmp_path / "file"
    path.write_bytes(whole)
    assert checksum_notice(str(path)) == ""
    for place in {*range(20), *range(20, len(whole), 41), *range(len(whole) - 12, len(whole))}:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        assert outcome(path, bytes(damaged)) in (None, EXPECTED), place


@pytest.mark.parametrize("by", UNCHECKED)
def test_a_file_without_checksums_says_so(tmp_path: Path, by: str) -> None:
    path = tmp_path / "file"
    for start in (b"", b"\x50\x2a\x4d\x18\4\0\0\0size") if by.startswith("zstd") else (b"",):
        path.write_bytes(start + UNCHECKED[by])
        notice = inspect(str(path), source_named("wukong"), IngestSettings()).notice
        assert f"compressed by {by.split()[0]} without a checksum, so damage may go unnoticed" in notice


@pytest.mark.parametrize("by", UNCHECKED)
def test_damage_without_a_checksum_loses_no_row_of_those_that_are_counted(tmp_path: Path, by: str) -> None:
    whole, draw = UNCHECKED[by], random.Random(by)
    for _ in range(30):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        outcome(tmp_path / "file", bytes(damaged))  # `read` compares the rows with the count


@pytest.mark.parametrize("by", ALL)
def test_what_follows_a_stream_and_is_none_is_refused(tmp_path: Path, by: str) -> None:
    assert outcome(tmp_path / "file", ALL[by] + b"http://a/61,behind the end\n") is None


@pytest.mark.parametrize(
    "start, kind",
    [(b"\x89LZO\0", "lzop"), (b"LZIP\1\0", "lzip"), (b"\x02\x21\x4c\x18", "an old lz4"), (b"\xff\x06\0\0sNaPpY", "snappy")],
)
def test_a_compression_that_is_not_read_is_named(tmp_path: Path, start: bytes, kind: str) -> None:
    (tmp_path / "file").write_bytes(start + bytes(90))
    with pytest.raises(RequestError, match=f"is compressed by {kind}; unpack it"):
        inspect(str(tmp_path / "file"), source_named("wukong"), IngestSettings())


def test_a_damaged_page_of_parquet_with_checksums_is_refused(tmp_path: Path) -> None:
    source, path = source_named("wukong"), tmp_path / "file.parquet"
    table = pa.table({"url": [url for url, _ in ROWS], "caption": [caption for _, caption in ROWS]})
    pq.write_table(table, path, compression="none", use_dictionary=False, write_page_checksum=True)
    data = path.read_bytes()
    place = data.index(ROWS[30][1].encode())
    path.write_bytes(data[:place] + b"X" + data[place + 1 :])
    with pytest.raises(RequestError, match="is a broken parquet file"):
        read_rows(str(path), source, 0, len(ROWS), IngestSettings())
