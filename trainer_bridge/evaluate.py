"""Evaluates a saved model of any stage on shards, or on a folder as others publish it, and prints JSON.

    python -m trainer_bridge.evaluate --checkpoint DIR --shards URI
    torchrun --nproc_per_node 8 -m trainer_bridge.evaluate --checkpoint DIR --data flickr30k/ --precision bf16

Stage 1: retrieval in both directions, recall@1, @5, @10 beside chance; with --kind classification the accuracy of zero-shot
classification. Stage 2: the same by both image features, the loss on captions, and image-text matching. Stage 3: the loss on
captions, and right nouns where the shards name them; with --questions, JSON lines of {image, question, answer | answers}, how
right its answers are by each --metric. --data takes ImageNet, COCO, Karpathy's splits, Flickr30K and XTD. Ranks share the work.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

# Before there is a process group: defaults of its functions would keep one, with threads that may abort a process which ends.
import torch.distributed.nn.functional
from torch import distributed as dist

from infra.compat.errors import RequestError, require_least
from trainer_bridge.evaluation.answering import Answerer
from trainer_bridge.evaluation.answers import METRICS
from trainer_bridge.evaluation.captioning import ChatEvaluator
from trainer_bridge.evaluation.layouts import find_layouts
from trainer_bridge.evaluation.plan import plan_evaluations
from trainer_bridge.evaluation.question_figures import question_figures
from trainer_bridge.evaluation.questions import read_questions
from trainer_bridge.evaluation.settings import EvaluationSettings
from trainer_bridge.ranks import fail, is_first, rank_environment
from trainer_bridge.stages import Stage, find_stages

BATCH = 64


def evaluate_model(folder: Path, shards: str, split: str) -> dict[str, Any]:
    """Figures of the model in `folder` on a split of shards, on the CPU; ValueError, RequestError or OSError in one line."""
    table = EvaluationSettings(shards=shards, split=split)
    return _figures(stage_of(folder), folder, table, torch.device("cpu"), BATCH, "fp32")


def stage_of(folder: Path) -> type[Stage]:
    """The stage of the model in a folder; ValueError in one line when it holds none."""
    stage = next((stage for stage in find_stages().values() if stage.wrote(folder)), None)
    if stage is None:
        raise ValueError(
            f"{folder} holds no model of a stage; name a folder that trainer_bridge.train wrote, or one of others with --stage"
        )
    return stage


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluates a saved model; exit status 1 where pictures could not be read, 2 and one line when the request is wrong."""
    options = _parser().parse_args(argv)
    try:
        require_least(options, batch=1, tokens=1, samples=0)
        stage = find_stages()[options.stage] if options.stage else stage_of(options.checkpoint)
        with _ranks() as device:
            if options.questions:
                result = _answers(stage, options, device)
            else:
                result = _figures(stage, options.checkpoint, _table(options), device, options.batch, options.precision)
    except (RequestError, ValueError, OSError) as error:
        fail("trainer_bridge.evaluate", error)
    unreadable = result.get("unreadable", 0)
    if is_first(os.environ):
        sys.stdout.write(json.dumps(result, sort_keys=True, ensure_ascii=False) + "\n")
        if unreadable:
            sys.stderr.write(f"trainer_bridge.evaluate: {unreadable} could not be read; the figures are those of the others\n")
    if unreadable:
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trainer_bridge.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", required=True, type=Path, help="a folder that train wrote, or one that convert reads")
    parser.add_argument("--stage", default="", choices=sorted(find_stages()), help="what it is evaluated as; its own without")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--shards", default="", metavar="URI", help="indexed shards")
    where.add_argument("--data", default="", metavar="DIR", help="a folder in a layout that others publish")
    where.add_argument("--questions", default="", metavar="FILE", help="questions about pictures, for a model of stage 3")
    parser.add_argument("--metric", action="append", default=[], choices=sorted(METRICS), help="of answers; several may be given")
    parser.add_argument("--suffix", default="", help="a line after each question, as 'Answer the question using a single word.'")
    parser.add_argument("--tokens", type=int, default=64, help="most tokens of an answer")
    parser.add_argument("--layout", default="", choices=sorted(find_layouts()), help="that layout; it is recognised without")
    parser.add_argument("--images", default="", metavar="DIR", help="its pictures, where they lie in another folder")
    parser.add_argument("--split", default="", help="of shards heldout; of XTD a language; else what the layout has")
    parser.add_argument("--kind", default="", choices=["retrieval", "classification", "captions", "matching"])
    parser.add_argument("--classes", default="", metavar="FILE", help="names of classes in one or several languages (TOML, JSON)")
    parser.add_argument("--samples", type=int, help="samples of shards, or pictures of a folder, from the start; 0: all")
    parser.add_argument("--by-language", action="store_true", help="figures for the texts of each language too")
    parser.add_argument("--batch", type=int, default=BATCH, help="pictures or texts at a time on each rank")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    return parser


def _table(options: argparse.Namespace) -> EvaluationSettings:
    return EvaluationSettings(
        kind=options.kind,
        shards=options.shards,
        data=options.data,
        layout=options.layout,
        images=options.images,
        split=options.split,
        classes=options.classes,
        samples=options.samples,
        by_language=options.by_language,
    )


def _figures(
    stage: type[Stage], folder: Path, table: EvaluationSettings, device: torch.device, batch: int, precision: str
) -> dict[str, Any]:
    (evaluation,) = plan_evaluations([table], stage.evaluator_type)
    evaluator = stage.load(folder, device, batch)
    evaluator.model.eval()
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        return evaluation.figures(evaluator)


def _answers(stage: type[Stage], options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Figures of a model of stage 3 on a file of questions."""
    root = options.images or options.questions.rpartition("/")[0]
    questions = read_questions(options.questions, options.suffix, options.samples or 0)
    evaluator = stage.load(options.checkpoint, device, options.batch)
    if not isinstance(evaluator, ChatEvaluator):
        raise RequestError(f"--questions are for a model of stage 3, and {options.checkpoint} is of another stage")
    evaluator.model.eval()
    answerer = Answerer(evaluator.model.chat, evaluator.processor, device)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bf16"):
        return question_figures(answerer, questions, options.metric or ["exact"], root, options.batch, options.tokens)


@contextmanager
def _ranks() -> Iterator[torch.device]:
    """The device of this rank, in the process group of the launcher where there is one."""
    cuda = torch.cuda.is_available()
    environment = rank_environment(os.environ)
    device = torch.device("cuda", int(environment["LOCAL_RANK"])) if cuda else torch.device("cpu")
    if environment["WORLD_SIZE"] == "1":
        yield device
        return
    os.environ.update(environment)
    if cuda:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
