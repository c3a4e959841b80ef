"""Trains one alignment stage on exported shards, under torchrun or deepspeed.

    torchrun --nproc_per_node 2 -m trainer_bridge.train --stage contrastive --config FILE --shards URI --out DIR
    torchrun --nproc_per_node 2 -m trainer_bridge.train --stage chat --config FILE --data META.json --from DIR --out DIR

Writes DIR/metrics.jsonl (a line per step), DIR/model (to use), DIR/state (to resume from: run the same command again), and
DIR/summary.json, with figures of the model on the held-out split. Samples that cannot be read or decoded are left out of the
loss, counted, and named in DIR/faults-<rank>.jsonl. `--from` names the model folder a stage starts from: the generative and the
chat stage need stage 1's. On SIGTERM it saves its state and ends with exit status 143: the same command goes on from there.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from infra.compat.errors import RequestError
from infra.compat.failures import failure_line
from infra.compat.memory import keep_all_memory
from sharding.index import Dataset
from trainer_bridge import deepspeed_engine
from trainer_bridge.clock import Clock
from trainer_bridge.data.batch import Batch
from trainer_bridge.data.instructions.loader import ExampleLoader
from trainer_bridge.data.loader import Loader
from trainer_bridge.evaluation.plan import Evaluation, plan_evaluations
from trainer_bridge.evaluation.shards import open_shards
from trainer_bridge.evaluations import Evaluations
from trainer_bridge.guard import SkippedSteps, TrainingFault, require_finite
from trainer_bridge.memory_report import add_options, plan_ahead, plan_only
from trainer_bridge.metrics import MetricsLog, Step, counts, timed, write_faults
from trainer_bridge.phases import batches, require_divisible
from trainer_bridge.ranks import fail, rank_environment
from trainer_bridge.request import check_folders, check_request, trained_on, weighted
from trainer_bridge.run_folder import RunFolder
from trainer_bridge.run_states import RunStates, what_decides
from trainer_bridge.samples import Samples
from trainer_bridge.schedule import Phase, samples_before
from trainer_bridge.stages import Stage, find_stages
from trainer_bridge.stages.settings import Experiment, load_experiment
from trainer_bridge.stop_signal import STOPPED, StopSignal
from trainer_bridge.trackers import open_trackers, require_trackers


def main(argv: Sequence[str] | None = None) -> None:
    """Parses the command line and trains; exit status 2 and one line when the request is wrong."""
    stages = find_stages()
    parser = _parser(stages)
    options = parser.parse_args(argv)
    if not (options.plan or options.out):
        parser.error("--out is required, but for --plan")
    stage_type = stages[options.stage]
    try:
        experiment = load_experiment(options.config, stage_type.experiment_type)
        if options.plan:
            check_request(stage_type, experiment, (), options.ranks)
            return plan_only(stage_type, experiment, options)
        experiment = trained_on(experiment, options.data, options.shards, options.mix)
        dataset = open_shards(options.shards) if options.shards else None
        mixed_in = [(open_shards(uri), weight) for uri, weight in map(weighted, options.mix)]
        world = int(rank_environment(os.environ)["WORLD_SIZE"])
        datasets = [(dataset, 1.0), *mixed_in] if dataset else []
        check_request(stage_type, experiment, [each for each, _ in datasets], world)
        evaluations = plan_evaluations(experiment.evaluation, stage_type.evaluator_type, dataset)
        require_trackers(experiment.log)
        if not 0 <= options.seconds < math.inf:
            raise RequestError(f"--seconds {options.seconds:g} is no time; give a number above 0")
        if options.seconds and len(experiment.phases()) > 1:
            raise RequestError("--seconds fits no experiment with several [[phase]]; set optimizer.steps")
        folder = RunFolder(options.out)
        check_folders(folder.local, options.start)
        plan_ahead(stage_type, experiment, options.start)
    except (RequestError, ValueError, OSError, ImportError) as error:
        fail("trainer_bridge.train", error)
    device = deepspeed_engine.start()
    torch.manual_seed(experiment.data.seed)
    try:
        folder.open()
        dist.barrier()
        stage = stage_type(experiment, dataset, options.start, folder.local)
        finished = train(stage, experiment, datasets, folder, options.seconds, device, evaluations)
        folder.close()
    except (RequestError, ValueError) as error:
        fail("trainer_bridge.train", error)
    except TrainingFault as fault:
        fail("trainer_bridge.train", fault, 1)
    except Exception as error:
        if failure_line(error) is None or dist.get_rank() != 0:
            raise
        fail("trainer_bridge.train", error, 1)  # of a disk, network or object store
    finally:
        folder.release()
        deepspeed_engine.stop()
    if not finished:
        sys.exit(STOPPED)


def _parser(stages: Mapping[str, type[Stage]]) -> argparse.ArgumentParser:
    lines = [
        f"  {name:<12} {(sys.modules[stage.__module__].__doc__ or '').partition(chr(10))[0]}" for name, stage in stages.items()
    ]
    parser = argparse.ArgumentParser(
        prog="trainer_bridge.train",
        description=__doc__,
        epilog="\n".join(["stages:", *lines]),
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--stage", required=True, choices=sorted(stages))
    parser.add_argument("--config", required=True, help="the experiment (TOML)")
    parser.add_argument("--shards", metavar="URI", help="shards that `pairmill export` wrote")
    parser.add_argument(
        "--data", metavar="URI", default="", help="conversations in place of shards: a meta file, JSON lines, a list"
    )
    parser.add_argument(
        "--mix",
        action="append",
        default=[],
        metavar="URI=WEIGHT",
        help="more shards; samples of them for one of --shards",
    )
    parser.add_argument("--out", metavar="URI", help="where the run writes: a folder, s3://…")
    parser.add_argument("--from", dest="start", type=Path, metavar="DIR", help="a model folder to start from")
    parser.add_argument("--seconds", type=float, default=0.0, help="stop after this long, with the schedule fitted to it")
    add_options(parser)
    return parser


def train(
    stage: Stage,
    experiment: Experiment,
    datasets: Sequence[tuple[Dataset, float]],
    folder: RunFolder,
    seconds: float,
    device: torch.device,
    evaluations: Sequence[Evaluation] = (),
) -> bool:
    """Trains from the newest saved state (or the start) to the end, saves the model, evaluates it; False where SIGTERM came.

    On `datasets` with their weights, or on the stage's conversations.
    """
    rank, world, out = dist.get_rank(), dist.get_world_size(), folder.local
    data, steps, phases = experiment.data, experiment.optimizer.steps, experiment.phases()
    require_divisible(phases, world)
    sizes = _parameter_counts(stage.model)  # before ZeRO-3 leaves each rank a piece of every parameter
    run = what_decides(stage, experiment, datasets)
    states = RunStates(folder, stage.model, run, experiment.run.keep)
    engine = deepspeed_engine.initialise(stage.model, stage.parameters(), experiment, world, stage.tensors)
    before = states.restore(engine)
    done, seconds_before = before.get("steps", 0), before.get("seconds", 0.0)
    evaluator = stage.evaluator(device, experiment.run.micro_batch)
    figures = Evaluations(engine, evaluator, evaluations, experiment.run.evaluate_every)
    samples = Samples(engine, stage, experiment.run.sample_every, out, device)
    clock = Clock(steps, seconds, seconds_before, device)
    metrics = _open_log(experiment, out, done, clock) if rank == 0 else None
    skipped, stop = SkippedSteps(min(experiment.optimizer.max_bad_steps, steps)), StopSignal()
    if device.type == "cpu":
        keep_all_memory()  # only now: what building and restoring take is given back

    def save() -> None:
        require_finite(deepspeed_engine.weights_are_finite(engine), done)
        states.save(engine, {"steps": done, "seconds": clock.elapsed()})

    def loader_of(phase: Phase) -> Loader | ExampleLoader:
        if stage.examples is not None:
            return ExampleLoader(stage.examples, phase.batch, rank, world, data, phase.start)
        (dataset, _), *mixed_in = datasets
        where = dataset, "train", phase.batch, stage.transform, data.seed, rank, world
        return Loader(*where, mixed_in=mixed_in, settings=data, start=phase.start)

    for (phase, step, batch), waited in timed(stop.watched(batches(stage, phases, loader_of, done))):
        progress = clock.progress(step)
        if progress >= 1:
            break
        rate = deepspeed_engine.set_learning_rates(engine, experiment.optimizer, progress, phase.rate)
        # What torch's generator gives in a step must not depend on whether the run was resumed before it.
        torch.manual_seed(data.seed + (step * world + rank) * 1_000_003)
        losses = train_step(stage, engine, batch, phase.micro_batch, device)
        done = step + 1
        write_faults(out / f"faults-{rank:05d}.jsonl", step, batch.faults)
        own = {"faults": len(batch.faults), "waited": waited, "stopped": stop.received}
        losses |= {name: torch.tensor(float(value), device=device) for name, value in own.items()}
        totals, norm = deepspeed_engine.total(losses), deepspeed_engine.gradient_norm(engine)
        stopped = totals.pop("stopped") > 0  # on any rank: all stop after the same step
        evaluated = {} if stopped else figures.after(done)
        if metrics is not None:
            faults, waited = round(totals.pop("faults")), totals.pop("waited") / world
            flops = stage.flops() * phase.batch / world
            metrics.write(
                Step(step, totals, norm, rate, samples_before(phases, done), faults, waited, flops, evaluated, stage.measures)
            )
        skipped.count(step, not math.isfinite(norm))
        samples.after(0 if stopped else done)
        if stopped or done % experiment.run.save_every == 0:
            save()
        if stopped:
            if metrics is not None:
                metrics.close()
            return False
    save()
    elapsed = clock.elapsed()
    with deepspeed_engine.averaged_weights(engine):
        state = deepspeed_engine.full_state(engine)
    if metrics is not None:
        metrics.close()
        stage.save(out / "model", state)
        summary = {
            "steps": done,
            "samples": samples_before(phases, done),
            **counts(out),
            "seconds": round(elapsed, 1),
            **sizes,
        }
    evaluated = figures.summary(done)
    if rank == 0:
        _summarise(out, summary | evaluated)
    dist.barrier()
    return True


def train_step(stage: Stage, engine: Any, batch: Batch, micro_batch: int, device: torch.device) -> dict[str, Tensor]:
    """One optimizer step on a rank's batch, in micro-batches; the rank's part of each loss by name, scalars on the device."""
    losses: dict[str, Tensor] = {}
    for i, parts in enumerate(stage.losses(engine, batch, micro_batch, device), start=1):
        last = i == stage.parts(batch, micro_batch)
        deepspeed_engine.step(engine, sum(parts.values(), torch.zeros((), device=device)), last)
        # Not as numbers yet: each would make the processor wait for the device.
        losses = {name: value.detach() + losses.get(name, 0) for name, value in parts.items()}
    return losses


def _open_log(experiment: Experiment, out: Path, done: int, clock: Clock) -> MetricsLog:
    """The log of a run after `done` steps."""
    trackers = open_trackers(experiment.log, out, experiment.model_dump(mode="json"))
    return MetricsLog(out, done, samples_before(experiment.phases(), done), clock, experiment.log, trackers)


def _parameter_counts(model: nn.Module) -> dict[str, int]:
    """How many numbers the model holds, and how many of them are trained."""
    parameters = list(model.parameters())
    return {
        "parameters": sum(parameter.numel() for parameter in parameters),
        "trained_parameters": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
    }


def _summarise(out: Path, summary: dict[str, Any]) -> None:
    """Writes summary.json: sizes, times, and the figures of the evaluations."""
    (out / "summary.json").write_text(json.dumps(summary, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    sys.stdout.write(json.dumps(summary, sort_keys=True, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
