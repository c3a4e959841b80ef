"""The conversations of all sets by position: which entry comes when, and the example that it gives.

An epoch has each set's entries as often as its `share` says, all shuffled together in windows. The order and each example are
functions of (seed, position), so a training goes on from any position at any number of ranks.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from infra.compat.errors import RequestError
from sharding.conversation_sets import ConversationSet, read_sets
from sharding.decode import decode_picture, decode_pixels, upright_size
from sharding.named_files import within
from sharding.order import Order
from trainer_bridge.data.instructions.dialogue import Dialogue, read_dialogue
from trainer_bridge.data.instructions.encoding import Encoder
from trainer_bridge.data.instructions.entries import Entries, Entry, open_entries, other_length
from trainer_bridge.data.instructions.example import Example, SampleFault
from trainer_bridge.data.instructions.pictures import Pictures
from trainer_bridge.data.instructions.tiles import TileRule, decode_tiles

BLOCK = 1 << 16  # entries of a set that are a unit of the shuffle
WINDOW = 64  # blocks that are shuffled together: four million entries
JPEG_SIDE = 65_500  # most pixels of a side of a JPEG. Source: libjpeg
QUALITIES = 75, 101  # of JPEG, for pictures that are augmented. Source: the released code of Mono-InternVL
OWN = "the image member"  # of a sample in shards, which its json member does not name


class InstructionSource:
    """Examples of all sets by position; see `Examples`.

    sets  with their entries
    rule  tiles of pictures whose set says nothing else
    """

    def __init__(self, sets: Sequence[tuple[ConversationSet, Entries]], encoder: Encoder, rule: TileRule, seed: int) -> None:
        self.sets, self.encoder, self.rule, self.seed = list(sets), encoder, rule, seed
        self.pictures = Pictures()
        counts = [comes(each, len(entries)) for each, entries in self.sets]
        self.blocks = [(number, start) for number, count in enumerate(counts) for start in range(0, count, BLOCK)]
        sizes = [min(BLOCK, counts[number] - start) for number, start in self.blocks]
        self.order = Order(sizes, seed, WINDOW)
        self.total = self.order.total

    def load_many(self, positions: np.ndarray) -> list[Example | SampleFault]:
        """The example at each of the positions int64[N], or the fault, which names its entry."""
        places = self._places(positions)
        results: dict[int, Example | SampleFault] = {}
        for number in sorted({number for number, _ in places}):
            entries, chosen = self.sets[number][1], [i for i, place in enumerate(places) if place[0] == number]
            for i, entry in zip(chosen, entries.read_many([places[i][1] for i in chosen]), strict=True):
                draws = np.random.default_rng([self.seed, int(positions[i])])
                results[i] = self._example(number, places[i][1], entry, draws)
        return [results[i] for i in range(len(places))]

    def dialogue(self, position: int) -> tuple[Dialogue, list[bytes]]:
        """The dialogue at a position, and its pictures as they are encoded; SampleFault when it has none."""
        ((number, row),) = self._places(np.array([position]))
        each, entries = self.sets[number]
        (entry,) = entries.read_many([row])
        if isinstance(entry, Exception):
            raise SampleFault("missing", str(entry))
        return read_entry(each, entry, self.pictures)

    def contents(self) -> list[list[Any]]:
        """Name, entries and share of each set."""
        return [[each.name, len(entries), each.share] for each, entries in self.sets]

    def describe(self) -> str:
        """In one line: what is loaded."""
        sets = f"{len(self.sets):,} set{'s' if len(self.sets) > 1 else ''}"
        together = f"of which {min(self.total, WINDOW * BLOCK):,} are shuffled together"
        notices = (notice for each, entries in self.sets for notice in notices_on(each, entries))
        return "; ".join([f"{self.total:,} conversations of {sets}, {together}", *notices])

    def _places(self, positions: np.ndarray) -> list[tuple[int, int]]:
        """(set, row in it) at each position."""
        places = []
        for block, row in zip(*(column.tolist() for column in self.order.at_many(positions)), strict=True):
            number, start = self.blocks[block]
            places.append((number, (start + row) % len(self.sets[number][1])))
        return places

    def _example(self, number: int, row: int, entry: Entry | Exception, draws: np.random.Generator) -> Example | SampleFault:
        each, entries = self.sets[number]
        name = entries.name_of(row)
        try:
            if isinstance(entry, Exception):
                raise SampleFault("missing", str(entry))
            dialogue, pictures = read_entry(each, entry, self.pictures)
            return self.encode(each, dialogue, pictures, name, draws)
        except SampleFault as fault:
            return fault.at(name)

    def encode(
        self, each: ConversationSet, dialogue: Dialogue, pictures: Sequence[bytes], name: str, draws: np.random.Generator
    ) -> Example:
        """The example of a dialogue. Its tokens are counted before pictures are decoded, which takes longer."""
        rule = rule_of(each, self.rule).shared(len(pictures))
        counts = tile_counts(rule, pictures)
        ids, labels = self.encoder.encode(dialogue, counts)
        cut = _augmented(rule, draws) if each.augment else lambda data: decode_tiles(data, rule)
        tiles = [_decoded(cut, picture, i) for i, picture in enumerate(pictures)]
        if [len(part) for part in tiles] != counts:
            raise SampleFault("picture", "a picture has another size than its header says")
        side = rule.side
        return Example(ids, labels, np.concatenate(tiles) if tiles else np.zeros((0, 3, side, side), np.uint8), name)


def open_source(uri: str, encoder: Encoder, rule: TileRule, seed: int) -> InstructionSource:
    """The conversations of a meta file, or of a file of them; RequestError in one line when there are none."""
    return InstructionSource(open_sets(uri), encoder, rule, seed)


def open_sets(uri: str) -> list[tuple[ConversationSet, Entries]]:
    """The sets that a meta file, or a file of conversations, names; RequestError in one line when they have none."""
    sets = [(each, open_entries(each)) for each in read_sets(uri)]
    if not any(comes(each, len(entries)) for each, entries in sets):
        raise RequestError(f"{uri}: no set has conversations; check their annotation files")
    return sets


def read_entry(each: ConversationSet, entry: Entry, pictures: Pictures) -> tuple[Dialogue, list[bytes]]:
    """The dialogue of an entry, and its pictures as they are encoded; SampleFault when one of these is missing."""
    dialogue = read_dialogue(parsed(entry.data), None if entry.pictures is None else [OWN] * len(entry.pictures))
    if entry.pictures is not None:
        return dialogue, list(entry.pictures[: len(dialogue.pictures)])
    return dialogue, [pictures.read(within(each.root, path)) for path in dialogue.pictures]


def tile_counts(rule: TileRule, pictures: Sequence[bytes]) -> list[int]:
    """The tiles of each picture, by its header; SampleFault when it cannot be read."""
    return [rule.count(*_decoded(upright_size, picture, i)) for i, picture in enumerate(pictures)]


def require_decodable(each: ConversationSet, pictures: Sequence[bytes]) -> None:
    """SampleFault when a picture of a set is broken behind its header. JPEGs are decoded by the decoder that training takes, at
    their smallest scale if that has scales.
    """
    for i, picture in enumerate(pictures):
        _decoded(partial(decode_pixels, at_least=0 if each.augment else 1), picture, i)


def comes(each: ConversationSet, entries: int) -> int:
    """How many entries of a set come in an epoch. Source: the released loader, which takes the first share of a file."""
    return int(entries * each.share)


def notices_on(each: ConversationSet, entries: Entries) -> Iterable[str]:
    """Clauses on a set that gives less than a reader of its meta file expects."""
    if mismatch := other_length(each, entries):
        yield mismatch
    if len(entries) and not comes(each, len(entries)):
        yield f"of set {each.name!r} nothing comes, as repeat_time = {each.share:g} of {len(entries):,} entries is less than one"


def rule_of(each: ConversationSet, default: TileRule) -> TileRule:
    """The tile rule of a set; RequestError when it wants more tiles than the default has."""
    most = each.most or default.most
    if each.least > most:
        raise RequestError(
            f"set {each.name!r}: min_dynamic_patch = {each.least} is more than max_dynamic_patch = {most} of the experiment; "
            "give the set a max_dynamic_patch"
        )
    return TileRule(default.side, min(each.least or default.least, most), most)


def parsed(data: bytes) -> dict[str, Any]:
    """The JSON object of an entry; SampleFault when it is none."""
    try:
        entry = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SampleFault("json", f"it is no JSON ({error})") from None
    if not isinstance(entry, dict):
        raise SampleFault("json", "it is no JSON object")
    return entry


def _augmented(rule: TileRule, draws: np.random.Generator) -> Callable[[bytes], np.ndarray]:
    """Cuts a picture once it has gone through JPEG."""

    def cut(data: bytes) -> np.ndarray:
        buffer = io.BytesIO()
        picture = decode_picture(data)
        if max(picture.size) > JPEG_SIDE:
            return decode_tiles(data, rule)
        picture.save(buffer, "JPEG", quality=int(draws.integers(*QUALITIES)))
        return decode_tiles(buffer.getvalue(), rule)

    return cut


def _decoded(decode: Callable[[bytes], Any], picture: bytes, number: int) -> Any:
    try:
        return decode(picture)
    except ValueError as error:
        raise SampleFault("picture", f"picture {number + 1}: {error}") from None
