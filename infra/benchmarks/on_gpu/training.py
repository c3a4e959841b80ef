"""Training steps: samples/s, MFU and memory of the trainer's own, and of a bare loop around the same model."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import torch

from infra.benchmarks.on_gpu.bench import Bench, Figures
from trainer_bridge import deepspeed_engine
from trainer_bridge.checkpoints.building import fill
from trainer_bridge.data.batch import Batch
from trainer_bridge.data.loader import Loader
from trainer_bridge.flops import contrastive_step
from trainer_bridge.models.blocks import compile_blocks, embed_in_bf16
from trainer_bridge.models.pair_loss import Features
from trainer_bridge.stages.feature_cache import loss_parts
from trainer_bridge.train import train_step


class StageRun:
    """A stage as `train` runs it, with DeepSpeed, and a batch of the shards in memory."""

    def __init__(self, bench: Bench, name: str, pieces: int, *, compiled: bool, zero: int = 1) -> None:
        self.bench = bench
        experiment, self.stage = bench.stage(name, pieces, compiled=compiled, zero=zero)
        self.engine = deepspeed_engine.initialise(self.stage.model, self.stage.parameters(), experiment, 1, self.stage.tensors)
        self.batch = repeated(self.loader(bench.workload.micro_batch).load(0), pieces)

    def loader(self, batch: int) -> Loader:
        """A loader of the shards."""
        return Loader(self.bench.dataset, "train", batch, self.stage.transform, 0)

    def step(self, batch: Batch) -> None:
        """An optimizer step."""
        train_step(self.stage, self.engine, batch, self.bench.workload.micro_batch, self.bench.device)


def repeated(batch: Batch, times: int) -> Batch:
    """The samples of a batch, several times over."""
    lists = {name: getattr(batch, name) * times for name in ("captions", "json", "sample_ids", "image_keys", "positions")}
    return replace(batch, pixels=batch.pixels.repeat(times, 1, 1, 1), valid=batch.valid.repeat(times), **lists)


def measure_stage(bench: Bench, name: str, pieces: int, figures: Figures, *, compiled: bool, zero: int = 1) -> None:
    """Steps of a stage on a batch in memory."""
    with bench.measured_memory(figures):
        run = StageRun(bench, name, pieces, compiled=compiled, zero=zero)
        figures |= bench.speed(lambda: run.step(run.batch), len(run.batch.captions), run.stage.flops)
        run.engine.destroy()


def measure_loader(bench: Bench, figures: Figures, *, compiled: bool) -> None:
    """Steps of stage 1 fed by the loader from shards on disk: the share of time that they wait for data."""
    workload = bench.workload
    run = StageRun(bench, "contrastive", workload.pieces, compiled=compiled)
    samples, waited = len(run.batch.captions), 0.0
    loader = run.loader(samples)
    batches = loader.batches(0, workload.timed + 1)
    bench.median_seconds(lambda: run.step(next(batches)), 0, 1)  # nothing was read ahead of the first
    started = time.perf_counter()
    for _ in range(workload.timed):
        before = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - before
        bench.median_seconds(partial(run.step, batch), 0, 1)
    seconds = time.perf_counter() - started
    figures |= {"samples_per_s": round(samples * workload.timed / seconds, 2), "data_wait": round(waited / seconds, 4)}
    figures["loader_alone_samples_per_s"] = round(samples / bench.median_seconds(lambda: loader.load(0), 0, 1), 1)
    run.engine.destroy()


def measure_bare(bench: Bench, pieces: int, figures: Figures, *, compiled: bool) -> None:
    """Forward, backward, clipping and fused AdamW of stage 1's model on tensors in memory: no DeepSpeed, no tokenizer."""
    workload, device, rows = bench.workload, bench.device, bench.workload.micro_batch
    with bench.measured_memory(figures):
        _, stage = bench.stage("contrastive", pieces, compiled=False)
        fill(stage.model, stage.tensors or {}, device)
        model, side = stage.model, workload.image.image_size
        embed_in_bf16(model)
        if compiled:
            compile_blocks(model)
        optimizer = torch.optim.AdamW(stage.parameters(), fused=True)
        count = rows * pieces
        ids = torch.randint(2, workload.text.vocabulary, (rows, workload.text.length), device=device)
        lengths = torch.full((rows,), workload.text.length, device=device)
        pixels, valid = torch.randn(count, 3, side, side, device=device), torch.ones(count, dtype=torch.bool, device=device)
        batch = Batch(pixels, [""] * count, [b"{}"] * count, [0] * count, [0] * count, [0] * count, valid, [])

        def features(part: Batch) -> Features:
            with torch.autocast(device.type, torch.bfloat16):
                return Features(*model(part.pixels, ids, lengths))

        def step() -> None:
            for loss in loss_parts(features, batch, rows, device):
                loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

        figures |= bench.speed(step, count, lambda: contrastive_step(workload.stage1, workload.text.length))
