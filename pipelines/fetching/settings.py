"""Settings of `fetch`: the section `[fetch]` of a recipe."""

from __future__ import annotations

from pydantic import Field

from infra.compat.settings import Location
from pipelines.images.settings import ImageSettings


class FetchSettings(ImageSettings):
    """How pictures are downloaded; how they are checked and stored is `ImageSettings`. Seconds and bytes.

    robots            ask each host for robots.txt, and obey it
    honour_opt_out    obey X-Robots-Tag (noai, noimageai, noindex, noimageindex, noml) and tdm-reservation
    blocked_domains   a file of domains never asked, one a line, by path or URI; blocked_urls the same with md5 or sha256 of URLs
    connect_to        a host or domain → the address:port to connect to: an explicit permission, for intranets and tests
    concurrency       URLs at once in a part; per_host of these at one host, per_host_rate a second (0: no limit)
    max_pause         the longest that a host's Retry-After is waited for
    breaker           so many failures in a row, and a host is left alone for a while, then given up
    part_seconds      after this long what a part has not got is out_of_time; --retry goes on
    img2dataset_python  the Python that has img2dataset, for --engine img2dataset; "": this one
    """

    user_agent: str = Field("pairmill/0.1 (+https://pypi.org/project/pairmill; research data preparation)", min_length=1)
    robots: bool = True
    honour_opt_out: bool = True
    blocked_domains: Location = ""
    blocked_urls: Location = ""
    ports: tuple[int, ...] = (80, 443)
    connect_to: dict[str, str] = Field(default_factory=dict)
    connect_timeout: float = Field(5.0, gt=0)
    first_byte_timeout: float = Field(10.0, gt=0)
    total_timeout: float = Field(30.0, gt=0)
    retries: int = Field(1, ge=0)
    redirects: int = Field(5, ge=0)
    concurrency: int = Field(128, ge=1)
    per_host: int = Field(16, ge=1)
    per_host_rate: float = Field(0.0, ge=0)
    max_pause: float = Field(30.0, ge=0)
    breaker: int = Field(20, ge=1)
    part_seconds: float = Field(24 * 3600.0, gt=0)
    max_bytes: int = Field(32 << 20, ge=1)
    img2dataset_python: str = ""
    chunk: int = Field(10_000, ge=1, le=10_000)
