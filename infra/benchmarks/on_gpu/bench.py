"""What the sections share: the workload on a device, clocks, and peaks of memory."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from infra.benchmarks.on_gpu.workload import Workload
from sharding import Dataset
from trainer_bridge.checkpoints.layouts.layout import TOKENIZER
from trainer_bridge.checkpoints.model_folders import save_contrastive
from trainer_bridge.data.tokenizer import load_tokenizer
from trainer_bridge.flops import peak_flops
from trainer_bridge.models.contrastive import ContrastiveModel
from trainer_bridge.stages import find_stages

Figures = dict[str, Any]


@dataclass(frozen=True)
class Bench:
    """What is measured, on which shards and which device, with a folder for models."""

    workload: Workload
    dataset: Dataset
    folder: Path
    device: torch.device

    def stage(self, name: str, pieces: int, *, compiled: bool, zero: int = 1) -> tuple[Any, Any]:
        """(experiment, stage) with drawn weights, an optimizer step being so many micro-batches."""
        experiment = self.workload.experiment(name, pieces, compiled=compiled, zero=zero)
        start = None if name == "contrastive" else self.stage1_folder()
        return experiment, find_stages()[name](experiment, self.dataset, start, self.folder)

    def stage1_folder(self) -> Path:
        """A stage-1 model that the other stages start from; a section of stage 1 has left its tokenizer."""
        path = self.folder / "stage1"
        if not path.exists():
            with self.device:
                model = ContrastiveModel(self.workload.stage1)
            save_contrastive(
                path, self.workload.stage1, model.state_dict(), load_tokenizer(self.folder / TOKENIZER, self.workload.text)
            )
        return path

    def median_seconds(self, step: Callable[[], object], warm: int, timed: int) -> float:
        """The median of `timed` runs of a step, to the end of the device's work, after `warm` ones."""
        seconds = []
        for number in range(warm + timed):
            started = time.perf_counter()
            step()
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            if number >= warm:
                seconds.append(time.perf_counter() - started)
        return statistics.median(seconds)

    def speed(self, step: Callable[[], object], samples: int, flops_per_sample: Callable[[], float]) -> Figures:
        """samples/s, TFLOP/s and, for a card whose peak is known, MFU of an optimizer step on so many samples."""
        seconds = self.median_seconds(step, self.workload.warm, self.workload.timed)
        achieved = flops_per_sample() * samples / seconds
        peak = peak_flops(self.device)
        return {
            "samples_per_s": round(samples / seconds, 2),
            "samples_per_step": samples,
            "tflops": round(achieved / 1e12, 1),
            "mfu": round(achieved / peak, 4) if peak else None,
        }

    @contextmanager
    def measured_memory(self, figures: Figures) -> Iterator[None]:
        """Notes the peak of the device's memory in `figures`."""
        self.release()
        yield
        if self.device.type == "cuda":
            figures["peak_memory_gib"] = round(torch.cuda.max_memory_allocated() / (1 << 30), 1)

    def release(self) -> None:
        """Frees the device memory of objects that nothing holds any more."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
