"""Two colons in a name are part of it; between file systems they are fsspec's chain."""

import zipfile
from pathlib import Path

import pytest

from infra.compat.files import file_system, open_file


@pytest.mark.parametrize("name", ["a::b.parquet", "::", "c::/d.csv", "zip::e.csv", "f::g::h.csv", "file::i"])
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_two_colons_in_a_name_are_part_of_it(tmp_path: Path, scheme: str, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"content")
    assert file_system(f"{scheme}{path}")[1] == str(path)
    with open_file(f"{scheme}{path}") as handle:
        assert handle.read() == b"content"


def test_two_colons_in_the_name_of_a_key_are_part_of_it() -> None:
    for name in ("a::b.parquet", "c::/d.csv", "e::f::g"):
        assert file_system(f"s3://bucket/{name}")[1] == f"bucket/{name}"


def test_a_chain_of_file_systems_is_one(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("b.csv", "content")
    for uri in (f"zip://b.csv::{tmp_path}/a.zip", f"zip://b.csv::file://{tmp_path}/a.zip"):
        with open_file(uri) as handle:
            assert handle.read() == b"content"
    assert type(file_system("simplecache::memory://a")[0]).__name__ == "SimpleCacheFileSystem"
