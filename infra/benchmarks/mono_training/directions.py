"""What Mono-InternVL's tables say, beside what the runs of several seeds show.

A direction shows where the mean of its differences, one a seed, is more than their spread, the largest less the smallest.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from infra.compat.children import HOME
from trainer_bridge.launch import trainer_environment

SEEDS = (0, 1, 2)
Seed = Mapping[str, Mapping[str, Any]]  # run → what it shows
# what the paper says → the difference that must be above zero
DIRECTIONS: dict[str, Callable[[Seed], float]] = {
    "text loss rises by full tuning, beside delta tuning (table 5)": lambda seed: _less(seed, "text", "full", "delta"),
    "… with experts too": lambda seed: _less(seed, "text", "full with experts", "delta"),
    "caption loss is lower with experts than with the connector alone": lambda seed: _less(seed, "caption", "connector", "delta"),
    "… of clean captions after concept and semantic than after as much concept (figure 4)": lambda seed: _less(
        seed, "caption", "concept, concept", "concept, semantic"
    ),
    "… rises with pictures of other things": lambda seed: seed["delta"]["shuffled"] - seed["delta"]["caption"],
}


def run_seeds(folder: Path) -> list[Seed]:
    """What the runs of each seed show; a process for each, as many at a time as there are cores."""

    def one(seed: int) -> Seed:
        command = [sys.executable, "-m", "infra.benchmarks.mono_training.runs", str(folder), str(seed)]
        done = subprocess.run(command, cwd=HOME, env=trainer_environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the runs of seed {seed} failed: {done.stderr[-2000:]}")
        read: Seed = json.loads((folder / f"seed-{seed}.json").read_text())
        return read

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, SEEDS))


def told(seeds: Sequence[Seed]) -> dict[str, Any]:
    """Losses by run, directions, and what must hold to the bit, as JSON."""
    names = list(seeds[0])
    losses = {
        name: {key: _mean([seed[name][key] for seed in seeds]) for key in ("text", "caption", "shuffled")} for name in names
    }
    directions = {claim: _direction([difference(seed) for seed in seeds]) for claim, difference in DIRECTIONS.items()}
    return {"losses": losses, "directions": directions, "exact": _exact(seeds)}


def table(figures: Mapping[str, Any]) -> str:
    """The same for a person."""
    lines = [f"{'loss a token, mean of the seeds':<36} {'text':>8} {'captions':>9} {'shuffled':>9}"]
    for name, row in figures["losses"].items():
        lines.append(f"{name:<36} {row['text']:>8.2f} {row['caption']:>9.2f} {row['shuffled']:>9.2f}")
    for claim, row in figures["directions"].items():
        lines.append(f"{claim}: {row['mean']:+.3f}, spread {row['spread']:.3f}{'' if row['shows'] else '; DID NOT SHOW'}")
    lines += [f"{claim}: {'yes' if holds else 'NO'}" for claim, holds in figures["exact"].items()]
    return "\n".join(lines) + "\n"


def _exact(seeds: Sequence[Seed]) -> dict[str, bool]:
    frozen = ("delta", "connector", "concept", "concept, semantic")
    return {
        "logits of text alone as before, to the bit, after concept and semantic": all(
            seed[name]["same_text"] and not seed[name]["moved"] for seed in seeds for name in frozen
        ),
        "of the language model, attention alone moves in alignment, all of it": all(
            (seed["attention"]["moved"], seed["attention"]["unmoved"]) == (["attention"], ["language"]) for seed in seeds
        ),
    }


def _direction(differences: Sequence[float]) -> dict[str, Any]:
    mean, spread = _mean(differences), max(differences) - min(differences)
    return {"mean": mean, "spread": round(spread, 4), "by_seed": [round(each, 4) for each in differences], "shows": mean > spread}


def _less(seed: Seed, loss: str, more: str, less: str) -> float:
    return float(seed[more][loss] - seed[less][loss])


def _mean(values: Sequence[float]) -> float:
    return round(statistics.mean(values), 4)
