"""Trainings by the stage `mono`, and what their models do: loss on text, on captions, and with pictures that are shuffled.

Beside them, by the stage `chat` on the same data and steps, the same language model behind an image encoder and an MLP, as in
LLaVA. The encoder is the small CLIP's, which learned from the demo's pictures: a start that none of the others has.

`python -m infra.benchmarks.mono_training.runs FOLDER SEED` does all of a seed, and writes FOLDER/seed-SEED.json.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from infra.benchmarks.mono_training.corpus import HELD_OUT_PAGES, SIDE
from infra.benchmarks.mono_training.language import text_logits, text_loss
from infra.models import CLIP

STEPS, BATCH, RATE = 70, 24, 2e-3
LATER = 1000  # is added to the seed of a stage that goes on
DELTA = ("pictures", "experts")
# name → what is trained, and whether there are experts
VARIANTS: dict[str, tuple[tuple[str, ...], bool]] = {
    "delta": (DELTA, True),
    "attention": ((*DELTA, "attention"), True),
    "full with experts": ((*DELTA, "attention", "language"), True),
    "full": (("pictures", "attention", "language"), False),
    "connector": (("pictures",), False),
}
ENCODERS = {"encoder + MLP": ["projector"], "encoder + MLP, language": ["projector", "language"]}  # name → what is trained


@dataclass(frozen=True)
class Shown:
    """What a model does after a run.

    text       loss a token on held-out sentences
    caption    loss a token on clean captions of held-out pictures
    shuffled   the same beside pictures of other things
    same_text  whether the logits of text alone are those of the language model, to the bit
    moved      of the language model's own parameters, the parts (attention, language) in which any has changed
    unmoved    those in which any has not
    """

    text: float
    caption: float
    shuffled: float
    same_text: bool
    moved: list[str]
    unmoved: list[str]


def experiment(folder: Path, data: str, train: tuple[str, ...], experts: bool, seed: int, **more: Any) -> Any:
    """The settings of a run."""
    from trainer_bridge.stages.mono_settings import MonoExperiment

    picture = {"image_size": SIDE, "patch": 8, "width": 48, "experts": experts}
    return MonoExperiment.model_validate(_settings(folder, data, seed, {"train": train, "picture": picture}) | more)


def encoder_experiment(folder: Path, data: str, train: list[str], seed: int) -> Any:
    """The settings of a run with an encoder."""
    from trainer_bridge.stages.chat_settings import ChatExperiment

    return ChatExperiment.model_validate(_settings(folder, data, seed, {"train": train}))


def _settings(folder: Path, data: str, seed: int, model: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": model | {"length": 96, "language_checkpoint": str(folder / "language")},
        "conversations": {"data": str(folder / f"{data}.jsonl"), "template": "pairmill", "max_dynamic_patch": 1},
        "data": {"batch": BATCH, "seed": seed},
        "optimizer": {"lr": RATE, "warmup": 10, "steps": STEPS, "schedule": "constant"},
        "run": {"micro_batch": BATCH, "precision": "fp32", "save_every": 100_000},
        "log": {"every": 1000},
    }


def runs_of_seed(folder: Path, seed: int, device: torch.device) -> dict[str, Shown]:
    """What each variant does after clean captions, and after noisy ones: "concept", then more of them, or then clean ones."""
    shown: dict[str, Shown] = {}
    for name, (parts, experts) in VARIANTS.items():
        _, shown[name] = run(folder, name, experiment(folder, "clean", parts, experts, seed), None, device)
    start, shown["concept"] = run(folder, "concept", experiment(folder, "noisy", DELTA, True, seed), None, device)
    for name, data in (("concept, concept", "noisy"), ("concept, semantic", "clean")):
        _, shown[name] = run(folder, name, experiment(folder, data, DELTA, True, seed + LATER), start, device)
    for name, trained in ENCODERS.items():
        _, shown[name] = run(folder, name, encoder_experiment(folder, "clean", trained, seed), CLIP, device)
    return shown


def run(folder: Path, name: str, settings: Any, start: Path | None, device: torch.device) -> tuple[Path, Shown]:
    """Trains; the folder of the model, and what it does."""
    from trainer_bridge.run_folder import RunFolder
    from trainer_bridge.stages.chat import ChatStage
    from trainer_bridge.stages.mono import MonoStage
    from trainer_bridge.train import train

    out = folder / "runs" / f"{name.replace(', ', '-').replace(' ', '-')}-{settings.data.seed}"
    out.mkdir(parents=True)
    torch.manual_seed(settings.data.seed)
    stage = (ChatStage if name in ENCODERS else MonoStage)(settings, None, start, out)
    train(stage, settings, [], RunFolder(str(out)), 0.0, device)
    return out / "model", _shown(folder, stage)


def _shown(folder: Path, stage: Any) -> Shown:
    from trainer_bridge.checkpoints.hugging_face import load_language_model

    sentences = json.loads((folder / "sentences.json").read_text())["heldout"]
    stage.model.eval()
    base, tokenizer = load_language_model(str(folder / "language"))
    caption, shuffled = (_caption_loss(folder, stage, shift) for shift in (0, HELD_OUT_PAGES))
    language = _language(stage)
    ours, theirs = (text_logits(each, tokenizer, sentences[:64], base.config.vocab_size) for each in (language, base))
    text = text_loss(language, tokenizer, sentences)
    return Shown(text, caption, shuffled, torch.equal(ours, theirs), *_moved(base, language))


def _language(stage: Any) -> Any:
    """What gives a stage's logits of text alone."""
    if not hasattr(stage, "mono"):
        return stage.chat
    stage.mono.routing.route(None)
    return stage.mono.language


def _moved(base: Any, language: Any) -> tuple[list[str], list[str]]:
    """Parts of a language model in which parameters have changed, and in which some have not."""
    from trainer_bridge.stages.mono_settings import part_of

    now = {
        name.replace(".mlp.text.", ".mlp.").replace("model.language_model.", "model."): parameter
        for name, parameter in language.named_parameters()
    }
    found: dict[bool, set[str]] = {True: set(), False: set()}
    for name, before in base.named_parameters():
        changed = not torch.equal(now[name][: len(before)], before)  # the rows of new tokens come after them
        found[changed].add(str(part_of(f"language.{name}")))
    return sorted(found[True]), sorted(found[False])


@torch.inference_mode()  # type: ignore[untyped-decorator]
def _caption_loss(folder: Path, stage: Any, shift: int) -> float:
    """Loss a token on the held-out captions, each beside the picture `shift` places further on."""
    from trainer_bridge.data.instructions.dialogue import read_dialogue
    from trainer_bridge.data.instructions.tiles import TileRule, decode_tiles
    from trainer_bridge.data.sequences import Encoded, learned_tokens, padded
    from trainer_bridge.data.transforms import normalise

    entries = [json.loads(line) for line in (folder / "heldout.jsonl").read_text().splitlines()]
    tiles = [decode_tiles((folder / entry["image"]).read_bytes(), TileRule(SIDE, 1, 1)) for entry in entries]
    texts = [stage.examples.encoder.encode(read_dialogue(entry), [1]) for entry in entries]
    rows = [
        Encoded(*map(torch.from_numpy, (ids, labels, tiles[(number + shift) % len(tiles)])))
        for number, (ids, labels) in enumerate(texts)
    ]
    total = 0.0
    for first in range(0, len(rows), 2 * BATCH):
        part = rows[first : first + 2 * BATCH]
        table = padded(part, [1.0] * len(part), stage.tokenizer.pad_token_id)
        total += float(stage.model(table.ids, table.labels, normalise(table.tiles)))
    return total / sum(map(learned_tokens, rows))


def main() -> None:
    """Does all runs of a seed."""
    from trainer_bridge import deepspeed_engine

    folder, seed = Path(sys.argv[1]), int(sys.argv[2])
    device = deepspeed_engine.start()
    torch.set_num_threads(1)
    shown = {name: asdict(each) for name, each in runs_of_seed(folder, seed, device).items()}
    (folder / f"seed-{seed}.json").write_text(json.dumps(shown, indent=1))
    deepspeed_engine.stop()


if __name__ == "__main__":
    main()
