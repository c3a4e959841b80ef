"""SIGTERM, which Slurm and Kubernetes send some time before they end a process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import TypeVar

STOPPED = 128 + signal.SIGTERM  # the exit status of a run that was stopped, as a shell gives it

Item = TypeVar("Item")


class StopSignal:
    """Remembers whether SIGTERM came: a run saves its state then, and ends."""

    def __init__(self) -> None:
        self.received = False

    def watched(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items; while they are taken SIGTERM does not end the process."""
        if threading.current_thread() is not threading.main_thread():  # Python takes signals there only
            yield from items
            return
        before = signal.signal(signal.SIGTERM, self._receive)
        try:
            yield from items
        finally:
            signal.signal(signal.SIGTERM, before)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = True
