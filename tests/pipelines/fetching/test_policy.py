"""Nothing private, nothing blocked and nothing that opted out is requested."""

import asyncio
import hashlib
import ipaddress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.compat.errors import RequestError
from pipelines.fetching.policy import PublicResolver, Refused, blocklist, check_url, is_public, opted_out
from pipelines.fetching.urls import origin_of, request_url
from pipelines.manifest.storage import Storage
from tests.support.fetching import fetch_urls, patient


@pytest.mark.parametrize(
    "address",
    "127.0.0.1 127.8.8.8 10.0.0.1 172.16.5.5 192.168.1.1 169.254.169.254 0.0.0.0 100.64.0.1 224.0.0.1 255.255.255.255 "
    "::1 :: fe80::1 fc00::1 ff02::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::7f00:1 2002:7f00:1:: fe80::1%eth0".split(),
)
def test_no_private_address_counts_as_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_do(address: str) -> None:
    assert is_public(address)


# Blocks of IANA's special-purpose registries (RFC 6890 and its updates), multicast, and IPv6 that is not given out.
SPECIAL = (
    "0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 "
    "192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 255.255.255.255/32 "
    "::1/128 ::/128 ::/96 ::ffff:0:0:0/96 ::ffff:a00:0/104 64:ff9b::7f00:0/104 64:ff9b::c0a8:0/112 64:ff9b:1::/48 100::/64 "
    "100:0:0:1::/64 2001::/23 2001::/32 2001:2::/48 2001:10::/28 2001:20::/28 2001:db8::/32 2002::/16 3fff::/20 4000::/3 "
    "5f00::/16 fc00::/7 fe80::/10 fec0::/10 ff00::/8"
).split()
GIVEN_OUT = "1.0.0.0/8 8.0.0.0/7 93.0.0.0/8 2400::/12 2600::/12 2800::/12 2a00::/12 2c00::/12 ::ffff:808:0/112 64:ff9b::808:0/112"


def address_in(network: str) -> st.SearchStrategy:
    """Addresses of a network, its first and last among them."""
    block = ipaddress.ip_network(network)
    first, last = int(block[0]), int(block[-1])
    return st.builds(type(block[0]), st.one_of(st.sampled_from([first, last]), st.integers(first, last)))


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(SPECIAL).flatmap(address_in))
def test_no_address_of_a_special_block_is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert not is_public(str(address))
    host = f"[{address}]" if address.version == 6 else str(address)
    with pytest.raises(Refused, match="refused_address"):
        check_url(f"http://{host}/x", (80, 443), {})


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(GIVEN_OUT.split()).flatmap(address_in))
def test_every_address_of_a_block_that_is_given_out_is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert is_public(str(address))


@settings(deadline=None, max_examples=600)
@given(st.one_of(*map(address_in, ("0.0.0.0/0", "::/0", "2000::/3", "2001::/16"))))
def test_what_is_public_is_global_to_python_too(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if is_public(str(address)):
        assert address.is_global and not address.is_multicast


@pytest.mark.parametrize(
    "url, error",
    [
        ("http://127.0.0.1/x", "refused_address"),
        ("http://[::1]/x", "refused_address"),
        ("https://example.test:8443/x", "refused_port"),
        ("http://example.test:0/x", "refused_port"),
        *((f"http://{host}/x", "bad_url") for host in ("2130706433", "127.1", "0", "127.0.0.1.", "0177.0.0.1", "127.0.0.001")),
        ("file:///etc/passwd", "bad_url"),
        ("http:///x", "bad_url"),
        ("http://a.test:port/", "bad_url"),
        ("javascript:alert(1)", "bad_url"),
        ("http://user@a.test/", "bad_url"),
        ("", "bad_url"),
    ],
)
def test_a_forbidden_url_is_refused_before_any_connection(url: str, error: str) -> None:
    with pytest.raises(Refused) as caught:
        check_url(url, (80, 443), {})
    assert caught.value.error == error


@settings(deadline=None, max_examples=1000)
@given(
    st.sampled_from(["http", "https", "ftp", ""]),
    st.text("a1.:@[]/\\?#%ü ", max_size=12) | st.sampled_from(["10.0.0.1", "8.8.8.8", "[::1]", "a.test:81", "a.test:80"]),
    st.sampled_from(["/x//y", "?x=http://8.8.8.8/", "#x", ""]),
)
def test_the_origin_alone_decides(scheme: str, host: str, rest: str) -> None:
    def verdict(url: str) -> str | None:
        try:
            check_url(url, (80, 443), {"b.test": "127.0.0.1:8080"})
        except Refused as refusal:
            return refusal.error
        return None

    try:
        url = request_url(f"{scheme}://{host}{rest}")
    except ValueError:
        return
    assert verdict(origin_of(url)) == verdict(url)


@pytest.mark.parametrize(
    "value, forbidden",
    [
        ("noai", True),
        ("noarchive", False),
        ("noarchive, noimageai", True),
        ("otherbot: noai", False),
        ("otherbot: noarchive, pairmill: noai", True),
        ("unavailable_after: 25 Jun 2030 15:00:00 PST, noindex", True),
        ("", False),
    ],
)
def test_opt_out_headers(value: str, forbidden: bool) -> None:
    assert opted_out({"X-Robots-Tag": value}) is forbidden


def test_a_blocklist_refuses_domains_with_their_subdomains_and_urls_by_hash(tmp_path: Path) -> None:
    domains, urls = tmp_path / "domains", tmp_path / "urls"
    domains.write_text("# ours\nBad.test\n\nworse.test  # theirs\n")
    one, two = "http://fine.test/1.jpg", "http://fine.test/2.jpg"
    urls.write_text(hashlib.md5(one.encode()).hexdigest() + "\n" + hashlib.sha256(two.encode()).hexdigest().upper() + "\n")
    rows = fetch_urls(
        Storage(str(tmp_path)),
        ["http://bad.test/x", "http://www.BAD.test/x", "http://worse.test/", one, two],
        patient(blocked_domains=str(domains), blocked_urls=str(urls)),
    )
    assert [(row["status"], row["error"]) for row in rows] == [("refused", "blocked")] * 5
    assert not blocklist(str(domains), str(urls)).contains("http://notbad.test/x")
    urls.write_text("http://fine.test/1.jpg\n")
    blocklist.cache_clear()
    with pytest.raises(RequestError, match=r"fetch\.blocked_urls = .* give md5 or sha256"):
        blocklist("", str(urls))
    with pytest.raises(RequestError, match=r"fetch\.blocked_domains = .* cannot be read"):
        blocklist(str(tmp_path / "none"), "")


def test_a_name_that_turns_to_private_addresses_is_refused_when_connecting() -> None:
    address_lists = [["93.184.216.34", "10.0.0.1"], ["127.0.0.1"], ["::ffff:192.168.0.1", "169.254.169.254"]]

    async def look_up() -> list:
        resolver, outcomes = PublicResolver({}), []

        async def resolve(host: str, port: int, family: object) -> list:
            return [{"host": address} for address in address_lists.pop(0)]

        resolver.resolver.resolve = resolve  # type: ignore[method-assign]
        for _ in range(3):
            try:
                outcomes.append([address["host"] for address in await resolver.resolve("rebinding.test", 80)])
            except Refused as refusal:
                outcomes.append(refusal.error)
        return outcomes

    assert asyncio.run(look_up()) == [["93.184.216.34"], "refused_address", "refused_address"]
