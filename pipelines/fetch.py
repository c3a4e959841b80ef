"""fetch: URLs of samples that stage 1 did not drop → checked pictures in tars, and the family `fetch`.

A costly step: what was asked once is kept. A run asks only for samples that have no answer yet, a URL that several samples of a
part share is asked for once, and a part is committed in chunks, so that a kill costs minutes.
What img2dataset fetched before is taken where it lies; with --engine img2dataset it does the asking.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from infra.compat.errors import RequestError, nearest
from pipelines.fetching.request import Wanted
from pipelines.fetching.settings import FetchSettings
from pipelines.manifest.ids import sample_ids
from pipelines.manifest.join import read_columns, read_family, read_part
from pipelines.manifest.parts import Part, read_files
from pipelines.manifest.receipts import read_receipts
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import FAMILIES
from pipelines.recipe import Recipe, recipe_of
from pipelines.runtime import command_line
from pipelines.runtime.cache import commit_once, had, refuse_to_void
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import start_ray
from pipelines.runtime.step import Made, Outcome, Step, run_step
from pipelines.sources import source_named
from pipelines.sources.img2dataset import NAME as IMG2DATASET

ENGINES = ("pairmill", IMG2DATASET)
DOWNLOAD = "download"  # the stage-1 rule that only repeats what fetch said
COLUMNS = [name for name in FAMILIES["fetch"].names if name != "sample_id"]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Fetches what is wanted and not yet had."""
    parser = command_line.parser("fetch", __doc__ or "", by_part=True)
    parser.add_argument(
        "--retry",
        default="",
        metavar="CLASSES",
        help="ask again where these errors came, e.g. timeout,connect; failed: where any came but a refusal",
    )
    parser.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help="who asks: ours, or img2dataset under our policy")
    parser.add_argument("--redo", action="store_true", help="fetch again what was stored with other resize settings")
    options = parser.parse_args(argv)
    from pipelines.fetching.policy import blocklist
    from pipelines.images import resize

    retry = _classes(options.retry)
    settings = recipe_of(options).fetch
    blocklist(settings.blocked_domains, settings.blocked_urls)  # one that cannot be read is a wrong request
    storage = Storage(options.root)
    parts = command_line.selected_parts(storage, options.only)
    refuse_to_void(storage, parts, "fetch", settings.result_settings(), redo=options.redo)
    if options.engine == IMG2DATASET:
        from pipelines.fetching.img2dataset import require_img2dataset

        require_img2dataset(settings)
    if resize.compiled is None:
        sys.stderr.write(
            "fetch: installed without a C compiler, so NumPy resizes the pictures: to the same bytes, many times slower\n"
        )
    start_ray(options.address)
    return command_line.summary(run_fetch(storage, parts, Asking(settings, retry, options.engine)))


def _classes(asked: str) -> tuple[str, ...]:
    """The error classes of a comma-separated list; `failed` stands for all but refusals. RequestError for an unknown one."""
    from pipelines.fetching.client import ERRORS, status_of

    found: list[str] = []
    for name in filter(None, asked.split(",")):
        if name not in (*ERRORS, "failed"):
            raise RequestError(f"--retry {name!r} is no error class; {nearest(name, [*ERRORS, 'failed'])}")
        found += [error for error in ERRORS if status_of(error) == "failed"] if name == "failed" else [name]
    return tuple(dict.fromkeys(found))


def check(recipe: Recipe) -> None:
    """RequestError where a blocklist of the recipe cannot be read."""
    from pipelines.fetching.policy import blocklist

    blocklist(recipe.fetch.blocked_domains, recipe.fetch.blocked_urls)


@dataclass(frozen=True)
class Asking:
    """How a run asks: by which settings, again for which error classes, with which engine."""

    settings: FetchSettings
    retry: tuple[str, ...] = ()
    engine: str = ENGINES[0]


def run_fetch(storage: Storage, parts: Sequence[Part], asking: Asking) -> Outcome:
    """Runs the step; parts with an error to retry are run again."""
    retried = [f"reason.{error}" for error in asking.retry]
    return run_step(storage, fetch_step(asking), parts, again=lambda receipt: any(receipt.counts.get(name) for name in retried))


def fetch_step(asking: Asking) -> Step:
    """The step that asks for a part's URLs."""
    return Step(
        family="fetch",
        inputs=("samples", "stage1"),
        settings=lambda part: asking.settings.result_settings(),
        work=partial(_fetch, asking=asking),
        missing=missing,
        cpus=0.5,  # a part waits for hosts, at its end for the slowest alone
    )


@dataclass(frozen=True)
class Plan:
    """What is to be asked for one part of N samples and U distinct URLs.

    ids      uint64[N] the samples
    codes    int64[N] each sample's URL
    first    int64[U] the first sample with that URL
    answers  int64[U] the row of the earlier answers for the URL, -1 where there is none
    asked    int64[A] the URLs to ask for, in the order of their first samples
    sharing  int64[U] how many wanted samples share the URL
    wanted   bool[N] whether stage 1 wants the sample's picture
    """

    ids: np.ndarray
    codes: np.ndarray
    first: np.ndarray
    answers: np.ndarray
    asked: np.ndarray
    sharing: np.ndarray
    wanted: np.ndarray


def make_plan(samples: pa.Table, answered: pa.Table, retry: Sequence[str]) -> Plan:
    """Which URLs of samples (sample_id, url, stage1_reasons) have no answer among `answered`, or one of the errors to retry.

    An earlier answer that is not asked for again stays, whatever it was.
    """
    ids, wanted = samples["sample_id"].to_numpy(), _wanted(samples["stage1_reasons"])
    codes = samples["url"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
    count = int(codes.max(initial=-1)) + 1
    answers, first = np.full(count, -1, dtype=np.int64), np.full(count, len(ids), dtype=np.int64)
    answering = codes[np.searchsorted(ids, answered["sample_id"].to_numpy())]
    answers[answering[::-1]] = np.arange(len(answered))[::-1]
    unsettled = answers < 0
    unsettled[answering[pc.fill_null(pc.is_in(answered["error"], pa.array(retry, pa.string())), False).to_numpy()]] = True
    np.minimum.at(first, codes, np.arange(len(codes)))
    asked = np.unique(codes[wanted & unsettled[codes]])
    sharing = np.bincount(codes[wanted], minlength=count)
    return Plan(ids, codes, first, answers, asked[np.argsort(first[asked])], sharing, wanted)


def _wanted(reasons: pa.ChunkedArray) -> np.ndarray:
    """Whether stage 1 has nothing against each sample but that its download failed, which is fetch's own matter: bool[N]."""
    column = reasons.combine_chunks()
    against = pc.list_parent_indices(column).filter(pc.not_equal(pc.list_flatten(column), DOWNLOAD))
    wanted = np.ones(len(column), dtype=bool)
    wanted[against.to_numpy()] = False
    return wanted


def missing(storage: Storage, part: Part) -> int:
    """How many samples whose picture is to be downloaded have no result yet."""
    if part.source == IMG2DATASET:
        return 0 if part in read_receipts(storage, "fetch", [part]) else part.rows
    plan = make_plan(read_columns(storage, part, ["url", "stage1_reasons"]), read_family(storage, part, "fetch", ["error"]), ())
    return int(plan.sharing[plan.asked].sum())


def _fetch(storage: Storage, part: Part, reporter: Reporter, *, asking: Asking) -> Made:
    settings = asking.settings
    if part.source == IMG2DATASET:
        return _adopt(storage, part, reporter, settings)
    ends = time.monotonic() + settings.part_seconds
    samples = read_part(storage, part, {"samples": ["url", "image_hash"], "stage1": ["reasons"]})
    answered = had(storage, part, "fetch", settings.result_settings())
    plan = make_plan(samples, answered, asking.retry)
    reporter(part.rows - int(plan.sharing[plan.asked].sum()))
    chunks = [plan.asked[start : start + settings.chunk] for start in range(0, len(plan.asked), settings.chunk)]
    spent = [_fetch_chunk(storage, part, reporter, asking, ends, _share(plan, samples, chunk)) for chunk in chunks]
    rows = pa.concat_tables([answered.select(COLUMNS), *(storage.read_parquet(path, COLUMNS) for path in spent)])
    answers = plan.answers.copy()
    answers[plan.asked] = len(answered) + np.arange(len(plan.asked))
    kept = (answers[plan.codes] >= 0) & (plan.wanted | np.isin(plan.ids, answered["sample_id"].to_numpy()))
    table = rows.take(pa.array(answers[plan.codes[kept]])).add_column(0, "sample_id", pa.array(plan.ids[kept]))
    return Made(table, _counts(table), settings=settings.result_settings(), spent=spent)


def _adopt(storage: Storage, part: Part, reporter: Reporter, settings: FetchSettings) -> Made:
    """Pictures that were fetched before us are taken where they lie."""
    from pipelines.fetching.adopt import adopt

    ids = storage.read_parquet(part.path("samples"), ["sample_id"])["sample_id"].to_numpy()
    first = int(sample_ids(source_named(part.source).ordinal, part.file, part.first_row, 1)[0])
    uri = read_files(storage, part.source)[part.file].uri
    rows = adopt(uri, part.first_row, part.rows, settings, lambda number: reporter(1))
    table = rows.take(pa.array(ids - np.uint64(first))).add_column(0, "sample_id", pa.array(ids))
    return Made(table, _counts(table), settings=settings.result_settings())


def _share(plan: Plan, samples: pa.Table, chunk: np.ndarray) -> tuple[Wanted, list[int]]:
    """The URLs of a chunk, and how many samples share each."""
    first = plan.first[chunk]
    asked = samples.select(["url", "image_hash"]).take(pa.array(first))
    keys = [f"{sample_id:016x}" for sample_id in plan.ids[first]]
    return Wanted(asked["url"].to_pylist(), keys, asked["image_hash"].to_pylist()), plan.sharing[chunk].tolist()


def _fetch_chunk(
    storage: Storage, part: Part, reporter: Reporter, asking: Asking, ends: float, share: tuple[Wanted, list[int]]
) -> str:
    """Fetches one chunk of URLs until `ends`, unless that was done before a kill; returns where its answers lie."""
    from pipelines.fetching import chunks, img2dataset

    fetch_chunk = img2dataset.fetch_chunk if asking.engine == IMG2DATASET else chunks.fetch_chunk
    wanted, sharing = share

    def make(name: str) -> pa.Table:
        tar = f"images/{part.source}/{part.name}/{name}.tar"
        left = ends - time.monotonic()
        return fetch_chunk(storage, wanted, tar, asking.settings, left, lambda index: reporter(sharing[index]))

    path, made = commit_once(storage, part, "fetch", [wanted.keys, asking.settings.result_settings(), asking.retry], make)
    if not made:
        reporter(sum(sharing))
    return path


def _counts(table: pa.Table) -> dict[str, int]:
    by_status = {row["values"]: row["counts"] for row in pc.value_counts(table["status"]).to_pylist()}
    by_error = {row["values"]: row["counts"] for row in pc.value_counts(table["error"].drop_null()).to_pylist()}
    return {**by_status, **{f"reason.{error}": count for error, count in by_error.items()}}


if __name__ == "__main__":
    command_line.run("fetch", main)
