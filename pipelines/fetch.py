"""fetch: URLs of samples that stage 1 did not drop → checked images in tars, and the family `fetch`.

A costly step: results are cached per sample, and a URL is requested again only with --retry or --redo. A URL that several
samples of a part share is requested once. A part is committed in chunks, so that a kill costs minutes. Images that img2dataset
has already downloaded are used where they lie; with --engine img2dataset it downloads for us.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from pipelines.fetching.errors import INTERRUPTED, parse_classes
from pipelines.fetching.part import ENGINES, FetchOptions, fetch_part, samples_without_result, tar_has_changed
from pipelines.fetching.settings import FetchSettings
from pipelines.manifest.parts import Part
from pipelines.manifest.receipts import Receipt, read_receipts
from pipelines.manifest.storage import Storage
from pipelines.recipe import Recipe, recipe_of
from pipelines.runtime import command_line
from pipelines.runtime.cache import require_same_settings
from pipelines.runtime.runner import start_ray
from pipelines.runtime.step import Outcome, Step, run_step
from pipelines.sources.img2dataset import NAME as IMG2DATASET
from pipelines.sources.pictures import ADOPTED


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Fetches every image that has no cached result."""
    parser = command_line.parser("fetch", __doc__ or "", by_part=True)
    retry = "request again the URLs that ended in these errors, e.g. timeout,connect; failed: in any but a refusal"
    parser.add_argument("--retry", default="", metavar="CLASSES", help=retry)
    engine = "what downloads: our client, or img2dataset under our policy"
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help=engine)
    parser.add_argument("--redo", action="store_true", help="fetch again what was stored with other resize settings")
    options = parser.parse_args(argv)
    run = FetchOptions(recipe_of(options).fetch, parse_classes(f"{INTERRUPTED},{options.retry}"), options.engine)
    storage = Storage(options.root)
    parts = command_line.selected_parts(storage, options.only)
    require_same_settings(storage, parts, "fetch", run.settings.result_settings(), redo=options.redo)
    _require_usable(run.settings, run.engine)
    start_ray(options.address)
    return command_line.summary(run_fetch(storage, parts, run))


def _require_usable(settings: FetchSettings, engine: str) -> None:
    """RequestError where a blocklist cannot be read or the engine is not installed; warns of a slow resizer."""
    from pipelines.fetching.policy import blocklist
    from sharding import resize

    blocklist(settings.blocked_domains, settings.blocked_urls)
    if engine == IMG2DATASET:
        from pipelines.fetching.img2dataset import require_img2dataset

        require_img2dataset(settings)
    if resize.compiled is None:
        sys.stderr.write(
            "fetch: installed without a C compiler, so NumPy resizes the images: to the same bytes, many times slower\n"
        )


def check(recipe: Recipe) -> None:
    """RequestError where a blocklist of the recipe cannot be read."""
    from pipelines.fetching.policy import blocklist

    blocklist(recipe.fetch.blocked_domains, recipe.fetch.blocked_urls)


def run_fetch(storage: Storage, parts: Sequence[Part], options: FetchOptions) -> Outcome:
    """Runs the step; a part that is done runs again when it holds an error to retry, or img2dataset's tar, or a listing, is new.

    A part failed where URLs are `interrupted`.
    """
    retried = [f"reason.{error}" for error in options.retry]
    adopted = [part for part in parts if part.source in ADOPTED]
    changed = {part.name for part in adopted if tar_has_changed(storage, part)}

    def again(receipt: Receipt) -> bool:
        return (receipt.source in ADOPTED and receipt.part in changed) or any(receipt.counts.get(name) for name in retried)

    outcome = run_step(storage, fetch_step(options), parts, again=again)
    if outcome.counts[f"reason.{INTERRUPTED}"]:
        for part, receipt in read_receipts(storage, "fetch", parts).items():
            if count := receipt.counts.get(f"reason.{INTERRUPTED}"):
                outcome.failed[str(part)] = (
                    f"a fault ended it before {count} samples (see the log of its worker); run fetch again"
                )
    return outcome


def fetch_step(options: FetchOptions) -> Step:
    """The step that fetches a part."""
    return Step(
        family="fetch",
        inputs=("samples", "stage1"),
        settings=lambda part: options.settings.result_settings(),
        work=partial(fetch_part, options=options),
        missing=samples_without_result,
        cpus=0.5,  # a part waits for hosts, at its end for the slowest alone
    )


if __name__ == "__main__":
    command_line.run("fetch", main)
