"""What is written of each step: rates are those of the last steps, and what is not finite is told in words that JSON has."""

import json
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from infra.compat.errors import RequestError
from trainer_bridge.clock import Clock
from trainer_bridge.metrics import MetricsLog, Step, Window, counts, describe, memory_mib, scalars, timed
from trainer_bridge.stages.settings import LogSettings
from trainer_bridge.trackers import open_trackers, require_trackers

CPU = torch.device("cpu")
STEP = Step(0, {"itc": 2.0, "itg": 1.5}, 0.25, 1e-3, 8, 1, 0.5, 100.0)


def test_rates_are_those_of_the_last_steps() -> None:
    window = Window(2, seconds=10.0, samples=100, peak=1000.0)
    rows = [
        window.add(STEP._replace(samples=samples, waited=waited, flops=flops), seconds)
        for seconds, samples, waited, flops in ((20.0, 200, 5.0, 5000.0), (21.0, 208, 0.5, 400.0), (23.0, 216, 0.5, 200.0))
    ]
    assert rows == [
        {"samples_per_s": 10.0, "data_wait": 0.5, "mfu": 0.5},
        {"samples_per_s": round(108 / 11, 2), "data_wait": 0.5, "mfu": round(5.4 / 11, 4)},
        {"samples_per_s": round(16 / 3, 2), "data_wait": round(1 / 3, 4), "mfu": 0.2},
    ]


def test_a_line_that_a_killed_run_left_unfinished_is_cut_off(tmp_path: Path) -> None:
    for done, rest in ((0, '{"step": 1, "los'), (1, "")):
        log = MetricsLog(tmp_path, done, 8 * done, Clock(2, 0.0, 0.0, CPU), LogSettings())
        log.write(STEP._replace(step=done, samples=8 * (done + 1)))
        log.close()
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write(rest)
    assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [0, 1]
    assert counts(tmp_path) == {"faults": 2, "skipped_steps": 0}


@pytest.mark.parametrize("peak, flops", [(None, 100.0), (1000.0, 0.0)])
def test_an_unknown_mfu_is_left_out(peak: float | None, flops: float) -> None:
    row = Window(2, 0.0, 0, peak).add(STEP._replace(flops=flops), 1.0)
    assert "mfu" not in row
    assert "MFU" not in describe(row | {"skipped": False, "loss": 1.0, "losses": {"itc": 1.0}, "grad_norm": 1.0, "memory_mib": 1})


def test_the_wait_for_an_item_is_told_beside_it() -> None:
    def slow() -> Any:
        yield 1
        time.sleep(0.05)
        yield 2

    items = []
    for item, waited in timed(slow()):
        items.append((item, waited))
        time.sleep(0.1)  # the work on an item is no wait
    assert [item for item, _ in items] == [1, 2]
    assert items[1][1] >= 0.05 and items[0][1] < items[1][1]


def write_rows(out: Path, steps: list[Step], **settings: Any) -> list[dict[str, Any]]:
    chosen = LogSettings(**settings)
    log = MetricsLog(out, 0, 0, Clock(60, 0.0, 0.0, CPU), chosen, open_trackers(chosen, out, {"seed": 1}))
    for step in steps:
        log.write(step)
    log.close()
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_a_step_is_a_row_and_now_and_then_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nan = float("nan")
    steps = [STEP._replace(step=step) for step in range(5)]
    steps[3] = STEP._replace(step=3, losses={"itc": nan, "itg": 1.0}, norm=float("inf"))
    rows = write_rows(tmp_path, steps, every=2)
    assert rows[0] == {
        "step": 0,
        "loss": 3.5,
        "losses": {"itc": 2.0, "itg": 1.5},
        "lr": 1e-3,
        "grad_norm": 0.25,
        "skipped": False,
        "samples": 8,
        "faults": 1,
    } | {name: rows[0][name] for name in ("samples_per_s", "data_wait", "memory_mib", "seconds")}
    assert rows[3]["loss"] is rows[3]["losses"]["itc"] is rows[3]["grad_norm"] is None and rows[3]["skipped"]
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[2] for line in lines] == ["0", "2", "3", "4"]
    assert "loss 3.500 (itc 2.000, itg 1.500)  gradient 0.25" in lines[0] and "MiB" in lines[0] and "s left" in lines[0]
    assert "step 3 / 60  skipped: loss or gradient is not finite" in lines[2]


def test_the_numbers_of_a_row_go_to_trackers_without_what_is_not_finite() -> None:
    row = {"step": 3, "loss": None, "losses": {"itc": None, "itg": 1.0}, "skipped": True, "mfu": 0.5}
    assert scalars(row) == {"losses/itg": 1.0, "skipped": 1.0, "mfu": 0.5}


def test_the_memory_of_this_process_is_told_on_a_cpu() -> None:
    assert 50 < memory_mib(CPU) < 1 << 20


@pytest.mark.parametrize("name, value", [("tensorboard", True), ("wandb", "pairmill")])
def test_a_tracker_writes_every_step_or_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: Any
) -> None:
    require_trackers(LogSettings())
    settings = LogSettings(**{name: value})
    if find_spec(name) is None:
        message = rf"log\.{name} is set, but {name} is not installed; pip install 'pairmill\[log\]'"
        with pytest.raises(RequestError, match=message):
            require_trackers(settings)
        return
    require_trackers(settings)
    monkeypatch.setenv("WANDB_MODE", "offline")
    write_rows(tmp_path, [STEP._replace(step=step) for step in range(3)], **{name: value})
    if name == "tensorboard":
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(tmp_path / "tensorboard"))
        events.Reload()
        assert [(event.step, event.value) for event in events.Scalars("losses/itg")] == [(0, 1.5), (1, 1.5), (2, 1.5)]
    else:
        assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
