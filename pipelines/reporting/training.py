"""Training runs as `trainer_bridge.train` leaves them: a folder with summary.json and metrics.jsonl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from infra.compat.errors import RequestError


def training_runs(folder: Path) -> list[dict[str, Any]]:
    """Name, summary and loss by step of the run in the folder and of those in its subfolders, in the order they ended.

    RequestError where none ended.
    """
    summaries = [path / "summary.json" for path in (folder, *folder.glob("*"))]
    ended = sorted((path for path in summaries if path.exists()), key=lambda path: (path.stat().st_mtime_ns, path))
    if not ended:
        raise RequestError(
            f"--training {folder} holds no summary.json of a run that ended; name the output of trainer_bridge.train"
        )
    return [_run(path.parent) for path in ended]


def _run(folder: Path) -> dict[str, Any]:
    steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    losses = [[step["step"], step["loss"]] for step in steps if step["loss"] is not None]  # null where it was not finite
    summary = json.loads((folder / "summary.json").read_text())
    return {"stage": folder.name, "summary": summary, "loss": losses}
