"""An event loop whose timeouts count only the time in which it could have listened.

On a crowded machine this process may not run for seconds, and what hosts sent meanwhile lies in its sockets. A timeout by the
clock would then blame the hosts. So the clock of this loop adds at most `MAX_TURN` for the callbacks of one turn, and at most
that much more than it asked for when it waits for sockets; whatever is longer, the loop was not listening. Two other ways were
not enough: to look at the sockets once more before a timeout leaves out what takes several turns (a connection, a redirect),
and longer timeouts make every silent host dearer.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

MAX_TURN = 0.1  # seconds: a row of pictures that `decoding` decodes at once
T = TypeVar("T")


class _Selector(selectors.DefaultSelector):
    """Counts the seconds in which the loop waited or worked, up to the limits."""

    def __init__(self) -> None:
        super().__init__()
        self.counted = self.turn_began = time.monotonic()

    def time(self) -> float:
        """Seconds counted up to now."""
        return self.counted + min(time.monotonic() - self.turn_began, MAX_TURN)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """The sockets that are ready, after `timeout` seconds at most; begins the next turn."""
        self.counted, began = self.time(), time.monotonic()
        ready = super().select(timeout)
        self.turn_began = time.monotonic()
        waited = self.turn_began - began
        self.counted += waited if timeout is None else min(waited, max(timeout, 0.0) + MAX_TURN)
        return ready


class ListeningLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time` stands still while the process does not run."""

    def __init__(self) -> None:
        self.listening = _Selector()
        super().__init__(self.listening)

    def time(self) -> float:
        """Seconds counted up to now; never less than before."""
        return self.listening.time()


def run(work: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, on a `ListeningLoop`."""
    with asyncio.Runner(loop_factory=ListeningLoop) as runner:
        return runner.run(work)
