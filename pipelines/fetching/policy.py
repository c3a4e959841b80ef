"""What may be requested: http(s) URLs on allowed ports of public addresses that no blocklist names and no header opts out.

`check_url` judges what a URL itself says; `PublicResolver` judges the addresses behind a name at the moment of connecting (why
only there: see `client`); `opted_out` judges the headers of the response.
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

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from infra.compat.errors import RequestError
from infra.compat.files import open_file

DNS_FAILURE_SECONDS = 300.0  # for so long a name that did not resolve is not looked up again
DEFAULT_PORTS = {"http": 80, "https": 443}
OPT_OUT = {"noai", "noimageai", "noindex", "noimageindex", "noml", "none"}

SPECIAL_IPV4 = [
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # behind a provider's NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, cloud metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocols
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
]
IPV4_IN_IPV6 = [ipaddress.IPv6Network(network) for network in ("::ffff:0:0/96", "64:ff9b::/96")]  # mapped, NAT64
GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
SPECIAL_IPV6 = [
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocols: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which leads to any IPv4 address
        "3fff::/20",  # documentation
    )
]


class Refused(OSError):
    """The policy forbids the request; `error` is the class. An OSError, as the connector expects of resolvers."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


def check_url(url: str, ports: tuple[int, ...], connect_to: Mapping[str, str]) -> None:
    """Raises Refused when a URL may not be requested, for its scheme, host or port, whatever its name resolves to."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Refused("bad_url") from None
    if parts.scheme not in DEFAULT_PORTS or not host or parts.username is not None:
        raise Refused("bad_url")
    if override(host, connect_to):
        return
    if (DEFAULT_PORTS[parts.scheme] if port is None else port) not in ports:
        raise Refused("refused_port")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        # 2130706433, 127.1 and 127.0.0.1. are addresses to the system, which a connector may take there without its resolver.
        if host.replace(".", "").isdigit():
            raise Refused("bad_url") from None
        return  # a name: PublicResolver checks the addresses behind it
    if not is_public(str(address)):
        raise Refused("refused_address")


def is_public(address: str) -> bool:
    """Whether an IPv4 or IPv6 address belongs to the public internet.

    IPv4 mapped into IPv6, or behind the well-known prefix of NAT64, counts as that IPv4. Of other IPv6 only global unicast does
    that is not set aside for tunnels, protocols or documents. Source: IANA's special-purpose address registries.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in network for network in SPECIAL_IPV4)
    if any(ip in network for network in IPV4_IN_IPV6):
        return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
    return ip in GLOBAL_UNICAST and not any(ip in network for network in SPECIAL_IPV6)


def override(host: str, connect_to: Mapping[str, str]) -> str | None:
    """The `address:port` that `connect_to` names for a host or a domain above it: an explicit permission."""
    domain = host.lower().rstrip(".") if connect_to else ""
    while domain and domain not in connect_to:
        domain = domain.partition(".")[2]
    return connect_to.get(domain)


@dataclass(frozen=True)
class Blocklist:
    """Domains, with all their subdomains, and URLs (as md5 or sha256 in hex) that are never requested."""

    domains: frozenset[str]
    hashes: frozenset[str]

    def contains(self, url: str) -> bool:
        """Whether the URL or its host is on the list."""
        if self.domains:
            labels = (urlsplit(url).hostname or "").rstrip(".").split(".")
            if any(".".join(labels[start:]) in self.domains for start in range(len(labels))):
                return True
        return self.contains_hash(url)

    def contains_hash(self, url: str) -> bool:
        """Whether the URL, written like this, is on the list."""
        data = url.encode("utf-8", "surrogatepass")
        return bool(self.hashes) and not self.hashes.isdisjoint(
            (hashlib.md5(data, usedforsecurity=False).hexdigest(), hashlib.sha256(data).hexdigest())
        )


@lru_cache(4)
def blocklist(domains: str, urls: str) -> Blocklist:
    """The lists at two URIs, one entry a line ("" for none); RequestError when one cannot be read or has a malformed line."""
    hashes = _lines("fetch.blocked_urls", urls)
    malformed = next((line for line in hashes if not re.fullmatch(r"[0-9a-f]{32}|[0-9a-f]{64}", line)), None)
    if malformed is not None:
        raise RequestError(
            f"fetch.blocked_urls = {urls!r} holds {malformed[:80]!r}; give md5 or sha256 of URLs in hex, one a line"
        )
    return Blocklist(frozenset(line.strip(".") for line in _lines("fetch.blocked_domains", domains)), frozenset(hashes))


def _lines(setting: str, uri: str) -> list[str]:
    if not uri:
        return []
    try:
        with open_file(uri, "rt", encoding="utf-8") as handle:
            lines = [line.partition("#")[0].strip().lower() for line in handle]
    except (OSError, ValueError) as error:
        raise RequestError(f"{setting} = {uri!r} cannot be read ({error}); name a text file") from None
    return [line for line in lines if line]


def product_token(user_agent: str) -> str:
    """The product a User-Agent begins with, in lower case: its name in robots.txt and X-Robots-Tag (RFC 9309, 2.2.1)."""
    return re.split(r"[/\s(]", user_agent.strip(), maxsplit=1)[0].lower()


class PublicResolver(AbstractResolver):
    """Resolves names to public addresses only, or to the address that `connect_to` names; failed look-ups are cached."""

    def __init__(self, connect_to: Mapping[str, str]) -> None:
        self.connect_to = connect_to
        self.resolver = ThreadedResolver()
        self.failed_until: dict[str, float] = {}

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """The addresses a connection may go to; raises Refused when all are private, OSError when there is none."""
        permitted = override(host, self.connect_to)
        if permitted is not None:
            address, _, own_port = permitted.rpartition(":")
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            return [
                ResolveResult(
                    hostname=host,
                    host=address.strip("[]"),
                    port=int(own_port),
                    family=family,
                    proto=0,
                    flags=socket.AI_NUMERICHOST,
                )
            ]
        if time.monotonic() < self.failed_until.get(host, 0.0):
            raise OSError(f"{host} has no address")
        try:
            addresses = await self.resolver.resolve(host, port, family)
        except OSError:
            self.failed_until[host] = time.monotonic() + DNS_FAILURE_SECONDS
            raise
        public = [result for result in addresses if is_public(result["host"])]
        if not public:
            raise Refused("refused_address")
        return public

    async def close(self) -> None:
        """Closes the resolver of the system."""
        await self.resolver.close()


def opted_out(headers: Mapping[str, str], agents: tuple[str, ...] = ("pairmill",)) -> bool:
    """Whether a response's headers forbid this use: X-Robots-Tag (for every agent or one of `agents`) or tdm-reservation: 1."""
    if headers.get("tdm-reservation", "").strip() == "1":
        return True
    values = headers.getall("X-Robots-Tag", []) if hasattr(headers, "getall") else [headers.get("X-Robots-Tag", "")]
    return any(_forbids(value, agents) for value in values)


def _forbids(value: str, agents: tuple[str, ...]) -> bool:
    agent = ""
    for directive in value.lower().split(","):
        prefix = re.match(r"\s*([\w-]+)\s*:(?!//)\s*(.*)", directive)
        if prefix and prefix[1] not in ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"):
            agent, directive = prefix[1], prefix[2]
        if directive.strip() in OPT_OUT and (not agent or agent in agents):
            return True
    return False
