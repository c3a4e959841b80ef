"""Downloads one URL at a time. Each ends as bytes or as one class of `errors.ERRORS`, within `total_timeout`.

    DownloadError        a response that is no image: its class, HTTP status and Retry-After
    policy.Refused       the policy forbids the request (an OSError, as aiohttp expects of a resolver)

How private addresses are kept out: a name is resolved inside the connector, by `policy.PublicResolver`, and the connector
connects to the very addresses that the resolver returned. To resolve and check a name first and then hand the URL to the client
would look it up twice, and a hostile name server answers the second time with 127.0.0.1 (DNS rebinding). Redirects are followed
here rather than by aiohttp, so that every hop passes the URL policy, robots.txt and this resolver.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from yarl import URL

from pipelines.fetching.errors import http_error
from pipelines.fetching.policy import PublicResolver, Refused, blocklist, check_url, opted_out, product_token
from pipelines.fetching.robots import Robots
from pipelines.fetching.settings import FetchSettings
from pipelines.fetching.urls import origin_of, redirect_url, request_url

ROBOTS_BYTES = 1 << 20


@dataclass(frozen=True)
class Response:
    """The end of a request: `body` when error is None; `retry_after` seconds where the host sent a Retry-After."""

    error: str | None
    http_status: int | None = None
    body: bytes = b""
    retry_after: float | None = None


class DownloadError(Exception):
    """A response that is no image; `error` is its class."""

    def __init__(self, error: str, http_status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(error)
        self.error, self.http_status, self.retry_after = error, http_status, retry_after


@asynccontextmanager
async def session(settings: FetchSettings) -> AsyncIterator[aiohttp.ClientSession]:
    """A client session that connects to public addresses only, or to those that `connect_to` names."""
    connector = aiohttp.TCPConnector(
        limit=0,  # the frontier limits connections; a request that waited here would spend its own timeout doing so
        resolver=PublicResolver(settings.connect_to),
        ttl_dns_cache=300,
    )
    # The total timeout is the client's, over all redirects and robots.txt.
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=settings.connect_timeout, sock_read=settings.first_byte_timeout)
    headers = {"User-Agent": settings.user_agent, "Accept": "image/*;q=1, */*;q=0.1"}
    # A cookie jar would make responses depend on the order of requests.
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, headers=headers, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=True
    ) as client:
        yield client


class Client:
    """Requests one URL at a time, under the policy."""

    def __init__(self, http: aiohttp.ClientSession, settings: FetchSettings) -> None:
        self.http, self.settings, self.resolver = http, settings, PublicResolver(settings.connect_to)
        self.blocked = blocklist(settings.blocked_domains, settings.blocked_urls)
        self.agent = product_token(settings.user_agent)
        self.allowed_origins: set[str] = set()
        self.robots = Robots(self._robots_txt, self.agent) if settings.robots else None

    async def get(self, url: str, set_delay: Callable[[float], None]) -> Response:
        """Downloads a URL. `set_delay` is called with the Crawl-delay of its origin, in seconds, before the request."""
        return await self._with_error_class(self._follow_redirects(url, self.settings.max_bytes, set_delay))

    async def check(self, url: str) -> str | None:
        """The robots.txt error of a URL that another program will request; raises Refused, or OSError where it has no address."""
        url = self._allowed(url)
        await self.resolver.resolve(URL(url, encoded=True).raw_host or "")
        return (await self.robots.check(url))[0] if self.robots is not None else None

    def _allowed(self, published: str) -> str:
        """The URL to request for a published one; raises Refused when the policy forbids either."""
        try:
            url = request_url(published)
        except ValueError:
            raise Refused("bad_url") from None
        origin = origin_of(url)
        if origin not in self.allowed_origins:  # `check_url` judges nothing else of a URL
            check_url(origin, self.settings.ports, self.settings.connect_to)
            self.allowed_origins.add(origin)
        if self.blocked.contains(url) or (published != url and self.blocked.contains_hash(published)):
            raise Refused("blocked")
        return url

    async def _robots_txt(self, url: str) -> tuple[str | None, int | None, bytes]:
        response = await self._with_error_class(self._follow_redirects(url, ROBOTS_BYTES, None))
        return response.error, response.http_status, response.body

    async def _with_error_class(self, request: Coroutine[Any, Any, Response]) -> Response:
        """Maps every exception of a request to its error class."""
        try:
            async with asyncio.timeout(self.settings.total_timeout):
                return await request
        except DownloadError as failure:
            return Response(failure.error, failure.http_status, retry_after=failure.retry_after)
        except Refused as refusal:
            return Response(refusal.error)
        except aiohttp.ClientConnectorDNSError as error:
            cause = error.os_error
            return Response(cause.error if isinstance(cause, Refused) else "dns")
        except aiohttp.ClientSSLError:
            return Response("tls")
        except TimeoutError:
            return Response("timeout")
        except aiohttp.ClientConnectorError:
            return Response("connect")
        except (aiohttp.InvalidURL, ValueError):
            return Response("bad_url")
        except (aiohttp.ClientError, OSError):
            return Response("bad_response")

    async def _follow_redirects(self, url: str, limit: int, set_delay: Callable[[float], None] | None) -> Response:
        """`set_delay` is None for robots.txt itself, which no robots.txt forbids."""
        for _ in range(self.settings.redirects + 1):
            url = self._allowed(url)
            if set_delay is not None and self.robots is not None:
                error, delay = await self.robots.check(url)
                if error is not None:
                    raise DownloadError(error)
                set_delay(delay)
            # Quoted by `request_url`; quoting again would request another image.
            async with self.http.get(URL(url, encoded=True), allow_redirects=False) as response:
                if response.status not in (301, 302, 303, 307, 308):
                    return await _read(response, limit, self.settings.honour_opt_out and set_delay is not None, self.agent)
                if "Location" not in response.headers:
                    raise DownloadError("bad_response", response.status)
                url = redirect_url(url, response.headers["Location"])
        raise DownloadError("redirect_limit")


async def _read(response: aiohttp.ClientResponse, limit: int, honour_opt_out: bool, agent: str) -> Response:
    if response.status != 200:
        raise DownloadError(http_error(response.status), response.status, _retry_after(response))
    if honour_opt_out and opted_out(response.headers, (agent,)):
        raise DownloadError("opt_out", response.status)
    if (response.content_length or 0) > limit:
        raise DownloadError("too_large", response.status)
    pieces, length = [], 0
    while piece := await response.content.readany():
        pieces.append(piece)
        length += len(piece)
        if length > limit:
            raise DownloadError("too_large", response.status)
    if not length:
        raise DownloadError("empty", response.status)
    return Response(None, response.status, b"".join(pieces))


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Seconds of a Retry-After, given in seconds or as a date (RFC 9110, 10.2.3)."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()) if value else None
    except (TypeError, ValueError):
        return None
