"""What a training writes of each step: a row of metrics.jsonl and of trackers, now and then a line on stderr, and its faults."""

from __future__ import annotations

import json
import math
import resource
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import torch

from trainer_bridge.clock import Clock
from trainer_bridge.flops import peak_flops
from trainer_bridge.stages.settings import LogSettings
from trainer_bridge.trackers import Tracker

Item = TypeVar("Item")


def timed(items: Iterable[Item]) -> Iterator[tuple[Item, float]]:
    """Each item, and the seconds until it came."""
    started = time.monotonic()
    for item in items:
        yield item, time.monotonic() - started
        started = time.monotonic()


class Step(NamedTuple):
    """An optimizer step.

    step     its number, from 0
    losses   parts of the loss of the global batch, by name
    norm     of the gradient before it was clipped; not finite where the step was skipped
    rate     learning rate of the first group
    samples  of all steps up to its end
    faults   samples of its batch that were left out
    waited   seconds that a rank waited for its part of the batch, the mean over ranks
    flops    of the step on one rank, by formula; 0: unknown
    evaluated  figures by the names of evaluations, where they were computed after this step
    measures   numbers of the stage that are no losses: `padding` is a share
    """

    step: int
    losses: dict[str, float]
    norm: float
    rate: float
    samples: int
    faults: int
    waited: float
    flops: float
    evaluated: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    measures: Mapping[str, float] = MappingProxyType({})


class Window:
    """Rates over the last `size` steps. A mean since the start would hide what is slow now.

    seconds, samples  those before the first step
    peak              FLOP/s of a device; None: unknown
    """

    def __init__(self, size: int, seconds: float, samples: int, peak: float | None) -> None:
        self.ends = deque([(seconds, samples)], maxlen=size + 1)
        self.parts: deque[tuple[float, float]] = deque(maxlen=size)
        self.peak = peak

    def add(self, step: Step, seconds: float) -> dict[str, float]:
        """The rates at the end of a step: samples/s of all ranks, the share of time that ranks waited for data, MFU if known."""
        self.ends.append((seconds, step.samples))
        self.parts.append((step.waited, step.flops))
        start, before = self.ends[0]
        duration = max(seconds - start, 1e-9)
        waited, flops = (sum(column) for column in zip(*self.parts, strict=True))
        rates = {"samples_per_s": round((step.samples - before) / duration, 2), "data_wait": round(waited / duration, 4)}
        return rates | ({"mfu": round(flops / duration / self.peak, 4)} if self.peak and flops else {})


class MetricsLog:
    """The rows of a run, after `done` steps with `samples` that were trained before. Rank 0 alone has one."""

    def __init__(
        self, out: Path, done: int, samples: int, clock: Clock, settings: LogSettings, trackers: Sequence[Tracker] = ()
    ) -> None:
        if done:
            _drop_unfinished_line(out / "metrics.jsonl")
        self.file, self.trackers = (out / "metrics.jsonl").open("a" if done else "w"), trackers
        self.clock, self.every = clock, settings.every
        self.window = Window(settings.window, clock.elapsed(), samples, peak_flops(clock.device))

    def write(self, step: Step) -> None:
        """Writes a row. What is not finite is null in it."""
        seconds = self.clock.elapsed()
        row: dict[str, Any] = {"step": step.step, "loss": _finite(sum(step.losses.values())), "lr": step.rate}
        row |= {"losses": {name: _finite(value) for name, value in step.losses.items()}, "grad_norm": _finite(step.norm)}
        row |= {"skipped": not math.isfinite(step.norm), "samples": step.samples, "faults": step.faults}
        row |= {name: round(value, 4) for name, value in step.measures.items()}
        row |= self.window.add(step, seconds) | {"memory_mib": memory_mib(self.clock.device), "seconds": round(seconds, 2)}
        if step.evaluated:
            row["evaluation"] = {name: _numbers(figures) for name, figures in step.evaluated.items()}
        self.file.write(json.dumps(row) + "\n")
        self.file.flush()
        for tracker in self.trackers:
            tracker.write(step.step, scalars(row))
        if step.step % self.every == 0 or row["skipped"]:
            left = f"{self.clock.remaining(step.step):.0f}s left"
            sys.stderr.write(f"train      step {step.step} / {self.clock.steps}  {describe(row)}  {left}\n")

    def close(self) -> None:
        """Ends the file and the trackers."""
        self.file.close()
        for tracker in self.trackers:
            tracker.close()


def describe(row: dict[str, Any]) -> str:
    """A row for people, in one line."""
    if row["skipped"]:
        return "skipped: loss or gradient is not finite"
    parts = ", ".join(f"{name} {value:.3f}" for name, value in row["losses"].items())
    loss = f"loss {row['loss']:.3f}" + (f" ({parts})" if len(row["losses"]) > 1 else "")
    mfu = f"  MFU {row['mfu']:.1%}" if "mfu" in row else ""
    padding = f"  {row['padding']:.1%} padding" if "padding" in row else ""
    rates = f"{row['samples_per_s']:,.0f} samples/s{mfu}  {row['data_wait']:.0%} waiting for data"
    return f"{loss}  gradient {row['grad_norm']:.3g}  {rates}{padding}  {row['memory_mib']:,} MiB"


def scalars(row: dict[str, Any]) -> dict[str, float]:
    """The numbers of a row by name, parts of the loss as `losses/itc`, figures as `heldout/recall@1`.

    Without the step, and without what is not finite.
    """
    flat = row | {f"losses/{name}": value for name, value in row["losses"].items()}
    for evaluation, figures in row.get("evaluation", {}).items():
        flat |= {f"{evaluation}/{name}": value for name, value in figures.items()}
    return {name: float(value) for name, value in flat.items() if isinstance(value, int | float) and name != "step"}


def memory_mib(device: torch.device) -> int:
    """The most memory that was in use so far: of a GPU what torch allocated on it, else that of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device)) // 2**20
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) // 1024


def _numbers(figures: Mapping[str, Any]) -> dict[str, float]:
    """The figures that are numbers, rounded."""
    return {name: round(value, 5) for name, value in figures.items() if isinstance(value, int | float)}


def write_faults(path: Path, step: int, faults: Sequence[str]) -> None:
    """Appends a line for each sample of a rank's batch that was left out."""
    if faults:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps({"step": step, "fault": fault}, ensure_ascii=False) + "\n" for fault in faults)


def _drop_unfinished_line(path: Path) -> None:
    """Cuts off what a killed run wrote of its last line: its step is done again."""
    if path.exists():
        data = path.read_bytes()
        with path.open("r+b") as file:
            file.truncate(data.rfind(b"\n") + 1)


def counts(out: Path) -> dict[str, int]:
    """`faults`, the samples left out in all steps, and `skipped_steps`; of a step done again after a resume the last counts."""
    rows = {row["step"]: row for row in map(json.loads, (out / "metrics.jsonl").read_text().splitlines())}
    return {name: sum(row[key] for row in rows.values()) for name, key in (("faults", "faults"), ("skipped_steps", "skipped"))}


def _finite(value: float) -> float | None:
    """Rounded for a log; None for what JSON has no number for."""
    return round(value, 5) if math.isfinite(value) else None
