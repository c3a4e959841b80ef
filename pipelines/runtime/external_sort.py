"""External sort: the rows of many sources → files of consecutive ranges of a key, with a bounded number of files opened.

Sources are read once and cut at the edges of buckets, ranges of the key, into runs: files with one record batch per bucket. Runs
are merged, bucket by bucket, until all buckets together can open those that are left; then each bucket gathers its batch of every
run and sorts. Were each bucket to read each source, the files opened would grow with their product.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.manifest.receipts import fingerprint_of
from pipelines.manifest.storage import Storage
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import run_items

BUCKET_ROWS = 1 << 20  # in memory at a time: some 300 bytes each where they hold a URL and a caption
FAN_IN = 64  # files that a task has open at most
BATCH_ROWS = 4096  # of a sorted file: what a reader of a few rows decodes


class SortFailed(Exception):
    """Tasks of a sort failed; `causes` by task."""

    def __init__(self, causes: Mapping[str, str]) -> None:
        super().__init__(causes)
        self.causes = dict(causes)


class Source(NamedTuple):
    """What a sort reads: a JSON value, and at most how many rows it has."""

    value: Any
    rows: int


class SortedFile(NamedTuple):
    """The rows of a bucket, sorted."""

    path: str
    rows: int


@dataclass(frozen=True)
class ExternalSort:
    """A sort whose files lie in `partial/<name>/` until `remove`; one that was killed goes on where it was.

    by          columns to sort by, of which the first is uint64: the key
    lows        the lowest key of each bucket, ascending; a bucket has BUCKET_ROWS rows at most, more or less
    read        the value of a source → its rows
    most_opens  how many files all buckets together may open to gather their rows
    depends_on  all that decides the rows, as JSON
    combine     sorted rows with all of some keys → what is kept of them
    run_rows    rows that a task has in memory; 0: BUCKET_ROWS
    """

    storage: Storage
    name: str
    by: Sequence[str]
    lows: Sequence[int]
    read: Callable[[Any], pa.Table]
    most_opens: int
    depends_on: Mapping[str, Any] = field(default_factory=dict)
    combine: Callable[[pa.Table], pa.Table] | None = None
    run_rows: int = 0

    def run(self, sources: Sequence[Source]) -> list[SortedFile]:
        """A file per bucket; SortFailed names the tasks that failed."""
        if len(self.lows) == 1:  # all rows fit in memory: no runs
            whole = {"label": "bucket 0", "bucket": 0, "sources": [source.value for source in sources]}
            return self._gathered([whole], lambda item: map(self.read, item["sources"]))
        values = _chunks(sources, self.run_rows or BUCKET_ROWS)
        chunks = [{"label": f"run {number}", "sources": chunk} for number, chunk in enumerate(values)]
        runs = self._runs("cut", chunks, self._cut)
        while len(runs) > 1 and len(runs) * len(self.lows) > self.most_opens:
            groups = [runs[first : first + FAN_IN] for first in range(0, len(runs), FAN_IN)]
            runs = self._runs("merge", [{"label": f"run {n}", "sources": group} for n, group in enumerate(groups)], self._merge)
        buckets = [{"label": f"bucket {number}", "bucket": number, "sources": runs} for number in range(len(self.lows))]
        return self._gathered(buckets, self._batches)

    def remove(self) -> None:
        """Removes the files of the sort."""
        self.storage.remove_folder(f"partial/{self.name}")

    def _cut(self, item: Mapping[str, Any]) -> Iterator[pa.Table]:
        """The rows of a few sources, sorted, bucket by bucket."""
        rows = self._sorted(map(self.read, item["sources"]))
        edges = np.searchsorted(rows[self.by[0]].to_numpy(), np.array(self.lows, np.uint64)).tolist()
        for first, end in zip(edges, [*edges[1:], len(rows)], strict=True):
            yield rows.slice(first, end - first)

    def _merge(self, item: Mapping[str, Any]) -> Iterator[pa.Table]:
        """The rows of a few runs, sorted, bucket by bucket."""
        with ExitStack() as stack:
            readers = [stack.enter_context(_opened(self.storage, path)) for path in item["sources"]]
            for bucket in range(len(self.lows)):
                yield self._sorted(pa.Table.from_batches([reader.get_batch(bucket)]) for reader in readers)

    def _batches(self, item: Mapping[str, Any]) -> Iterator[pa.Table]:
        """A bucket's batch of every run."""
        for path in item["sources"]:
            with _opened(self.storage, path) as reader:
                yield pa.Table.from_batches([reader.get_batch(item["bucket"])])

    def _sorted(self, tables: Iterable[pa.Table]) -> pa.Table:
        return pa.concat_tables(tables).sort_by([(column, "ascending") for column in self.by])

    def _runs(
        self, stage: str, items: Sequence[dict[str, Any]], rows_of: Callable[[Mapping[str, Any]], Iterator[pa.Table]]
    ) -> list[str]:
        """Writes a run per item; returns their paths."""

        def work(item: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
            if not self.storage.exists(item["target"]):
                _write(self.storage, item["target"], map(_batch, rows_of(item)))
            reporter(1)
            return {}

        return [path for path, _ in self._done(stage, items, work)]

    def _gathered(
        self, items: Sequence[dict[str, Any]], tables_of: Callable[[Mapping[str, Any]], Iterable[pa.Table]]
    ) -> list[SortedFile]:
        """Writes a sorted file per item."""

        def work(item: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
            reporter(1)
            if self.storage.exists(item["target"]):
                return {"rows": _count(self.storage, item["target"])}
            rows = self._sorted(tables_of(item))
            rows = self.combine(rows) if self.combine else rows
            starts = range(0, max(1, len(rows)), BATCH_ROWS)
            _write(self.storage, item["target"], (_batch(rows.slice(start, BATCH_ROWS)) for start in starts))
            return {"rows": len(rows)}

        return [SortedFile(path, result["rows"]) for path, result in self._done("sort", items, work)]

    def _done(
        self,
        stage: str,
        items: Sequence[dict[str, Any]],
        work: Callable[[dict[str, Any], Reporter], dict[str, Any]],
    ) -> list[tuple[str, dict[str, Any]]]:
        """(target, result) of each item, whose target is named by all that decides its rows."""
        common = {"depends_on": self.depends_on, "lows": fingerprint_of({"lows": list(self.lows)}), "by": list(self.by)}
        for item in items:
            item["target"] = f"partial/{self.name}/{fingerprint_of({**common, 'stage': stage, **item})}.arrow"
        results, failed = {}, {}
        for label, result, error in run_items(items, work, name=f"{stage} {self.name}", unit="files", total=len(items)):
            if error is None:
                results[label] = result
            else:
                failed[f"{self.name} {label}"] = error
        if failed:
            raise SortFailed(failed)
        return [(item["target"], results[item["label"]]) for item in items]


def even_lows(low: int, end: int, rows: int, bucket_rows: int = 0) -> list[int]:
    """The lowest keys of as many even ranges of `low` … `end` - 1 as `rows` evenly spread rows need; at least one."""
    count = max(1, -(-rows // (bucket_rows or BUCKET_ROWS)))
    return [low + number * (end - low) // count for number in range(count)]


def lows_of_runs(runs: Iterable[tuple[int, int]], bucket_rows: int = 0) -> list[int]:
    """The lowest keys of ranges of whole runs, each the lowest key of a run and its rows; a range has FAN_IN runs at most."""
    lows, members, rows = [0], 0, 0
    for first, count in sorted(runs):
        if members and (members == FAN_IN or rows + count > (bucket_rows or BUCKET_ROWS)):
            lows.append(first)
            members, rows = 0, 0
        members, rows = members + 1, rows + count
    return lows


def read_sorted(storage: Storage, path: str, first: int, count: int) -> pa.Table:
    """`count` rows of a sorted file, from row `first` on; only the batches that hold them are read."""
    with _opened(storage, path) as reader:
        numbers = range(first // BATCH_ROWS, -(-(first + count) // BATCH_ROWS))
        rows = pa.Table.from_batches([reader.get_batch(number) for number in numbers], reader.schema)
    return rows.slice(first - numbers.start * BATCH_ROWS, count)


def _chunks(sources: Sequence[Source], run_rows: int) -> Iterator[list[Any]]:
    """The values of sources, as many at a time as fit in memory."""
    chunk, rows = list[Any](), 0
    for source in sources:
        if chunk and (rows + source.rows > run_rows or len(chunk) == FAN_IN):
            yield chunk
            chunk, rows = [], 0
        chunk.append(source.value)
        rows += source.rows
    if chunk:
        yield chunk


def _batch(table: pa.Table) -> pa.RecordBatch:
    """A table as one record batch, of no rows too."""
    return pa.RecordBatch.from_arrays([column.combine_chunks() for column in table.columns], schema=table.schema)


def _write(storage: Storage, path: str, batches: Iterator[pa.RecordBatch]) -> None:
    first = next(batches)
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / "rows.arrow"
        with pa.ipc.new_file(str(local), first.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
            writer.write_batch(first)
            for batch in batches:
                writer.write_batch(batch)
        storage.adopt(local, path)


@contextmanager
def _opened(storage: Storage, path: str) -> Iterator[Any]:
    """A file of record batches; of a remote one no more is read than is used."""
    options = pa.ipc.IpcReadOptions(use_threads=False)
    with ExitStack() as stack:
        if storage.is_local:
            source = stack.enter_context(pa.memory_map(storage.full(path)))
        else:
            source = stack.enter_context(storage.open(path, cache_type="none"))
        yield stack.enter_context(pa.ipc.open_file(source, options=options))


def _count(storage: Storage, path: str) -> int:
    """The rows of a sorted file, all of whose batches but the last are full."""
    with _opened(storage, path) as reader:
        last = reader.num_record_batches - 1
        rows: int = last * BATCH_ROWS + reader.get_batch(last).num_rows
        return rows
