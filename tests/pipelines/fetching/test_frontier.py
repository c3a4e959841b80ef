"""The frontier requests every URL, within the limits of each host."""

import asyncio
import time
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.fetching import frontier as frontier_module
from pipelines.fetching.frontier import HOST_DOWN, Frontier
from pipelines.fetching.settings import FetchSettings


def crawl(hosts: list[str], limits: FetchSettings, respond) -> tuple[list[int], int, Frontier]:
    """(URLs in the order they ended, the most requests at once to one host, the frontier)."""
    ended, active, most = [], Counter(), [0]

    async def run() -> Frontier:
        frontier = Frontier(hosts, limits)

        async def worker() -> None:
            while (index := await frontier.next_url()) is not None:
                active[hosts[index]] += 1
                most[0] = max(most[0], active[hosts[index]])
                error = HOST_DOWN if frontier.is_down(index) else await respond(index)
                active[hosts[index]] -= 1
                if frontier.finish(index, error, retryable=error in ("timeout", "http_5xx"), retry_after=None):
                    ended.append(index)

        await asyncio.gather(*(worker() for _ in range(limits.concurrency)))
        return frontier

    frontier = asyncio.run(run())
    return ended, most[0], frontier


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=60), st.integers(1, 3), st.integers(0, 2))
def test_every_url_ends_once_and_no_host_gets_too_many_requests(urls: list, per_host: int, retries: int) -> None:
    hosts = [f"{host}.test" for host, _ in urls]
    limits = FetchSettings(per_host=per_host, retries=retries, concurrency=7, breaker=10_000)
    tries: Counter = Counter()

    async def respond(index: int) -> str | None:
        tries[index] += 1
        await asyncio.sleep(0)
        return "timeout" if urls[index][1] else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frontier_module, "BACKOFF", 0.0001)
        ended, most, _ = crawl(hosts, limits, respond)
    assert sorted(ended) == list(range(len(urls))) and most <= per_host
    assert all(tries[index] == (1 + retries if fails else 1) for index, (_, fails) in enumerate(urls))


def test_a_host_that_stays_down_is_given_up_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frontier_module, "OPEN_SECONDS", 0.02)
    hosts = ["down.test"] * 500 + ["up.test"] * 50
    requests: Counter = Counter()

    async def respond(index: int) -> str | None:
        requests[hosts[index]] += 1
        return "connect" if index < 500 else None

    ended, _, frontier = crawl(hosts, FetchSettings(breaker=5, per_host=4, retries=0), respond)
    assert len(ended) == 550 and requests["up.test"] == 50 and requests["down.test"] <= 5 + 4 + frontier_module.MAX_PROBES + 1
    assert frontier.is_down(0) and not frontier.is_down(549)


def test_a_host_that_recovers_loses_no_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frontier_module, "OPEN_SECONDS", 0.02)
    errors = []

    async def respond(index: int) -> str | None:
        errors.append("http_5xx" if len(errors) < 12 else None)
        return errors[-1]

    limits = FetchSettings(breaker=10, per_host=2, retries=1)
    ended, _, frontier = crawl(["a.test"] * 40, limits, respond)
    assert len(ended) == 40 and not frontier.is_down(0) and errors.count(None) == 40


@pytest.mark.parametrize("rate, crawl_delay, interval", [(20, 0.0, 0.05), (20, 0.1, 0.1), (0, 0.1, 0.1)])
def test_a_rate_and_a_crawl_delay_are_kept(rate: float, crawl_delay: float, interval: float) -> None:
    async def earliest_next_requests() -> list[float]:
        frontier, times = Frontier(["a.test"] * 5, FetchSettings(per_host_rate=rate, per_host=5)), []
        while (index := await frontier.next_url()) is not None:
            frontier.set_delay(index, crawl_delay)
            assert not times or time.monotonic() >= times[-1]
            times.append(frontier.hosts["a.test"].not_before)
            frontier.finish(index, None, retryable=False, retry_after=None)
        return times

    times = asyncio.run(earliest_next_requests())
    assert len(times) == 5 and all(later - earlier >= interval - 1e-6 for earlier, later in pairwise(times))
