"""A timeout counts the time in which the loop could listen, and no other."""

import asyncio
import time
from pathlib import Path

import pytest

from pipelines.fetching import chunks, event_loop
from pipelines.fetching.event_loop import MAX_TURN
from pipelines.manifest.storage import Storage
from tests.support import hostile_web
from tests.support.fetching import fetch_urls, patient


def test_time_in_which_the_process_does_not_run_is_no_timeout() -> None:
    async def starved() -> None:
        async with asyncio.timeout(5 * MAX_TURN):
            for _ in range(3):
                time.sleep(6 * MAX_TURN)  # the process is stopped, or decodes
                await asyncio.sleep(0)

    event_loop.run(starved())


def test_a_host_that_is_silent_times_out_by_the_clock() -> None:
    async def silent() -> None:
        async with asyncio.timeout(0.5):
            await asyncio.Event().wait()

    started = time.monotonic()
    with pytest.raises(TimeoutError):
        event_loop.run(silent())
    assert 0.5 <= time.monotonic() - started < 10


def test_time_never_goes_back_and_never_ahead_of_the_clock() -> None:
    async def times() -> list[tuple[float, float]]:
        loop, seen = asyncio.get_running_loop(), []
        for pause in (0.0, 0.01, 2 * MAX_TURN, 0.0, 0.05) * 2:
            time.sleep(pause)
            seen.append((loop.time(), time.monotonic()))
            await asyncio.sleep(pause / 2)
            seen.append((loop.time(), time.monotonic()))
        return seen

    seen = event_loop.run(times())
    assert seen == sorted(seen)
    assert all(counted <= clock for counted, clock in seen)


def test_no_host_is_blamed_for_a_client_that_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def get(client: object, url: str, set_delay: object, get: object = chunks.Client.get) -> object:
        request = asyncio.ensure_future(get(client, url, set_delay))
        while not request.done():
            time.sleep(0.4)
            await asyncio.sleep(0.001)
        return await request

    monkeypatch.setattr(chunks.Client, "get", get)
    with hostile_web.serve() as (port, _):
        limits = {"connect_timeout": 0.5, "first_byte_timeout": 0.8, "total_timeout": 1.2}
        settings = patient(connect_to={"hostile.test": f"127.0.0.1:{port}"}, retries=0, **limits)
        rows = fetch_urls(Storage(str(tmp_path)), ["http://hostile.test/moved"], settings)
    assert [row["error"] for row in rows] == [None]
