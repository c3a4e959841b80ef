"""score: pictures that fetch kept → CLIP similarity, aesthetic, unsafe and watermark scores of our own, the family `scores`.

A costly step: a sample once scored is not scored again. A picture that several samples of a part share goes through the models
once. Run `stage1` before, so that pictures too small as found are not paid for, and afterwards: our scores go before the
publisher's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.images.chunks import Finished, Place, work_in_chunks
from pipelines.manifest.join import locate, read_part
from pipelines.manifest.parts import Part
from pipelines.manifest.selection import WITH_PICTURE
from pipelines.manifest.storage import Storage
from pipelines.recipe import recipe_of
from pipelines.runtime import command_line
from pipelines.runtime.cache import had, missing_results, refuse_to_void
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import require_gpus, start_ray
from pipelines.runtime.step import Made, Step, run_step
from pipelines.scoring.settings import ScoreSettings


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Scores every kept picture that has no scores yet."""
    parser = command_line.parser("score", __doc__ or "", by_part=True)
    parser.add_argument("--redo", action="store_true", help="score again what other models scored")
    options = parser.parse_args(argv)
    from pipelines.scoring.chunks import scorers
    from pipelines.scoring.models import provenance

    settings = recipe_of(options).score
    storage = Storage(options.root)
    parts = command_line.wanted_parts(storage, options.only)
    models = provenance(settings)
    refuse_to_void(storage, parts, "scores", models, redo=options.redo)
    setup = partial(scorers, settings.model_dump_json())
    if not settings.gpus:
        setup()  # a model that does not load is a wrong request, not a thousand failed parts
    start_ray(options.address)
    require_gpus("score.gpus", settings.gpus, options.address)
    step = Step(
        family="scores",
        inputs=("samples", "fetch", "stage1"),
        settings=lambda part: models,
        work=partial(_score, settings=settings, models=models),
        missing=partial(missing_results, family="scores", conditions=WITH_PICTURE),
        gpus=settings.gpus,
        setup=setup,
        workers=settings.workers,
    )
    return command_line.summary(run_step(storage, step, parts))


def _score(storage: Storage, part: Part, reporter: Reporter, *, settings: ScoreSettings, models: dict[str, Any]) -> Made:
    from pipelines.scoring.chunks import footer, score_chunk

    table = read_part(storage, part, {"samples": ["caption"], "fetch": ["status", "tar", "offset", "length"], "stage1": ["keep"]})
    scored = had(storage, part, "scores", models)
    wanted = pc.and_(pc.fill_null(pc.equal(table["fetch_status"], "ok"), False), pc.fill_null(table["stage1_keep"], True))
    todo = table.filter(pc.and_(wanted, pc.is_null(locate(scored["sample_id"].to_numpy(), table["sample_id"].to_numpy()))))
    reporter(part.rows - len(todo))

    def work(chunk: pa.Table, places: list[Place], rows: list[int], finished: Finished) -> pa.Table:
        return score_chunk(storage, places, rows, chunk["caption"].to_pylist(), settings, finished)

    made, paths = work_in_chunks(storage, part, "scores", scored, todo, settings.chunk, models, work, reporter)
    made = made.replace_schema_metadata(footer(models))
    return Made(made, _counts(made, models), settings=models, spent=paths)


def _counts(table: pa.Table, models: dict[str, Any]) -> dict[str, int]:
    missing = {f"reason.no_{name}": table[name].null_count for name in models}
    return {"scored": len(table), **{name: count for name, count in missing.items() if count}}


if __name__ == "__main__":
    command_line.run("score", main)
