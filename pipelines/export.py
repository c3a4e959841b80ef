"""export [--stage S] [--out URI]: kept samples → shuffled, sharded, indexed, checksummed WebDataset.

How samples come into shards is in `pipelines/exporting/run.py`; stage instruction exports conversations of others instead, which
--conversations names (`pipelines/exporting/conversation_sets.py`), and so does stage alignment where it is given.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

from infra.compat.errors import RequestError
from pipelines.exporting.claim import claim
from pipelines.exporting.conversation_sets import export_conversations, open_sets, shard_items
from pipelines.exporting.estimate import estimate
from pipelines.exporting.products import INSTRUCTION, PRODUCTS
from pipelines.exporting.run import run_export
from pipelines.exporting.settings import ExportSettings
from pipelines.manifest.storage import Storage
from pipelines.recipe import Recipe, recipe_of
from pipelines.runtime import command_line
from pipelines.runtime.runner import start_ray, workers


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Exports the samples that the named stage keeps."""
    parser = command_line.parser("export", __doc__ or "")
    parser.add_argument(
        "--stage",
        type=lambda value: int(value) if value.isdigit() else value,
        choices=(1, 2, *PRODUCTS, INSTRUCTION),
        help="1: what stage 1 keeps; 2: what both keep; or what a stage of Mono-InternVL is trained on (default: the recipe's)",
    )
    parser.add_argument("--out", metavar="URI", help="where the shards go: a folder or any fsspec URI (default: the recipe's)")
    parser.add_argument(
        "--conversations",
        metavar="META",
        help="of stage instruction: the meta file of `pairmill instructions`, or a file of conversations; of stage alignment: a "
        "meta file whose sets say their kind",
    )
    parser.add_argument("--name", help="the export's name, letters and digits (default: the recipe's, else stage1 or stage2)")
    parser.add_argument("--force", action="store_true", help="replace shards in --out that this export did not write")
    parser.add_argument("--where", metavar="SQL", help="export only samples that meet this condition on columns of the manifest")
    parser.add_argument("--dry-run", action="store_true", help="say how many shards, bytes and requests it takes; write nothing")
    options = parser.parse_args(argv)
    chosen = {
        name: value
        for name in ("stage", "out", "conversations", "name", "where")
        if (value := getattr(options, name)) is not None
    }
    settings = recipe_of(options).export.model_copy(update=chosen).of_product()
    settings.require_consistent()
    if not settings.out and not options.dry_run:
        raise RequestError("no place for the shards; give --out, or set export.out in the recipe")
    name, storage = _name(settings), Storage(options.root)
    if settings.conversations:
        return _conversations(storage, settings, options)
    if options.dry_run:
        parts = command_line.require_parts(storage)
        start_ray(options.address)
        counts = estimate(storage, parts, settings, name, workers())
        fewer = "" if settings.captions_per_sample == 1 else "; captions of one picture come together, so it takes less than this"
        sys.stderr.write(f"a dry run: nothing was written{fewer}\n")
        return counts
    parts, out = command_line.require_parts(storage), _place(settings)
    claimed = claim(storage, name, out, force=options.force)
    start_ray(options.address)
    counts = command_line.summary(run_export(storage, parts, settings, name, claimed))
    if not counts["failed"] and not counts["exported"]:
        sys.stderr.write(f"export: no sample is kept by stage {settings.stage} and meets {_cut(settings)}; there are no shards\n")
    return counts


def _cut(settings: ExportSettings) -> str:
    """What an export takes a part of the kept samples by, for a line."""
    weights = f"export.weights {settings.weights}" if settings.weights else "the pictures that were fetched"
    return f"the condition {settings.where}" if settings.where else weights


def _conversations(storage: Storage, settings: ExportSettings, options: Any) -> dict[str, Any]:
    """Exports the conversations that the settings name."""
    sets = open_sets(settings)
    items = shard_items(sets, settings)
    if options.dry_run:
        sys.stderr.write("a dry run: nothing was written\n")
        return {"conversations": sum(item["end"] - item["first"] for item in items), "shards": len(items)}
    if not items:
        raise RequestError(f"--conversations {settings.conversations} has no conversation to be put into shards; check the file")
    claimed = claim(storage, settings.name, _place(settings), force=options.force)
    start_ray(options.address)
    return export_conversations(claimed, settings, sets, items)


def _place(settings: ExportSettings) -> Storage:
    """Where the shards go; RequestError where nothing can be written."""
    out = Storage(settings.out)
    out.require_writable()
    return out


def check(recipe: Recipe) -> None:
    """RequestError where the recipe's export has settings or a name that cannot be, or a place that cannot be written."""
    settings = recipe.export.of_product()
    _name(settings)
    settings.require_consistent()
    Storage(recipe.export.out).require_writable()


def _name(settings: ExportSettings) -> str:
    name = settings.name or f"stage{settings.stage}"
    if not re.fullmatch(r"[a-z0-9]+", name):
        raise RequestError(f"--name {name!r} must be small letters and digits: it becomes the view shards_{name}")
    return name


if __name__ == "__main__":
    command_line.run("export", main)
