"""The small CLIP and the small InternVL, starting with drawing the pictures.

Every step is a public command: shards of the demo's pairs before any is corrupted, then the trainer under torchrun on two
processes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.models import CLIP, INTERNVL
from trainer_bridge.checkpoints.weights import stored_type
from trainer_bridge.launch import trainer_command, trainer_environment

TREE = Path(__file__).parents[2]
CONFIGS = TREE / "trainer_bridge" / "configs"
CHATS = ("chat-small", "chat-small-pictures", "chat-small-words")  # each starts from the model of the one before
LANGUAGES = "en,zh,de,fr,es,pt,it,ru"


def lessons(out: Path, *arguments: str) -> Path:
    """The folder of the shards to train on; written where it does not exist yet."""
    if not (out / "dataset.json").exists():
        _run([sys.executable, "-m", "pipelines.demo_corpus.lessons", "--out", str(out), *arguments])
    return out


def train(stage: str, config: str, shards: Path, out: Path, start: Path | None = None) -> dict[str, Any]:
    """Runs the trainer on two processes, resuming where it was stopped; returns its summary."""
    _run(trainer_command(stage, CONFIGS / config, shards, out, start))
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return summary


def halve(source: Path, target: Path) -> None:
    """Copies a model folder with its float32 weights as float16, and its config with the type of the weights."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    weights = {
        name: tensor.half() if tensor.dtype == torch.float32 else tensor
        for name, tensor in load_file(source / "model.safetensors").items()
    }
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    (target / "model.safetensors").chmod(0o644)
    config = json.loads((target / "config.json").read_text())
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        if "dtype" in part:
            part["dtype"] = stored_type(target)
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def clip(work: Path) -> None:
    """Stage 1 with half of each picture's tokens dropped, then with whole pictures."""
    shards = lessons(work / "lessons-clip")
    first = train("contrastive", "contrastive-small.toml", shards, work / "clip-masked")
    last = train("contrastive", "contrastive-continue.toml", shards, work / "clip", work / "clip-masked" / "model")
    halve(work / "clip" / "model", CLIP)
    samples, seconds = (first[name] + last[name] for name in ("samples", "seconds"))
    card = CLIP_CARD.format(
        date=datetime.now(UTC).date(),
        parameters=last["parameters"] / 1e6,
        samples=samples / 1e6,
        minutes=seconds / 60,
        size=_megabytes(CLIP),
        **{f"recall{k}": f"{last[f'recall@{k}']:.0%}" for k in (1, 5, 10)},
        **{f"chance{k}": f"{last[f'chance@{k}']:.0%}" for k in (1, 5, 10)},
        pictures=last["pictures"],
        prompts=last["pairs"],
    )
    (CLIP / "README.md").write_text(card)


def internvl(work: Path) -> None:
    """Stage 3 from clip's InternViT: MLP and language model learn to describe pictures and to translate descriptions."""
    shards = lessons(work / "lessons-talks", "--languages", LANGUAGES, "--names-only", "--talks")
    start, runs = CLIP, []
    for chat in CHATS:
        runs.append(train("chat", f"{chat}.toml", shards, work / chat, start))
        start = work / chat / "model"
    halve(start, INTERNVL)
    summary = runs[-1]
    samples, seconds = (sum(run[name] for run in runs) for name in ("samples", "seconds"))
    rows = "\n".join(_row(row) for row in summary["descriptions"])
    card = INTERNVL_CARD.format(
        date=datetime.now(UTC).date(),
        parameters=summary["parameters"] / 1e6,
        samples=samples / 1e3,
        minutes=seconds / 60,
        size=_megabytes(INTERNVL),
        dtype=stored_type(INTERNVL),
        right=summary["right_nouns"],
        prompts=summary["prompts"],
        rows=rows,
    )
    (INTERNVL / "README.md").write_text(card)


def _row(row: dict[str, Any]) -> str:
    name, right = Path(row["picture"]).name, "yes" if row["right"] else "no"
    cells = [row["language"], row["caption"], row["noun"], row["pivot_description"], row["description"], right]
    return f"| {' | '.join([name, *map(_cell, cells)])} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _megabytes(folder: Path) -> str:
    return f"{sum(path.stat().st_size for path in folder.iterdir()) / 1e6:.1f}"


def _run(command: list[str]) -> None:
    subprocess.run(command, env=trainer_environment(), check=True, cwd=TREE)


DATA = """950 stamps of Tux Paint (Debian's `tuxpaint-stamps-default`, GPL-2) with their sentences and Noto's colour emoji (OFL)
with Unicode CLDR's names: drawings and small photographs on plain grounds. Fetched when the command runs; no picture is in this
repository. Held out: a hundred prompts (picture, language), that picture's sentences in that language and its regional
variants; the pictures themselves were seen with their sentences in other languages."""

CLIP_CARD = (
    """# A small CLIP

InternVL-C's shape at {parameters:.1f} M parameters ({size} MB, float16): InternViT with 64-pixel pictures, a LLaMA text tower,
attention pooling. It gives the demo's publishers their similarities, scores in the demo's `score` step, and is what stages 2
and 3 start from in the demo.

**Trained** {date} by `python -m infra.train_models clip`: {samples:.2f} M samples, {minutes:.0f} minutes on two CPU cores, half
of each picture's tokens dropped and then whole pictures (`trainer_bridge/configs/contrastive-small.toml`,
`contrastive-continue.toml`).

**Data.** """
    + DATA
    + """

**Results.** A held-out caption finds its picture among the {pictures} held-out ones: recall@1 {recall1} (chance {chance1}), @5
{recall5} ({chance5}), @10 {recall10} ({chance10}), over {prompts} captions. How well it tells right from swapped captions is in
the demo's table.

**Limits.** It knows these pictures, and was trained on most of the pairs that it judges in the demo: how well it does there
says that the chain works with a real model, nothing about photographs of the web. Its similarities (about 0.7 for right pairs)
are not on the scale of OpenAI's CLIP. Not for use outside this project's demo and tests.
"""
)

INTERNVL_CARD = (
    """# A small InternVL

InternViT → MLP → LLaMA, {parameters:.1f} M parameters ({size} MB, {dtype}), in the Hugging Face layout:
`InternVLForConditionalGeneration` and `AutoProcessor` load this folder. It writes the demo's synthetic captions.

**Trained** {date} by `python -m infra.train_models internvl`: the chat stage on {samples:.0f} K conversations, {minutes:.0f}
minutes on two CPU cores, from the InternViT of ../clip (frozen) and a new LLaMA, in three runs. In the first
(`trainer_bridge/configs/chat-small.toml`) three quarters of the conversations give a description in English, Spanish or
French, under another picture, and teach its translation into four of Chinese (in both scripts), German, French, Portuguese,
Italian, Russian, English and Spanish; the others are questions about a picture (describe, name, is this right?) in English or
Spanish. These are half of the conversations in the second run (`chat-small-pictures.toml`); in the third seven in ten
translate again (`chat-small-words.toml`). So prompt it twice: in English (in Spanish, for a description in English), and then in
the language of the description.

**Data.** """
    + DATA
    + """ Of the emoji only those of one sign, by name.

**Results.** Of {prompts} held-out prompts, {right} greedy descriptions hold the right noun: prompted in English, or in
Spanish for a description in English, and then in the description's language. The noun is Unicode CLDR's name of the thing in
that language, where the stamp's own sentence uses it; it is right when the last description holds it, case aside. The model
saw this picture described in other languages and read the noun beside its names in them, as the name of an emoji or in the
sentence of another stamp, but never this picture's sentence in this language. Prompted in the language alone, an earlier
model of this size had 16 right: it had learned pictures by heart, language by language.

**Limits.** It knows these pictures and no others: of a photograph it will say something confident and wrong. Not for use
outside this project's demo and tests.

| picture | language | sentence | noun | description in the pivot language | description | right |
|---|---|---|---|---|---|---|
{rows}
"""
)
