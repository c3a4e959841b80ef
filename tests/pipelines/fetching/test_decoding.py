"""The decoder gives what each image alone gives, and never blocks the event loop for long."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from infra.compat.memory import KEPT_BYTES
from pipelines.fetching import decoding
from pipelines.fetching.decoding import Decoder
from pipelines.fetching.settings import FetchSettings
from pipelines.images import prepare
from pipelines.images.identify import RejectedImage
from pipelines.images.prepare import StoredImage
from tests import ROOT
from tests.support.images import encoded, smooth, stored_of
from tests.support.mutants import flat_webp

KEPT = (1 + decoding.THREADS) * KEPT_BYTES  # what malloc keeps for each thread that decodes
BODIES = [
    encoded(smooth(300, 200), "JPEG"),
    encoded(smooth(300, 200), "JPEG", progressive=True),
    encoded(smooth(40, 30), "PNG"),
    encoded(smooth(300, 200), "JPEG")[:900],
    b"not an image",
]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(BODIES), max_size=12), st.sets(st.integers(0, 11)), st.integers(0, 64))
def test_a_decoder_gives_what_each_image_alone_gives_whatever_is_cancelled(
    bodies: list[bytes], cancelled: set[int], idle: int
) -> None:
    chosen = FetchSettings(size=32)

    def alone(body: bytes) -> StoredImage | str:
        try:
            return stored_of(body, chosen)
        except RejectedImage as rejected:
            return rejected.error

    async def together() -> list[StoredImage | BaseException]:
        with Decoder(chosen) as decoder, patch.object(decoding, "idle_cores", lambda: idle):
            tasks = [asyncio.ensure_future(decoder.decode(body, None)) for body in bodies]
            await asyncio.sleep(0)
            for number in cancelled & set(range(len(tasks))):
                tasks[number].cancel()
            return await asyncio.gather(*tasks, return_exceptions=True)

    for number, (body, result) in enumerate(zip(bodies, asyncio.run(together()), strict=True)):
        if number in cancelled:
            assert isinstance(result, asyncio.CancelledError)
        else:
            assert (result.error if isinstance(result, RejectedImage) else result) == alone(body)


def test_threads_that_slow_images_occupy_are_not_waited_for() -> None:
    async def decoded() -> list[StoredImage]:
        released = threading.Event()
        with Decoder(FetchSettings(size=32)) as decoder, patch.object(decoding, "idle_cores", lambda: 64):
            try:
                for _ in range(2 * decoding.THREADS):
                    decoder.pool.submit(released.wait)
                return await asyncio.gather(*(decoder.decode(BODIES[0], None) for _ in range(9)))
            finally:
                released.set()

    assert asyncio.run(decoded()) == [stored_of(BODIES[0], FetchSettings(size=32))] * 9


def test_idle_cores_are_counted_where_the_system_tells(tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    files = {f"0.1 0.2 0.3 1/99 {cores}": cores - 1, f"0.1 0.2 0.3 {cores + 7}/99 5": 0, "0.1 0.2": 0, "a b c d/e": 0}
    for number, (text, idle) in enumerate(files.items()):
        (tmp_path / str(number)).write_text(text)
        with patch.object(decoding, "LOADAVG", tmp_path / str(number)):
            assert decoding.idle_cores() == idle
    with patch.object(decoding, "LOADAVG", tmp_path / "none"):
        assert decoding.idle_cores() == 0


@pytest.mark.parametrize("body", [BODIES[0], BODIES[2]], ids=["quick", "slow"])
@pytest.mark.parametrize("owner, function", [(prepare, "_resize"), (decoding, "prepare_all"), (decoding, "prepare")])
@pytest.mark.parametrize("raised", [StopIteration("of a library"), MemoryError(), RecursionError()])
def test_a_decoder_that_raises_leaves_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, body: bytes, owner: object, function: str, raised: Exception
) -> None:
    def fault(*arguments: object) -> object:
        raise raised

    async def results() -> list[BaseException | StoredImage]:
        with Decoder(FetchSettings(size=32)) as decoder:
            return await asyncio.wait_for(
                asyncio.gather(*(decoder.decode(body, None) for _ in range(3)), return_exceptions=True), 60
            )

    if function == "_resize" or not isinstance(raised, StopIteration):
        monkeypatch.setattr(owner, function, fault)
    assert len(asyncio.run(results())) == 3


def test_a_slow_image_leaves_the_event_loop_to_others() -> None:
    async def rounds() -> int:
        with Decoder(FetchSettings(size=32)) as decoder:
            slow, count = asyncio.ensure_future(decoder.decode(encoded(Image.new("RGB", (5000, 4000)), "PNG"), None)), 0
            while not slow.done():
                await asyncio.sleep(0)
                count += 1
            assert (await slow).width == 5000
            return count

    assert asyncio.run(rounds()) > 20


def decoded_at_once(memory: int, paths: list[Path]) -> dict:
    """How each file ended and by how many bytes a process grew that decoded all at once."""
    command = [sys.executable, "-m", "tests.support.decode_at_once", str(memory), *map(str, paths)]
    return json.loads(subprocess.run(command, capture_output=True, check=True, cwd=ROOT, timeout=600).stdout)


def test_large_images_that_come_at_once_share_the_memory(tmp_path: Path) -> None:
    memory, large, larger = 256 << 20, tmp_path / "large", tmp_path / "larger"
    large.write_bytes(flat_webp(3500))
    larger.write_bytes(flat_webp(3700))  # needs more than there is
    outcome = decoded_at_once(memory, [large, larger, large, large])
    assert outcome["endings"] == ["image/webp", "too_many_pixels", "image/webp", "image/webp"]
    assert outcome["grown"] < memory + KEPT


@pytest.mark.slow
def test_small_files_of_huge_images_that_come_at_once_share_the_memory(tmp_path: Path) -> None:
    image = Image.new("RGB", (6000, 6000))
    bodies = {"webp": flat_webp(10_000)} | {format: encoded(image, format) for format in ("png", "gif", "tiff")}
    bodies["avif"] = encoded(image, "AVIF", speed=10)
    for name, body in bodies.items():
        (tmp_path / name).write_bytes(body)
    paths = [tmp_path / name for name in [*["webp"] * 4, *bodies, *bodies, "png"]]
    outcome = decoded_at_once(FetchSettings().decode_memory, paths)
    assert outcome["endings"] == [f"image/{path.name}" for path in paths]
    assert outcome["grown"] < FetchSettings().decode_memory + KEPT


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 100), st.integers(0, 3), st.booleans()), max_size=12))
def test_reservations_never_exceed_the_memory_and_all_get_their_turn(waits: list[tuple[int, int, bool]]) -> None:
    async def reserve() -> None:
        memory, held, peak, ended = decoding.Memory(100), 0, 0, 0

        async def hold(size: int, turns: int) -> None:
            nonlocal held, peak, ended
            async with memory.reserved(size):
                held += size
                peak = max(peak, held)
                try:
                    for _ in range(turns):
                        await asyncio.sleep(0)
                finally:
                    held -= size
            ended += 1

        tasks = [asyncio.ensure_future(hold(size, turns)) for size, turns, _ in waits]
        await asyncio.sleep(0)
        for task, (_, _, cancelled) in zip(tasks, waits, strict=True):
            if cancelled:
                task.cancel()
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
        assert peak <= 100 and memory.free == 100 and not memory.queue
        assert ended == sum(result is None for result in results) >= sum(not cancelled for *_, cancelled in waits)

    asyncio.run(reserve())
