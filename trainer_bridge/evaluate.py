"""Evaluates a saved model of any stage on the held-out split, and prints JSON.

    python -m trainer_bridge.evaluate --checkpoint DIR --shards URI

Stages 1 and 2: text→image recall@1, @5, @10 beside chance. Stage 3: the loss on captions, and right nouns where the shards name
them.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.compat.errors import RequestError
from sharding.index import read_dataset
from trainer_bridge.stages import find_stages


def evaluate_model(folder: Path, shards: str, split: str) -> dict[str, Any]:
    """Figures of the model in `folder` on a split; ValueError or FileNotFoundError in one line when either does not load."""
    dataset = read_dataset(shards)
    stage = next((stage for stage in find_stages().values() if stage.wrote(folder)), None)
    if stage is None:
        raise ValueError(f"{folder} holds no model of a stage; name a folder that trainer_bridge.train wrote")
    return stage.evaluate(folder, dataset, split)


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluates a saved model."""
    parser = argparse.ArgumentParser(
        prog="trainer_bridge.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", required=True, type=Path, help="a folder that train wrote")
    parser.add_argument("--shards", required=True, help="the exported shards")
    parser.add_argument("--split", default="heldout")
    options = parser.parse_args(argv)
    try:
        result = evaluate_model(options.checkpoint, options.shards, options.split)
    except (RequestError, ValueError, OSError) as error:
        sys.stderr.write(f"trainer_bridge.evaluate: {error}\n")
        sys.exit(2)
    sys.stdout.write(json.dumps(result, sort_keys=True, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
