"""What all jobs share: the common options, how their counts are printed, and the exit status."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from infra.compat.errors import RequestError, nearest
from pipelines.manifest.parts import Part, all_parts
from pipelines.manifest.storage import Storage
from pipelines.runtime.exit_status import DONE, SOME_FAILED, failures_in_one_line
from pipelines.runtime.parser import JSON, Parser, job_parser
from pipelines.runtime.step import Outcome
from pipelines.runtime.terminal import WITHOUT_PICTURES, closing_sentence, counts_table, printable

ADDRESS = "a Ray cluster; by default Ray starts on this machine"


def parser(job: str, description: str, *, by_part: bool = False) -> Parser:
    """The parser of a job that works on a manifest; `by_part` for a job that can do some of the parts alone."""
    options = job_parser(job, description)
    root = os.environ.get("PAIRMILL_ROOT")
    where = "where the manifest lives: a folder or any fsspec URI (or PAIRMILL_ROOT)"
    options.add_argument("--root", default=root, required=root is None, metavar="URI", help=where)
    options.add_argument("--recipe", metavar="FILE", help="the settings (TOML); every setting has a default")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override one setting of the recipe")
    options.add_argument("--address", metavar="ADDRESS", help=ADDRESS)
    if by_part:
        only = "do this part alone, or all of a source: coyo/000000-0000000000, coyo; may be repeated"
        options.add_argument("--only", action="append", default=[], metavar="PART", help=only)
    return options


def require_parts(storage: Storage) -> list[Part]:
    """All parts of the manifest; RequestError when nothing was ingested."""
    parts = all_parts(storage)
    if not parts:
        storage.require_readable()
        raise RequestError(f"--root {storage.root} holds no samples; run `pairmill ingest` first, or check the root")
    return parts


def selected_parts(storage: Storage, only: Sequence[str]) -> list[Part]:
    """The parts that --only names, all parts where it names none; RequestError for a name that is no part."""
    parts = require_parts(storage)
    names = {str(part) for part in parts} | {part.source for part in parts}
    for name in only:
        if name not in names:
            raise RequestError(f"--only {name!r} is no part; {nearest(name, names if len(names) < 30 else sorted(names)[:30])}")
    return [part for part in parts if not only or {str(part), part.source} & set(only)]


def run(job: str, body: Callable[[Sequence[str] | None], dict[str, Any] | None], argv: Sequence[str] | None = None) -> NoReturn:
    """Runs a job's body, prints its counts (if any), and ends the process with the job's exit status.

    A person at a terminal sees a table and a closing sentence; elsewhere, or with --json, the last line of stdout is JSON.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    with failures_in_one_line(job):
        counts = body(arguments)
        if counts is not None:
            _print_counts(job, counts, as_table=sys.stdout.isatty() and JSON not in arguments)
    sys.exit(SOME_FAILED if counts and (counts.get("failed") or counts.get(WITHOUT_PICTURES)) else DONE)


def _print_counts(job: str, counts: Mapping[str, Any], *, as_table: bool) -> None:
    if as_table:
        sys.stdout.write(f"{counts_table(counts)}{closing_sentence(job, counts)}\n")
        return
    if counts.get("failed") or counts.get(WITHOUT_PICTURES):
        sys.stderr.write(f"{closing_sentence(job, counts)}\n")
    sys.stdout.write(json.dumps(counts, sort_keys=True) + "\n")


def summary(outcome: Outcome) -> dict[str, Any]:
    """The counts of a job as it prints them; failed parts are named on stderr."""
    counts = {
        **{name: count for name, count in sorted(outcome.counts.items()) if "." not in name},
        "reasons": {name.partition(".")[2]: n for name, n in sorted(outcome.counts.items()) if name.startswith("reason.")},
        "parts": outcome.parts,
        "ran": outcome.ran,
        "failed": outcome.failed,
        **({WITHOUT_PICTURES: outcome.lost} if outcome.lost else {}),
    }
    return named_failures(counts)


def named_failures(counts: dict[str, Any]) -> dict[str, Any]:
    """The counts of a job, whose `failed` parts are named on stderr, and so are those that lack pictures."""
    for kind in ("failed", WITHOUT_PICTURES):
        for part, cause in counts.get(kind, {}).items():
            sys.stderr.write(printable(f"{kind.replace('_', ' ')} {part}: {cause}") + "\n")
    return counts
