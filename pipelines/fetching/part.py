"""One part: its distinct URLs are requested in chunks, and the new results merged with the cached ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.fetching.errors import INTERRUPTED
from pipelines.fetching.plan import Requests, make_plan
from pipelines.fetching.settings import FetchSettings
from pipelines.manifest.ids import sample_ids
from pipelines.manifest.join import read_columns, read_family
from pipelines.manifest.parts import Part, file_of
from pipelines.manifest.receipts import read_receipts
from pipelines.manifest.selection import TO_DOWNLOAD, columns_of
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import FAMILIES
from pipelines.runtime.cache import cached_results, commit_once
from pipelines.runtime.progress import Reporter
from pipelines.runtime.step import PartResult
from pipelines.sources import source_named
from pipelines.sources.img2dataset import NAME as IMG2DATASET
from pipelines.sources.pictures import ADOPTED
from pipelines.sources.pictures import NAME as PICTURES

ENGINES = ("pairmill", IMG2DATASET)
COLUMNS = [name for name in FAMILIES["fetch"].names if name != "sample_id"]


@dataclass(frozen=True)
class FetchOptions:
    """The settings of a run, the error classes it retries, and the engine that downloads."""

    settings: FetchSettings
    retry: tuple[str, ...] = (INTERRUPTED,)
    engine: str = ENGINES[0]


def fetch_part(storage: Storage, part: Part, reporter: Reporter, *, options: FetchOptions) -> PartResult:
    """The family `fetch` of a part; the images are in tars below `images/`, one a chunk."""
    settings = options.settings
    if part.source in ADOPTED:
        return _use_where_they_lie(storage, part, reporter, settings)
    deadline = time.monotonic() + settings.part_seconds
    samples = read_columns(storage, part, ["url", "image_hash", *columns_of(TO_DOWNLOAD)])
    cached = cached_results(storage, part, "fetch", settings.result_settings())
    plan = make_plan(samples, cached, options.retry)
    reporter(part.rows - int(plan.samples_per_url[plan.requested].sum()))
    chunk_files = []
    for start in range(0, len(plan.requested), settings.chunk):
        chunk = plan.requested[start : start + settings.chunk]
        requests, samples_per_url = plan.requests(samples, chunk), plan.samples_per_url[chunk].tolist()

        def finished(index: int, samples_per_url: list[int] = samples_per_url) -> None:
            reporter(samples_per_url[index])

        path, is_new = _fetch_chunk(storage, part, options, requests, deadline, finished)
        if not is_new:
            reporter(sum(samples_per_url))
        chunk_files.append(path)
    rows = pa.concat_tables([cached.select(COLUMNS), *(storage.read_parquet(path, COLUMNS) for path in chunk_files)])
    has_result, result_rows = plan.result_rows(cached)
    return _result(plan.sample_ids[has_result], rows.take(pa.array(result_rows)), settings, chunk_files)


def samples_without_result(storage: Storage, part: Part) -> int:
    """How many samples whose image is to be downloaded have no result yet."""
    if part.source in ADOPTED:
        is_done = part in read_receipts(storage, "fetch", [part]) and not tar_has_changed(storage, part)
        return 0 if is_done else part.rows
    samples = read_columns(storage, part, ["url", *columns_of(TO_DOWNLOAD)])
    plan = make_plan(samples, read_family(storage, part, "fetch", ["error"]), (INTERRUPTED,))
    return int(plan.samples_per_url[plan.requested].sum())


def tar_has_changed(storage: Storage, part: Part) -> bool:
    """Whether the tar that img2dataset wrote beside a part's file, or a listing, is another than when it was fetched, or gone."""
    from pipelines.fetching.img2dataset_images import images_stamp
    from pipelines.fetching.listed_pictures import listing_stamp

    stamps = pc.unique(read_family(storage, part, "fetch", ["tar_stamp"])["tar_stamp"].drop_null()).to_pylist()
    try:
        stamp = listing_stamp if part.source == PICTURES else images_stamp
        return bool(stamps) and stamp(file_of(storage, part).uri) not in stamps
    except FileNotFoundError:
        return True


def _use_where_they_lie(storage: Storage, part: Part, reporter: Reporter, settings: FetchSettings) -> PartResult:
    """The family `fetch` of a part whose file says where pictures lie: img2dataset's, or a listing; nothing is requested."""
    from pipelines.fetching.img2dataset_output import read_output
    from pipelines.fetching.listed_pictures import read_listed

    ids = storage.read_parquet(part.path("samples"), ["sample_id"])["sample_id"].to_numpy()
    first = sample_ids(source_named(part.source).ordinal, part.file, part.first_row, 1)[0]
    uri = file_of(storage, part).uri
    read = read_listed if part.source == PICTURES else read_output
    rows = read(uri, part.first_row, part.rows, settings, lambda number: reporter(1))
    return _result(ids, rows.take(pa.array(ids - np.uint64(first))), settings, [])


def _fetch_chunk(
    storage: Storage,
    part: Part,
    options: FetchOptions,
    requests: Requests,
    deadline: float,
    finished: Callable[[int], None],
) -> tuple[str, bool]:
    """Fetches a chunk unless it is committed already; (where its table lies, whether it was fetched now)."""
    from pipelines.fetching import chunks, img2dataset
    from pipelines.fetching.decoding import Decoder
    from pipelines.fetching.isolated import IsolatedDecoder, marked

    def make(name: str) -> pa.Table:
        tar = f"images/{part.source}/{part.name}/{name}.tar"
        with marked(storage, f"partial/fetch/{part.source}/{part.name}/{name}.begun") as died_before:
            decoder = IsolatedDecoder if died_before else Decoder
            engine = partial(chunks.fetch_chunk, new_decoder=decoder)
            fetch_chunk = img2dataset.fetch_chunk if options.engine == IMG2DATASET else engine
            return fetch_chunk(storage, requests, tar, options.settings, deadline - time.monotonic(), finished)

    # URLs too: where a file was replaced, a row has another one under the same id.
    request = [requests.keys, requests.urls, options.settings.result_settings(), options.retry]
    return commit_once(storage, part, "fetch", request, make)


def _result(ids: np.ndarray, rows: pa.Table, settings: FetchSettings, chunk_files: list[str]) -> PartResult:
    counts = {row["values"]: row["counts"] for row in pc.value_counts(rows["status"]).to_pylist()}
    errors = pc.value_counts(rows["error"].drop_null()).to_pylist()
    counts |= {f"reason.{row['values']}": row["counts"] for row in errors}
    table = rows.add_column(0, "sample_id", pa.array(ids))
    return PartResult(table, counts, settings=settings.result_settings(), temporary_files=chunk_files)
