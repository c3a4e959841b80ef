"""Checks files of conversations before a training: every entry, its pictures, and with --tokenizer its tokens. Prints JSON.

    python -m trainer_bridge.check_conversations META.json
    python -m trainer_bridge.check_conversations a.jsonl b.json --tokenizer InternVL3-1B-hf --length 4096

Each entry that a training reads is read once, and its pictures decoded, by as many processes as there are cores; of a new file
the places of entries are kept on the way, for the training. Where repeat_time is below 1 they are found first, as the share is of
their number, and the share is read then. Exit status 0: every entry gives an example; 1: some do not, counted by fault, with ten
of each; 2: the request is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache, partial
from itertools import chain, islice
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any, NamedTuple

from infra.compat.children import end_with_parent
from infra.compat.errors import RequestError, require_least
from sharding.conversation_sets import MOST_TILES, ConversationSet, read_sets
from sharding.lines import Block, entry_name, file_size, new_blocks
from trainer_bridge.data.chat_tokenizer import IMAGE, add_chat_tokens, load_tokenizer
from trainer_bridge.data.instructions.checking import Findings, check_entries
from trainer_bridge.data.instructions.encoding import Encoder
from trainer_bridge.data.instructions.entries import Entry, open_entries
from trainer_bridge.data.instructions.pictures import Pictures
from trainer_bridge.data.instructions.source import comes, notices_on, rule_of
from trainer_bridge.data.instructions.template import BASE, ChatTemplate
from trainer_bridge.data.instructions.tiles import TileRule
from trainer_bridge.ranks import fail
from trainer_bridge.stop_signal import STOPPED

PROGRAM = "trainer_bridge.check_conversations"
ROWS = 1000  # entries that a process checks at a time
EVERY = 10.0  # seconds between two lines of progress
INTERRUPTED = 128 + signal.SIGINT  # the exit status after Ctrl-C, as shells give it
SIDE, TILE_TOKENS = 448, 256  # of released InternVLs; a folder of an InternVL says its own


class Task(NamedTuple):
    """What a process needs: how to check, and of which set which rows."""

    tokenizer: str
    template: str
    length: int
    least: int
    most: int
    pictures: bool


class Piece(NamedTuple):
    """Entries to check.

    rows   theirs in the set
    done   how much of the set is done with them
    block  as they were read; None: they are to be read
    """

    rows: range
    done: float
    block: Block | None = None


def main(argv: Sequence[str] | None = None) -> None:
    """Checks files; prints one JSON object, and its gist on stderr."""
    options = _parser().parse_args(argv)
    tiles = options.min_tiles, options.max_tiles
    task = Task(options.tokenizer, options.template, options.length, *tiles, not options.no_pictures)
    try:
        sets = [each for uri in options.files for each in read_sets(uri)]
        require_least(options, length=2, min_tiles=1, max_tiles=options.min_tiles, workers=0)
        if options.max_tiles > MOST_TILES:
            raise RequestError(f"--max-tiles {options.max_tiles} is more than {MOST_TILES}; lower it")
        rule = _tools(task)[1]
        for each in sets:
            rule_of(each, rule)
        found = {name: findings for name, findings in _checked(sets, task, options.workers or os.cpu_count() or 1)}
    except (RequestError, ValueError, OSError) as error:
        fail(PROGRAM, error)
    except BrokenProcessPool:
        fail(PROGRAM, RequestError("a process of the check was ended, as the system does when memory is short; lower --workers"))
    except KeyboardInterrupt:
        fail(PROGRAM, RequestError("stopped; run it again from the start"), INTERRUPTED)
    total = Findings()
    for findings in found.values():
        total.add(findings)
    sys.stderr.write(_gist(total))
    by_set = {name: {"entries": each.entries, "faulty": each.faults.total(), **each.counts} for name, each in found.items()}
    sys.stdout.write(json.dumps(total.told() | {"sets": by_set}, ensure_ascii=False) + "\n")
    sys.exit(1 if total.faults or not total.entries else 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE", help="InternVL's meta file, JSON lines or a JSON list (URI)")
    parser.add_argument("--tokenizer", metavar="DIR", default="", help="counts tokens; the folder of an InternVL or tokenizer")
    parser.add_argument("--template", default=BASE, help="the chat template, as conversations.template")
    parser.add_argument("--length", type=int, default=2048, help="most tokens of a conversation, as model.length")
    parser.add_argument("--min-tiles", type=int, default=1, help="as conversations.min_dynamic_patch")
    parser.add_argument("--max-tiles", type=int, default=6, help="as conversations.max_dynamic_patch")
    parser.add_argument("--no-pictures", action="store_true", help="check texts alone; a picture counts as one tile")
    parser.add_argument("--workers", type=int, default=0, help="processes; 0: one for each core")
    return parser


@cache
def _tools(task: Task) -> tuple[Pictures | None, TileRule, Encoder | None]:
    """What reads pictures, cuts them and encodes texts; ValueError in one line when the tokenizer does not load."""
    pictures = Pictures() if task.pictures else None
    side, tile_tokens = SIDE, TILE_TOKENS
    if not task.tokenizer:
        return pictures, TileRule(side, task.least, task.most), None
    folder = Path(task.tokenizer)
    tokenizer = load_tokenizer(folder)
    config = json.loads((folder / "config.json").read_text()) if (folder / "config.json").exists() else {}
    if config.get("model_type") == "internvl":
        size = config["vision_config"]["image_size"]
        side, tile_tokens = size[0] if isinstance(size, list) else size, config["image_seq_length"]
    if tokenizer.convert_tokens_to_ids(IMAGE) in (None, tokenizer.unk_token_id):
        tokenizer = add_chat_tokens(tokenizer)
    encoder = Encoder(tokenizer, ChatTemplate(tokenizer, task.template), tile_tokens, task.length)
    return pictures, TileRule(side, task.least, task.most), encoder


def _checked(sets: Sequence[ConversationSet], task: Task, workers: int) -> Iterator[tuple[str, Findings]]:
    """(name, findings) of each set; names that sets share get a number."""
    names = Counter[str]()
    with ProcessPoolExecutor(workers, get_context("spawn"), _begin) as pool:
        for each in sets:
            names[each.name] += 1
            name = each.name if names[each.name] == 1 else f"{each.name} {names[each.name]}"
            try:
                yield name, _of_set(name, each, task, pool, workers)
            except BaseException:  # the pool would wait for all that has begun
                for child in active_children():
                    child.terminate()
                raise


def _begin() -> None:
    """Of a process of the check: Ctrl-C is for the one that started it, with which it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _of_set(name: str, each: ConversationSet, task: Task, pool: ProcessPoolExecutor, workers: int) -> Findings:
    found, told = Findings(), time.monotonic()
    for piece, part in _mapped(pool, workers, partial(_check, each, task), _pieces(each)):
        found.add(part)
        if time.monotonic() - told > EVERY:
            told = time.monotonic()
            sys.stderr.write(f"{name}: {found.entries:,} entries ({piece.done:.0%}), {found.faults.total():,} faulty\n")
    sys.stderr.writelines(f"{notice}\n" for notice in notices_on(each, _entries(each)))
    return found


def _pieces(each: ConversationSet) -> Iterator[Piece]:
    """The entries of a set that come in a training, some at a time; those of a file that is read here for the first time."""
    row = 0
    if each.annotation and each.share >= 1:
        size = max(1, file_size(each.annotation))
        for whole in new_blocks(each.annotation):
            for block in whole.cut(ROWS):
                yield Piece(range(row, row + len(block.spans)), (block.place + len(block.data)) / size, block)
                row += len(block.spans)
    entries = _entries(each)
    count = min(len(entries), comes(each, len(entries)))
    for start in range(row, count, ROWS):
        yield Piece(range(start, min(start + ROWS, count)), start / count)


def _mapped(
    pool: ProcessPoolExecutor, workers: int, check: Callable[[Piece], Findings], pieces: Iterator[Piece]
) -> Iterator[tuple[Piece, Findings]]:
    """What is found in each piece, in order; no more of them are in memory than keep the processes busy."""
    first = list(islice(pieces, 2))
    if len(first) < 2:  # a few entries take less time than starting processes
        yield from ((piece, check(piece)) for piece in first)
        return
    waiting = deque[tuple[Piece, Future[Findings]]]()
    for piece in chain(first, pieces):
        waiting.append((piece._replace(block=None), pool.submit(check, piece)))
        if len(waiting) > 2 * workers:
            piece, future = waiting.popleft()
            yield piece, future.result()
    yield from ((piece, future.result()) for piece, future in waiting)


def _check(each: ConversationSet, task: Task, piece: Piece) -> Findings:
    if piece.block is None:
        entries = _entries(each)
        return check_entries(each, entries.read_many(piece.rows), map(entries.name_of, piece.rows), *_tools(task))
    names = (entry_name(each.annotation, row) for row in piece.rows)
    return check_entries(each, [*map(Entry, piece.block.entries())], names, *_tools(task))


_entries = cache(open_entries)


def _gist(found: Findings) -> str:
    """For people: how many entries, and which faults with an example."""
    lines: list[Any] = [f"{found.entries:,} entries, of which {found.faults.total():,} give no example"]
    told = found.told()
    for kind, fault in told["faults"].items():
        lines += [f"  {fault['count']:>9,}  {kind}: {fault['meaning']}", f"             {fault['examples'][0]}"]
    lines += [f"  {note['count']:>9,}  mended: {note['meaning']}" for note in told["mended"].values()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(STOPPED))  # what was begun is removed, and processes end
    main()
