"""Exports sets of conversations: the entries of a meta file → shards with their pictures, and a meta file to train on.

Each set is a split of the dataset. Its entries keep their order, of which `repeat_time` below 1 takes the first share; training
shuffles. Pictures lie beside the conversation: the first as the image, the others as `2.jpg`, `3.png` …; in the json they are not
named any more, and it says `set` and `entry`, where it came from. What is wrong with an entry's turns is left as it is:
`check_conversations` and the trainer count that. An entry whose pictures cannot be had is left out, counted and named.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from infra.compat.content import content_digest
from infra.compat.errors import RequestError
from pipelines.exporting.card import conversations_card
from pipelines.exporting.claim import CARD, META, Claim
from pipelines.exporting.conversation_shards import REASONS, write_one
from pipelines.exporting.settings import ExportSettings
from pipelines.exporting.shards import Written, written_before
from pipelines.manifest.receipts import fingerprint_of
from sharding.conversation_sets import ConversationSet, read_sets
from sharding.index import summary_bytes
from sharding.layout import SUMMARY, shard_name
from sharding.lines import Lines

NAME = re.compile(r"[\w.-]+")


def open_sets(settings: ExportSettings) -> dict[str, tuple[ConversationSet, Lines]]:
    """The sets of `settings.conversations` by name; RequestError in one line for one that cannot be exported."""
    sets = {}
    for each in read_sets(settings.conversations):
        if each.shards:
            raise RequestError(
                f"set {each.name!r} of {settings.conversations} lies in shards already; name it in the meta file to train on"
            )
        if not NAME.fullmatch(each.name):
            raise RequestError(
                f"set {each.name!r} of {settings.conversations}: shards are called after it; use letters, digits, . - and _"
            )
        sets[each.name] = (each, Lines(each.annotation))
    return sets


def shard_items(sets: Mapping[str, tuple[ConversationSet, Lines]], settings: ExportSettings) -> list[dict[str, Any]]:
    """The shards to write: about equally many entries of a set in each, with a fingerprint of all that decides its bytes."""
    content = content_digest(write_one, packages=["sharding", "pipelines.exporting"])
    items = []
    for number, (name, (each, lines)) in enumerate(sets.items()):
        count = int(len(lines) * min(1.0, each.share))
        shards = -(-count // settings.samples_per_shard)
        ends = [count * i // shards for i in range(shards + 1)] if shards else []
        for shard, (first, end) in enumerate(pairwise(ends)):
            place = {
                "split": name,
                "number": number,
                "annotation": each.annotation,
                "root": each.root,
                "first": first,
                "end": end,
            }
            decides = {**place, "content": content, "file": lines.stamp.tolist(), "pictures": settings.pictures}
            items.append({**place, "label": shard_name(name, shard), "fingerprint": fingerprint_of(decides)})
    return items


def export_conversations(
    claim: Claim,
    settings: ExportSettings,
    sets: Mapping[str, tuple[ConversationSet, Lines]],
    items: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Writes the shards `items` of `sets` that are not there yet, `meta.json` to train on, and the data card; the counts."""
    written = written_before(claim.out, items)
    todo = [item for item in items if item["label"] not in written.receipts]
    counts = Counter(item["split"] for item in items)
    if todo or counts != Counter(claim.shards):
        claim.out.remove([SUMMARY])  # until the new shards are whole, nobody is told of the old ones
        claim = claim.extend(counts)
    work = partial(write_one, out=claim.out, pictures=settings.pictures)
    written.run(todo, work, "conversations")
    if written.failed:
        return {"conversations": 0, "shards": len(items), "failed": written.failed}
    return _finish(claim, settings, sets, items, written)


def _finish(
    claim: Claim,
    settings: ExportSettings,
    sets: Mapping[str, tuple[ConversationSet, Lines]],
    items: Sequence[Mapping[str, Any]],
    written: Written,
) -> dict[str, Any]:
    """Writes what tells of whole shards; the counts."""
    tallies = {name: Counter[str]() for name in sets}
    for item in items:
        tallies[item["split"]].update(written.receipts[item["label"]]["counts"])
    splits = written.splits(items)
    about = {"settings": settings.model_dump(include={"stage", "conversations", "pictures", "samples_per_shard"})}
    claim.out.write(SUMMARY, summary_bytes(splits, about))
    meta = {name: _meta(each, tallies[name]) for name, (each, _) in sets.items() if name in splits}
    claim.out.write(META, (json.dumps(meta, indent=1, ensure_ascii=False) + "\n").encode())
    claim.out.write(CARD, conversations_card(settings, {name: each.share for name, (each, _) in sets.items()}, tallies))
    claim.remove_beyond(Counter(item["split"] for item in items))
    every = sum(tallies.values(), Counter[str]())
    shards = [shard for shards in splits.values() for shard in shards]
    return {
        "sets": len(meta),
        "conversations": every["conversations"],
        "pictures": every["pictures"],
        "shards": len(shards),
        "bytes": sum(shard.bytes for shard in shards),
        "meta": claim.out.full(META),
        "failed": {name: told for name, tally in tallies.items() if (told := _left_out(tally))},
    }


def _meta(each: ConversationSet, tally: Mapping[str, int]) -> dict[str, Any]:
    """The entry of a set in the meta file; its first share alone was written."""
    tiles = {"min_dynamic_patch": each.least, "max_dynamic_patch": each.most}
    entry = {"shards": ".", "split": each.name, "repeat_time": max(1, int(each.share)), "data_augment": each.augment}
    return entry | {"length": tally["conversations"]} | {key: value for key, value in tiles.items() if value}


def _left_out(tally: Mapping[str, int]) -> str:
    """A line on the entries of a set that were left out; empty where none was."""
    lost = {reason: tally[reason] for reason in REASONS if tally[reason]}
    told = ", ".join(f"{count:,} {REASONS[reason]}" for reason, count in lost.items())
    return f"{sum(lost.values()):,} of {tally['entries']:,} entries are left out: {told}; receipts name them" if lost else ""
