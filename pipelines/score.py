"""score: downloaded pictures → CLIP similarity, aesthetic, unsafe and watermark scores of our own, the family `scores`.

A costly step: scores are cached per sample, and a picture that several samples of a part share is scored once. Run `stage1`
before, so that pictures that are too small as downloaded are not scored, and afterwards: our scores take precedence over the
publisher's. With `score.embeddings` CLIP's embeddings of the pictures are kept too, the family `embeddings`, also of samples
that were scored before.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.manifest import embeddings
from pipelines.manifest.parts import Part
from pipelines.manifest.pictures import LOST, StoredPicture
from pipelines.manifest.receipts import completed
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
from pipelines.scoring import embedding_provenance, provenance
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
    models, embedder = provenance(settings), embedding_provenance(settings)
    require_same_settings(storage, parts, "scores", models, redo=options.redo)
    if embedder:
        require_same_settings(storage, parts, embeddings.FAMILY, embedder, redo=options.redo)
    load = partial(load_scores, settings.model_dump_json(), tuple(models))
    if not settings.gpus:
        load()  # a model that does not load is a wrong request, not a thousand failed parts
    register_score_columns(storage, models)
    start_ray(options.address)
    require_gpus("score.gpus", settings.gpus, options.address)
    step = Step(
        family="scores",
        inputs=("samples", "fetch", "stage1"),
        settings=lambda part: {**models, **({"[embeddings]": embedder} if embedder else {})},  # in brackets: no score's name
        work=partial(score_part, settings=settings, models=models, embedder=embedder),
        missing=partial(missing_results, family="scores", conditions=WITH_PICTURE),
        gpus=settings.gpus,
        setup=load,
        workers=settings.workers,
        reads_pictures=True,
    )
    lacking = _without_embeddings(storage, parts) if embedder else set()
    return command_line.summary(run_step(storage, step, parts, lambda receipt: (receipt.source, receipt.part) in lacking))


def _without_embeddings(storage: Storage, parts: Sequence[Part]) -> set[tuple[str, str]]:
    """Source and name of the parts whose embeddings are not there, as where they were deleted."""
    there = completed(storage, embeddings.FAMILY, parts)
    return {(part.source, part.name) for part in parts if part not in there}


def check(recipe: Recipe) -> None:
    """RequestError where a checkpoint of the recipe cannot be read."""
    provenance(recipe.score)


def score_part(
    storage: Storage,
    part: Part,
    reporter: Reporter,
    *,
    settings: ScoreSettings,
    models: dict[str, Any],
    embedder: dict[str, Any] | None,
) -> PartResult:
    """What a worker does with a part: its scores, those of earlier runs and those that are missing, and embeddings if kept."""
    from pipelines.scoring.chunks import footer, load_scores

    cached = cached_results(storage, part, "scores", models)
    for name in models.keys() - set(cached.column_names):  # of scores of one's own, in a part without results
        cached = cached.append_column(name, pa.nulls(len(cached), pa.float32()))
    loaded = load_scores(settings.model_dump_json(), tuple(models))
    compute = partial(_compute, storage=storage, part=part, reporter=reporter, settings=settings)
    pending = pending_samples(storage, part, cached, WITH_PICTURE, ["caption"])
    to_embed = _to_embed(storage, part, cached, embedder) if embedder else pending.slice(0, 0)
    reporter(part.rows - len(pending) - len(to_embed))
    new, paths = compute(pending, loaded=loaded, models={**models, "[embeddings]": settings.embeddings} if embedder else models)
    of_models = [name for name in new.column_names if name not in ("embedding", "scale")]
    scored = pa.concat_tables([cached, new.select(of_models)], promote_options="default").sort_by("sample_id")
    beside = {}
    if embedder:
        more, more_paths = compute(to_embed, loaded=loaded.embedding_alone(), models={"[embeddings]": embedder})
        scored = _with_errors(scored, more)
        beside[embeddings.FAMILY] = _embedded(storage, part, [new, more], embedder)
        paths += more_paths
    scored = scored.replace_schema_metadata(footer(models, settings, loaded))
    return PartResult(scored, _counts(scored, models), beside=beside, settings=models, temporary_files=paths)


def _compute(
    pending: pa.Table, *, storage: Storage, part: Part, reporter: Reporter, settings: ScoreSettings, loaded: Any, models: Any
) -> tuple[pa.Table, list[str]]:
    """The results of pending samples by sample_id, and the files of their chunks."""
    from pipelines.scoring.chunks import score_chunk

    def compute(chunk: pa.Table, pictures: list[StoredPicture], picture_of: list[int], finished: Finished) -> pa.Table:
        return score_chunk(storage, pictures, picture_of, chunk["caption"].to_pylist(), loaded, finished)

    none = pending.select(["sample_id"]).slice(0, 0)
    return compute_in_chunks(storage, part, "scores", none, pending, settings.chunk, models, compute, reporter)


def _to_embed(storage: Storage, part: Part, scored: pa.Table, embedder: dict[str, Any]) -> pa.Table:
    """The samples of a part that have scores, but no embedding where one is asked for, as `pending_samples` gives them."""
    done = cached_results(storage, part, embeddings.FAMILY, embedder)["sample_id"]
    failed = scored.filter(pc.and_(pc.is_valid(scored["error"]), pc.invert(pc.is_in(scored["error"], pa.array(LOST)))))[
        "sample_id"
    ]
    known = pa.table({"sample_id": pa.chunked_array([*done.chunks, *failed.chunks], pa.uint64())}).sort_by("sample_id")
    lacking = pending_samples(storage, part, known, WITH_PICTURE, ["caption"])
    return lacking.filter(pc.is_in(lacking["sample_id"], scored["sample_id"].combine_chunks()))


def _with_errors(scored: pa.Table, more: pa.Table) -> pa.Table:
    """Scores with the errors of pictures that were read again to embed them, which may be others than when they were scored."""
    if not len(more):
        return scored
    rows = pc.index_in(scored["sample_id"], more["sample_id"].combine_chunks())
    errors = pc.if_else(pc.is_valid(rows), more["error"].take(rows), scored["error"])
    return scored.set_column(scored.column_names.index("error"), "error", errors)


def _embedded(storage: Storage, part: Part, made: Sequence[pa.Table], embedder: dict[str, Any]) -> PartResult:
    """The embeddings of a part, those of earlier runs and those just made; a picture that was not embedded has none."""
    columns = ["sample_id", "embedding", "scale"]
    new = [table.select(columns).filter(pc.is_valid(table["embedding"])) for table in made if "embedding" in table.column_names]
    earlier = cached_results(storage, part, embeddings.FAMILY, embedder)
    made_again = pa.chunked_array([chunk for table in new for chunk in table["sample_id"].chunks], pa.uint64())
    earlier = earlier.filter(pc.invert(pc.is_in(earlier["sample_id"], made_again)))  # as after a kill, or for another caption
    tables = [table for table in (earlier, *new) if len(table)]
    table = pa.concat_tables(tables).sort_by("sample_id") if tables else pa.table({"sample_id": pa.array([], pa.uint64())})
    table = table.replace_schema_metadata({embeddings.FOOTER: json.dumps(embedder, sort_keys=True)})
    return PartResult(table, {"embedded": len(table)}, settings=embedder)


def _counts(table: pa.Table, models: dict[str, Any]) -> dict[str, int]:
    missing = {f"reason.no_{name}": table[name].null_count for name in models}
    errors = {f"reason.{row['values']}": row["counts"] for row in pc.value_counts(table["error"].drop_null()).to_pylist()}
    return {"scored": len(table), **errors, **{name: count for name, count in missing.items() if count}}


if __name__ == "__main__":
    command_line.run("score", main)
