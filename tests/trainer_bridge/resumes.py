"""Trainings that are saved and gone on from: `python -m tests.trainer_bridge.resumes FOLDER CASES` under torchrun.

A case is name:before:after, the ZeRO stages before and after the resume. Of each, at this number of ranks, rank 0 writes to
FOLDER/<case>-<world>.json the results of a run that never stops, which saves a state on the way, and of the run that goes on from
it; where FOLDER holds a state of another number of ranks, also of the run that goes on from that.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from torch import distributed as dist

from tests.support.stages import global_batch, stage_of
from trainer_bridge import deepspeed_engine
from trainer_bridge.data.batch import Batch
from trainer_bridge.run_folder import RunFolder
from trainer_bridge.run_states import RunStates
from trainer_bridge.stages.stage import made_once
from trainer_bridge.train import train_step

SAVED, STEPS = 3, 6


def batch_of(step: int, drawn: bool) -> Batch:
    """Another global batch at each step: the same samples, at their places in the order of training, with other pictures."""
    batch = global_batch(drawn)
    batch.pixels = batch.pixels.roll(step, dims=-1)
    batch.positions = [position + step * len(batch.positions) for position in batch.positions]
    return batch


def run_steps(name: str, start: Path, zero: int, uri: Path, steps: int, saved: int = 0) -> list[dict[str, float]]:
    """The losses of each step from the newest state on, and sums of the final weights last; saves after `saved` steps."""
    settings: dict[str, Any] = {"run": {"zero": zero, "micro_batch": 3}}
    if name in ("softmax", "sigmoid"):
        settings |= {"data": {"drop_tokens": 0.4}}
    stage = stage_of(name, start, **settings)
    if name in ("softmax", "sigmoid"):
        for block in stage.model.image_tower.blocks:
            block.drop_path = 0.3
    rank, world = dist.get_rank(), dist.get_world_size()
    states = RunStates(RunFolder(str(uri)), stage.model, {"name": name}, keep=2)
    engine = deepspeed_engine.initialise(stage.model, stage.parameters(), stage.experiment, world)
    results = []
    for step in range(states.restore(engine).get("steps", 0), steps):
        deepspeed_engine.set_learning_rates(engine, stage.experiment.optimizer, step / stage.experiment.optimizer.steps)
        torch.manual_seed(step * world + rank)
        batch = list(batch_of(step, name == "drawn").split(8 // world))[rank]
        results.append(deepspeed_engine.total(train_step(stage, engine, batch, 3, engine.device)))
        if step + 1 == saved:
            states.save(engine, {"steps": step + 1})
    weights = deepspeed_engine.full_state(engine)
    results.append({name: float(tensor.double().abs().sum()) for name, tensor in weights.items()})
    engine.destroy()
    return results


def run_case(start: Path, case: str) -> None:
    """Runs a case at this number of ranks."""
    name, before, after = case.split(":")
    world = dist.get_world_size()
    state = start / f"{case}-state-{world}"
    if dist.get_rank() == 0:
        shutil.rmtree(state, ignore_errors=True)
    dist.barrier()
    results = {"straight": run_steps(name, start, int(before), state, STEPS, SAVED)}
    results["resumed"] = run_steps(name, start, int(after), state, STEPS)
    for other in sorted(start.glob(f"{case}-state-*")):
        if other != state:
            results[f"from {other.name.rpartition('-')[2]}"] = run_steps(name, start, int(after), other, STEPS)
    if dist.get_rank() == 0:
        (start / f"{case}-{world}.json").write_text(json.dumps(results))


def check_made_once(folder: Path) -> None:
    """What rank 0 makes is on the disk of every machine; here each rank has a folder of its own."""
    own = folder / f"machine-{dist.get_rank()}"

    def make(path: Path) -> None:
        assert dist.get_rank() == 0
        path.mkdir(parents=True)
        for name in "ab":
            (path / name).write_text(f"é{name}")

    path = made_once(own / "files", make)
    assert [file.read_text() for file in sorted(path.iterdir())] == ["éa", "éb"]
    assert made_once(own / "file", lambda path: path.write_text("é")).read_text() == "é"


def main(start: Path, cases: list[str]) -> None:
    """Runs all cases."""
    deepspeed_engine.start()
    check_made_once(start / f"made-{dist.get_world_size()}")
    for case in cases:
        run_case(start, case)
    deepspeed_engine.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
