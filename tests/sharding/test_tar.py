"""Tars have the same bytes every time, and any tar reader reads them."""

import io
import re
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding import tar
from sharding.tar import TarWriter

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
    with tarfile.open(fileobj=io.BytesIO(tars[0])) as opened:
        assert {member.name: opened.extractfile(member).read() for member in opened} == expected
        assert all(member.mtime == 0 and member.uid == 0 for member in opened)
    for name, (offset, length) in places.items():
        assert tars[0][offset : offset + length] == expected[name]


@pytest.mark.parametrize("key", ["a.b", "a/b", "", "x" * 91])
def test_a_key_that_webdataset_would_split_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        TarWriter(io.BytesIO()).add(key, {"txt": b""})


@given(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=100),
    st.integers(0, 8**11 + 5),
)
def test_a_header_is_that_of_tarfile_with_the_same_refusals(name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    try:
        expected = info.tobuf(tarfile.USTAR_FORMAT)
    except ValueError as error:
        with pytest.raises(ValueError, match=re.escape(str(error))):
            tar._header(name, size)
    else:
        assert tar._header(name, size) == expected
