"""The sorts by which copies are brought together, and their results back to their parts.

Files lie in `partial/copies_<stage>/`, named by all that decides them, so a search that was killed goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines.manifest.storage import Storage
from pipelines.runtime import external_sort
from pipelines.runtime.external_sort import ExternalSort, SortedFile, Source, even_lows, lows_of_runs, read_sorted

FOLDER = "copies"
BUCKET_ROWS = 1 << 22  # in memory at a time: some 100 bytes each while they are sorted and compared


@dataclass(frozen=True)
class Sorting:
    """What all sorts of a search share.

    depends_on  all that decides the rows but the sources themselves, as JSON
    parts       the lowest rank of each part, and its rows
    """

    storage: Storage
    depends_on: Mapping[str, Any]
    parts: Sequence[tuple[int, int]]

    @property
    def rank_lows(self) -> list[int]:
        """The lowest rank of each file of `by_rank`."""
        return lows_of_runs(self.parts, BUCKET_ROWS)

    def by_key(
        self,
        stage: str,
        read: Callable[[Any], pa.Table],
        sources: Sequence[Source],
        combine: Callable[[pa.Table], pa.Table],
        bucket_rows: int = 0,
    ) -> list[SortedFile]:
        """What `combine` keeps of rows sorted by `key`, uint64 and evenly spread; rows of a key come in any order."""
        rows, at_once = sum(source.rows for source in sources), bucket_rows or BUCKET_ROWS
        return self._sort(stage, ("key",), even_lows(0, 1 << 64, rows, at_once), read, sources, combine, at_once)

    def by_rank(
        self,
        stage: str,
        by: Sequence[str],
        read: Callable[[Any], pa.Table],
        sources: Sequence[Source],
        combine: Callable[[pa.Table], pa.Table] | None = None,
    ) -> list[SortedFile]:
        """What `combine` keeps of rows sorted by these columns, of which the first is a rank; a file for each of `rank_lows`."""
        return self._sort(stage, by, self.rank_lows, read, sources, combine, BUCKET_ROWS)

    def remove(self, stages: Sequence[str]) -> None:
        """Removes the files of stages."""
        for stage in stages:
            self.storage.remove_folder(f"partial/{FOLDER}_{stage}")

    def _sort(
        self,
        stage: str,
        by: Sequence[str],
        lows: Sequence[int],
        read: Callable[[Any], pa.Table],
        sources: Sequence[Source],
        combine: Callable[[pa.Table], pa.Table] | None,
        run_rows: int,
    ) -> list[SortedFile]:
        most_opens = external_sort.FAN_IN * len(lows)
        name = f"{FOLDER}_{stage}"
        sort = ExternalSort(self.storage, name, by, lows, read, most_opens, self.depends_on, combine, run_rows)
        return sort.run(sources)


def as_sources(files: Sequence[SortedFile], **about: Any) -> list[Source]:
    """Files of one sort as what the next one reads: `file` with path and rows, and what else is said of them."""
    return [Source({"file": [file.path, file.rows], **about}, file.rows) for file in files]


def rows_of(storage: Storage, source: Mapping[str, Any]) -> pa.Table:
    """The rows of one of `as_sources`."""
    path, rows = source["file"]
    return read_sorted(storage, path, 0, rows)
