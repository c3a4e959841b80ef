"""Fetches a few URLs in one chunk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipelines.fetching.chunks import fetch_chunk
from pipelines.fetching.plan import Requests
from pipelines.fetching.settings import FetchSettings
from pipelines.manifest.storage import Storage


def patient(**settings: Any) -> FetchSettings:
    """Settings under which only a request that never ends times out, however busy the machine."""
    defaults = {"connect_timeout": 60, "first_byte_timeout": 60, "total_timeout": 60, "max_bytes": 2_000_000, "resize": "keep"}
    return FetchSettings(**defaults | settings)


def fetch_urls(
    storage: Storage, urls: Sequence[str], settings: FetchSettings, seconds: float = 600, hashes: Sequence[str | None] = ()
) -> list[dict[str, Any]]:
    """The rows of the URLs; the images are in `images/x.tar`."""
    requests = Requests(urls, [f"{i:016x}" for i in range(len(urls))], hashes or [None] * len(urls))
    return fetch_chunk(storage, requests, "images/x.tar", settings, seconds, lambda index: None).to_pylist()
