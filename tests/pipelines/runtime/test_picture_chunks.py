"""Pictures are decoded ahead in order, and never more of them than memory holds."""

import threading
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.manifest.pictures import StoredPicture
from pipelines.manifest.storage import Storage
from pipelines.runtime import picture_chunks
from pipelines.runtime.picture_chunks import decode_ahead
from tests.support.images import encoded
from tests.support.mutants import flat_webp


def stored(folder: Path, bodies: list[bytes]) -> tuple[Storage, list[StoredPicture]]:
    """The bodies one behind the other in a file."""
    (folder / "pictures").write_bytes(b"".join(bodies))
    ends = [sum(map(len, bodies[: number + 1])) for number in range(len(bodies))]
    return Storage(str(folder)), [
        StoredPicture("pictures", end - len(body), len(body)) for end, body in zip(ends, bodies, strict=True)
    ]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 7), st.integers(1, 4000))
def test_every_picture_comes_once_in_order_and_no_batch_is_larger_than_memory(
    tmp_path_factory: pytest.TempPathFactory, sides: list[int], batch: int, limit: int
) -> None:
    bodies = [encoded(Image.new("RGB", (side, 10), (0, 0, side)), "PNG") if side else b"none" for side in sides]
    storage, pictures = stored(tmp_path_factory.mktemp("pictures"), bodies)
    with patch.object(picture_chunks, "WAITING_BYTES", limit):
        batches = list(decode_ahead(storage, pictures, batch))
    assert [number for first, last, *_ in batches for number in range(first, last)] == list(range(len(sides)))
    for first, last, indices, images, errors in batches:
        assert errors == {number: "undecodable" for number in range(first, last) if not sides[number]}
        assert 0 < last - first <= batch and indices == [number for number in range(first, last) if sides[number]]
        assert [image.getpixel((0, 0)) for image in images] == [(0, 0, sides[index]) for index in indices]
        assert sum(image.width * image.height * 4 for image in images[:-1]) < limit


def test_pictures_that_take_much_memory_are_decoded_in_turns(tmp_path: Path) -> None:
    storage, pictures = stored(tmp_path, [flat_webp(3000)] * 6)
    running, most, lock = 0, 0, threading.Lock()
    decode = picture_chunks.decode_picture

    def decode_counted(data: bytes) -> Image.Image:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        try:
            return decode(data)
        finally:
            with lock:
                running -= 1

    with ExitStack() as patches:
        patches.enter_context(patch.object(picture_chunks, "decode_picture", decode_counted))
        patches.enter_context(patch.object(picture_chunks, "DECODE_MEMORY", 300_000_000))
        assert sum(len(found.images) for found in decode_ahead(storage, pictures, 4)) == 6
    assert most == 1


def test_a_caller_that_wants_no_more_is_not_waited_for(tmp_path: Path) -> None:
    storage, pictures = stored(tmp_path, [encoded(Image.new("RGB", (9, 9)), "PNG")] * 50)
    with patch.object(picture_chunks, "WAITING_BYTES", 1):
        found = decode_ahead(storage, pictures, 2)
        assert next(found).last == 1
        found.close()
