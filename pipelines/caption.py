"""caption --model M: kept pictures → synthetic captions by an InternVL on workers of its own, the family `captions`.

A costly step: a sample once captioned is not captioned again, and a picture that several samples of a part share goes through the
model once. The model is a folder in the Hugging Face layout, by path or URI.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from infra.compat.errors import RequestError, nearest
from pipelines.captioning.settings import CaptionSettings
from pipelines.images.chunks import Finished, Place, work_in_chunks
from pipelines.manifest.join import locate, read_part
from pipelines.manifest.parts import Part
from pipelines.manifest.selection import DISTINCT
from pipelines.manifest.storage import Storage
from pipelines.recipe import recipe_of
from pipelines.runtime import command_line
from pipelines.runtime.cache import had, missing_results, refuse_to_void
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import require_gpus, start_ray
from pipelines.runtime.step import Made, Step, run_step
from pipelines.sources import sources


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Captions every kept picture that has no caption yet."""
    parser = command_line.parser("caption", __doc__ or "", by_part=True)
    parser.add_argument("--model", required=True, metavar="URI", help="an InternVL folder in the Hugging Face layout")
    parser.add_argument("--redo", action="store_true", help="caption again what another model or prompt captioned")
    options = parser.parse_args(argv)
    from pipelines.captioning.internvl import load_captioner, provenance

    settings = recipe_of(options).caption
    for name in (*settings.sources, *settings.by_source):
        if name not in sources():
            raise RequestError(f"caption: {name!r} is no source; {nearest(name, list(sources()))}")
    storage = Storage(options.root)
    parts = [
        part
        for part in command_line.wanted_parts(storage, options.only)
        if not settings.sources or part.source in settings.sources
    ]
    made_by = provenance(options.model)
    for source in sorted({part.source for part in parts}):
        own = [part for part in parts if part.source == source]
        refuse_to_void(storage, own, "captions", _paid_with(settings, made_by, source), redo=options.redo)
    setup = partial(load_captioner, options.model, settings.model_dump_json())
    if not settings.gpus:
        setup()  # a model that does not load is a wrong request, not a thousand failed parts
    start_ray(options.address)
    require_gpus("caption.gpus", settings.gpus, options.address)
    step = Step(
        family="captions",
        inputs=("samples", "fetch", "stage1", "dedup"),
        settings=lambda part: _paid_with(settings, made_by, part.source),
        work=partial(_caption, settings=settings, model=options.model, made_by=made_by),
        missing=partial(missing_results, family="captions", conditions=DISTINCT),
        gpus=settings.gpus,
        setup=setup,
        workers=settings.workers,
    )
    return command_line.summary(run_step(storage, step, parts))


def _paid_with(settings: CaptionSettings, made_by: dict[str, str], source: str) -> dict[str, Any]:
    """Model, prompt and decoding: what a caption is paid for with."""
    return {**made_by, "prompt": list(settings.prompt_for(source)), **settings.result_settings()}


def _caption(
    storage: Storage, part: Part, reporter: Reporter, *, settings: CaptionSettings, model: str, made_by: dict[str, str]
) -> Made:
    from pipelines.captioning.chunks import caption_chunk

    paid_with = _paid_with(settings, made_by, part.source)
    columns = {"fetch": ["status", "tar", "offset", "length"], "stage1": ["keep"], "dedup": ["duplicate_of", "eval_match"]}
    table = read_part(storage, part, {"samples": [], **columns})
    captioned = had(storage, part, "captions", paid_with)
    wanted = pc.and_(pc.fill_null(pc.equal(table["fetch_status"], "ok"), False), pc.fill_null(table["stage1_keep"], True))
    wanted = pc.and_(wanted, pc.and_(pc.is_null(table["dedup_duplicate_of"]), pc.is_null(table["dedup_eval_match"])))
    todo = table.filter(pc.and_(wanted, pc.is_null(locate(captioned["sample_id"].to_numpy(), table["sample_id"].to_numpy()))))
    reporter(part.rows - len(todo))
    name, questions = f"{made_by['model']}@{made_by['sha256'][:12]}", paid_with["prompt"]

    def work(chunk: pa.Table, places: list[Place], rows: list[int], finished: Finished) -> pa.Table:
        said = caption_chunk(storage, places, rows, model, questions, settings, finished)
        said = said.append_column("model", pa.repeat(name, len(said)))
        return said.append_column("prompt", pa.repeat("\n".join(questions), len(said)))

    made, paths = work_in_chunks(storage, part, "captions", captioned, todo, settings.chunk, paid_with, work, reporter)
    made = made.replace_schema_metadata({"pairmill.caption": json.dumps(paid_with, sort_keys=True, ensure_ascii=False)})
    return Made(made, _counts(made), settings=paid_with, spent=paths)


def _counts(table: pa.Table) -> dict[str, int]:
    finishes = {row["values"]: row["counts"] for row in pc.value_counts(table["finish_reason"]).to_pylist()}
    return {"captioned": len(table) - table["synthetic_caption"].null_count} | {
        f"reason.{name}": finishes.get(name, 0) for name in ("length", "empty", "unreadable")
    }


if __name__ == "__main__":
    command_line.run("caption", main)
