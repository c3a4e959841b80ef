"""dedup: which samples repeat another, and which show a picture of an evaluation set → the family `dedup`, with the evidence.

How they are compared is in `pipelines/corpus/duplicates.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipelines.corpus.duplicates import run_dedup
from pipelines.corpus.evaluation_sets import named_sets, require_sets, sets_of
from pipelines.corpus.ranks import ranks_by
from pipelines.manifest.storage import Storage
from pipelines.recipe import Recipe, recipe_of
from pipelines.runtime import command_line
from pipelines.runtime.runner import start_ray


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Compares the corpus with itself and with evaluation sets."""
    parser = command_line.parser("dedup", __doc__ or "")
    what = "an evaluation set: a file of index-evalset, or what that reads; may be repeated (default: the recipe's)"
    parser.add_argument("--against", action="append", default=[], metavar="NAME=URI", help=what)
    options = parser.parse_args(argv)
    settings = recipe_of(options).dedup
    ranks_by(settings.source_priority)
    against = named_sets(options.against) or settings.against
    require_sets(against)
    storage = Storage(options.root)
    parts = command_line.require_parts(storage)
    start_ray(options.address)
    return command_line.summary(run_dedup(storage, parts, settings, sets_of(storage, against)))


def check(recipe: Recipe) -> None:
    """RequestError where an evaluation set of the recipe has no items, or a source of its priorities is none."""
    require_sets(recipe.dedup.against)
    ranks_by(recipe.dedup.source_priority)


if __name__ == "__main__":
    command_line.run("dedup", main)
