"""Ranges are read as they are, with few requests and few wasted bytes, whatever the server does."""

import errno
import os
import socket
from pathlib import Path

import pytest
from fsspec.implementations.http import HTTPFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.benchmarks.tools.object_store import bucket
from sharding import ranges as module
from sharding import signed_gets as signed_gets_module
from sharding.pread import read_ranges_python
from sharding.ranges import GAP, LocalRanges, Range, RemoteRanges, ShortRead, coalesce, covering
from sharding.signed_gets import AT_ONCE, FAILURES, SignedGets, _Connection, signed_gets
from tests.support.ranged import Behaviour, ranged_server

CONTENT = bytes(i * i % 251 for i in range(300_000))
SPANS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 280_000), st.integers(0, 20_000)), min_size=1, max_size=40
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "abc":
        (tmp_path / name).write_bytes(name.encode() + CONTENT)
    return tmp_path


class SigningHttp(HTTPFileSystem):
    """A web server taken for a store of objects, which signs URLs."""

    def __init__(self, **options: bool) -> None:
        super().__init__(**options)
        self.protocol = "s3"  # not of the class, which fsspec would give the settings of S3

    def sign(self, path: str, expiration: int = 100, **options: object) -> str:
        return f"{path}?expires={expiration}"


def expected(ranges: list[Range]) -> list[bytes]:
    return [(Path(where.path).name.encode() + CONTENT)[where.start : where.end] for where in ranges]


@settings(deadline=None)
@given(SPANS, st.sampled_from([0.15, 0.5]))
def test_requests_cover_every_range_once_and_waste_little(spans: list[tuple[str, int, int]], waste: float) -> None:
    ranges = [Range(path, start, start + length) for path, start, length in spans]
    groups = coalesce(ranges, waste)
    assert sorted(i for group in groups for i in group) == list(range(len(ranges)))
    for group in groups:
        request = covering(ranges, group)
        bytes_used = {byte for i in group for byte in range(ranges[i].start, ranges[i].end)}
        assert {ranges[i].path for i in group} == {request.path}
        assert request.end - request.start <= len(bytes_used) / (1 - waste) + GAP * (len(group) - 1) + 1


@settings(deadline=None, max_examples=25)
@given(SPANS, st.integers(1, 3))
def test_local_ranges_are_read_with_few_files_open(
    tmp_path_factory: pytest.TempPathFactory, spans: list[tuple[str, int, int]], open_files: int
) -> None:
    folder = tmp_path_factory.mktemp("files")
    for name in "abc":
        (folder / name).write_bytes(name.encode() + CONTENT)
    ranges = [Range(str(folder / path), start, start + length) for path, start, length in spans]
    reader = LocalRanges(open_files)
    assert reader.read(ranges) == expected(ranges)
    assert len(reader._descriptors) <= open_files and reader.traffic.fetched == reader.traffic.used


def test_files_of_any_number_are_read_with_few_open_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pread, open_at_once = os.pread, []

    def counted(*arguments: int) -> bytes:
        open_at_once.append(len(list(Path("/proc/self/fd").iterdir())))
        return pread(*arguments)

    for number in range(200):
        (tmp_path / str(number)).write_bytes(b"%03d" % number)
    monkeypatch.setattr(module, "read_ranges", read_ranges_python)
    monkeypatch.setattr(os, "pread", counted)
    ranges = [Range(str(tmp_path / str(number)), 0, 3) for number in range(200)]
    assert LocalRanges(4).read(ranges * 2) == [b"%03d" % number for number in range(200)] * 2
    assert max(open_at_once) - min(open_at_once) <= 5


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_local_file_that_fails_for_a_while_is_read_again_by_another_descriptor(
    folder: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.01,) * 3)
    reader, pread, stale = LocalRanges(2), os.pread, set[int]()

    def failing(descriptor: int, size: int, offset: int) -> bytes:
        if descriptor in stale:
            raise OSError(number, os.strerror(number))
        return pread(descriptor, size, offset)

    ranges = [Range(str(folder / "a"), 5, 9), Range(str(folder / "b"), 5, 9), Range(str(folder / "a"), 300_000, 300_002)]
    reader.read(ranges)
    stale.add(reader._descriptors[str(folder / "a")].number)
    monkeypatch.setattr(module, "read_ranges", read_ranges_python)
    monkeypatch.setattr(os, "pread", failing)
    monkeypatch.setattr(os, "close", lambda descriptor: None)  # so that no number is given twice
    first, second, short = reader.read(ranges)
    assert [first, second] == expected(ranges[:2]) and isinstance(short, ShortRead)


@pytest.mark.parametrize("kind", [HTTPFileSystem, SigningHttp], ids=["by fsspec", "by signed URLs"])
@pytest.mark.parametrize("faults", [{}, {"busy": 0.2, "cut": 0.15, "dropped": 0.15}], ids=["calm", "faulty"])
def test_remote_ranges_are_read_whatever_the_server_does(
    folder: Path, kind: type[HTTPFileSystem], faults: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    behaviour = Behaviour(**faults)
    monkeypatch.setattr(module, "PAUSES", (0.01,) * 12)
    ranges = [Range(name, start, start + 9_000) for name in "abc" for start in range(0, 290_000, 23_000)]
    ranges += [Range("a", 25_000, 25_000), Range("b", 300_001, 300_001)]
    with ranged_server(folder, behaviour) as uri:
        requested = [where._replace(path=f"{uri}/{where.path}") for where in ranges]
        reader = RemoteRanges(kind(skip_instance_cache=True))
        assert reader.read(requested) == expected(requested)
    assert reader.traffic.used == 9_000 * (len(ranges) - 2)
    if not behaviour.busy:
        assert reader.traffic.fetched == behaviour.bytes == reader.traffic.used


def test_signed_urls_are_read_side_by_side_over_few_connections(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    behaviour, opened, connect = Behaviour(delay=0.05), [], socket.create_connection
    monkeypatch.setattr(socket, "create_connection", lambda *arguments: opened.append(1) or connect(*arguments))
    ranges = [Range(name, start, start + 9_000) for name in "abc" for start in range(0, 290_000, 23_000)]
    with ranged_server(folder, behaviour) as uri:
        requested = [where._replace(path=f"{uri}/{where.path}") for where in ranges]
        reader = RemoteRanges(SigningHttp(skip_instance_cache=True))
        monkeypatch.setattr(reader, "_fetch", lambda requests: [] if not requests else pytest.fail("asked the file system"))
        for _ in range(3):
            assert reader.read(requested) == expected(requested)
    assert behaviour.requests == 3 * len(ranges) > AT_ONCE >= len(opened)


@pytest.mark.slow
def test_the_server_that_tests_share_holds_a_bucket_of_each(s3_server: int) -> None:
    fs = bucket(s3_server)
    for number in range(9):
        fs.mkdir(f"bucket-{number}")
        fs.pipe_file(f"bucket-{number}/a", CONTENT)
    assert all(fs.cat_file(f"bucket-{number}/a") == CONTENT for number in range(9))


@pytest.mark.slow
def test_a_real_s3_server_takes_the_signature(s3_server: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fs, name = bucket(s3_server), "signed/a picture+ü.tar"
    fs.mkdir("signed")
    fs.pipe_file(name, CONTENT)
    reader = RemoteRanges(fs)
    monkeypatch.setattr(reader, "_fetch", lambda requests: [] if not requests else pytest.fail("asked the file system"))
    places = [(0, 5), (100_000, 200_000), (299_990, 300_000)]
    assert reader.read([Range(name, *place) for place in places]) == [CONTENT[start:end] for start, end in places]


def test_a_store_that_refuses_signatures_is_read_by_its_file_system(folder: Path) -> None:
    class Refused(SigningHttp):
        def sign(self, path: str, expiration: int = 100, **options: object) -> str:
            return f"{path}/elsewhere"

    behaviour = Behaviour()
    ranges = [Range(name, start, start + 9_000) for name in "abc" for start in range(0, 290_000, 23_000)]
    with ranged_server(folder, behaviour) as uri:
        requested = [where._replace(path=f"{uri}/{where.path}") for where in ranges]
        reader = RemoteRanges(Refused(skip_instance_cache=True))
        assert reader.read(requested) == expected(requested) and behaviour.requests == len(ranges) + FAILURES
        assert reader.read(requested) == expected(requested) and behaviour.requests == 2 * len(ranges) + FAILURES


def test_a_store_that_keeps_one_waiting_does_so_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signed_gets_module, "TIMEOUT_S", 0.05)
    ranges = [Range(name, start, start + 9_000) for name in "abc" for start in range(0, 290_000, 73_000)]
    with ranged_server(folder, Behaviour(delay=0.4)) as uri:
        requested = [where._replace(path=f"{uri}/{where.path}") for where in ranges]
        gets = SignedGets(SigningHttp(skip_instance_cache=True))
        received: list[Range] = []
        receive = _Connection.receive
        monkeypatch.setattr(_Connection, "receive", lambda own, where: received.append(where) or receive(own, where))
        assert gets.read(requested) == [None] * len(ranges) and not gets.is_useful
        assert gets.read(requested) == [None] * len(ranges) and received in ([], requested[:1])


def test_only_a_store_of_which_no_setting_needs_more_gets_signed_urls() -> None:
    s3 = pytest.importorskip("s3fs").S3FileSystem
    plain = {"key": "a", "secret": "b", "skip_instance_cache": True}
    assert signed_gets(s3(**plain))
    for more in ({"requester_pays": True}, {"version_aware": True}, {"client_kwargs": {"verify": False}}):
        assert signed_gets(s3(**plain, **more)) is None
    assert signed_gets(HTTPFileSystem()) is None


def test_what_cannot_be_read_is_told_and_spares_the_rest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.01,))
    ranges = [Range("a", 0, 10), Range("missing", 0, 10), Range("a", 300_000, 300_100), Range("b", 5, 7)]
    with ranged_server(folder, Behaviour()) as uri:
        remotes = [RemoteRanges(kind(skip_instance_cache=True)) for kind in (HTTPFileSystem, SigningHttp)]
        for reader, base in ((LocalRanges(2), str(folder)), *((remote, uri) for remote in remotes)):
            first, missing, short, last = reader.read([where._replace(path=f"{base}/{where.path}") for where in ranges])
            assert (first, last) == (b"a" + CONTENT[:9], CONTENT[4:6])
            assert isinstance(missing, FileNotFoundError) and isinstance(short, ShortRead)


def test_a_file_that_ends_early_costs_no_neighbour(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.01,))
    places = [(299_000, 299_500), (299_600, 300_001), (299_900, 300_002), (300_001, 300_400), (300_300, 300_700)]
    with ranged_server(folder, Behaviour()) as uri:
        remotes = [RemoteRanges(kind(skip_instance_cache=True)) for kind in (HTTPFileSystem, SigningHttp)]
        for reader, base in ((LocalRanges(2), str(folder)), *((remote, uri) for remote in remotes)):
            first, second, *cut = reader.read([Range(f"{base}/a", *place) for place in places])
            assert [first, second] == expected([Range("a", *place) for place in places[:2]])
            assert all(isinstance(error, ShortRead) for error in cut)
