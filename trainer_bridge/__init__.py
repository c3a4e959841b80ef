"""The trainer: streams exported shards into DeepSpeed for the alignment stages.

shards → loader (positions → samples, exact resume) → transforms (bytes → tensors) → model → losses → stage → train

train.py             `python -m trainer_bridge.train --stage … --config … --shards URI --out DIR` under torchrun or deepspeed
check_conversations.py  files of conversations, before a training
evaluate.py          figures of a saved model on shards, or on a folder as others publish it
convert.py           weights of others → folders to start from, and back
export_onnx.py       a stage-1 model → ONNX
launch.py            the trainer under torchrun, on this machine
ranks.py             how processes are numbered, by the launchers that there are
request.py           what is wrong with a request, before a device is taken
evaluations.py       figures of the model in training, every few steps and at the end
deepspeed_engine.py  all calls into DeepSpeed
run_folder.py        where a run writes
run_states.py        the saved states of a run
zero_shares.py       which numbers DeepSpeed keeps on which rank
stop_signal.py       SIGTERM
clock.py             how far a training is
metrics.py           what it writes while it runs
samples.py           answers of the model in training
trackers.py          TensorBoard, Weights & Biases
flops.py             FLOPs of a step by formula
optimizer.py         AdamW with an average of the weights
guard.py             when a training ends that has diverged
phases.py            the batches of each phase of a training
schedule.py          learning rates, and what a phase is
memory_plan.py       how much memory a rank needs, before it starts
memory_report.py     prints it, and refuses what does not fit
configs/             published and tiny experiments
stages/              what each stage trains, with which losses
evaluation/          figures on sets of pictures: retrieval, classification, captions
checkpoints/         models in folders
memory/              bytes of tensors, counted or foreseen
data/                samples → batches
models/              InternViT, text towers, and how they are joined

Imports of folders run upwards in this list. The names below load their modules, and torch with them, when they are first used.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def _require_own_packages() -> None:
    """Our packages have common names: an `infra.py` in the working folder would be imported in place of ours, and fail later."""
    home = Path(__file__).parents[1]
    for name in ("sharding", "infra"):
        spec = find_spec(name)
        if spec and spec.origin and home not in Path(spec.origin).parents:
            fault = (
                f"trainer_bridge: {spec.origin} hides the package of that name in {home}; rename it, or work in another folder"
            )
            if sys.argv[0] == "-m":  # the trainer is starting: one line is enough
                sys.stderr.write(f"{fault}\n")
                sys.exit(2)
            raise ImportError(fault)


_require_own_packages()

_MODULES = {
    "Batch": "data.batch",
    "Loader": "data.loader",
    "LoaderSettings": "data.settings",
    "ShardStream": "data.stream",
    "Experiment": "stages.settings",
    "Stage": "stages",
    "evaluate_model": "evaluate",
    "find_stages": "stages",
    "load_contrastive": "checkpoints.model_folders",
    "load_experiment": "stages.settings",
    "load_generative": "checkpoints.model_folders",
    "load_internvl": "checkpoints.hugging_face",
    "normalise": "data.transforms",
    "random_resized_crop": "data.transforms",
    "whole": "data.transforms",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
