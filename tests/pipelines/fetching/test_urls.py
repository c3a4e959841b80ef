"""URLs are requested as browsers write them, and none is quoted twice."""

import asyncio
import string
from urllib.parse import unquote_to_bytes, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.fetching import robots
from pipelines.fetching.client import Client
from pipelines.fetching.settings import FetchSettings
from pipelines.fetching.urls import host_of, redirect_url, request_url


@pytest.mark.parametrize(
    "published, requested",
    [
        ("http://a.test/a b.jpg?c d", "http://a.test/a%20b.jpg?c%20d"),
        ("http://a.test/ü/猫.jpg?q=é", "http://a.test/%C3%BC/%E7%8C%AB.jpg?q=%C3%A9"),
        ("http://a.test/100%/%zz/a%20b%2Fc?x=%", "http://a.test/100%/%zz/a%20b%2Fc?x=%"),
        ("  http://a.test/x\n\t y\r.jpg\n", "http://a.test/x%20y.jpg"),
        ("http:\\\\a.test\\b\\c?d\\e", "http://a.test/b/c?d\\e"),
        ("http://a.test/x?y#z", "http://a.test/x?y"),
        ("http://a.test/x#y?z", "http://a.test/x"),
        ("HTTP://A.Test/X", "http://a.test/X"),
        ("http://Bücher.test:8080/x", "http://xn--bcher-kva.test:8080/x"),
        ("http://例え.テスト/x", "http://xn--r8jz45g.xn--zckzah/x"),
        ("http://\u2603.test/x", "http://xn--n3h.test/x"),
        ("http://１２７。0。0。1/x", "http://127.0.0.1/x"),
        ("http://[2606:4700::1]/x y", "http://[2606:4700::1]/x%20y"),
        ('http://a.test/<"`{}^>|[]~', "http://a.test/%3C%22%60%7B%7D%5E%3E|[]~"),
        ("http://a.test/\x7f\x01\udcff", "http://a.test/%7F%01%FF"),
    ],
)
def test_a_published_url_is_written_as_browsers_write_it(published: str, requested: str) -> None:
    assert request_url(published) == requested == request_url(requested)


@pytest.mark.parametrize("url", ["http://a b.test/", "http://a%31.test/", "http://a.test/\ud800", "http://[::1/", "http://[x]/"])
def test_what_no_browser_requests_is_no_url(url: str) -> None:
    with pytest.raises(ValueError):
        request_url(url)


@settings(deadline=None, max_examples=500)
@given(st.text("aZ0.:-@[]/?#ü ", max_size=12), st.sampled_from(["/x", "?x", ""]))
def test_the_host_is_that_of_the_requested_url(host: str, rest: str) -> None:
    try:
        expected = urlsplit(request_url(f"http://{host}{rest}")).hostname or ""
    except ValueError:
        expected = ""
    assert host_of(f"http://{host}{rest}") == expected


@pytest.mark.parametrize(
    "location, requested",
    [
        ("/ü b", "http://a.test/%C3%BC%20b"),
        ("c d?e#f", "http://a.test/x/c%20d?e"),
        ("\\\\b.test\\y", "http://b.test/y"),
        ("//B.test/y\n", "http://b.test/y"),
        ("/\udce4", "http://a.test/%E4"),  # not UTF-8
        ("ftp://b.test/y", "ftp://b.test/y"),
    ],
)
def test_a_redirect_is_written_like_a_published_url(location: str, requested: str) -> None:
    assert redirect_url("http://a.test/x/y", location) == requested


@settings(deadline=None, max_examples=500)
@given(st.text(), st.text())
def test_what_is_requested_is_ascii_and_means_what_was_published(path: str, query: str) -> None:
    try:
        requested = request_url(f"http://a.test/x{path}y?z{query}w")
    except ValueError:
        return
    assert set(requested) <= set(string.printable) - set(string.whitespace) and "#" not in requested
    assert request_url(requested) == requested
    published = f"x{path}y".partition("?")[0].partition("#")[0].replace("\\", "/")
    kept = published.translate(dict.fromkeys(map(ord, "\t\r\n")))
    assert unquote_to_bytes(urlsplit(requested).path) == unquote_to_bytes(f"/{kept}")


def test_robots_txt_is_asked_about_the_url_that_is_requested() -> None:
    robots._CACHE.clear()

    async def get(url: str) -> tuple[str | None, int | None, bytes]:
        assert url == "http://xn--bcher-kva.test/robots.txt"
        return None, 200, b"User-agent: *\nDisallow: /%C3%BC\n"

    async def check() -> list[str | None]:
        client = Client(None, FetchSettings(connect_to={"xn--bcher-kva.test": "127.0.0.1:1"}))  # type: ignore[arg-type]
        client.robots = robots.Robots(get, "pairmill")
        return [
            await client.check(f"http://{host}/{path}")
            for host in ("Bücher.test", "BÜCHER.test")
            for path in ("ü", "%C3%BC", "a")
        ]

    assert asyncio.run(check()) == ["robots", "robots", None] * 2
