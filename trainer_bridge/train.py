"""Trains one alignment stage on exported shards, under torchrun or deepspeed.

    torchrun --nproc_per_node 2 -m trainer_bridge.train --stage contrastive --config FILE --shards URI --out DIR

Writes DIR/metrics.jsonl (a line per step), DIR/model (to use), DIR/state (to go on from: run the same command again), and
DIR/summary.json, with what the model does on the held-out split. `--from` names the model folder a stage begins with: the
generative and the chat stage need stage 1's.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist

from sharding.index import Dataset, read_dataset
from trainer_bridge.checkpoints import deepspeed_engine
from trainer_bridge.config import TrainConfig, load_config
from trainer_bridge.data.loader import Loader
from trainer_bridge.stages import STAGES, Stage

LOG_EVERY = 10


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the request and trains."""
    parser = argparse.ArgumentParser(
        prog="trainer_bridge.train", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--stage", required=True, choices=sorted(STAGES))
    parser.add_argument("--config", required=True, help="the experiment (TOML)")
    parser.add_argument("--shards", required=True, metavar="URI", help="shards that `pairmill export` wrote")
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--from", dest="start", type=Path, metavar="DIR", help="a model folder to begin with")
    parser.add_argument("--seconds", type=float, default=0.0, help="stop after this long, with the schedule fitted to it")
    options = parser.parse_args(argv)
    kind = STAGES[options.stage]
    try:
        config = load_config(options.config, kind.config_type)
        dataset = read_dataset(options.shards)
        dataset.shards("train")
    except (ValueError, FileNotFoundError) as error:
        _refuse(error)
    device = deepspeed_engine.start()
    torch.manual_seed(config.data.seed)
    if dist.get_rank() == 0:
        options.out.mkdir(parents=True, exist_ok=True)
    dist.barrier()
    try:
        stage = kind(config, dataset, options.start, options.out)
        train(stage, config, dataset, options.out, options.seconds, device)
    except ValueError as error:
        _refuse(error)
    finally:
        dist.destroy_process_group()


def _refuse(error: Exception) -> None:
    """One line, from one rank."""
    if not dist.is_initialized() or dist.get_rank() == 0:
        sys.stderr.write(f"trainer_bridge.train: {error}\n")
    sys.exit(2)


def train(stage: Stage, config: TrainConfig, dataset: Dataset, out: Path, seconds: float, device: torch.device) -> None:
    """Trains from the last saved step (or the start) to the end, saves the model, and evaluates it."""
    rank, world = dist.get_rank(), dist.get_world_size()
    loader = Loader(dataset, "train", config.data.batch, stage.transform, config.data.seed, rank, world)
    engine = deepspeed_engine.initialise(stage.model, stage.parameters(), config, world)
    first, spent = deepspeed_engine.resume(engine, out / "state")
    metrics = (out / "metrics.jsonl").open("a" if first else "w") if rank == 0 else None
    clock = Clock(config.optimizer.steps, seconds, spent)
    trained = first
    for step, batch in enumerate(loader.batches(first, config.optimizer.steps), start=first):
        progress = clock.progress(step)
        if progress >= 1:
            break
        rate = deepspeed_engine.set_rate(engine, config, progress)
        # What is drawn in a step (dropped tokens, hard negatives) depends on the step, not on what ran before a resume.
        torch.manual_seed(config.data.seed + (step * world + rank) * 1_000_003)
        losses: Counter[str] = Counter()
        for piece in deepspeed_engine.micro_batches(batch, config.run.micro_batch):
            made = stage.losses(engine, piece, device)
            engine.backward(sum(made.values()))
            engine.step()
            losses.update({name: value.item() * len(piece.captions) / len(batch.captions) for name, value in made.items()})
        trained = step + 1
        found = deepspeed_engine.mean(losses)
        if metrics is not None:
            _log(metrics, step, config.optimizer.steps, found, rate, trained * config.data.batch, batch.faults, clock)
        if trained % config.run.save_every == 0:
            deepspeed_engine.save(engine, out / "state", trained, clock.elapsed())
    deepspeed_engine.save(engine, out / "state", trained, clock.elapsed())
    elapsed = clock.elapsed()
    state = deepspeed_engine.full_state(engine)
    if rank == 0:
        stage.save(out / "model", state)
        _summarise(stage, out, dataset, trained, trained * config.data.batch, elapsed)
    dist.barrier()


class Clock:
    """How far training is: by steps, or by time where a bound in seconds was given. All ranks agree, as rank 0 decides.

    `spent` are the seconds trained before a resume: they count, in the bound and in every rate.
    """

    def __init__(self, steps: int, seconds: float, spent: float) -> None:
        self.steps, self.seconds, self.started = steps, seconds, time.monotonic() - spent

    def elapsed(self) -> float:
        """Seconds trained, those before a resume included."""
        return time.monotonic() - self.started

    def progress(self, step: int) -> float:
        """0 at the start, 1 when it is time to stop."""
        by_steps = step / self.steps
        if not self.seconds:
            return by_steps
        agreed = torch.tensor([max(by_steps, self.elapsed() / self.seconds)])
        dist.broadcast(agreed, 0)
        return float(agreed.item())


def _log(
    metrics: Any, step: int, steps: int, losses: dict[str, float], rate: float, samples: int, faults: int, clock: Clock
) -> None:
    """A line of metrics.jsonl, and now and then one for people."""
    seconds, loss = clock.elapsed(), sum(losses.values())
    row: dict[str, Any] = {"step": step, "loss": round(loss, 5), "lr": rate, "samples": samples, "faults": faults}
    row |= {"losses": {name: round(value, 5) for name, value in losses.items()}, "seconds": round(seconds, 2)}
    metrics.write(json.dumps(row) + "\n")
    metrics.flush()
    if step % LOG_EVERY == 0:
        left = (clock.seconds - seconds) if clock.seconds else seconds / (step + 1) * (steps - step - 1)
        parts = "" if len(losses) == 1 else " (" + ", ".join(f"{name} {value:.3f}" for name, value in losses.items()) + ")"
        rates = f"{samples / seconds:,.0f} samples/s  {max(0, left):.0f}s left"
        sys.stderr.write(f"train      step {step} / {steps}  loss {loss:.3f}{parts}  {rates}\n")


def _summarise(stage: Stage, out: Path, dataset: Dataset, steps: int, samples: int, seconds: float) -> None:
    """What was trained, for how long, and what came of it."""
    parameters = list(stage.model.parameters())
    summary: dict[str, Any] = {
        "steps": steps,
        "samples": samples,
        "seconds": round(seconds, 1),
        "parameters": sum(parameter.numel() for parameter in parameters),
        "trained_parameters": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
    }
    if "heldout" in dataset.splits:
        summary |= stage.evaluate(out / "model", dataset)
    (out / "summary.json").write_text(json.dumps(summary, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    sys.stdout.write(json.dumps(summary, sort_keys=True, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
