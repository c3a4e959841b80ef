"""The engine img2dataset: URLs pass our policy, img2dataset asks for them, its answers become our columns and our tar.

It runs as a process of its own, in the Python that `fetch.img2dataset_python` names, because it wants older libraries than we do.
What it does after the first request (redirects, addresses) is its own affair: it follows redirects to private addresses.
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
from pipelines.fetching.adopt import adopt
from pipelines.fetching.chunks import COLUMNS, OUT_OF_TIME, Result, Spool, table_of, write_tar
from pipelines.fetching.client import Client, session, status_of
from pipelines.fetching.policy import Refused
from pipelines.fetching.request import Wanted
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
    """RequestError where there is no img2dataset to run."""
    found = subprocess.run([_python(settings), "-c", "import img2dataset"], capture_output=True, text=True, check=False)
    if found.returncode:
        cause = (found.stderr.strip().splitlines() or ["it does not start"])[-1]
        raise RequestError(
            f"--engine img2dataset: {_python(settings)} cannot import it ({cause}); install it in an environment of its own, "
            "and name that one's Python with fetch.img2dataset_python"
        )


def fetch_chunk(
    storage: Storage, wanted: Wanted, tar: str, settings: FetchSettings, seconds: float, finished: Callable[[int], None]
) -> pa.Table:
    """As `chunks.fetch_chunk`, by img2dataset."""
    errors = asyncio.run(_vet(wanted.urls, settings))
    results = [Result(status_of(error), error) if error else Result("failed", OUT_OF_TIME) for error in errors]
    spool = Spool()
    with tempfile.TemporaryDirectory() as folder:
        allowed = [index for index, error in enumerate(errors) if error is None]
        if allowed:
            _run(Path(folder), wanted, allowed, settings, seconds)
        for parquet in sorted(Path(folder).glob("out/*.parquet")):
            _take(parquet, settings, results, spool)
    for index in range(len(wanted.urls)):
        finished(index)
    write_tar(storage, spool, wanted.keys, tar, results)
    return table_of(results)


async def _vet(urls: Sequence[str], settings: FetchSettings) -> list[str | None]:
    """The class in which our policy refuses each URL, None for those that may be asked."""
    async with session(settings) as http:
        client = Client(http, settings)
        gate = asyncio.Semaphore(settings.concurrency)

        async def vet(url: str) -> str | None:
            async with gate:
                try:
                    return await client.verdict(url)
                except Refused as refusal:
                    return refusal.error
                except OSError:
                    return "dns"

        return await asyncio.gather(*map(vet, urls))


def _run(folder: Path, wanted: Wanted, allowed: Sequence[int], settings: FetchSettings, seconds: float) -> None:
    pq.write_table(pa.table({"url": [wanted.urls[index] for index in allowed], "index": allowed}), folder / "urls.parquet")
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
        _, said = process.communicate(timeout=max(1.0, seconds))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # it is known to hang in its last shard
        process.communicate()
        return
    if process.returncode:
        raise RuntimeError(f"img2dataset ended with {process.returncode}: {(said.strip().splitlines() or [''])[-1]}")


def _take(parquet: Path, settings: FetchSettings, results: list[Result], spool: Spool) -> None:
    """The answers of one of its shards, and the pictures beside them."""
    rows = pq.read_table(parquet, columns=["index"])["index"].to_pylist()
    answers = adopt(str(parquet), 0, len(rows), settings, lambda number: None).to_pylist()
    with parquet.with_suffix(".tar").open("rb") as handle:
        for index, answer in zip(rows, answers, strict=True):
            results[index] = Result(**{field.name: answer[field.name] for field in COLUMNS})
            if answer["status"] == "ok":
                handle.seek(answer["offset"])
                data = handle.read(answer["length"])
                spool.add(index, data, "jpg" if answer["mime"] == "image/jpeg" else answer["mime"].rpartition("/")[2])


def _python(settings: FetchSettings) -> str:
    return settings.img2dataset_python or sys.executable
