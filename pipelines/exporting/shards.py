"""Shards of an export: which are there already, and the writing of one."""

from __future__ import annotations

import json
import tempfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from infra.compat.content import content_digest
from pipelines.exporting.pictures import LostPicture, exported_picture
from pipelines.exporting.products import conversation
from pipelines.exporting.reading import pictures_of, read_pictures
from pipelines.exporting.settings import ExportSettings
from pipelines.manifest.receipts import fingerprint_of
from pipelines.manifest.storage import Storage
from pipelines.runtime.external_sort import SortedFile, read_sorted
from pipelines.runtime.progress import Reporter
from pipelines.runtime.runner import run_items
from sharding.index import Shard
from sharding.layout import index_file, receipt_file, tar_file
from sharding.sample import Sample, sample_json
from sharding.writer import write_shard

METADATA = ("url", "source", "language", "width", "height", "synthetic", "repaired")
# Readers take the types of json from the first samples that they see (Hugging Face datasets from five), so no value is null.
UNKNOWN = {"language": "", "width": 0, "height": 0}
REPORT_EVERY = 1000  # samples between two reports of progress


@dataclass
class Written:
    """What is known of the shards of an export: the receipt of each that is there, and why others failed, by label."""

    receipts: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def run(self, items: Sequence[dict[str, Any]], work: Callable[..., dict[str, Any]], unit: str) -> None:
        """Writes the shards of these items by `work`, and adds the receipt or the failure of each."""
        total = sum(item["end"] - item["first"] for item in items)
        for label, receipt, error in run_items(items, work, name="export", unit=unit, total=total):
            if error is None:
                self.receipts[label] = receipt
            else:
                self.failed[label] = error

    @property
    def lost(self) -> dict[str, list[dict[str, Any]]]:
        """Shard → the samples that it lost."""
        return {label: receipt["lost"] for label, receipt in sorted(self.receipts.items()) if receipt.get("lost")}

    def splits(self, items: Sequence[Mapping[str, Any]]) -> dict[str, list[Shard]]:
        """Split → its shards that hold samples, in the order of the items."""
        splits: dict[str, list[Shard]] = {}
        for item in items:
            shard = self.receipts[item["label"]]["shard"]
            if shard["samples"]:
                splits.setdefault(item["split"], []).append(Shard(**shard))
        return splits


def fingerprinted(items: Sequence[dict[str, Any]], settings: ExportSettings, common: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The shards to write, each with the fingerprint of all that decides its bytes; an edit of what writes shards changes it."""
    content = content_digest(write_one, packages=["sharding", "pipelines.exporting"])
    common = {"content": content, **settings.model_dump(include={"seed", "pictures", "prompts"}), **common}
    return [
        {**item, "fingerprint": fingerprint_of({**common, **{name: value for name, value in item.items() if name != "label"}})}
        for item in items
    ]


def written_before(out: Storage, items: Sequence[Mapping[str, Any]]) -> Written:
    """The shards that are whole. One that lost samples is not: its tars may have been put back."""
    receipts = map(_receipt_in, out.read_many([receipt_file(item["label"]) for item in items]))
    there = {*out.glob(tar_file("*")), *out.glob(index_file("*"))}
    return Written(
        {
            item["label"]: receipt
            for item, receipt in zip(items, receipts, strict=True)
            if receipt and receipt["fingerprint"] == item["fingerprint"] and not receipt.get("lost")
            if {tar_file(item["label"]), index_file(item["label"])} <= there
        }
    )


def write_shards(
    storage: Storage,
    out: Storage,
    items: Sequence[dict[str, Any]],
    rows: Sequence[SortedFile],
    settings: ExportSettings,
    types: Sequence[str],
) -> Written:
    """Writes the shards of these items; `rows` are those of the whole export, in its order."""
    starts = [0]
    for file in rows:
        starts.append(starts[-1] + file.rows)
    sliced = [{**item, "slices": _slices(rows, starts, item["first"], item["end"])} for item in items]
    work = partial(write_one, storage=storage, out=out, settings=settings, types=types)
    written = Written()
    written.run(sliced, work, "samples")
    return written


def write_one(
    item: dict[str, Any], reporter: Reporter, *, storage: Storage, out: Storage, settings: ExportSettings, types: Sequence[str]
) -> dict[str, Any]:
    """Writes a shard, its index and its receipt, which it returns."""
    rows = pa.concat_tables([read_sorted(storage, *place) for place in item["slices"]])
    label, lost = item["label"], list[dict[str, Any]]()
    with tempfile.TemporaryDirectory() as folder:
        samples = _samples(storage, rows, settings, types, lost, reporter)
        shard = write_shard(Path(folder), label, samples)
        place_shard(out, Path(folder), shard)
    receipt = {"fingerprint": item["fingerprint"], "shard": asdict(shard), "lost": lost}
    out.write_json(receipt_file(label), receipt)
    return receipt


def place_shard(out: Storage, folder: Path, shard: Shard) -> None:
    """Moves a shard's files from a local folder to where they go."""
    for file in (tar_file(shard.name), index_file(shard.name)):
        if shard.samples:
            out.adopt(folder / file, file)
        else:  # all of its samples are lost; readers refuse an empty shard
            out.remove([file])


def _samples(
    storage: Storage,
    rows: pa.Table,
    settings: ExportSettings,
    types: Sequence[str],
    lost: list[dict[str, Any]],
    reporter: Reporter,
) -> Iterator[Sample]:
    """The samples of a shard. One whose picture is not what was fetched is added to `lost` instead."""
    pictures = read_pictures(storage, pictures_of(rows), settings.read_memory)
    for number, (row, data) in enumerate(zip(rows.to_pylist(), pictures, strict=True), start=1):
        try:
            if isinstance(data, LostPicture):
                raise data
            image = exported_picture(data, settings.pictures, types)
        except LostPicture as reason:
            lost += [{"sample_id": sample_id, "tar": row["tar"], "reason": str(reason)} for sample_id in _ids(row)]
        else:
            yield _sample(row, image, settings.prompts)
        if number % REPORT_EVERY == 0:
            reporter(REPORT_EVERY)
    reporter(len(rows) % REPORT_EVERY)


def _sample(row: Mapping[str, Any], image: bytes, prompts: Mapping[str, str]) -> Sample:
    metadata = {name: _known(name, row[name]) for name in METADATA} | _conversation(row, prompts)
    if row["repeat"]:
        metadata["repeat"] = row["repeat"]
    if "captions" in row:
        metadata["captions"] = [
            {name: _known(name, value) for name, value in caption.items()} | _conversation(caption, prompts)
            for caption in row["captions"]
        ]
    own, *also = _ids(row)
    return Sample(own, image, row["caption"], sample_json(own, metadata), repeat=row["repeat"], also=also)


def _conversation(caption: Mapping[str, Any], prompts: Mapping[str, str]) -> dict[str, Any]:
    """The conversation of a caption as a member of the json, where questions are given."""
    return {"conversations": conversation(caption["caption"], caption["language"], prompts)} if prompts else {}


def _known(name: str, value: Any) -> Any:
    return UNKNOWN.get(name) if value is None else value


def _ids(row: Mapping[str, Any]) -> list[int]:
    """The ids of the manifest's samples that a row holds, its own first."""
    return [*dict.fromkeys([row["sample_id"], *(caption["sample_id"] for caption in row.get("captions", ()))])]


def _slices(rows: Sequence[SortedFile], starts: Sequence[int], first: int, end: int) -> list[tuple[str, int, int]]:
    """(path, first row, rows) of the ranks `first` … `end` - 1; `starts` are the ranks of the first rows of the files."""
    slices = []
    number = bisect_right(starts, first) - 1
    while first < end:
        count = min(end, starts[number + 1]) - first
        if count:
            slices.append((rows[number].path, first - starts[number], count))
        first, number = first + count, number + 1
    return slices


def _receipt_in(document: bytes | None) -> dict[str, Any] | None:
    """A shard's receipt; None where there is none, or a broken one: then the shard is written again."""
    try:
        receipt = json.loads(document or b"")
        Shard(**receipt["shard"]), receipt["fingerprint"]
    except (ValueError, TypeError, KeyError):
        return None
    return dict(receipt)


def causes(lost: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, str]:
    """Tar → why samples whose pictures lie in it were left out."""
    by_tar: dict[str, Counter[str]] = {}
    for row in (row for rows in lost.values() for row in rows):
        by_tar.setdefault(row["tar"], Counter())[row["reason"]] += 1
    reasons = {
        tar: ", ".join(f"{count:,} {reason}" for reason, count in counts.items()) for tar, counts in sorted(by_tar.items())
    }
    return {
        tar: f"{by_tar[tar].total():,} of its pictures are not exported ({text}); "
        "put the tar back as it was fetched, or run `pairmill fetch --redo`"
        for tar, text in reasons.items()
    }
