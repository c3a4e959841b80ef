"""Asks for URLs. Each ends as bytes or as one class of `ERRORS`; nothing waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin

import aiohttp
from yarl import URL

from pipelines.fetching.policy import PublicResolver, Refused, agent_of, blocklist, check_url, opted_out
from pipelines.fetching.robots import Robots
from pipelines.fetching.settings import FetchSettings

REFUSED = ("bad_url", "refused_port", "refused_address", "blocked", "robots", "opt_out")
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
    "host_down",
    "out_of_time",
    "too_large",
    "empty",
    "hash_mismatch",
    "not_an_image",
    "unsupported_image",
    "truncated",
    "too_many_pixels",
    "too_many_scans",
)
HEALING = {"timeout", "connect", "http_429", "http_5xx", "bad_response"}
ROBOTS_BYTES = 1 << 20


@dataclass(frozen=True)
class Answer:
    """What a URL gave: `body` when error is None; the seconds after which the host wants to be asked again, where it says so."""

    error: str | None
    http_status: int | None = None
    body: bytes = b""
    retry_after: float | None = None


class Failed(Exception):
    """A response that is no picture; `error` is its class."""

    def __init__(self, error: str, http_status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(error)
        self.error, self.http_status, self.retry_after = error, http_status, retry_after


@asynccontextmanager
async def session(settings: FetchSettings) -> AsyncIterator[aiohttp.ClientSession]:
    """A client session whose connections go to vetted addresses only."""
    connector = aiohttp.TCPConnector(
        limit=0,  # the frontier counts connections; a request that waited here would spend its own time doing so
        resolver=PublicResolver(settings.connect_to),
        ttl_dns_cache=300,
    )
    # The total time is the client's, over all redirects and robots.txt.
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=settings.connect_timeout, sock_read=settings.first_byte_timeout)
    headers = {"User-Agent": settings.user_agent, "Accept": "image/*;q=1, */*;q=0.1"}
    # A cookie jar would make answers depend on their order.
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, headers=headers, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=True
    ) as client:
        yield client


class Client:
    """Asks one URL at a time, by the policy."""

    def __init__(self, http: aiohttp.ClientSession, settings: FetchSettings) -> None:
        self.http, self.settings, self.resolver = http, settings, PublicResolver(settings.connect_to)
        self.blocked = blocklist(settings.blocked_domains, settings.blocked_urls)
        self.agent = agent_of(settings.user_agent)
        self.robots = Robots(self._robots_txt, self.agent) if settings.robots else None

    async def ask(self, url: str, pace: Callable[[float], None]) -> Answer:
        """The answer to one URL. `pace` is told the seconds that the host wants between two requests."""
        return await self._guarded(self._follow(url, self.settings.max_bytes, pace))

    async def verdict(self, url: str) -> str | None:
        """What the policy says of a URL that somebody else is to ask for; raises Refused, or OSError where it has no address."""
        self._check(url)
        await self.resolver.resolve(URL(url, encoded=True).host or "")
        return (await self.robots.verdict(url))[0] if self.robots is not None else None

    def _check(self, url: str) -> None:
        check_url(url, self.settings.ports, self.settings.connect_to)
        if self.blocked.holds(url):
            raise Refused("blocked")

    async def _robots_txt(self, url: str) -> tuple[str | None, int | None, bytes]:
        answer = await self._guarded(self._follow(url, ROBOTS_BYTES, None))
        return answer.error, answer.http_status, answer.body

    async def _guarded(self, asking: Coroutine[Any, Any, Answer]) -> Answer:
        """Every way to fail as a class."""
        try:
            async with asyncio.timeout(self.settings.total_timeout):
                return await asking
        except Failed as failure:
            return Answer(failure.error, failure.http_status, retry_after=failure.retry_after)
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

    async def _follow(self, url: str, limit: int, pace: Callable[[float], None] | None) -> Answer:
        """`pace` is None for robots.txt itself, which no robots.txt forbids."""
        for _ in range(self.settings.redirects + 1):
            self._check(url)
            if pace is not None and self.robots is not None:
                error, delay = await self.robots.verdict(url)
                if error is not None:
                    raise Failed(error)
                pace(delay)
            # Publishers' URLs are already quoted; quoting again would ask for another picture.
            async with self.http.get(URL(url, encoded=True), allow_redirects=False) as response:
                if response.status not in (301, 302, 303, 307, 308):
                    return await _read(response, limit, self.settings.honour_opt_out and pace is not None, self.agent)
                if "Location" not in response.headers:
                    raise Failed("bad_response", response.status)
                url = urljoin(url, response.headers["Location"])
        raise Failed("redirect_limit")


async def _read(response: aiohttp.ClientResponse, limit: int, honour_opt_out: bool, agent: str) -> Answer:
    if response.status != 200:
        raise Failed(_status_class(response.status), response.status, _retry_after(response))
    if honour_opt_out and opted_out(response.headers, (agent,)):
        raise Failed("opt_out", response.status)
    if (response.content_length or 0) > limit:
        raise Failed("too_large", response.status)
    pieces, length = [], 0
    async for piece in response.content.iter_any():
        pieces.append(piece)
        length += len(piece)
        if length > limit:
            raise Failed("too_large", response.status)
    if not length:
        raise Failed("empty", response.status)
    return Answer(None, response.status, b"".join(pieces))


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Seconds of a Retry-After, given in seconds or as a date (RFC 9110, 10.2.3)."""
    said = response.headers.get("Retry-After", "").strip()
    if said.isdigit():
        return float(said)
    try:
        return max(0.0, (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds()) if said else None
    except (TypeError, ValueError):
        return None


def _status_class(status: int) -> str:
    name = f"http_{status}"
    return name if name in ERRORS else {4: "http_4xx", 5: "http_5xx"}.get(status // 100, "http_other")


def status_of(error: str | None) -> str:
    """`ok`, `refused` (by us or by the host's word) or `failed`."""
    return "ok" if error is None else "refused" if error in REFUSED else "failed"
