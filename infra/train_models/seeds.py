"""The tiny presets of stages 1 and 2 with three seeds, each from nothing, and the card with their figures.

Held out are six hundred pictures, a language each. No weights are kept in the repository: the presets are what the card is of.
"""

from __future__ import annotations

import json
import resource
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.models import TINY
from infra.train_models.alignment import CONFIGS, lessons, train

SEEDS = (0, 1, 2)
PAIRS = 600
LANGUAGES = "en,de,nl,da,sv,nb,nn,af,fr,es,pt,it,ca,gl,ast,ro"  # Germanic and Romance ones that describe most of the stamps


def make(work: Path) -> None:
    """Trains both stages with each seed, one after the other; what was trained before is not trained again."""
    shards = lessons(work / "lessons-tiny", "--languages", LANGUAGES, "--pairs", str(PAIRS))
    rows = [_seed(shards, work / f"tiny-{seed}", seed) for seed in SEEDS]
    TINY.mkdir(exist_ok=True)
    (TINY / "README.md").write_text(card(rows))


def card(rows: list[dict[str, dict[str, Any]]]) -> str:
    """The card of the figures of each seed, by stage."""
    first = rows[0]
    return CARD.format(
        date=datetime.now(UTC).date(),
        parameters=first["contrastive"]["parameters"] / 1e6,
        pictures=first["contrastive"]["pictures"],
        chance=f"{first['contrastive']['chance@1']:.1%}",
        languages=len(LANGUAGES.split(",")),
        rows="\n".join([_line(COLUMNS), _line(["---"] * len(COLUMNS)), *map(_row, SEEDS, rows)]),
    )


def seeded(preset: str, seed: int) -> str:
    """The text of an experiment with another seed."""
    return preset.replace("[data]\n", f"[data]\nseed = {seed}\n")


def _seed(shards: Path, work: Path, seed: int) -> dict[str, dict[str, Any]]:
    """The figures of both stages with a seed."""
    contrastive = _stage("contrastive", shards, work, seed)
    return {"contrastive": contrastive, "generative": _stage("generative", shards, work, seed, work / "contrastive" / "model")}


def _stage(stage: str, shards: Path, work: Path, seed: int, start: Path | None = None) -> dict[str, Any]:
    """A stage's summary, with the CPU seconds of its processes, from the start to the last figure, over two: `cpu_seconds`.

    Of a stage that was stopped and goes on these are the rest's alone.
    """
    done, config = work / f"{stage}.json", work / f"{stage}.toml"
    experiment = seeded((CONFIGS / f"{stage}-tiny.toml").read_text(), seed)
    if not done.exists() or config.read_text() != experiment:
        work.mkdir(parents=True, exist_ok=True)
        config.write_text(experiment)
        before = _cpu_seconds()
        summary = train(stage, str(config), shards, work / stage, start)
        done.write_text(json.dumps(summary | {"cpu_seconds": (_cpu_seconds() - before) / 2}, sort_keys=True) + "\n")
    figures: dict[str, Any] = json.loads(done.read_text())
    return figures


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _row(seed: int, of: dict[str, dict[str, Any]]) -> str:
    first, second = of["contrastive"], of["generative"]
    loss, entropy = second["caption_loss"], second["unigram_entropy"]
    cells = [str(seed), *(f"{first[f'recall@{k}']:.2f}" for k in (1, 5, 10)), *_cost(first)]
    cells += [f"{second['itm_accuracy']:.2f}", f"{loss:.2f}", f"{entropy:.2f}", f"{1 - loss / entropy:.0%}", *_cost(second)]
    return _line(cells)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cost(figures: dict[str, Any]) -> list[str]:
    """Thousands of samples, CPU minutes of two cores, minutes of the clock."""
    numbers = figures["samples"] / 1e3, figures["cpu_seconds"] / 60, figures["seconds"] / 60
    return [f"{numbers[0]:.0f}", *(f"{number:.1f}" for number in numbers[1:])]


COST = ("K samples", "CPU min", "clock min")
COLUMNS = ("seed", "recall@1", "@5", "@10", *COST, "ITM accuracy", "ITG loss", "unigram entropy", "below it", *COST)

CARD = """# The tiny presets

What stages 1 and 2 learn in minutes on two CPU cores, from nothing, with three seeds:
`trainer_bridge/configs/contrastive-tiny.toml` ({parameters:.1f} M parameters, 64-pixel pictures) and, from its model,
`generative-tiny.toml`. No weights are kept here.

**Made** {date} by `python -m infra.train_models seeds`: two processes under torchrun, one seed after the other. CPU minutes are
those of all processes over two, start and evaluation included: what a stage takes on two cores on which nothing else runs. The
clock's are those of the steps alone, beside whatever else ran.

**Data.** Stamps of Tux Paint (Debian's `tuxpaint-stamps-default`, GPL-2) with their sentences in {languages} Germanic and Romance
languages. Held out: {pictures} of the pictures in one language each, drawn among those in which the picture's words are its words
in no other language, case and full stops aside. The pictures themselves were seen with their sentences in other languages, and
some of these share stems with the one held out.

**Results** on the held-out pairs. Retrieval: a caption finds its picture among the {pictures} (chance {chance}). ITM: is this
caption of this picture, or of the next one? (chance 0.50) ITG: the loss of a token in nats, beside the entropy of the same tokens
drawn one by one.

{rows}

**Limits.** Sentences are short and the languages are relatives: the figures say that losses, negatives and schedule work, nothing
about photographs of the web.
"""
