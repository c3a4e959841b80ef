"""Tars have the same bytes every time, and any tar reader reads them."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.tar import TarWriter, _header

names = st.text("abcdefghijklmnop0123456789_-", min_size=1, max_size=20)
samples = st.dictionaries(
    names, st.dictionaries(st.sampled_from(["jpg", "txt", "json"]), st.binary(max_size=2000), min_size=1), max_size=8
)


@given(samples)
def test_the_same_samples_give_the_same_bytes_and_tar_reads_them(content: dict) -> None:
    tars, places = [], {}
    for _ in range(2):
        stream = io.BytesIO()
        writer = TarWriter(stream)
        for key, members in content.items():
            places |= {f"{key}.{ending}": place for ending, place in writer.add(key, members).items()}
        writer.close()
        tars.append(stream.getvalue())
        assert writer.position == len(tars[-1])
    assert tars[0] == tars[1]
    expected = {f"{key}.{ending}": data for key, members in content.items() for ending, data in members.items()}
    with tarfile.open(fileobj=io.BytesIO(tars[0])) as tar:
        assert {member.name: tar.extractfile(member).read() for member in tar} == expected
        assert all(member.mtime == 0 and member.uid == 0 for member in tar)
    for name, (offset, length) in places.items():
        assert tars[0][offset : offset + length] == expected[name]


@given(names, st.integers(0, 100_000) | st.integers(0, 8**11 - 1))
def test_a_header_is_that_of_tarfile(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    assert _header(name, size) == info.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(("name", "size"), [("x" * 101, 1), ("x", 8**11)])
def test_a_name_or_size_that_no_header_holds_is_refused(name: str, size: int) -> None:
    with pytest.raises(ValueError, match="header"):
        _header(name, size)


@pytest.mark.parametrize("key", ["a.b", "a/b", "", "x" * 91])
def test_a_key_that_webdataset_would_split_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        TarWriter(io.BytesIO()).add(key, {"txt": b""})
