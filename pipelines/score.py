"""score: downloaded pictures → CLIP similarity, aesthetic, unsafe and watermark scores of our own, the family `scores`.

A costly step: scores are cached per sample, and a picture that several samples of a part share is scored once. Run `stage1`
before, so that pictures that are too small as downloaded are not scored, and afterwards: our scores take precedence over the
publisher's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from pipelines.manifest.parts import Part
from pipelines.manifest.pictures import StoredPicture
from pipelines.manifest.score_columns import register_score_columns
from pipelines.manifest.selection import WITH_PICTURE
from pipelines.manifest.storage import Storage
from pipelines.recipe import Recipe, recipe_of
from pipelines.runtime import command_line
from pipelines.runtime.cache import cached_results, missing_results, require_same_settings
from pipelines.runtime.picture_chunks import Finished, compute_in_chunks, pending_samples
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import require_gpus, start_ray
from pipelines.runtime.step import PartResult, Step, run_step
from pipelines.scoring import provenance
from pipelines.scoring.settings import ScoreSettings


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Scores every kept picture that has no scores yet."""
    parser = command_line.parser("score", __doc__ or "", by_part=True)
    parser.add_argument("--redo", action="store_true", help="score again what other models scored")
    options = parser.parse_args(argv)
    from pipelines.scoring.chunks import load_scores

    settings = recipe_of(options).score
    storage = Storage(options.root)
    parts = command_line.selected_parts(storage, options.only)
    models = provenance(settings)
    require_same_settings(storage, parts, "scores", models, redo=options.redo)
    load = partial(load_scores, settings.model_dump_json(), tuple(models))
    if not settings.gpus:
        load()  # a model that does not load is a wrong request, not a thousand failed parts
    register_score_columns(storage, models)
    start_ray(options.address)
    require_gpus("score.gpus", settings.gpus, options.address)
    step = Step(
        family="scores",
        inputs=("samples", "fetch", "stage1"),
        settings=lambda part: models,
        work=partial(_score, settings=settings, models=models),
        missing=partial(missing_results, family="scores", conditions=WITH_PICTURE),
        gpus=settings.gpus,
        setup=load,
        workers=settings.workers,
    )
    return command_line.summary(run_step(storage, step, parts))


def check(recipe: Recipe) -> None:
    """RequestError where a checkpoint of the recipe cannot be read."""
    provenance(recipe.score)


def _score(storage: Storage, part: Part, reporter: Reporter, *, settings: ScoreSettings, models: dict[str, Any]) -> PartResult:
    from pipelines.scoring.chunks import footer, load_scores, score_chunk

    cached = cached_results(storage, part, "scores", models)
    for name in models.keys() - set(cached.column_names):  # of scores of one's own, in a part without results
        cached = cached.append_column(name, pa.nulls(len(cached), pa.float32()))
    pending = pending_samples(storage, part, cached, WITH_PICTURE, ["caption"])
    reporter(part.rows - len(pending))
    loaded = load_scores(settings.model_dump_json(), tuple(models))

    def compute(chunk: pa.Table, pictures: list[StoredPicture], picture_of: list[int], finished: Finished) -> pa.Table:
        captions = chunk["caption"].to_pylist()
        return score_chunk(storage, pictures, picture_of, captions, loaded, settings.batch, finished)

    scored, paths = compute_in_chunks(storage, part, "scores", cached, pending, settings.chunk, models, compute, reporter)
    scored = scored.replace_schema_metadata(footer(models))
    return PartResult(scored, _counts(scored, models), settings=models, temporary_files=paths)


def _counts(table: pa.Table, models: dict[str, Any]) -> dict[str, int]:
    missing = {f"reason.no_{name}": table[name].null_count for name in models}
    return {"scored": len(table), **{name: count for name, count in missing.items() if count}}


if __name__ == "__main__":
    command_line.run("score", main)
