"""One GPU, at most eight minutes: training steps of all stages, scoring and captioning, with drawn weights and pictures.

    card                what a large bf16 product and a copy reach on this card
    stage1 … stage3     steps of the trainer in bf16, their blocks compiled: samples/s, MFU, memory (`_eager`: not compiled;
                        `_one_piece`: an optimizer step each micro-batch, as open_clip's loop does; `_zero0`: without ZeRO)
    bare                forward, backward and AdamW of stage 1's model on tensors in memory
    open_clip           a model of the same sizes in open_clip's own loop
    loader              stage 1 fed from shards on disk: data_wait is the share of time that it waits
    score, caption      the functions that the jobs' workers call; captions by the default batch, and by a large one

A section that fails or takes longer than its limit says so under `not_measured`, and the others go on. Each is printed on stderr
as it ends. Without a GPU everything is tiny and only shows that it runs. `--rows` is the number of pictures scored.
"""

from __future__ import annotations

import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from infra.benchmarks.on_gpu import inference, open_clip_loop, training
from infra.benchmarks.on_gpu.bench import Bench, Figures
from infra.benchmarks.on_gpu.workload import FULL, TINY, Workload, write_shards
from pipelines.captioning.settings import CaptionSettings
from trainer_bridge import deepspeed_engine

LIMIT = 450  # seconds of all sections
RATIOS = {  # ratio → (section, section): samples/s of the first over those of the second
    "vs_bare_step": ("stage1", "bare"),
    "vs_open_clip": ("stage1_one_piece", "open_clip"),
    "vs_open_clip_eager": ("stage1_eager", "open_clip_eager"),
}


def measure(rows: int) -> dict[str, Any]:
    """All sections on the GPU that there is, else tiny ones on the CPU."""
    device = deepspeed_engine.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            figures = run_sections(FULL if device.type == "cuda" else TINY, rows, Path(folder), device)
    finally:
        deepspeed_engine.stop()
    return {"device": device_name(device), "figures": figures, "ratios": ratios(figures)}


def device_name(device: torch.device) -> str:
    """What torch calls the card, and torch's version."""
    name = torch.cuda.get_device_name() if device.type == "cuda" else "no GPU: tiny sizes on the CPU, of no meaning as figures"
    return f"{name}; torch {torch.__version__}"


def ratios(figures: dict[str, Figures]) -> dict[str, float]:
    """The ratios whose sections were both measured."""
    speeds = {name: section.get("samples_per_s") for name, section in figures.items()}
    pairs = {name: (speeds.get(ours), speeds.get(theirs)) for name, (ours, theirs) in RATIOS.items()}
    return {name: round(ours / theirs, 3) for name, (ours, theirs) in pairs.items() if ours and theirs}


def run_sections(workload: Workload, rows: int, folder: Path, device: torch.device) -> dict[str, Figures]:
    """The figures of each section."""
    bench = Bench(workload, write_shards(folder / "shards", workload), folder, device)
    figures: dict[str, Figures] = {}
    end = time.perf_counter() + LIMIT
    for name, (seconds, section) in sections(bench, rows).items():
        figures[name] = {}
        started = time.perf_counter()
        try:
            with time_limit(min(seconds, round(end - started))):
                section(figures=figures[name])
        except Exception as error:  # whatever a section dies of, the next ones are measured
            figures[name]["not_measured"] = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        figures[name]["section_s"] = round(time.perf_counter() - started, 1)
        with suppress(RuntimeError):  # of a device that a section has left broken: the next ones will say so
            bench.release()
        sys.stderr.write(json.dumps({name: figures[name]}, sort_keys=True) + "\n")
        sys.stderr.flush()
    return figures


def sections(bench: Bench, rows: int) -> dict[str, tuple[int, Callable[..., None]]]:
    """Section → (its limit in seconds, what it does). Blocks are compiled on a GPU alone: a CPU's compiler is another matter."""
    pieces, compiled = bench.workload.pieces, bench.device.type == "cuda"
    stage, open_clip = partial(training.measure_stage, bench), partial(open_clip_loop.measure_open_clip, bench)
    return {
        "card": (30, partial(measure_card, bench)),
        "stage1_eager": (60, partial(stage, "contrastive", 1, compiled=False)),
        "stage1": (120, partial(stage, "contrastive", pieces, compiled=compiled)),
        "stage1_one_piece": (60, partial(stage, "contrastive", 1, compiled=compiled)),
        "stage1_zero0": (60, partial(stage, "contrastive", pieces, compiled=compiled, zero=0)),
        "bare": (60, partial(training.measure_bare, bench, pieces, compiled=compiled)),
        "loader": (60, partial(training.measure_loader, bench, compiled=compiled)),
        "open_clip_eager": (60, partial(open_clip, compiled=False)),
        "open_clip": (90, partial(open_clip, compiled=compiled)),
        "stage3": (120, partial(stage, "chat", pieces, compiled=compiled)),
        "stage2": (90, partial(stage, "generative", pieces, compiled=compiled)),
        "score": (60, partial(inference.measure_score, bench, count=rows or bench.workload.scored)),
        "caption": (60, partial(inference.measure_caption, bench, CaptionSettings().batch if compiled else 1)),
        "caption_large_batch": (60, partial(inference.measure_caption, bench, bench.workload.large_batch)),
    }


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """TimeoutError in the main thread after so many seconds; at the end of the call into the device that then runs."""
    if seconds < 1:
        raise TimeoutError(f"the {LIMIT} s of the benchmark are over")

    def stop(number: int, frame: Any) -> None:
        raise TimeoutError(f"took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def measure_card(bench: Bench, figures: Figures) -> None:
    """TFLOP/s of a product of square bf16 matrices, and GB/s, read and written, of a copy."""
    device = bench.device
    side = 8192 if device.type == "cuda" else 64
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds = bench.median_seconds(lambda: left @ right, 3, 10)
    figures["bf16_tflops"] = round(2 * side**3 / seconds / 1e12, 2)
    source = torch.empty(side, side, 16, device=device)
    target = torch.empty_like(source)
    seconds = bench.median_seconds(lambda: target.copy_(source), 3, 10)
    figures["copy_gb_per_s"] = round(2 * source.nbytes / seconds / 1e9, 1)
