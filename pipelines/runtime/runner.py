"""Runs items of work on Ray Data: tasks or actors, retries, progress; starts Ray."""

from __future__ import annotations

import json
import logging
import os
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from infra.compat.errors import RequestError
from infra.compat.failures import failure_line
from pipelines.runtime.plugins import carrying_plugins
from pipelines.runtime.progress import Progress, Reporter

ATTEMPTS = 2
START_SECONDS = 3.0  # in which the first tasks of a job have all begun
MAX_ITEMS = 8  # of one Ray task: a killed worker has to do so many again


def run_items(
    items: Sequence[dict[str, Any]],
    work: Callable[[dict[str, Any], Reporter], dict[str, Any]],
    *,
    name: str,
    unit: str,
    total: int,
    cpus: float = 1.0,
    gpus: float = 0.0,
    setup: Callable[[], Any] | None = None,
    workers: int = 0,
) -> Iterator[tuple[str, Any, str | None]]:
    """Runs `work` on each item in a Ray task of its own, or in actors that did `setup` first; yields (label, result, None) or
    (label, None, cause).

    An item that raises is tried again, then set aside; the others go on. `total` is in `unit`s, as `reporter` counts them.
    """
    if not items:
        return
    import ray

    work, setup = carrying_plugins(work), carrying_plugins(setup) if setup else None
    with Progress(name, unit, total) as progress, _frequent_resource_checks():
        tally, work_id = progress.tally, progress.work

        def task(row: dict[str, Any]) -> list[dict[str, Any]]:
            # JSON text, so that Ray never has to guess a type for an empty or nested value.
            return [one(json.loads(item)) for item in row["items"]]

        def one(item: dict[str, Any]) -> dict[str, Any]:
            reporter = Reporter(tally, work_id, item["label"])
            for attempt in range(ATTEMPTS):
                reporter(-reporter.units)  # of a try before, as they are counted again
                try:
                    result = work(item, reporter)
                    return {"label": item["label"], "result": json.dumps(result), "error": "", "units": reporter.units}
                except Exception as error:
                    line = failure_line(error)
                    cause = line or f"{type(error).__name__}: {error}".splitlines()[0]
                    if line is None and attempt == ATTEMPTS - 1:
                        where = traceback.extract_tb(error.__traceback__)[-1]
                        cause += f" (at {where.name}, line {where.lineno})"
            return {"label": item["label"], "result": "null", "error": cause, "units": reporter.units}

        size = 1 if setup or cpus < 1 else _items_per_task(len(items), _capacity(cpus, gpus))
        rows = [{"items": [json.dumps(item) for item in items[first : first + size]]} for first in range(0, len(items), size)]
        dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
        if setup is None:
            dataset = dataset.flat_map(task, num_cpus=cpus, num_gpus=gpus)
        else:
            pool = min(len(rows), workers or _capacity(cpus, gpus))
            dataset = dataset.flat_map(
                _actor(setup, task), compute=ray.data.ActorPoolStrategy(size=pool), num_cpus=cpus, num_gpus=gpus
            )
        for row in dataset.iter_rows():
            progress.done += row["units"]
            yield row["label"], json.loads(row["result"]), row["error"] or None


@contextmanager
def _frequent_resource_checks() -> Iterator[None]:
    """Ray Data checks the cluster's resources twenty times a second at first, then once a second, its default.

    It starts the first task, and starts the others when its next check shows free resources: by default a second later.
    """
    try:
        from ray.data._internal.execution.resource_manager import ResourceManager
    except ImportError:  # another version of Ray may have it elsewhere; jobs then start a second later
        yield
        return
    ResourceManager.GLOBAL_LIMITS_UPDATE_INTERVAL_S = 0.05
    later = threading.Timer(START_SECONDS, setattr, (ResourceManager, "GLOBAL_LIMITS_UPDATE_INTERVAL_S", 1.0))
    later.daemon = True
    later.start()
    try:
        yield
    finally:
        later.cancel()


def require_gpus(setting: str, gpus: float, address: str | None) -> None:
    """RequestError when `setting` asks for GPUs that a Ray on this machine does not have: its workers would never start."""
    import ray

    if gpus and address is None and "RAY_ADDRESS" not in os.environ and not ray.cluster_resources().get("GPU"):
        raise RequestError(f"{setting} = {gpus:g}, but this machine has no GPU that Ray sees; set {setting}=0 to use its cores")


def _items_per_task(items: int, workers: int) -> int:
    """How many items one Ray task does. Starting one costs as much as 100 000 rows; small ones let all workers end together."""
    return max(1, min(MAX_ITEMS, items // (2 * workers)))


def _actor(setup: Callable[[], Any], task: Callable[[dict[str, Any]], list[dict[str, Any]]]) -> type:
    class Worker:
        def __init__(self) -> None:
            setup()

        def __call__(self, row: dict[str, Any]) -> list[dict[str, Any]]:
            return task(row)

    return Worker


def _capacity(cpus: float, gpus: float) -> int:
    """How many workers of this size the cluster holds; 1 when it holds none yet."""
    import ray

    resources = ray.cluster_resources()
    return max(1, int(resources.get("GPU", 0) / gpus) if gpus else int(resources.get("CPU", 1) / cpus))


def workers() -> int:
    """How many tasks of one core run at a time."""
    return _capacity(1.0, 0.0)


def start_ray(address: str | None = None) -> None:
    """Joins the cluster at `address`, or the one this job was submitted to, or starts Ray on this machine, quietly."""
    # Ray reads it when imported: seconds that a busy machine may take to start Ray's own store of cluster state.
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "200")
    import ray
    import ray.data

    from pipelines.runtime.ray_start import init_ray

    if not ray.is_initialized():
        options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        if address is None and "RAY_ADDRESS" not in os.environ:
            # Only receipts pass through the object store; the default would claim a third of the memory.
            options |= {"include_dashboard": False, "object_store_memory": 256 << 20}
            # Steps follow each other: keep idle workers for the next one; Ray would end them after a second.
            os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", "60000")
        # Ray warns of a coming change in how it hides GPUs from tasks that request none; the present way is the one we want.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        # Ray's C++ core warns for every pool of actors that a restart may fail; we name the parts that fail.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        init_ray(address, options)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
