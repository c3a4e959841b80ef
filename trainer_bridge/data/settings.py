"""The loader's settings: part of `[data]` in an experiment."""

from __future__ import annotations

import os
from typing import Annotated, Literal

from pydantic import Field

from infra.compat.settings import Section
from sharding.order import WINDOW


def cores_of_rank() -> int:
    """The cores that this rank may use: ranks on one machine share its cores."""
    return max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


class LoaderSettings(Section):
    """How samples are read and decoded ahead of the trainer. Only `window` and `run_length` change which samples come.

    workers     threads that decode; "auto": one for each core of the rank, as simplejpeg and Pillow leave the interpreter free
    ahead_mib   memory for samples that are read and decoded ahead
    window      shards shuffled together; more for shards that were not written in random order
    run_length  neighbours in a shard that come one after the other, for one request to fetch them; "auto": 8 of shards in random
                order, as `export` writes them, else 1
    max_faults  share of samples that cannot be read or decoded at which training ends, once these are more than 100; 0: at the
                first
    """

    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    ahead_mib: int = Field(512, ge=1)
    window: int = Field(WINDOW, ge=1)
    run_length: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    max_faults: float = Field(0.05, ge=0, le=1)

    def threads(self) -> int:
        """Threads that decode."""
        return cores_of_rank() if self.workers == "auto" else self.workers
