"""Who may be asked: http(s) only, allowed ports, public addresses; and who, by a header, said no.

The address is checked where it counts: the resolver below hands the connector only addresses it has vetted, so what a name
resolved to earlier does not matter.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

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
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        raise Refused("bad_url") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise Refused("bad_url")
    if override(parts.hostname, connect_to):
        return
    if port not in ports:
        raise Refused("refused_port")
    try:
        address = ipaddress.ip_address(parts.hostname)
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
    labels = host.lower().rstrip(".").split(".")
    domains = (".".join(labels[start:]) for start in range(len(labels)))
    return next((connect_to[domain] for domain in domains if domain in connect_to), None)


class PublicResolver(AbstractResolver):
    """Resolves names to public addresses only, or to the one the settings name."""

    def __init__(self, connect_to: Mapping[str, str]) -> None:
        self.connect_to = connect_to
        self.resolver = ThreadedResolver()

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
        found = await self.resolver.resolve(host, port, family)
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
