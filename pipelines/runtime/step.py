"""A step over parts: what is pending, what it writes, receipts.

The unit of work is a whole part: one Ray task reads its columns, computes with Arrow inside, writes its family file and then
its receipt, and returns the receipt's JSON. The driver holds nothing else, so its memory does not grow with the corpus.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from infra.compat.content import content_digest
from infra.compat.memory import holding_little_memory
from pipelines.manifest.parts import Part
from pipelines.manifest.pictures import LOST
from pipelines.manifest.receipts import Receipt, completed, digest_of_file, fingerprint_of, read_receipts, write_receipt
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import conform
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import run_items

# Modules whose code is part of the content of every step that calls it.
FOLLOWED = ("filters", "pipelines.manifest.join", "pipelines.manifest.selection")


@dataclass(frozen=True)
class PartResult:
    """What a step computed for a part.

    table            the step's own family, or its first rows
    counts           add up over parts
    other_families   further families by name (rejects of ingest)
    beside           results of further families, made in the same pass, each with a receipt of its own (embeddings of score)
    settings         those that a costly step's results depend on; kept in the receipt
    temporary_files  files whose content is in the tables, removed once the receipt is written, with all in their folders
    more             the rows after those of `table`, computed as they are written: `counts` are complete once they are
    """

    table: pa.Table
    counts: Mapping[str, int] = field(default_factory=dict)
    other_families: Mapping[str, pa.Table] = field(default_factory=dict)
    beside: Mapping[str, PartResult] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    temporary_files: Sequence[str] = ()
    more: Iterable[pa.Table] = ()


@dataclass(frozen=True)
class Step:
    """One column-making step.

    family    what it writes; also the step's name in receipts
    inputs    the families it reads: their digests are in the fingerprint, so it runs again when they change
    settings  JSON values it depends on, in the fingerprint too; may depend on the part
    work      (storage, part, reporter) -> PartResult
    content   further functions and values that decide the columns. An edit of these, of `work`, or of functions of their modules
              or of `filters` that they call makes parts stale by itself
    missing   of a costly step, whose results are kept per sample and are never stale: (storage, part) -> how many samples of the
              part have no result yet. None for a pure step
    cpus      how much of a core one part keeps busy
    gpus      how much of a GPU one part needs
    setup     what a worker does once before its first part: then parts are done by actors that live as long as the job, so that
              a model is loaded once in each
    workers   how many actors at most; 0: as many as the cluster has room for
    little_memory  whether a worker gives memory back at once, at the cost of some speed: see `holding_little_memory`
    reads_pictures  whether it reads stored pictures, and counts those that it cannot by `reason.<why>`: a part with pictures that
              are `LOST` is named, and done again by the next run
    """

    family: str
    inputs: tuple[str, ...]
    settings: Callable[[Part], Mapping[str, Any]]
    work: Callable[[Storage, Part, Reporter], PartResult]
    content: tuple[Any, ...] = ()
    missing: Callable[[Storage, Part], int] | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    setup: Callable[[], Any] | None = None
    workers: int = 0
    little_memory: bool = False
    reads_pictures: bool = False


@dataclass
class Outcome:
    """What a job did: counts over all parts (also those done before), the parts that failed with their cause, and the parts that
    are done but for pictures that cannot be read.
    """

    counts: Counter[str] = field(default_factory=Counter)
    parts: int = 0
    ran: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)


def fingerprints(storage: Storage, step: Step, parts: Sequence[Part]) -> dict[Part, str]:
    """The fingerprint each part's receipt would carry if the step were done now; a part not yet ingested has none."""
    return _fingerprints(step, input_digests(storage, step.inputs, parts))


def input_digests(storage: Storage, families: Sequence[str], parts: Sequence[Part]) -> dict[Part, dict[str, str | None]]:
    """Family → digest of each part's inputs, None where one is not made; without the parts that are not ingested."""
    receipts = {family: completed(storage, family, parts) for family in families}
    ingested = [part for part in parts if part in receipts["samples"]] if "samples" in receipts else parts
    return {
        part: {family: of_family[part].digest if part in of_family else None for family, of_family in receipts.items()}
        for part in ingested
    }


def _fingerprints(step: Step, inputs: Mapping[Part, Mapping[str, str | None]]) -> dict[Part, str]:
    content = "" if step.missing else _content_of(step)
    return {
        part: fingerprint_of(
            {
                "family": step.family,
                "content": content,
                "part": asdict(part),
                "settings": step.settings(part),
                "inputs": inputs[part],
            }
        )
        for part in inputs
    }


def _content_of(step: Step) -> str:
    """The digest of what decides the columns of a pure step: its work and further content, what these call in their modules, in
    `filters`, and where the manifest is joined and samples are selected.
    """
    work = step.work.func if isinstance(step.work, partial) else step.work
    modules = {value.__module__ for value in (work, *step.content) if hasattr(value, "__module__")}
    return content_digest(work, *step.content, packages={*FOLLOWED, *modules})


def run_step(
    storage: Storage, step: Step, parts: Sequence[Part], again: Callable[[Receipt], bool] = lambda receipt: False
) -> Outcome:
    """Does the step on every part that is not done, lacks pictures, or that `again` selects; counts are over all parts."""
    inputs = input_digests(storage, step.inputs, parts)
    current = _fingerprints(step, inputs)
    receipts = completed(storage, step.family, parts)
    done = {
        part: receipt
        for part, receipt in receipts.items()
        if receipt.fingerprint == current.get(part) and not again(receipt) and not _lost(step, receipt.counts)
    }
    pending = [part for part in current if part not in done]
    if pending:
        storage.require_writable()
    outcome = Outcome(parts=len(parts), ran=len(pending))
    outcome.failed |= {str(part): "it is not ingested; run `pairmill ingest`" for part in parts if part not in current}
    for receipt in done.values():
        outcome.counts.update(receipt.counts)

    def work(item: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
        part = Part(**item["part"])
        with holding_little_memory() if step.little_memory else nullcontext():
            return asdict(_do_part(storage, step, part, item["fingerprint"], item["inputs"], reporter))

    items = [{"label": str(part), "part": asdict(part), "fingerprint": current[part], "inputs": inputs[part]} for part in pending]
    total = sum(part.rows for part in pending)
    for label, result, error in run_items(
        items,
        work,
        name=step.family,
        unit="rows",
        total=total,
        cpus=step.cpus,
        gpus=step.gpus,
        setup=step.setup,
        workers=step.workers,
    ):
        if error is None:
            outcome.counts.update(result["counts"])
            outcome.lost |= {label: cause} if (cause := _lost(step, result["counts"])) else {}
        else:
            outcome.failed[label] = error
    return outcome


def _lost(step: Step, counts: Mapping[str, int]) -> str:
    """Which pictures of a part could not be read, and the mend; "" where all that were fetched could."""
    lost = {why: counts[f"reason.{why}"] for why in LOST if counts.get(f"reason.{why}")} if step.reads_pictures else {}
    if not lost:
        return ""
    told = ", ".join(f"{count:,} {why}" for why, count in lost.items())
    return (
        f"pictures of {sum(lost.values()):,} samples cannot be read ({told}); put their tars back as they were fetched, "
        "or run `pairmill fetch --redo`, and run this again"
    )


def _do_part(
    storage: Storage, step: Step, part: Part, fingerprint: str, inputs: Mapping[str, str | None], reporter: Reporter
) -> Receipt:
    started = time.monotonic()
    result = step.work(storage, part, reporter)
    for family, table in result.other_families.items():
        storage.write_parquet(part.path(family), conform(table, family))

    def written(family: str, result: PartResult) -> Receipt:
        earlier = read_receipts(storage, family, [part]).get(part) if step.missing else None
        more = (conform(table, family) for table in result.more)
        with storage.write_parquet(part.path(family), conform(result.table, family), more) as file:
            digest, rows = digest_of_file(file), pq.read_metadata(file).num_rows
        receipt = Receipt(
            family=family,
            source=part.source,
            part=part.name,
            fingerprint=fingerprint,
            digest=digest,
            rows_in=part.rows,
            rows_out=rows,
            counts=dict(result.counts),
            settings=dict(result.settings),
            inputs=dict(inputs),
            seconds=round(time.monotonic() - started + (earlier.seconds if earlier else 0.0), 3),
            finished_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        write_receipt(storage, part, receipt)
        return receipt

    for family, more in result.beside.items():
        written(family, more)
    receipt = written(step.family, result)  # last: it vouches for the families beside it too
    # Beside them lie those of runs that were killed and had other settings: nothing would remove these later.
    folders = {path.rpartition("/")[0] for path in result.temporary_files}
    storage.remove(path for folder in folders for path in storage.glob(f"{folder}/*"))
    return receipt
