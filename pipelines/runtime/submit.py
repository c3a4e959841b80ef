"""Submits a job to a cluster's job server, as `ray job submit --working-dir . -- python -m pipelines.<job> …` does."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Sequence
from typing import Any

from infra.compat.errors import RequestError
from pipelines import HOME

POLL_SECONDS = 0.5


def submit(address: str, job: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Runs a job on the cluster at `http://host:port` to its end, its output on stderr; returns the counts of its last line.

    The checkout is the job's working folder, without what git ignores; without a checkout the cluster needs pairmill installed.
    RequestError when the cluster refuses the job or it fails without counts.
    """
    from ray.job_submission import JobStatus, JobSubmissionClient

    entrypoint = shlex.join(["python", "-m", f"pipelines.{job}", *arguments])
    try:
        client = JobSubmissionClient(address)
        name = client.submit_job(entrypoint=entrypoint, runtime_env=_runtime_env())
    except (RuntimeError, ConnectionError) as error:
        raise RequestError(f"--address {address} takes no jobs ({' '.join(str(error).split())[:200]})") from None
    status, logs = _follow(client, name)
    lines = [line for line in logs.splitlines() if line.startswith("{")]
    if not lines:
        last = (logs.strip().splitlines() or ["it wrote nothing"])[-1]
        raise RequestError(f"{job} on {address} {'failed' if status == JobStatus.FAILED else 'ended without counts'}: {last}")
    counts: dict[str, Any] = json.loads(lines[-1])
    return counts


def _runtime_env() -> dict[str, str]:
    return {"working_dir": str(HOME)} if (HOME / "pyproject.toml").exists() else {}


def _follow(client: Any, name: str) -> tuple[Any, str]:
    """Copies a job's output to stderr until it ends; its last status and whole output."""
    shown = 0
    while True:
        status = client.get_job_status(name)
        logs = client.get_job_logs(name)
        sys.stderr.write(logs[shown:])
        shown = len(logs)
        if status.is_terminal():
            return status, logs
        time.sleep(POLL_SECONDS)
