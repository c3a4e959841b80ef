"""Many pictures are read by few requests, within a bound of memory, and each is what a read of its own would give."""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fsspec.asyn import AsyncFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.exporting import reading
from pipelines.exporting.pictures import LostPicture
from pipelines.exporting.reading import read_pictures
from pipelines.manifest.pictures import StoredPicture, checksum_of
from pipelines.manifest.storage import Storage
from tests.support.counted import CountedFileSystem

TARS = ("a.tar", "b.tar", "gone.tar")
SIZE = 4000  # bytes of a tar
MIB = 1 << 20


def body(tar: str) -> bytes:
    return bytes((place * 7 + len(tar) + place // 251 + ord(tar[0])) % 256 for place in range(SIZE))


BODIES = {tar: body(tar) for tar in TARS[:2]}

place = st.tuples(
    st.sampled_from(TARS), st.integers(0, SIZE + 50), st.integers(1, 600), st.sampled_from(["right", "wrong", "none"])
)


def stored(tar: str, offset: int, length: int, checksum: str) -> StoredPicture:
    data = BODIES.get(tar, b"")[offset:][:length]
    return StoredPicture(tar, offset, length, {"right": checksum_of(data), "wrong": 1, "none": None}[checksum])


def alone(picture: StoredPicture) -> bytes | str:
    """What a picture is, read by itself."""
    if picture.tar not in BODIES:
        return "missing"
    data = BODIES[picture.tar][picture.offset :][: picture.length]
    return data if len(data) == picture.length and picture.checksum in (None, checksum_of(data)) else "changed"


def read(storage: Storage, pictures: Sequence[StoredPicture], memory: int) -> list[bytes | str]:
    return [str(data) if isinstance(data, LostPicture) else data for data in read_pictures(storage, pictures, memory)]


@pytest.mark.parametrize("scheme", ["", "counted://"])
@settings(deadline=None, max_examples=60)
@given(st.lists(place, max_size=30), st.integers(1, 20_000))
def test_pictures_come_in_their_order_as_if_each_were_read_alone(
    tmp_path_factory: pytest.TempPathFactory, scheme: str, places: list[tuple[str, int, int, str]], memory: int
) -> None:
    storage = Storage(f"{scheme}{tmp_path_factory.mktemp('tars')}")
    for tar, data in BODIES.items():
        storage.write(tar, data)
    pictures = [stored(*one) for one in places]
    assert read(storage, pictures, memory) == [alone(picture) for picture in pictures]
    elsewhere = [picture._replace(tar=f"{storage.root}/{picture.tar}") for picture in pictures]
    if scheme:  # a tar with a scheme of its own lies where it says
        assert read(Storage(str(tmp_path_factory.mktemp("root"))), elsewhere, memory) == [alone(picture) for picture in pictures]


def test_a_run_of_a_tar_is_one_request(tmp_path: Path) -> None:
    storage = Storage(f"counted://{tmp_path}")
    storage.write("a.tar", b"x" * MIB)
    CountedFileSystem.requests.clear()
    near = [StoredPicture("a.tar", 3000 * number, 2000) for number in reversed(range(50))]
    far = [StoredPicture("a.tar", MIB - 1, 1), StoredPicture("a.tar", MIB // 2, 10)]
    assert all(isinstance(data, bytes) for data in read_pictures(storage, [far[0], *near, far[1]], MIB))
    assert CountedFileSystem.requests.total() == 3


def test_the_next_window_is_read_while_one_is_used_and_no_third(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, windows, second = Storage(str(tmp_path)), [], threading.Event()
    storage.write("a.tar", b"x" * 1000)
    read_window = reading._read_window

    def watched(storage: Storage, pictures: Sequence[StoredPicture]) -> list[bytes | LostPicture]:
        windows.append(sum(picture.length for picture in pictures))
        if len(windows) == 2:
            second.set()
        return read_window(storage, pictures)

    monkeypatch.setattr(reading, "_read_window", watched)
    pictures = read_pictures(storage, [StoredPicture("a.tar", 10 * number, 10) for number in range(100)], memory=400)
    first = [next(pictures) for _ in range(10)]
    assert second.wait(60) and windows == [100, 100] and first == [b"x" * 10] * 10
    assert len([*pictures]) == 90 and windows == [100] * 10


def test_a_picture_larger_than_the_memory_is_read_alone(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.write("a.tar", b"x" * 1000)
    assert read(storage, [StoredPicture("a.tar", 0, 900), StoredPicture("a.tar", 0, 3)], 8) == [b"x" * 900, b"xxx"]


class Waiting(AsyncFileSystem):
    """An object store that answers no request before eight are under way."""

    protocol = "waiting"
    cachable = False

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.under_way = 0

    async def _cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: object) -> bytes:
        self.under_way += 1
        while self.under_way < 8:
            await asyncio.sleep(0.01)
        return b"x" * (end - start)


def test_requests_to_an_object_store_are_sent_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, store = Storage(str(tmp_path)), Waiting()
    monkeypatch.setattr(reading, "file_system", lambda uri: (store, uri.removeprefix("waiting://")))
    pictures = [StoredPicture("waiting://a.tar", MIB * number, 10) for number in range(8)]
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(read, storage, pictures, MIB).result(120) == [b"x" * 10] * 8
