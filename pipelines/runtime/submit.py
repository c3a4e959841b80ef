"""Submits a job to a cluster's job server, as `ray job submit --working-dir . -- python -m pipelines.<job> …` does."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.compat.errors import RequestError

POLL_SECONDS = 0.5


def submit(address: str, job: str, arguments: Sequence[str]) -> dict[str, Any]:
    """Runs a job on the cluster at `http://host:port` to its end, its output on stderr; returns the counts of its last line.

    The working folder is the checkout's, without what git ignores. RequestError when the cluster refuses or the job fails.
    """
    from ray.job_submission import JobStatus, JobSubmissionClient

    entrypoint = shlex.join(["python", "-m", f"pipelines.{job}", *arguments])
    try:
        client = JobSubmissionClient(address)
        name = client.submit_job(entrypoint=entrypoint, runtime_env={"working_dir": str(Path(__file__).parents[2])})
    except (RuntimeError, ConnectionError) as error:
        raise RequestError(f"--address {address} takes no jobs ({' '.join(str(error).split())[:200]})") from None
    shown = 0
    while True:
        status = client.get_job_status(name)
        logs = client.get_job_logs(name)
        sys.stderr.write(logs[shown:])
        shown = len(logs)
        if status.is_terminal():
            break
        time.sleep(POLL_SECONDS)
    lines = [line for line in logs.splitlines() if line.startswith("{")]
    if status != JobStatus.SUCCEEDED and not lines:
        last = (logs.strip().splitlines() or ["it said nothing"])[-1]
        raise RequestError(f"{job} failed on {address}: {last}")
    counts: dict[str, Any] = json.loads(lines[-1])
    return counts
