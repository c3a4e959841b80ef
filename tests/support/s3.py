"""A proxy before the S3 server that fails as object stores do."""

import random
import threading
from collections import Counter
from contextlib import AbstractContextManager

from infra.benchmarks.tools.object_store import proxy


class Faults:
    """Shares of requests: `slow_down` get a 503, `dropped` lose their connection, half of them after the server has acted."""

    def __init__(self, seed: int, slow_down: float = 0.04, dropped: float = 0.03) -> None:
        self.rng, self.lock, self.done = random.Random(seed), threading.Lock(), Counter()
        self.slow_down, self.dropped = slow_down, dropped

    def draw(self) -> str:
        with self.lock:
            drawn = self.rng.random()
            late = self.rng.random() < 0.5
            kind = "ok"
            if drawn < self.slow_down:
                kind = "503"
            elif drawn < self.slow_down + self.dropped:
                kind = "lost_response" if late else "dropped"
            self.done[kind] += 1
            return kind


def faulty(port: int, faults: Faults, own: int = 0) -> AbstractContextManager[int]:
    """A proxy to the server on `port` with faults; gives its own port, a free one unless it is to be `own`."""
    return proxy(port, faults.draw, own)
