"""The engine img2dataset: URLs that our policy allows are downloaded by img2dataset, and its output becomes our columns and tar.

It runs as a process of its own, in the Python that `fetch.img2dataset_python` names, because it needs older libraries than we do.
The policy covers the first request only: img2dataset follows redirects, to private addresses too.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from infra.compat.errors import RequestError
from pipelines.fetching.chunks import COLUMNS, Result, Spool, table_of, write_tar
from pipelines.fetching.client import Client, session
from pipelines.fetching.errors import OUT_OF_TIME, status_of
from pipelines.fetching.img2dataset_output import read_output
from pipelines.fetching.plan import Requests
from pipelines.fetching.policy import Refused
from pipelines.fetching.settings import FetchSettings
from pipelines.manifest.storage import Storage

RESIZE = {
    "keep": "no",
    "shorter_side": "keep_ratio",
    "longer_side": "keep_ratio_largest",
    "centre_crop": "center_crop",
    "border": "border",
}
RUN = "import json, sys; from img2dataset import download; download(**json.loads(sys.argv[1]))"


def require_img2dataset(settings: FetchSettings) -> None:
    """RequestError where img2dataset cannot be imported."""
    imported = subprocess.run([_python(settings), "-c", "import img2dataset"], capture_output=True, text=True, check=False)
    if imported.returncode:
        cause = (imported.stderr.strip().splitlines() or ["it does not start"])[-1]
        raise RequestError(
            f"--engine img2dataset: {_python(settings)} cannot import it ({cause}); install it in an environment of its own, "
            "and name that one's Python with fetch.img2dataset_python"
        )


def fetch_chunk(
    storage: Storage, requests: Requests, tar: str, settings: FetchSettings, seconds: float, finished: Callable[[int], None]
) -> pa.Table:
    """As `chunks.fetch_chunk`, with img2dataset; `finished` is called for all URLs at the end."""
    errors = asyncio.run(_policy_errors(requests.urls, settings))
    results = [Result(status_of(error), error) if error else Result("failed", OUT_OF_TIME) for error in errors]
    spool = Spool()
    with tempfile.TemporaryDirectory() as folder:
        allowed = [index for index, error in enumerate(errors) if error is None]
        if allowed:
            _run(Path(folder), requests, allowed, settings, seconds)
        for parquet in sorted(Path(folder).glob("out/*.parquet")):
            _read_shard(parquet, settings, results, spool)
    for index in range(len(requests.urls)):
        finished(index)
    write_tar(storage, spool, requests.keys, tar, results)
    return table_of(results)


async def _policy_errors(urls: Sequence[str], settings: FetchSettings) -> list[str | None]:
    """The error class in which our policy refuses each URL; None for those that may be requested."""
    async with session(settings) as http:
        client = Client(http, settings)
        at_once = asyncio.Semaphore(settings.concurrency)

        async def policy_error(url: str) -> str | None:
            async with at_once:
                try:
                    return await client.check(url)
                except Refused as refusal:
                    return refusal.error
                except OSError:
                    return "dns"

        return await asyncio.gather(*map(policy_error, urls))


def _run(folder: Path, requests: Requests, allowed: Sequence[int], settings: FetchSettings, seconds: float) -> None:
    pq.write_table(pa.table({"url": [requests.urls[index] for index in allowed], "index": allowed}), folder / "urls.parquet")
    options: dict[str, Any] = {
        "url_list": str(folder / "urls.parquet"),
        "input_format": "parquet",
        "url_col": "url",
        "save_additional_columns": ["index"],
        "output_folder": str(folder / "out"),
        "output_format": "webdataset",
        "number_sample_per_shard": len(allowed),
        "processes_count": 1,
        "thread_count": settings.concurrency,
        "timeout": max(1, round(settings.total_timeout)),
        "retries": settings.retries,
        "image_size": settings.size,
        "resize_mode": RESIZE[settings.resize],
        "resize_only_if_bigger": True,
        "skip_reencode": settings.resize == "keep",
        "encode_quality": settings.quality,
        "compute_hash": "sha256",
        "user_agent_token": settings.user_agent.partition("/")[0],
        "disallowed_header_directives": (["noai", "noimageai", "noindex", "noimageindex"] if settings.honour_opt_out else []),
        "enable_wandb": False,
    }
    command = [_python(settings), "-c", RUN, json.dumps(options)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        _, stderr = process.communicate(timeout=max(1.0, seconds))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # it is known to hang in its last shard
        process.communicate()
        return
    if process.returncode:
        raise RuntimeError(f"img2dataset ended with {process.returncode}: {(stderr.strip().splitlines() or [''])[-1]}")


def _read_shard(parquet: Path, settings: FetchSettings, results: list[Result], spool: Spool) -> None:
    """Reads one shard: the results of its rows, and the images into the spool."""
    indices = pq.read_table(parquet, columns=["index"])["index"].to_pylist()
    rows = read_output(str(parquet), 0, len(indices), settings, lambda number: None).to_pylist()
    with parquet.with_suffix(".tar").open("rb") as handle:
        for index, row in zip(indices, rows, strict=True):
            results[index] = Result(**{field.name: row[field.name] for field in COLUMNS})
            if row["status"] == "ok":
                handle.seek(row["offset"])
                data = handle.read(row["length"])
                spool.add(index, data, "jpg" if row["mime"] == "image/jpeg" else row["mime"].rpartition("/")[2])


def _python(settings: FetchSettings) -> str:
    return settings.img2dataset_python or sys.executable
