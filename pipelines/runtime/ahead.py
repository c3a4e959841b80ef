"""An iterator that works a few items ahead, in a thread of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
END: Any = object()


def ahead(items: Iterator[T], count: int = 1) -> Iterator[T]:
    """The same items in order, made up to `count` ahead of the one that is worked on; their errors are raised in their place."""
    with ThreadPoolExecutor(1, "ahead") as thread:
        waiting: deque[Future[T]] = deque(thread.submit(next, items, END) for _ in range(count))
        while (item := waiting.popleft().result()) is not END:
            waiting.append(thread.submit(next, items, END))
            yield item
