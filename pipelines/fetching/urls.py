"""Published URLs as they are requested: written as browsers write them, since servers answer 400 to raw ones.

The manifest keeps the URL as published; policy, robots.txt and requests use the one from here. `%` is never touched, for the URL
may be quoted already, and to quote it again would request another image.
"""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit, urlunsplit

import idna

# Nothing of these needs a change. Upper case in scheme or host does, so the host ends at the first slash.
PLAIN = re.compile(r"https?://([a-z0-9.:-]+)(?:/[!$%&'()*+,./0-9:;=?@A-Z_a-z~\[\]|-]*)?")
ORIGIN = re.compile(r"[^/?#]*//[^/?#]*")
REMOVED = re.compile(r"[\t\n\r]")
CONTROLS = "".join(map(chr, range(0x21)))  # and the space
FORBIDDEN_IN_HOST = re.compile(r"[\0-\x20\"%<>\\^`{|}\x7f]")
QUOTED = re.compile(rb"[\x00-\x20\"<>^`{}\x7f-\xff]")


def request_url(url: str) -> str:
    """The URL to request for a published one; ValueError where there is none.

    White space around and line breaks inside go, backslashes of the path are slashes, the fragment is left out, the host is in
    lower case and ASCII (IDNA), and of the rest what ASCII and RFC 3986 do not allow is percent-encoded UTF-8. Source: WHATWG
    URL Standard.
    """
    if PLAIN.fullmatch(url):
        return url
    scheme, host, path, query, _ = urlsplit(_cleaned(url))
    return urlunsplit((scheme, _ascii_host(host), _quoted(path), _quoted(query), ""))


def host_of(url: str) -> str:
    """The host that a published URL is requested from; "" where it has none."""
    plain = PLAIN.fullmatch(url)
    if plain and ":" not in plain[1]:
        return plain[1]
    try:
        return urlsplit(request_url(url)).hostname or ""
    except ValueError:
        return ""


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL to request."""
    origin = ORIGIN.match(url)
    return origin[0] if origin else url


def redirect_url(url: str, location: str) -> str:
    """The URL to request for a Location header in the response to `url`; ValueError where there is none."""
    return request_url(urljoin(url, _cleaned(location)))


def _cleaned(url: str) -> str:
    head, mark, tail = REMOVED.sub("", url.strip(CONTROLS)).partition("?")
    return head.replace("\\", "/") + mark + tail


def _quoted(text: str) -> str:
    # A header that is not UTF-8 comes with its bytes as lone surrogates (PEP 383).
    data = text.encode("utf-8", "surrogateescape")
    return QUOTED.sub(lambda byte: b"%%%02X" % byte[0][0], data).decode("ascii")


def _ascii_host(netloc: str) -> str:
    """Host and port in lower case and ASCII (UTS 46, as lenient as browsers: `idna.encode` refuses names that exist)."""
    mapped = netloc.lower() if netloc.isascii() else idna.uts46_remap(netloc, std3_rules=False)
    if FORBIDDEN_IN_HOST.search(mapped):
        raise ValueError(f"{netloc!r} is no host")
    name, colon, port = mapped.partition(":")
    labels = [label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii") for label in name.split(".")]
    return ".".join(labels) + colon + port
