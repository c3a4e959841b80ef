"""Nothing private, nothing blocked and nothing that opted out is requested."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from infra.compat.errors import RequestError
from pipelines.fetching.policy import PublicResolver, Refused, blocklist, check_url, is_public, opted_out
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


@pytest.mark.parametrize(
    "url, error",
    [
        ("http://127.0.0.1/x", "refused_address"),
        ("http://[::1]/x", "refused_address"),
        ("https://example.test:8443/x", "refused_port"),
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
