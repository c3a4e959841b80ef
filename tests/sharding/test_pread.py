"""Ranges of files are the same bytes by C and by Python."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharding import pread

CONTENT = bytes(i * i % 251 for i in range(5000))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "file"
    path.write_bytes(CONTENT)
    return path


@pytest.mark.skipif(pread.compiled is None, reason="installed without a C compiler")
@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6000), st.integers(0, 3000))))
def test_compiled_and_python_read_the_same(file: Path, ranges: list[tuple[bool, int, int]]) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        rows = [(descriptor if is_open else -1, start, length) for is_open, start, length in ranges]
        asked = np.array(rows, np.int64).reshape(-1, 3)
        read = pread.read_ranges(asked)
        expected = [CONTENT[start : start + length] if is_open else errno.EBADF for is_open, start, length in ranges]
        given_by_python = pread.read_ranges_python(asked)
    finally:
        os.close(descriptor)
    # Of a range without bytes no system call is made, so its file need not be open.
    wanted = [b"" if not length else result for (_, _, length), result in zip(ranges, expected, strict=True)]
    assert read == given_by_python == wanted


@pytest.mark.skipif(pread.compiled is None, reason="installed without a C compiler")
@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(-40, 4200) | st.integers(0, 40), st.integers(0, 200), st.integers(0, 1)), max_size=300),
    st.integers(0, 90_000),
)
def test_neighbours_that_are_read_by_one_call_are_those_of_python(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, int]], size: int
) -> None:
    path = tmp_path_factory.mktemp("files") / "file"
    path.write_bytes(np.random.default_rng(size).bytes(size))
    descriptors = [os.open(path, os.O_RDONLY) for _ in range(2)]
    rows, end = list[tuple[int, int, int]](), 0
    for gap, length, number in steps:
        start = max(0, end + gap)
        rows.append((descriptors[number if gap > 4000 else 0], start, length))
        end = start + length
    asked = np.array(rows, np.int64).reshape(-1, 3)
    try:
        assert pread.read_ranges(asked) == pread.read_ranges_python(asked)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


@pytest.mark.skipif(pread.compiled is None, reason="installed without a C compiler")
def test_ranges_beyond_all_files_are_empty_or_refused(file: Path) -> None:
    last = np.iinfo(np.int64).max
    with file.open("rb") as opened:
        rows = [(opened.fileno(), start, length) for start in (0, last - 1, last) for length in (0, 1)]
        assert [part in (b"", b"\0", errno.EINVAL) for part in pread.read_ranges(np.array(rows, np.int64))] == [True] * 6


@pytest.mark.parametrize("row", [(0, -1, 5), (0, 0, -1)])
def test_ranges_that_cannot_be_are_refused(row: tuple[int, int, int]) -> None:
    for read_ranges in (pread.read_ranges, pread.read_ranges_python):
        with pytest.raises(ValueError, match="before the file"):
            read_ranges(np.array([row], np.int64))
