"""Settings of `fetch`: the section `[fetch]` of a recipe."""

from __future__ import annotations

from pydantic import Field

from infra.compat.settings import Location
from pipelines.images.settings import ImageSettings


class FetchSettings(ImageSettings):
    """How images are downloaded; how they are checked and stored is `ImageSettings`. Times are seconds, sizes bytes.

    connect_timeout, first_byte_timeout, total_timeout  counted while this process listens, so that a busy one blames no host
    robots            request robots.txt of each origin, and obey it
    honour_opt_out    obey X-Robots-Tag (noai, noimageai, noindex, noimageindex, noml) and tdm-reservation
    blocked_domains   path or URI of a file of domains that are never requested, one a line
    blocked_urls      the same of URLs, as md5 or sha256 in hex
    connect_to        a host or domain → the address:port to connect to: an explicit permission, for intranets and tests
    concurrency       requests at once in a part; per_host of these to one host, per_host_rate a second (0: no limit)
    max_pause         the longest that a host's Retry-After is waited for
    breaker           failures in a row that open a host's circuit breaker (see `frontier`)
    part_seconds      the time limit of a part; URLs that have not ended by then are out_of_time, for --retry
    img2dataset_python  the Python that has img2dataset, for --engine img2dataset; "": this one
    chunk             URLs that are committed together
    """

    user_agent: str = Field("pairmill/0.1 (+https://pypi.org/project/pairmill; research data preparation)", min_length=1)
    robots: bool = True
    honour_opt_out: bool = True
    blocked_domains: Location = ""
    blocked_urls: Location = ""
    ports: tuple[int, ...] = (80, 443)
    connect_to: dict[str, str] = Field(default_factory=dict)
    connect_timeout: float = Field(5.0, gt=0)
    first_byte_timeout: float = Field(5.0, gt=0)
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
