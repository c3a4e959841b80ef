"""dedup: which samples repeat another, and which show a picture of an evaluation set → the family `dedup`, with the evidence.

--review N also writes a page of the N most doubtful pairs on either side of each threshold. How samples are compared is in
`pipelines/corpus/duplicates.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.compat.errors import RequestError
from pipelines.corpus.duplicates import faults_of, run_dedup
from pipelines.corpus.evaluation_agreement import require_squares
from pipelines.corpus.evaluation_sets import named_sets, require_sets, sets_of
from pipelines.corpus.ranks import ranks_by
from pipelines.corpus.review import write_review
from pipelines.manifest.storage import Storage
from pipelines.recipe import Recipe, recipe_of
from pipelines.runtime import command_line
from pipelines.runtime.runner import start_ray

PAGE = "dedup-review.html"


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Compares the corpus with itself and with evaluation sets."""
    parser = command_line.parser("dedup", __doc__ or "")
    what = "an evaluation set: a file of index-evalset, or what that reads; may be repeated (default: the recipe's)"
    parser.add_argument("--against", action="append", default=[], metavar="NAME=URI", help=what)
    doubt = "also write a page of the N most doubtful pairs on either side of each threshold"
    parser.add_argument("--review", type=int, default=0, metavar="N", help=doubt)
    parser.add_argument("--out", metavar="PAGE", help=f"where --review writes its page (default: {PAGE})")
    options = parser.parse_args(argv)
    if options.review < 0 or (options.out and not options.review):
        raise RequestError("--review takes how many pairs to show on either side, e.g. --review 20; --out names its page")
    settings = recipe_of(options).dedup
    ranks_by(settings.source_priority)
    against = named_sets(options.against) or settings.against
    require_sets(against)
    storage = Storage(options.root)
    parts = command_line.require_parts(storage)
    start_ray(options.address)
    sets = sets_of(storage, against, settings.eval_agreement is not None)
    if settings.eval_agreement is not None:
        require_squares(sets)
    outcome = run_dedup(storage, parts, settings, sets)
    counts = command_line.summary(outcome)
    if options.review and not set(outcome.failed) - set(faults_of(sets)):
        page = Path(options.out or PAGE)
        reviewed = settings.model_copy(update={"against": against})
        counts |= {"review": str(page), "reviewed_pairs": write_review(storage, parts, reviewed, sets, options.review, page)}
    return counts


def check(recipe: Recipe) -> None:
    """RequestError where an evaluation set of the recipe has no items, or a source of its priorities is none."""
    require_sets(recipe.dedup.against)
    ranks_by(recipe.dedup.source_priority)


if __name__ == "__main__":
    command_line.run("dedup", main)
