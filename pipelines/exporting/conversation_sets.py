"""Exports sets of conversations: the entries of a meta file → shards with their pictures, and a meta file to train on.

Each set is a split of the dataset. Its entries keep their order, of which `repeat_time` below 1 takes the first share; training
shuffles. Pictures lie beside the conversation: the first as the image, the others as `2.jpg`, `3.png` …; in the json they are not
named any more, and it says `set` and `entry`, where it came from. What is wrong with an entry's turns is left as it is:
`check_conversations` and the trainer count that. An entry whose pictures cannot be had is left out, counted and named.

Of the alignment of Mono-InternVL sets say their `kind`, and kinds come by the shares of an epoch that the recipe or the paper
gives them: `meta.json` says how often each set comes. Captions that `export` has put into shards are named there as they lie.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

from infra.compat.content import content_digest
from infra.compat.errors import RequestError
from pipelines.exporting.card import conversations_card
from pipelines.exporting.claim import CARD, META, Claim
from pipelines.exporting.conversation_shards import REASONS, write_one
from pipelines.exporting.products import INSTRUCTION
from pipelines.exporting.settings import ExportSettings
from pipelines.exporting.shards import Written, written_before
from pipelines.exporting.shares import factors, require_kinds
from pipelines.manifest.receipts import fingerprint_of
from sharding.conversation_sets import ConversationSet, read_sets
from sharding.index import read_dataset, summary_bytes
from sharding.layout import SUMMARY, shard_name
from sharding.lines import Lines

NAME = re.compile(r"[\w.-]+")


class OpenSet(NamedTuple):
    """A set, how many entries it has, and where they lie in its annotation file; None of one that is in shards."""

    each: ConversationSet
    entries: int
    lines: Lines | None


Sets = Mapping[str, OpenSet]


def open_sets(settings: ExportSettings) -> Sets:
    """The sets of `settings.conversations` by name; RequestError in one line for one that cannot be exported."""
    uri, sets = settings.conversations, dict[str, OpenSet]()
    for each in read_sets(uri):
        if each.shards and settings.stage == INSTRUCTION:
            raise RequestError(f"set {each.name!r} of {uri} lies in shards already; name it in the meta file to train on")
        if not NAME.fullmatch(each.name):
            raise RequestError(f"set {each.name!r} of {uri}: shards are called after it; use letters, digits, . - and _")
        sets[each.name] = _in_shards(each) if each.shards else _in_lines(each)
    if settings.stage != INSTRUCTION:
        require_kinds([each for each, *_ in sets.values()], settings.shares, uri)
    return sets


def _in_lines(each: ConversationSet) -> OpenSet:
    lines = Lines(each.annotation)
    return OpenSet(each, len(lines), lines)


def _in_shards(each: ConversationSet) -> OpenSet:
    try:
        shards = read_dataset(each.shards).shards(each.split)
    except (FileNotFoundError, ValueError) as error:
        raise RequestError(f"set {each.name!r}: {error}; export its shards first") from None
    return OpenSet(each, sum(shard.samples for shard in shards), None)


def shard_items(sets: Sets, settings: ExportSettings) -> list[dict[str, Any]]:
    """The shards to write: about equally many entries of a set in each, with a fingerprint of all that decides its bytes."""
    content = content_digest(write_one, packages=["sharding", "pipelines.exporting"])
    items = []
    for number, (name, (each, entries, lines)) in enumerate(sets.items()):
        if lines is None:
            continue
        count = int(entries * min(1.0, each.share))
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


def export_conversations(claim: Claim, settings: ExportSettings, sets: Sets, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
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
    claim: Claim, settings: ExportSettings, sets: Sets, items: Sequence[Mapping[str, Any]], written: Written
) -> dict[str, Any]:
    """Writes what tells of whole shards; the counts."""
    tallies = {
        name: Counter[str]() if opened.lines is not None else Counter(conversations=opened.entries)
        for name, opened in sets.items()
    }
    for item in items:
        tallies[item["split"]].update(written.receipts[item["label"]]["counts"])
    splits = written.splits(items)
    about = {"settings": settings.model_dump(include={"stage", "conversations", "pictures", "samples_per_shard"})}
    claim.out.write(SUMMARY, summary_bytes(splits, about))
    failed = {name: told for name, opened in sets.items() if (told := _left_out(opened, tallies[name]))}
    sets = {name: opened for name, opened in sets.items() if opened.lines is None or name in splits}
    times = _times(sets, tallies, settings)
    meta = {key: entry for name, (each, *_) in sets.items() for key, entry in _entries(each, tallies[name], times[name])}
    claim.out.write(META, (json.dumps(meta, indent=1, ensure_ascii=False) + "\n").encode())
    claim.out.write(CARD, conversations_card(settings, {name: each.kind for name, (each, *_) in sets.items()}, times, tallies))
    claim.remove_beyond(Counter(item["split"] for item in items))
    every = sum((tallies[name] for name in splits), Counter[str]())
    shards = [shard for shards in splits.values() for shard in shards]
    return {
        "sets": len(sets),
        "conversations": every["conversations"],
        "pictures": every["pictures"],
        "shards": len(shards),
        "bytes": sum(shard.bytes for shard in shards),
        "meta": claim.out.full(META),
        "failed": failed,
    }


def _times(sets: Sets, tallies: Mapping[str, Counter[str]], settings: ExportSettings) -> dict[str, float]:
    """How often each set comes in an epoch; of one that comes less than once the first share alone was written."""
    times = {name: each.share if lines is None else max(1.0, each.share) for name, (each, _, lines) in sets.items()}
    if settings.stage == INSTRUCTION:
        return times
    drawn = {name: int(tallies[name]["conversations"] * often) for name, often in times.items()}
    kinds = {name: each.kind for name, (each, *_) in sets.items()}
    return {name: times[name] * factor for name, factor in factors(kinds, drawn, settings.shares).items()}


def _entries(each: ConversationSet, tally: Mapping[str, int], times: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """The set in the meta file; twice where it comes some times whole and then in part, as a meta file repeats whole sets."""
    whole = int(times)
    place: dict[str, Any] = dict(shards=each.shards, split=each.split) if each.shards else dict(shards=".", split=each.name)
    place |= {"data_augment": each.augment, "length": tally["conversations"]}
    more = {"min_dynamic_patch": each.least, "max_dynamic_patch": each.most, "kind": each.kind}
    for name, often in ((each.name, whole), (f"{each.name} in part" if whole else each.name, times - whole)):
        if often:
            yield name, {**place, "repeat_time": often} | {key: value for key, value in more.items() if value}


def _left_out(opened: OpenSet, tally: Mapping[str, int]) -> str:
    """A line on the entries of a set that were left out, or on a set of which nothing comes; empty where all is well."""
    lost = {reason: tally[reason] for reason in REASONS if tally[reason]}
    if not lost and not tally["conversations"]:
        return f"nothing comes of its {opened.entries:,} entries; check its annotation and repeat_time"
    told = ", ".join(f"{count:,} {REASONS[reason]}" for reason, count in lost.items())
    return f"{sum(lost.values()):,} of {tally['entries']:,} entries are left out: {told}; receipts name them" if lost else ""
