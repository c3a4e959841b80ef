"""Headers say what Python's tarfile says, in any format; of a cut or broken tar all before the place, and a fault."""

import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharding.tar_headers import LOCAL_WINDOW, TarContents, Window, read_members
from tests.support.tars import tar_bytes

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
words = st.text("abcé日.", min_size=1, max_size=8).filter(lambda word: word.strip("."))
names = st.lists(words, min_size=1, max_size=3).map("/".join) | st.integers(101, 400).map(lambda length: "n" * length + ".jpg")
files = st.lists(st.tuples(names, st.binary(max_size=3000)), max_size=8)


def contents(data: bytes, block: int = 700, hashed: bool = False) -> TarContents:
    return read_members(Window(io.BytesIO(data), len(data), block, hashed=hashed))


def by_tarfile(data: bytes) -> list[tuple[str, int, int]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [(info.name.removeprefix("./"), info.offset_data, info.size) for info in tar if info.isfile()]


@given(files, st.sampled_from(FORMATS[1:]), st.integers(1, 5000), st.booleans())
def test_members_are_those_that_tarfile_lists(content: list, form: int, block: int, hashed: bool) -> None:
    data = tar_bytes(content, form)
    window = Window(io.BytesIO(data), len(data), block, hashed=hashed)
    assert read_members(window) == TarContents(by_tarfile(data), [])
    assert window.sha256() == (hashlib.sha256(data).hexdigest() if hashed else "")


@given(files, st.sampled_from(FORMATS[1:]), st.data())
def test_of_a_cut_tar_all_whole_members_are_listed_and_the_cut_is_a_fault(content: list, form: int, draw: st.DataObject) -> None:
    data = tar_bytes(content, form)
    whole = contents(data).members
    end = max([0, *(-(-(offset + length) // 512) * 512 for _, offset, length in whole)])
    cut = draw.draw(st.integers(0, end))
    partial = contents(data[:cut])
    assert partial.members == [member for member in whole if member.offset + member.length <= cut and member.offset <= cut]
    assert len(partial.faults) == 1 and "ends early" in partial.faults[0]


@given(files, st.data())
def test_any_bytes_are_read_or_named_never_raised(content: list, draw: st.DataObject) -> None:
    data = bytearray(tar_bytes(content, draw.draw(st.sampled_from(FORMATS[1:]))))
    for place in draw.draw(st.lists(st.integers(0, len(data) - 1), max_size=6)):
        data[place] = draw.draw(st.integers(0, 255))
    for name, offset, length in contents(bytes(data)).members:
        assert name is not None and offset >= 0 and length >= 0 and offset + length <= len(data)
    contents(draw.draw(st.binary(max_size=2000)))


@pytest.mark.parametrize("arguments", [["--format=gnu"], ["--format=pax"], ["--format=ustar"], ["--format=v7"], ["-b", "1"]])
def test_tars_of_the_program_tar_are_read(tmp_path: Path, arguments: list[str]) -> None:
    folder = tmp_path / "in" / "part é"
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / f"{number}{'x' * 20}.jpg").write_bytes(os.urandom(700 * number))
    subprocess.run(["tar", *arguments, "-cf", tmp_path / "a.tar", "-C", tmp_path / "in", "."], check=True)
    data = (tmp_path / "a.tar").read_bytes()
    assert contents(data) == TarContents(sorted(by_tarfile(data), key=lambda member: member[1]), [])
    assert len(contents(data).members) == 3


@pytest.mark.parametrize("form", ["gnu", "posix"])
@pytest.mark.parametrize("pieces", [1, 4, 5, 25, 26, 100])
def test_what_follows_a_sparse_file_is_read(tmp_path: Path, form: str, pieces: int) -> None:
    with (tmp_path / "a.bin").open("wb") as handle:
        for number in range(pieces):
            handle.seek(number << 17)
            handle.write(b"x" * 900)
        handle.truncate(pieces << 17)
    (tmp_path / "b.jpg").write_bytes(b"picture")
    subprocess.run(["tar", "-S", f"--format={form}", "-cf", tmp_path / "a.tar", "-C", tmp_path, "a.bin", "b.jpg"], check=True)
    data = (tmp_path / "a.tar").read_bytes()
    (member,), (fault,) = contents(data).members, contents(data).faults
    assert member.name == "b.jpg" and data[member.offset :][: member.length] == b"picture"
    assert fault.startswith("1 link or sparse file (") and "a.bin" in fault


def test_links_and_what_follows_the_end_and_compression_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x" * 700)
    (tmp_path / "b.jpg").hardlink_to(tmp_path / "a.jpg")
    (tmp_path / "c.jpg").symlink_to("a.jpg")
    subprocess.run(["tar", "-cf", tmp_path / "a.tar", "-C", tmp_path, "a.jpg", "b.jpg", "c.jpg"], check=True)
    data = (tmp_path / "a.tar").read_bytes()
    assert [member.name for member in contents(data).members] == ["a.jpg"]
    assert "2 link or sparse files (b.jpg, c.jpg)" in contents(data).faults[0]
    one = tar_bytes([("a.txt", b"a")])
    assert "may be another tar's" in contents(one + one, LOCAL_WINDOW).faults[0]
    assert "ends early, without the empty block" in contents(one[:1024]).faults[0]
    for program, magic in (("gzip", b"\x1f\x8b"), ("zstd", b"\x28\xb5\x2f\xfd")):
        assert f"is compressed with {program}" in contents(magic + bytes(600)).faults[0]
    assert "begins no header" in contents(b"<html>" * 200).faults[0]


def test_large_members_are_leapt_over_and_small_ones_share_a_read() -> None:
    large = tar_bytes([(f"{number}.jpg", bytes([number]) * 300_000) for number in range(20)])
    window = Window(io.BytesIO(large), len(large), LOCAL_WINDOW)
    assert len(read_members(window).members) == 20 and window.reads <= 22
    small = tar_bytes([(f"{number}.txt", b"caption") for number in range(400)])
    window = Window(io.BytesIO(small), len(small), LOCAL_WINDOW)
    assert len(read_members(window).members) == 400 and window.reads <= len(small) // LOCAL_WINDOW + 2
