"""How Ray is started for a job: without its log lines, and without the working folder on its workers' import path."""

from __future__ import annotations

import os
import re
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.job_config import JobConfig

from infra.compat.errors import RequestError
from pipelines import HOME

START_ATTEMPTS = 5
CONNECT_SECONDS = 20.0
NATIVE_LOG_LINE = re.compile(rb"\[\d{4}-\d\d-\d\d [\d:,.]+ [A-Z] \d+ \d+\] ")


class OwnPackagesOnly(JobConfig):
    """A job whose workers import from what is installed, and from the working folder only where our packages lie in it.

    Ray puts the driver's script folder and working folder first on its workers' path: a `filters.py` of the user's would be
    imported there in place of ours, and every part would fail.
    """

    def _get_proto_job_config(self) -> object:
        self._py_driver_sys_path = [str(HOME)] if Path.cwd() == HOME else []
        return super()._get_proto_job_config()


def init_ray(address: str | None, options: dict[str, Any]) -> None:
    """Joins a cluster, or starts Ray here; RequestError when neither works.

    Ray gives itself half a minute to start, which is not enough on a machine with much else to do: it is tried again.
    """
    _require_listener(address or os.environ.get("RAY_ADDRESS"))
    for attempt in range(START_ATTEMPTS):
        try:
            with native_log_hidden():
                ray.init(address=address, job_config=job_config(address), **options)
            return
        except Exception as error:  # Ray raises a bare Exception when it does not start in time
            ray.shutdown()
            cause = " ".join(str(error).split())[:200]
            if address is not None:
                raise RequestError(f"--address {address} cannot be joined ({cause}); name a running Ray cluster") from None
            if attempt == START_ATTEMPTS - 1:
                raise RequestError(f"Ray does not start on this machine ({cause}); free memory and processors for it") from None


def _require_listener(address: str | None) -> None:
    """RequestError when nothing accepts connections at `host:port`, where Ray itself would try for many minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError, UnicodeError) as error:
        cause = f"nothing answers there: {error}"
        raise RequestError(f"--address {address} cannot be joined ({cause}); name a running Ray cluster") from None


def job_config(address: str | None) -> JobConfig | None:
    """The configuration of a driver's job; None where Ray has its own: in a Ray Client's, and a submitted job's."""
    client = (address or os.environ.get("RAY_ADDRESS", "")).startswith("ray://")
    submitted = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
    return None if client or submitted else OwnPackagesOnly()


@contextmanager
def native_log_hidden() -> Iterator[None]:
    """Keeps log lines of Ray's C++ core off stderr. All else is written when the block ends, and everything if it raises.

    The core announces the log level it was given before it obeys it, and writes to file descriptor 2 itself. So the descriptor
    leads to a temporary file for as long as Ray starts, and what is not Ray's is copied back.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        raised = True
        try:
            yield
            raised = False
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            captured.seek(0)
            for line in captured:
                if raised or not NATIVE_LOG_LINE.match(line):
                    os.write(2, line)
