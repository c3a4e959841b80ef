"""Data-Juicer: its operators on a Parquet file, in two processes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from infra.benchmarks.peers import peer

RUN = """
import sys, time
from pathlib import Path
from data_juicer.config import init_configs
from data_juicer.core import DefaultExecutor
if __name__ == "__main__":
    config = init_configs(["--config", sys.argv[1]])
    started = time.perf_counter()
    DefaultExecutor(config).run()
    Path("seconds").write_text(str(time.perf_counter() - started))  # standard output is full of its log
"""


def seconds_of(folder: Path, operators: list[dict[str, dict[str, Any]]]) -> float:
    """Seconds that the operators take on `in.parquet` (text and what they read) in a folder; writes other files there."""
    settings = {
        "project_name": "bench",
        "dataset_path": str(folder / "in.parquet"),
        "export_path": str(folder / "out" / "out.parquet"),
        "np": 2,
        "text_keys": "text",
        "use_cache": False,
        "open_monitor": False,
        "process": operators,
    }
    (folder / "config.yaml").write_text(json.dumps(settings))
    (folder / "run.py").write_text(RUN)
    subprocess.run([str(peer("data-juicer")), "run.py", "config.yaml"], cwd=folder, check=True, capture_output=True)
    return float((folder / "seconds").read_text())
