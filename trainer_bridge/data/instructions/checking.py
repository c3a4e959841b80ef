"""What a training would get of the entries of a set, counted: faults with examples, what is mended, lengths in tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sharding.conversation_sets import ConversationSet
from trainer_bridge.data.instructions.dialogue import NOTES
from trainer_bridge.data.instructions.encoding import Encoder
from trainer_bridge.data.instructions.entries import Entry
from trainer_bridge.data.instructions.example import FAULTS, SampleFault
from trainer_bridge.data.instructions.pictures import Pictures
from trainer_bridge.data.instructions.source import read_entry, require_decodable, rule_of, tile_counts
from trainer_bridge.data.instructions.tiles import TileRule

SHOWN = 10  # examples of each fault


@dataclass
class Findings:
    """Counts over entries; adds up over parts of a set and over sets."""

    entries: int = 0
    counts: Counter[str] = field(default_factory=Counter)  # turns, pictures, tiles, tokens, learned tokens
    faults: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    shown: dict[str, list[str]] = field(default_factory=dict)
    lengths: Counter[int] = field(default_factory=Counter)  # conversations of at most so many tokens, a power of two

    def add(self, other: Findings) -> None:
        """Adds what was found in other entries."""
        self.entries += other.entries
        for name in ("counts", "faults", "notes", "lengths"):
            getattr(self, name).update(getattr(other, name))
        for kind, examples in other.shown.items():
            self.shown[kind] = [*self.shown.get(kind, []), *examples][:SHOWN]

    def fault(self, kind: str, text: str) -> None:
        """Counts a fault, and keeps it if it is one of the first of its kind."""
        self.faults[kind] += 1
        if len(self.shown.setdefault(kind, [])) < SHOWN:
            self.shown[kind].append(text)

    def told(self) -> dict[str, Any]:
        """As JSON: every fault with what it means and examples."""
        faults = {
            kind: {"count": count, "meaning": FAULTS[kind], "examples": self.shown[kind]}
            for kind, count in self.faults.most_common()
        }
        mended = {note: {"count": count, "meaning": NOTES[note]} for note, count in self.notes.most_common()}
        result = {"entries": self.entries, "faulty": self.faults.total(), **self.counts, "faults": faults, "mended": mended}
        return result | (
            {"lengths": {str(length): self.lengths[length] for length in sorted(self.lengths)}} if self.lengths else {}
        )


def check_entries(
    each: ConversationSet,
    entries: Sequence[Entry | Exception],
    names: Iterable[str],
    pictures: Pictures | None,
    rule: TileRule,
    encoder: Encoder | None,
) -> Findings:
    """What a training would get of some entries of a set, as they were read.

    names     where each lies
    pictures  None: they are not looked for
    encoder   None: tokens are not counted
    """
    found = Findings(len(entries))
    for name, entry in zip(names, entries, strict=True):
        try:
            if isinstance(entry, Exception):
                raise SampleFault("missing", str(entry))
            _check(each, entry, pictures, rule, encoder, found)
        except SampleFault as fault:
            found.fault(fault.kind, str(fault.at(name)))
    return found


class _Unread(Pictures):
    """Gives no picture, for a check of texts alone."""

    def read(self, uri: str) -> bytes:
        return b""


def _check(
    each: ConversationSet, entry: Entry, pictures: Pictures | None, rule: TileRule, encoder: Encoder | None, found: Findings
) -> None:
    dialogue, encoded = read_entry(each, entry, pictures or _Unread())
    counts = tile_counts(rule_of(each, rule).shared(len(encoded)), encoded) if pictures else [1] * len(encoded)
    if encoder is not None:
        ids, labels = encoder.encode(dialogue, counts)
    if pictures:
        require_decodable(each, encoded)
    if encoder is not None:
        found.lengths[1 << (len(ids) - 1).bit_length()] += 1
        found.counts.update(tokens=len(ids), learned_tokens=int((labels >= 0).sum()))
    found.notes.update(dialogue.notes)
    found.counts.update(turns=len(dialogue.messages), pictures=len(counts))
    if pictures:
        found.counts.update(tiles=sum(counts))
