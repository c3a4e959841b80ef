"""What is to be fetched, without what fetching needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Wanted:
    """The URLs of a chunk: url[N], the key each is stored under, the publisher's hash of its bytes where there is one."""

    urls: Sequence[str]
    keys: Sequence[str]
    hashes: Sequence[str | None]
