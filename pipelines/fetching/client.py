"""Asks for URLs. Each ends as bytes or as one class of `ERRORS`; nothing waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urljoin

import aiohttp
from yarl import URL

from pipelines.fetching.policy import PublicResolver, Refused, check_url, opted_out
from pipelines.recipe import FetchSettings

REFUSED = ("bad_url", "refused_port", "refused_address", "opt_out")
ERRORS = (
    *REFUSED,
    "dns",
    "connect",
    "tls",
    "timeout",
    "bad_response",
    "redirect_limit",
    "http_404",
    "http_410",
    "http_403",
    "http_401",
    "http_429",
    "http_4xx",
    "http_5xx",
    "http_other",
    "too_large",
    "empty",
    "not_an_image",
    "unsupported_image",
    "truncated",
    "too_many_pixels",
)
HEALING = {"timeout", "connect", "http_429", "http_5xx", "bad_response"}
BACKOFF = 0.5  # seconds, doubled at every further try


@dataclass(frozen=True)
class Answer:
    """What a URL gave: `body` when error is None."""

    error: str | None
    http_status: int | None = None
    body: bytes = b""


class Failed(Exception):
    """A response that is no picture; `error` is its class."""

    def __init__(self, error: str, http_status: int | None = None) -> None:
        super().__init__(error)
        self.error, self.http_status = error, http_status


@asynccontextmanager
async def session(settings: FetchSettings) -> AsyncIterator[aiohttp.ClientSession]:
    """A client session whose connections go to vetted addresses only."""
    connector = aiohttp.TCPConnector(
        limit=settings.concurrency,
        limit_per_host=settings.per_host,
        resolver=PublicResolver(settings.connect_to),
        ttl_dns_cache=300,
    )
    timeout = aiohttp.ClientTimeout(
        total=settings.total_timeout, sock_connect=settings.connect_timeout, sock_read=settings.first_byte_timeout
    )
    headers = {"User-Agent": settings.user_agent, "Accept": "image/*;q=1, */*;q=0.1"}
    # A cookie jar would make answers depend on their order.
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, headers=headers, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=True
    ) as client:
        yield client


async def ask(client: aiohttp.ClientSession, url: str, settings: FetchSettings) -> Answer:
    """The answer to one URL, after at most `retries` further tries where a failure may heal."""
    answer = await _try(client, url, settings)
    for attempt in range(settings.retries):
        if answer.error not in HEALING:
            break
        await asyncio.sleep(BACKOFF * 2**attempt)
        answer = await _try(client, url, settings)
    return answer


async def _try(client: aiohttp.ClientSession, url: str, settings: FetchSettings) -> Answer:
    try:
        return await _follow(client, url, settings)
    except Failed as failure:
        return Answer(failure.error, failure.http_status)
    except Refused as refusal:
        return Answer(refusal.error)
    except aiohttp.ClientConnectorDNSError as error:
        cause = error.os_error
        return Answer(cause.error if isinstance(cause, Refused) else "dns")
    except aiohttp.ClientSSLError:
        return Answer("tls")
    except TimeoutError:
        return Answer("timeout")
    except aiohttp.ClientConnectorError:
        return Answer("connect")
    except (aiohttp.InvalidURL, ValueError):
        return Answer("bad_url")
    except (aiohttp.ClientError, OSError):
        return Answer("bad_response")


async def _follow(client: aiohttp.ClientSession, url: str, settings: FetchSettings) -> Answer:
    for _ in range(settings.redirects + 1):
        check_url(url, settings.ports, settings.connect_to)
        # Publishers' URLs are already quoted; quoting again would ask for another picture.
        async with client.get(URL(url, encoded=True), allow_redirects=False) as response:
            if response.status not in (301, 302, 303, 307, 308):
                return await _read(response, settings)
            if "Location" not in response.headers:
                raise Failed("bad_response", response.status)
            url = urljoin(url, response.headers["Location"])
    raise Failed("redirect_limit")


async def _read(response: aiohttp.ClientResponse, settings: FetchSettings) -> Answer:
    if response.status != 200:
        raise Failed(_status_class(response.status), response.status)
    if settings.honour_opt_out and opted_out(response.headers):
        raise Failed("opt_out", response.status)
    if (response.content_length or 0) > settings.max_bytes:
        raise Failed("too_large", response.status)
    body = bytearray()
    async for piece in response.content.iter_chunked(1 << 16):
        body += piece
        if len(body) > settings.max_bytes:
            raise Failed("too_large", response.status)
    if not body:
        raise Failed("empty", response.status)
    return Answer(None, response.status, bytes(body))


def _status_class(status: int) -> str:
    name = f"http_{status}"
    return name if name in ERRORS else {4: "http_4xx", 5: "http_5xx"}.get(status // 100, "http_other")


def status_of(error: str | None) -> str:
    """`ok`, `refused` (by us or by the host's word) or `failed`."""
    return "ok" if error is None else "refused" if error in REFUSED else "failed"
