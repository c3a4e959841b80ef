"""Trains one alignment stage on exported shards, under torchrun or deepspeed.

    torchrun --nproc_per_node 2 -m trainer_bridge.train --stage contrastive --config FILE --shards URI --out DIR

Writes DIR/metrics.jsonl (a line per step), DIR/model (to use), DIR/state (to go on from: run the same command again), and
DIR/summary.json, with the recall on the held-out split.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import distributed as dist

from sharding.index import Dataset, read_dataset
from sharding.reader import ShardReader
from trainer_bridge import deep
from trainer_bridge.checkpoint import TOKENIZER, load_model, save_model
from trainer_bridge.config import TrainConfig, load_config
from trainer_bridge.evaluate import retrieval
from trainer_bridge.loader import Loader
from trainer_bridge.stages import STAGES, count_parameters
from trainer_bridge.tokenizer import load_tokenizer, train_tokenizer

TOKENIZER_CAPTIONS = 200_000
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
    parser.add_argument("--seconds", type=float, default=0.0, help="stop after this long, with the schedule fitted to it")
    options = parser.parse_args(argv)
    try:
        config = load_config(options.config)
        dataset = read_dataset(options.shards)
        dataset.shards("train")
    except (ValueError, FileNotFoundError) as error:
        sys.stderr.write(f"trainer_bridge.train: {error}\n")
        sys.exit(2)
    train(options.stage, config, dataset, options.out, options.seconds)


def train(stage_name: str, config: TrainConfig, dataset: Dataset, out: Path, seconds: float) -> None:
    """Trains from the last saved step (or the start) to the end, saves the model, and evaluates it."""
    device = deep.start()
    rank, world = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(config.data.seed)
    out.mkdir(parents=True, exist_ok=True)
    stage = STAGES[stage_name](config, _tokenizer(config, dataset, out))
    model = stage.model()
    loader = Loader(dataset, "train", config.data.batch, stage.transform, config.data.seed, rank, world)
    engine = deep.initialise(model, stage.parameters(model), config, world)
    first, spent = deep.resume(engine, out / "state")
    metrics = (out / "metrics.jsonl").open("a" if first else "w") if rank == 0 else None
    clock = Clock(config.optimizer.steps, seconds, spent)
    trained = first
    for step, batch in enumerate(loader.batches(first, config.optimizer.steps), start=first):
        progress = clock.progress(step)
        if progress >= 1:
            break
        rate = deep.set_rate(engine, config, progress)
        loss = 0.0
        for piece in deep.micro_batches(batch, config.run.micro_batch):
            value = stage.loss(engine, piece, device)
            engine.backward(value)
            engine.step()
            loss += value.item() * len(piece.captions) / len(batch.captions)
        trained = step + 1
        _log(
            metrics,
            step,
            config.optimizer.steps,
            deep.mean(loss),
            rate,
            trained * config.data.batch,
            batch.faults,
            clock,
        )
        if trained % config.run.save_every == 0:
            deep.save(engine, out / "state", trained, clock.elapsed())
    deep.save(engine, out / "state", trained, clock.elapsed())
    state = deep.full_state(engine)
    if rank == 0:
        save_model(out / "model", config.model, state, stage.tokenizer)
        _summarise(out, dataset, trained, clock.elapsed(), count_parameters(model.parameters()), config)
    dist.barrier()
    dist.destroy_process_group()


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


def _tokenizer(config: TrainConfig, dataset: Dataset, out: Path) -> Tokenizer:
    """The configured tokenizer, or one that rank 0 trains on the first captions of the shards and leaves in `out`."""
    if config.data.tokenizer:
        return load_tokenizer(Path(config.data.tokenizer))
    path = out / TOKENIZER
    if dist.get_rank() == 0 and not path.exists():
        train_tokenizer(_captions(dataset), config.model.text.vocabulary).save(str(path))
    dist.barrier()
    return load_tokenizer(path)


def _captions(dataset: Dataset) -> Iterator[str]:
    reader = ShardReader(dataset, "train")
    left = TOKENIZER_CAPTIONS
    for shard, size in enumerate(reader.sizes()):
        for row in range(min(size, left)):
            yield reader.read(shard, row).text
        left -= size
        if left <= 0:
            return


def _log(metrics: Any, step: int, steps: int, loss: float, rate: float, samples: int, faults: int, clock: Clock) -> None:
    if metrics is None:
        return
    seconds = clock.elapsed()
    row = {
        "step": step,
        "loss": round(loss, 5),
        "lr": rate,
        "samples": samples,
        "faults": faults,
        "seconds": round(seconds, 2),
    }
    metrics.write(json.dumps(row) + "\n")
    metrics.flush()
    if step % LOG_EVERY == 0:
        left = (clock.seconds - seconds) if clock.seconds else seconds / (step + 1) * (steps - step - 1)
        sys.stderr.write(
            f"train      step {step} / {steps}  loss {loss:.3f}  {samples / seconds:,.0f} samples/s  {max(0, left):.0f}s left\n"
        )


def _summarise(out: Path, dataset: Dataset, steps: int, seconds: float, parameters: int, config: TrainConfig) -> None:
    summary: dict[str, Any] = {
        "steps": steps,
        "samples": steps * config.data.batch,
        "seconds": round(seconds, 1),
        "parameters": parameters,
    }
    if "heldout" in dataset.splits:
        summary |= retrieval(*load_model(out / "model"), dataset, "heldout")
    (out / "summary.json").write_text(json.dumps(summary, indent=1, sort_keys=True) + "\n")
    sys.stdout.write(json.dumps(summary, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
