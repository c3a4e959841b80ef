"""caption [--model URI]: kept pictures → synthetic captions by an InternVL on workers of its own, the family `captions`.

A costly step: captions are cached per sample, and a picture that several samples of a part share is captioned once. The model is
a folder in the Hugging Face layout, by path or URI, or what another `caption.captioner` takes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from infra.compat.errors import RequestError, nearest
from infra.compat.paths import absolute
from pipelines.captioning import captioner_named
from pipelines.captioning.settings import CaptionSettings
from pipelines.manifest.parts import Part
from pipelines.manifest.pictures import LOST, StoredPicture
from pipelines.manifest.selection import DISTINCT
from pipelines.manifest.storage import Storage
from pipelines.recipe import Recipe, recipe_of
from pipelines.runtime import command_line
from pipelines.runtime.cache import cached_results, missing_results, require_same_settings
from pipelines.runtime.picture_chunks import Finished, compute_in_chunks, pending_samples
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import require_gpus, start_ray
from pipelines.runtime.step import PartResult, Step, run_step
from pipelines.sources import sources


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Captions every kept picture that has no caption yet."""
    parser = command_line.parser("caption", __doc__ or "", by_part=True)
    parser.add_argument("--model", metavar="URI", help="an InternVL folder in the Hugging Face layout (default: the recipe's)")
    parser.add_argument("--redo", action="store_true", help="caption again what another model or prompt captioned")
    options = parser.parse_args(argv)
    from pipelines.captioning.chunks import load_captioner

    settings = recipe_of(options).caption
    _require_sources(settings)
    is_path = settings.captioner == "internvl"  # another captioner's model need not be one
    uri = (absolute(options.model) if is_path and options.model else options.model) or settings.model
    if not uri:
        raise RequestError("no model; give --model, or set caption.model in the recipe")
    storage = Storage(options.root)
    chosen = command_line.selected_parts(storage, options.only)
    parts = [part for part in chosen if not settings.sources or part.source in settings.sources]
    model = dict(captioner_named(settings.captioner).provenance(uri))
    for source in sorted({part.source for part in parts}):
        own = [part for part in parts if part.source == source]
        require_same_settings(storage, own, "captions", _result_settings(settings, model, source), redo=options.redo)
    load = partial(load_captioner, uri, settings.model_dump_json())
    if not settings.gpus:
        load()  # a model that does not load is a wrong request, not a thousand failed parts
    start_ray(options.address)
    require_gpus("caption.gpus", settings.gpus, options.address)
    step = Step(
        family="captions",
        inputs=("samples", "fetch", "stage1", "dedup"),
        settings=lambda part: _result_settings(settings, model, part.source),
        work=partial(_caption, settings=settings, uri=uri, model=model),
        missing=partial(missing_results, family="captions", conditions=DISTINCT),
        gpus=settings.gpus,
        setup=load,
        workers=settings.workers,
        reads_pictures=True,
    )
    return command_line.summary(run_step(storage, step, parts))


def check(recipe: Recipe) -> None:
    """RequestError where the recipe captions unknown sources, or by a model that is none."""
    _require_sources(recipe.caption)
    captioner_named(recipe.caption.captioner).provenance(recipe.caption.model)


def _require_sources(settings: CaptionSettings) -> None:
    known = sources()
    for name in (*settings.sources, *settings.by_source):
        if name not in known:
            raise RequestError(f"caption: {name!r} is no source; {nearest(name, known)}")


def _result_settings(settings: CaptionSettings, model: dict[str, str], source: str) -> dict[str, Any]:
    """Model, prompt and decoding: the settings that a caption depends on."""
    return {**model, "prompt": list(settings.prompt_for(source)), **settings.result_settings()}


def _caption(
    storage: Storage, part: Part, reporter: Reporter, *, settings: CaptionSettings, uri: str, model: dict[str, str]
) -> PartResult:
    from pipelines.captioning.chunks import caption_chunk, load_captioner

    result_settings = _result_settings(settings, model, part.source)
    cached = cached_results(storage, part, "captions", result_settings)
    pending = pending_samples(storage, part, cached, DISTINCT)
    reporter(part.rows - len(pending))
    describe, questions = load_captioner(uri, settings.model_dump_json()), settings.prompt_for(part.source)
    name = f"{model['model']}@{model['sha256'][:12]}"

    def compute(chunk: pa.Table, pictures: list[StoredPicture], picture_of: list[int], finished: Finished) -> pa.Table:
        captions = caption_chunk(storage, pictures, picture_of, describe, questions, settings, finished)
        captions = captions.append_column("model", pa.repeat(name, len(captions)))
        return captions.append_column("prompt", pa.repeat("\n".join(questions), len(captions)))

    chunk_rows = settings.chunk
    table, paths = compute_in_chunks(storage, part, "captions", cached, pending, chunk_rows, result_settings, compute, reporter)
    footer = {"pairmill.caption": json.dumps(result_settings, sort_keys=True, ensure_ascii=False)}
    return PartResult(table.replace_schema_metadata(footer), _counts(table), settings=result_settings, temporary_files=paths)


def _counts(table: pa.Table) -> dict[str, int]:
    finishes = {row["values"]: row["counts"] for row in pc.value_counts(table["finish_reason"]).to_pylist()}
    told = {name: finishes.get(name, 0) for name in ("length", "empty", "unreadable")}
    told |= {name: finishes[name] for name in LOST if name in finishes}
    captioned = len(table) - table["synthetic_caption"].null_count
    return {"captioned": captioned, **{f"reason.{name}": count for name, count in told.items()}}


if __name__ == "__main__":
    command_line.run("caption", main)
