"""Who may be asked: http(s) only, allowed ports, public addresses, nobody on a blocklist; and who, by a header, said no.

The address is checked where it counts: the resolver below hands the connector only addresses it has vetted, so what a name
resolved to earlier does not matter.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

import fsspec
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from infra.compat.errors import RequestError

REMEMBERED_DEAD = 300.0  # seconds
OPT_OUT = {"noai", "noimageai", "noindex", "noimageindex", "noml", "none"}


class Refused(OSError):
    """The policy forbids the request; `error` is the class. An OSError, as the connector expects of resolvers."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


def check_url(url: str, ports: tuple[int, ...], connect_to: Mapping[str, str]) -> None:
    """Raises Refused when a URL may not be asked for, whatever its name resolves to."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        raise Refused("bad_url") from None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise Refused("bad_url")
    if override(host, connect_to):
        return
    if port not in ports:
        raise Refused("refused_port")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return  # a name: the resolver judges the addresses behind it
    if not is_public(str(address)):
        raise Refused("refused_address")


def is_public(address: str) -> bool:
    """Whether an IPv4 or IPv6 address is one of the public internet; mapped and embedded IPv4 count as the IPv4 they hold."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour or (ip.teredo or (None, None))[1] or _nat64(ip)
        if embedded is not None:
            return is_public(str(embedded))
    return ip.is_global and not ip.is_multicast


def _nat64(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    inside = ip in ipaddress.ip_network("64:ff9b::/96")
    return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if inside else None


def override(host: str, connect_to: Mapping[str, str]) -> str | None:
    """The `address:port` the settings name for a host or a domain above it: an explicit permission."""
    domain = host.lower().rstrip(".") if connect_to else ""
    while domain and domain not in connect_to:
        domain = domain.partition(".")[2]
    return connect_to.get(domain)


@dataclass(frozen=True)
class Blocklist:
    """Domains, with all below them, and URLs (as md5 or sha256 in hex) that are never asked for."""

    domains: frozenset[str]
    hashes: frozenset[str]

    def holds(self, url: str) -> bool:
        """Whether the URL or its host is on the list."""
        if self.domains:
            labels = (urlsplit(url).hostname or "").rstrip(".").split(".")
            if any(".".join(labels[start:]) in self.domains for start in range(len(labels))):
                return True
        data = url.encode()
        return bool(self.hashes) and not self.hashes.isdisjoint(
            (hashlib.md5(data, usedforsecurity=False).hexdigest(), hashlib.sha256(data).hexdigest())
        )


@lru_cache(4)
def blocklist(domains: str, urls: str) -> Blocklist:
    """The lists at two URIs, one entry a line ("" for none); RequestError when one cannot be read or holds something else."""
    hashes = _lines("fetch.blocked_urls", urls)
    wrong = next((line for line in hashes if not re.fullmatch(r"[0-9a-f]{32}|[0-9a-f]{64}", line)), None)
    if wrong is not None:
        raise RequestError(f"fetch.blocked_urls = {urls!r} holds {wrong[:80]!r}; give md5 or sha256 of URLs in hex, one a line")
    return Blocklist(frozenset(line.strip(".") for line in _lines("fetch.blocked_domains", domains)), frozenset(hashes))


def _lines(setting: str, uri: str) -> list[str]:
    if not uri:
        return []
    try:
        with fsspec.open(uri, "rt", encoding="utf-8") as handle:
            lines = [line.partition("#")[0].strip().lower() for line in handle]
    except (OSError, ValueError) as error:
        raise RequestError(f"{setting} = {uri!r} cannot be read ({error}); name a text file") from None
    return [line for line in lines if line]


def agent_of(user_agent: str) -> str:
    """The product a User-Agent begins with, in lower case: the name that robots.txt and X-Robots-Tag call it by."""
    return re.split(r"[/\s(]", user_agent.strip(), maxsplit=1)[0].lower()


class PublicResolver(AbstractResolver):
    """Resolves names to public addresses only, or to the one the settings name.

    A name that has no address is not looked up again for a while.
    """

    def __init__(self, connect_to: Mapping[str, str]) -> None:
        self.connect_to = connect_to
        self.resolver = ThreadedResolver()
        self.dead: dict[str, float] = {}

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """The addresses a connection may go to; raises Refused when there is none."""
        named = override(host, self.connect_to)
        if named is not None:
            address, _, named_port = named.rpartition(":")
            kind = socket.AF_INET6 if ":" in address else socket.AF_INET
            return [
                ResolveResult(
                    hostname=host,
                    host=address.strip("[]"),
                    port=int(named_port),
                    family=kind,
                    proto=0,
                    flags=socket.AI_NUMERICHOST,
                )
            ]
        if time.monotonic() < self.dead.get(host, 0.0):
            raise OSError(f"{host} has no address")
        try:
            found = await self.resolver.resolve(host, port, family)
        except OSError:
            self.dead[host] = time.monotonic() + REMEMBERED_DEAD
            raise
        public = [result for result in found if is_public(result["host"])]
        if not public:
            raise Refused("refused_address")
        return public

    async def close(self) -> None:
        """Nothing to close."""
        await self.resolver.close()


def opted_out(headers: Mapping[str, str], names: tuple[str, ...] = ("pairmill",)) -> bool:
    """Whether a response's headers say no to this use: X-Robots-Tag (for all agents or ours) or tdm-reservation: 1."""
    if headers.get("tdm-reservation", "").strip() == "1":
        return True
    values = headers.getall("X-Robots-Tag", []) if hasattr(headers, "getall") else [headers.get("X-Robots-Tag", "")]
    return any(_says_no(value, names) for value in values)


def _says_no(value: str, names: tuple[str, ...]) -> bool:
    agent = ""
    for directive in value.lower().split(","):
        named = re.match(r"\s*([\w-]+)\s*:(?!//)\s*(.*)", directive)
        if named and named[1] not in ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"):
            agent, directive = named[1], named[2]
        if directive.strip() in OPT_OUT and (not agent or agent in names):
            return True
    return False
