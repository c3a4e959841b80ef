"""robots.txt is requested once for each origin, and obeyed."""

import asyncio

import pytest

from pipelines.fetching import robots


def test_robots_txt_is_requested_once_for_an_origin_and_sets_the_delay() -> None:
    robots._CACHE.clear()
    requested = []

    async def get(url: str) -> tuple[str | None, int | None, bytes]:
        requested.append(url)
        await asyncio.sleep(0.01)
        return None, 200, b"User-agent: *\nDisallow: /private\nCrawl-delay: 3\n\nUser-agent: evil\nDisallow: /\n"

    async def check(agent: str) -> list:
        checker = robots.Robots(get, agent)
        paths = ("http://a.test/x", "http://a.test/private/x", "http://a.test:81/x")
        return await asyncio.gather(*(checker.check(url) for url in paths for _ in range(3)))

    assert asyncio.run(check("pairmill")) == [(None, 3.0)] * 3 + [("robots", 3.0)] * 3 + [(None, 3.0)] * 3
    assert sorted(requested) == ["http://a.test/robots.txt", "http://a.test:81/robots.txt"]
    assert [error for error, _ in asyncio.run(check("evil"))] == ["robots"] * 9 and len(requested) == 2


@pytest.mark.parametrize(
    "error, status, verdict",
    [
        ("http_404", 404, None),
        ("http_403", 403, None),
        ("empty", 200, None),
        ("redirect_limit", 302, None),
        ("http_5xx", 503, "http_5xx"),
        ("http_429", 429, "http_429"),
        ("timeout", None, "timeout"),
        ("dns", None, "dns"),
    ],
)
def test_a_missing_robots_txt_allows_and_an_unreadable_one_does_not(error: str, status: int | None, verdict: str | None) -> None:
    robots._CACHE.clear()

    async def get(url: str) -> tuple[str | None, int | None, bytes]:
        return error, status, b""

    assert asyncio.run(robots.Robots(get, "pairmill").check("http://a.test/x")) == (verdict, 0.0)
