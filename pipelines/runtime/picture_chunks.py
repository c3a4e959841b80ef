"""What costly steps on pictures share: each distinct picture is read once, decoded ahead, and results are committed in chunks."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from infra.compat.memory import return_freed_memory
from pipelines.images.decode import LARGE
from pipelines.images.prepare import memory_needed_by
from pipelines.manifest.join import locate, read_columns
from pipelines.manifest.parts import Part
from pipelines.manifest.pictures import (
    CHANGED,
    MISSING,
    STORED,
    UNDECODABLE,
    ChangedPicture,
    PictureReader,
    StoredPicture,
    read_stored,
    verified,
)
from pipelines.manifest.selection import columns_of, mask_of
from pipelines.manifest.storage import Storage
from pipelines.runtime.cache import commit_once
from pipelines.runtime.progress import Reporter
from sharding.decode import decode_picture

AHEAD = 3  # threads that decode, and batches of what they decode while one is worked on
PIXEL = 4  # bytes that Pillow keeps for a pixel of RGB
DECODE_MEMORY = 2 << 30  # bytes that pictures being decoded take together, as fetch.decode_memory
WAITING_BYTES = 256 << 20  # of decoded pictures, in a batch and behind it, that end a batch and stop decoding ahead
STRETCH, STRETCH_BYTES = 256, 16 << 20  # pictures, and bytes, that are read at once
STRETCHES = 3  # that are read ahead

T = TypeVar("T")
Prepare = Callable[[int, bytes], tuple[T, int]]  # (index, bytes) of a picture → what is made of it, its size in memory

Finished = Callable[[int, int], None]  # called with first, last when pictures first … last - 1 are done
Compute = Callable[[pa.Table, list[StoredPicture], list[int], Finished], pa.Table]


def pending_samples(
    storage: Storage, part: Part, cached: pa.Table, conditions: Sequence[str], columns: Sequence[str] = ()
) -> pa.Table:
    """The samples of a part that meet the conditions (of `manifest/selection.py`) and have no row in `cached`.

    A row each, in the order of sample_id: the named columns of the manifest, and where the picture is stored.
    """
    table = read_columns(storage, part, dict.fromkeys([*columns, *STORED, *columns_of(conditions)]))
    is_pending = pc.is_null(locate(cached["sample_id"].to_numpy(), table["sample_id"].to_numpy()))
    return table.filter(pc.and_(mask_of(table, conditions), is_pending)).select(["sample_id", *columns, *STORED])


def distinct_pictures(samples: pa.Table) -> tuple[list[StoredPicture], list[int]]:
    """The distinct pictures of samples (columns `STORED`), and for each sample the index of its own."""
    columns = [samples[name].to_pylist() for name in STORED]
    index: dict[StoredPicture, int] = {}
    picture_of = [index.setdefault(StoredPicture(*row), len(index)) for row in zip(*columns, strict=True)]
    return list(index), picture_of


def read_pictures(storage: Storage, pictures: Sequence[StoredPicture]) -> list[Image.Image]:
    """The pictures, RGB; OSError or ValueError when one cannot be read and decoded."""
    return [decode_picture(read_stored(storage, picture)) for picture in pictures]


class Prepared(NamedTuple, Generic[T]):
    """Pictures first … last - 1: what was prepared of those that could be, their indices, and why the others could not."""

    first: int
    last: int
    indices: list[int]
    items: list[T]
    errors: dict[int, str]


class Decoded(NamedTuple):
    """Pictures first … last - 1: RGB images of those that can be decoded, their indices, and why the others cannot."""

    first: int
    last: int
    indices: list[int]
    images: list[Image.Image]
    errors: dict[int, str]


def decode_ahead(storage: Storage, pictures: Sequence[StoredPicture], batch: int) -> Iterator[Decoded]:
    """The pictures in order as images, as `prepare_ahead` gives them."""

    def whole(index: int, data: bytes) -> tuple[Image.Image, int]:
        image = decode_picture(data)
        return image, image.width * image.height * PIXEL

    for prepared in prepare_ahead(storage, pictures, batch, whole):
        yield Decoded(*prepared)


def prepare_ahead(
    storage: Storage, pictures: Sequence[StoredPicture], batch: int, prepare: Prepare[T], threads: int = AHEAD
) -> Iterator[Prepared[T]]:
    """What `prepare` makes of the pictures, in order, `batch` at a time; fewer of large ones, which memory could not hold.

    The trick: threads read stretches of tars, and others decode what comes next, unless much is decoded and waiting. Those that
    take much memory to decode take turns. Which pictures come together depends on their sizes alone, so that scores do too.

    A picture that is no picture is `undecodable`, one whose bytes are others than fetched `changed`, one without a tar `missing`.
    Any other error of reading is raised: the world may cure it.
    """
    memory, stretches = _Memory(), _Stretches(storage, pictures)

    def work(index: int) -> tuple[T | None, str, int]:
        try:
            data = verified(pictures[index], stretches.take(index))
            needed = memory_needed_by(data)
            with memory.taken(needed, index):
                item, size = prepare(index, data)
                if needed > LARGE:
                    return_freed_memory()
                memory.add_decoded(size)
                return item, "", size
        except (ValueError, FileNotFoundError) as error:
            return None, _reason(error), 0

    with stretches, ThreadPoolExecutor(threads, "decode") as pool:
        waiting: deque[Future[tuple[T | None, str, int]]] = deque()
        remaining = iter(range(len(pictures)))
        first, held = 0, 0
        found = Prepared[T](0, 0, [], [], {})
        try:
            for index in range(len(pictures)):
                waiting += [pool.submit(work, ahead) for ahead in islice(remaining, batch * AHEAD - len(waiting))]
                memory.want(index)
                stretches.want(index)
                item, error, size = waiting.popleft().result()
                held += size
                if item is None:
                    found.errors[index] = error
                else:
                    found.indices.append(index)
                    found.items.append(item)
                if index + 1 - first == batch or held >= WAITING_BYTES or index + 1 == len(pictures):
                    yield found._replace(first=first, last=index + 1)
                    memory.add_decoded(-held)
                    first, held, found = index + 1, 0, Prepared[T](0, 0, [], [], {})
        finally:  # an error, or a caller that wants no more
            pool.shutdown(wait=False, cancel_futures=True)
            memory.want(len(pictures))


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return MISSING
    return CHANGED if isinstance(error, ChangedPicture) else UNDECODABLE


class _Stretches:
    """Bytes of pictures, read a stretch of them at a time by threads of their own, a few stretches ahead of what is wanted."""

    def __init__(self, storage: Storage, pictures: Sequence[StoredPicture]) -> None:
        self.pictures, self.reader = pictures, PictureReader(storage)
        self.pool = ThreadPoolExecutor(STRETCHES, "read")
        ends = np.cumsum([picture.length for picture in pictures], dtype=np.int64) // STRETCH_BYTES
        _, starts = np.unique(np.maximum(ends, np.arange(len(pictures)) // STRETCH), return_index=True)
        self.starts = np.append(starts, len(pictures))
        self.reads: list[Future[list[bytes | Exception]]] = []
        self.stretch_of = np.searchsorted(starts, np.arange(len(pictures)), "right") - 1
        self.lock = threading.Lock()
        self._begin(STRETCHES)

    def __enter__(self) -> _Stretches:
        return self

    def __exit__(self, *error: object) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)

    def want(self, index: int) -> None:
        """Begins to read the stretches that follow the picture's."""
        self._begin(int(self.stretch_of[index]) + 1 + STRETCHES)

    def take(self, index: int) -> bytes | Exception:
        """What was read of a picture, which is not kept."""
        stretch = int(self.stretch_of[index])
        self._begin(stretch + 1)
        bodies, place = self.reads[stretch].result(), index - int(self.starts[stretch])
        body, bodies[place] = bodies[place], b""
        return body

    def _begin(self, count: int) -> None:
        """Reads the first `count` stretches, those that are not read yet."""
        with self.lock:
            for number in range(len(self.reads), min(count, len(self.starts) - 1)):
                own = self.pictures[self.starts[number] : self.starts[number + 1]]
                self.reads.append(self.pool.submit(self.reader.read, own))


class _Memory:
    """Bytes that threads take to decode, and those of decoded images that nobody has done with yet."""

    def __init__(self) -> None:
        self.taken_now, self.decoded, self.wanted, self.changed = 0, 0, 0, threading.Condition()

    @contextmanager
    def taken(self, size: int, index: int) -> Iterator[None]:
        """Holds `size` bytes, once they are free (all of them for a picture that needs more) and not too much is decoded.

        The picture that is wanted next never waits for others to be done with.
        """

        def is_room() -> bool:
            is_free = not self.taken_now or self.taken_now + size <= DECODE_MEMORY
            return is_free and (index <= self.wanted or self.decoded < WAITING_BYTES)

        with self.changed:
            self.changed.wait_for(is_room)
            self.taken_now += size
        try:
            yield
        finally:
            with self.changed:
                self.taken_now -= size
                self.changed.notify_all()

    def want(self, index: int) -> None:
        """Notes which picture is wanted next."""
        with self.changed:
            self.wanted = index
            self.changed.notify_all()

    def add_decoded(self, size: int) -> None:
        """Counts so many bytes more of decoded images, or fewer."""
        with self.changed:
            self.decoded += size
            self.changed.notify_all()


def compute_in_chunks(
    storage: Storage,
    part: Part,
    family: str,
    cached: pa.Table,
    pending: pa.Table,
    chunk_rows: int,
    result_settings: Mapping[str, Any],
    compute: Compute,
    reporter: Reporter,
) -> tuple[pa.Table, list[str]]:
    """Computes the results of pending samples, `chunk_rows` at a time; (all results by sample_id, the files of the chunks).

    `cached` are the results that the part has from earlier runs, `pending` the samples without one, each with its stored picture.
    `compute` maps a chunk of samples, its distinct pictures, for each sample the index of its own, and a function to call with
    finished pictures to a table with a row per sample; columns that it leaves out are NULL. A chunk that was committed before a
    kill is not computed again; `result_settings` are in its name.
    """
    # In the order of the tars: a chunk then reads one stretch of them, and all samples of a picture are in the same chunk.
    pending = pending.sort_by([(name, "ascending") for name in ("tar", "tar_offset", "sample_id")])
    paths = []
    for start in range(0, len(pending), chunk_rows):
        chunk = pending.slice(start, chunk_rows)

        def make(name: str, chunk: pa.Table = chunk) -> pa.Table:
            pictures, picture_of = distinct_pictures(chunk)
            samples_of = np.bincount(picture_of, minlength=len(pictures))
            return compute(chunk, pictures, picture_of, lambda first, last: reporter(int(samples_of[first:last].sum())))

        path, is_new = commit_once(storage, part, family, [chunk["sample_id"].to_pylist(), result_settings], make)
        if not is_new:
            reporter(len(chunk))
        paths.append(path)
    tables = [cached.drop_columns("sample_id"), *(storage.read_parquet(path) for path in paths)]
    results = pa.concat_tables(tables, promote_options="default")
    ids = pa.chunked_array([*cached["sample_id"].chunks, *pending["sample_id"].chunks], pa.uint64())
    return results.add_column(0, "sample_id", ids).sort_by("sample_id"), paths
