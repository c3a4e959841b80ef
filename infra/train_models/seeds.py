"""The tiny presets of stages 1 and 2 with three seeds, from a small language model, and the card with their figures.

Held out are six hundred pictures, a language each. No weights are kept in the repository: the presets are what the card is of.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.models import TINY
from infra.train_models.alignment import CONFIGS, lessons, train
from infra.train_models.language import make as make_language

SEEDS = (0, 1, 2)
STAGES, PRESET = ("contrastive", "generative"), "contrastive-tiny.toml"
TOLD = {"recall@1", "itm_accuracy", "itm_accuracy_next", "caption_loss", "unigram_entropy", "samples", "seconds", "cpu_seconds"}
PAIRS = 600
LANGUAGES = "en,de,nl,da,sv,nb,nn,af,fr,es,pt,it,ca,gl,ast,ro"  # Germanic and Romance ones that describe most of the stamps


def make(work: Path, chosen: Sequence[int] = SEEDS) -> None:
    """Trains both stages with each of the chosen seeds, one after the other; what was trained before is not trained again.

    The card is written when all seeds are trained.
    """
    shards, language = lessons(work / "lessons-tiny", "--languages", LANGUAGES, "--pairs", str(PAIRS)), work / "language-tiny"
    figures = make_language(CONFIGS / PRESET, shards, LANGUAGES.split(","), language)
    for seed in chosen:
        row = _seed(shards, work, seed, language)
        sys.stdout.write(json.dumps({"seed": seed} | {stage: _told(row[stage]) for stage in STAGES}) + "\n")
    trained = [read for seed in SEEDS if (read := _read(work, seed, language)) is not None]
    if len(trained) < len(SEEDS):
        sys.stderr.write(f"seeds      {len(trained)} of {len(SEEDS)} trained; the card is written when all are\n")
        return
    TINY.mkdir(exist_ok=True)
    (TINY / "README.md").write_text(card(trained, figures))


def _told(summary: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in summary.items() if name in TOLD}


def _read(work: Path, seed: int, language: Path) -> dict[str, dict[str, Any]] | None:
    """The figures of a seed, None before both stages are trained as the presets are now."""
    rows = {}
    for stage, experiment in experiments(seed, language).items():
        done, config = _files(work, seed, stage)
        if not done.exists() or config.read_text() != experiment:
            return None
        rows[stage] = json.loads(done.read_text())
    return rows


def card(rows: list[dict[str, dict[str, Any]]], language: dict[str, Any]) -> str:
    """The card of the figures of each seed, by stage."""
    first = rows[0]
    return CARD.format(
        date=datetime.now(UTC).date(),
        parameters=first["contrastive"]["parameters"] / 1e6,
        pictures=first["contrastive"]["pictures"],
        chance=f"{first['contrastive']['chance@1']:.1%}",
        languages=len(LANGUAGES.split(",")),
        steps=language["steps"],
        minutes=language["cpu_seconds"] / 60,
        rows="\n".join([_line(COLUMNS), _line(["---"] * len(COLUMNS)), *map(_row, SEEDS, rows)]),
    )


def seeded(preset: str, seed: int) -> str:
    """The text of an experiment with another seed."""
    return preset.replace("[data]\n", f"[data]\nseed = {seed}\n")


def started(preset: str, language: Path) -> str:
    """The text of an experiment of stage 1 whose text tower starts from a language model."""
    return preset.replace("[model]\n", f"[model]\ntext_checkpoint = {json.dumps(str(language))}\n")


def experiments(seed: int, language: Path) -> dict[str, str]:
    """The texts of both stages' experiments."""
    first, second = (seeded((CONFIGS / f"{stage}-tiny.toml").read_text(), seed) for stage in STAGES)
    return dict(zip(STAGES, (started(first, language), second), strict=True))


def _files(work: Path, seed: int, stage: str) -> tuple[Path, Path]:
    """Where a stage's figures and its experiment lie."""
    folder = work / f"tiny-{seed}"
    return folder / f"{stage}.json", folder / f"{stage}.toml"


def _seed(shards: Path, work: Path, seed: int, language: Path) -> dict[str, dict[str, Any]]:
    """The figures of both stages with a seed."""
    rows, start, retrained = {}, None, False
    for stage, experiment in experiments(seed, language).items():
        done, config = _files(work, seed, stage)
        out = done.with_suffix("")
        if config.exists() and (retrained or config.read_text() != experiment):
            done.unlink(missing_ok=True)
            shutil.rmtree(out, ignore_errors=True)  # a training as the preset was, or from what its start was
        if not done.exists():
            retrained = True
            done.parent.mkdir(parents=True, exist_ok=True)
            config.write_text(experiment)
            _train(stage, config, shards, done, start)
        rows[stage], start = json.loads(done.read_text()), out / "model"
    return rows


def _train(stage: str, config: Path, shards: Path, done: Path, start: Path | None) -> None:
    """Writes a stage's summary, and in it `cpu_seconds`: those of its processes from the start to the last figure, over two.

    Of a stage that was stopped and goes on these are the rest's alone.
    """
    before = _cpu_seconds()
    summary = train(stage, str(config), shards, done.with_suffix(""), start)
    done.write_text(json.dumps(summary | {"cpu_seconds": (_cpu_seconds() - before) / 2}, sort_keys=True) + "\n")


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _row(seed: int, of: dict[str, dict[str, Any]]) -> str:
    first, second = of["contrastive"], of["generative"]
    loss, entropy = second["caption_loss"], second["unigram_entropy"]
    cells = [str(seed), *(f"{first[f'recall@{k}']:.2f}" for k in (1, 5, 10)), *_cost(first)]
    cells += [
        *(f"{second[f'itm_accuracy{kind}']:.2f}" for kind in ("", "_next")),
        f"{loss:.2f}",
        f"{entropy:.2f}",
        f"{1 - loss / entropy:.0%}",
        *_cost(second),
    ]
    return _line(cells)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cost(figures: dict[str, Any]) -> list[str]:
    """Thousands of samples, CPU minutes of two cores, minutes of the clock."""
    numbers = figures["samples"] / 1e3, figures["cpu_seconds"] / 60, figures["seconds"] / 60
    return [f"{numbers[0]:.0f}", *(f"{number:.1f}" for number in numbers[1:])]


COST = ("K samples", "CPU min", "clock min")
COLUMNS = ("seed", "recall@1", "@5", "@10", *COST, "ITM, drawn", "ITM, next", "ITG loss", "unigram entropy", "below it", *COST)

CARD = """# The tiny presets

What stages 1 and 2 learn in minutes on two CPU cores with three seeds, the text tower from a small language model:
`trainer_bridge/configs/contrastive-tiny.toml` ({parameters:.1f} M parameters, 64-pixel pictures) and, from its model,
`generative-tiny.toml`. No weights are kept here.

**Made** {date} by `python -m infra.train_models seeds`: two processes under torchrun, one seed after the other. CPU minutes are
those of all processes over two, start and evaluation included: what a stage takes on two cores on which nothing else runs. The
clock's are those of the steps alone, beside whatever else ran.

**Data.** Stamps of Tux Paint (Debian's `tuxpaint-stamps-default`, GPL-2) with their sentences in {languages} Germanic and Romance
languages. Held out: {pictures} of the pictures in one language each, drawn among those in which the picture's words are its words
in no other language, case and full stops aside. The pictures themselves were seen with their sentences in other languages, and
some of these share stems with the one held out. The text tower starts from a language model of its size, trained for {steps}
steps ({minutes:.1f} CPU minutes of one core, once for all seeds) on the same training sentences and the names of emoji in these
languages (Unicode CLDR), what is said of one thing in several languages in one row; no held-out sentence was among them.

**Results** on the held-out pairs. Retrieval: a caption finds its picture among the {pictures} (chance {chance}). ITM: does this
caption fit this picture? Asked of its own picture and of one drawn among all others, or of the next one, which is often of a
like thing, as the stamps are in order (chance 0.50). ITG: the loss of a token in nats, beside the entropy of the same tokens
drawn one by one.

{rows}

**Limits.** Sentences are short and the languages are relatives: the figures say that losses, negatives and schedule work, nothing
about photographs of the web. The settings of stage 2 were chosen with seed 0, on these pairs.
"""
