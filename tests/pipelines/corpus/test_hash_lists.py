"""Published lists of hashes, in each form that they come in."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.compat.errors import RequestError
from pipelines.corpus.evaluation_hashing import listed_items
from pipelines.corpus.hash_lists import read_hashes

PHASH, PDQ = "c9b6a7d8469c1959", "d8f8f0cce0f4a84f0e370a22028f67f0b36e2ed596623e1d33e6b39c4e9c9b22"
DIGITS = "1234567890123456"  # no letter: not the number
WITHOUT_BRIGHTNESS = int(PHASH, 16) & (2**63 - 1)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.csv", f"name,phash\nfox,{PHASH}\n", {"item": ["fox"], "phash": [WITHOUT_BRIGHTNESS]}),
        ("a.csv", f"image_phash\n{DIGITS}\n", {"item": ["0"], "phash": [int(DIGITS, 16)]}),
        ("a.csv", f"hash,id\n{PDQ.upper()},7\n", {"item": ["7"], "pdq": [bytes.fromhex(PDQ)]}),
        ("a.csv", f"hash\n{PHASH}\n", {"item": ["0"], "phash": [WITHOUT_BRIGHTNESS]}),
        ("a.tsv", f"path\tpdq\nb/c.jpg\t{PDQ}\n", {"item": ["b/c.jpg"], "pdq": [bytes.fromhex(PDQ)]}),
        (
            "a.csv",
            f"item,phash,pdq\nx,{PHASH},{PDQ}\n",
            {"item": ["x"], "phash": [WITHOUT_BRIGHTNESS], "pdq": [bytes.fromhex(PDQ)]},
        ),
    ],
)
def test_a_list_gives_names_and_hashes(tmp_path: Path, name: str, text: str, expected: dict) -> None:
    (tmp_path / name).write_text(text)
    assert read_hashes(str(tmp_path / name)).to_pydict() == expected


def test_parquet_lists_hold_hex_bytes_or_numbers(tmp_path: Path) -> None:
    table = pa.table({"phash": pa.array([-1, 5], pa.int64()), "pdq": pa.array([bytes.fromhex(PDQ), bytes(32)], pa.binary(32))})
    pq.write_table(table, tmp_path / "a.parquet")
    expected = {"item": ["0", "1"], "phash": [2**63 - 1, 5], "pdq": [bytes.fromhex(PDQ), bytes(32)]}
    assert read_hashes(str(tmp_path / "a.parquet")).to_pydict() == expected


def test_rows_without_a_hash_are_faults_and_lists_without_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"item,phash\nx,{PHASH}\ny,none\nz,\n")
    assert [fault is None for fault in listed_items(str(tmp_path / "a.csv"))["fault"].to_pylist()] == [True, False, False]
    for text, error in [("item,url\nx,y\n", "neither pictures nor hashes"), ("hash\nabc\n", "neither 16 hex digits nor 64")]:
        (tmp_path / "a.csv").write_text(text)
        with pytest.raises(RequestError, match=error):
            read_hashes(str(tmp_path / "a.csv"))
