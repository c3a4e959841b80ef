"""conversations KIND FILE… --out FILE: boxes and texts that others annotated → conversations, as InternVL's annotations.

KIND is coco (COCO's and Objects365's JSON: detection), grounding (phrases with boxes, as JSON lines), ocr (lines of text, as JSON
lines) or llava (LLaVA's conversations with boxes of 0 … 1). Each line written has a picture, its size and a conversation; boxes
are 0 … 1000 of the original picture. What is left out is counted by reason. --page draws the first boxes on their pictures.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from infra.compat.errors import RequestError
from infra.compat.files import file_system, write_whole
from pipelines.annotations import boxes, reading
from pipelines.annotations.coco import read_coco
from pipelines.annotations.grounded import read_grounded
from pipelines.annotations.llava import read_llava
from pipelines.annotations.ocr import read_ocr
from pipelines.annotations.page import page
from pipelines.annotations.reading import Entry, Tally
from pipelines.runtime.parser import job_parser
from pipelines.runtime.terminal import printable

READERS = {"coco": read_coco, "grounding": read_grounded, "ocr": read_ocr}
KINDS = (*READERS, "llava")


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Writes the conversations; counts what was read, written and left out."""
    parser = job_parser("conversations", __doc__ or "")
    parser.add_argument("kind", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("files", nargs="+", metavar="FILE", help="annotations: paths or URIs")
    parser.add_argument("--out", required=True, metavar="FILE", help="the JSON lines to write, a path")
    parser.add_argument("--language", choices=("en", "zh"), default="en", help="of questions and answers (default: en)")
    parser.add_argument(
        "--padded", action="store_true", help="of llava: boxes are shares of the square that pictures were padded to"
    )
    parser.add_argument("--page", metavar="FILE", help="an HTML page with boxes drawn on pictures")
    parser.add_argument("--show", type=int, default=50, metavar="N", help="pictures on the page (default: 50)")
    parser.add_argument("--pictures", default="", metavar="DIR", help="where the pictures lie, for the page: a folder or URI")
    options = parser.parse_args(argv)
    if options.padded and options.kind != "llava":
        raise RequestError("--padded is for llava alone; leave it out")
    if "://" in options.out:
        raise RequestError(f"--out {options.out}: the lines are written to a path on this machine; name one, and copy it")
    tally = Tally()
    shown = _write(options.out, _entries(options, tally), tally, options.show if options.page else 0)
    if options.page:
        fs, path = file_system(options.page)
        write_whole(fs, path, page(shown, options.pictures).encode("utf-8", "replace"))
    return _counts(tally, options.out)


def _entries(options: Any, tally: Tally) -> Iterator[Entry]:
    for uri in options.files:
        if options.kind == "llava":
            yield from read_llava(uri, tally, options.padded)
        else:
            yield from READERS[options.kind](uri, options.language, tally)


def _write(out: str, entries: Iterator[Entry], tally: Tally, show: int) -> list[Entry]:
    """Writes a line for each entry, to a file that appears whole; the first `show` entries."""
    path, shown = Path(out), list[Entry]()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("w", encoding="utf-8", errors="replace") as file:
            for entry in entries:
                file.write(entry.line() + "\n")
                tally.counts["written"] += 1
                shown += islice([entry], show - len(shown)) if len(shown) < show else ()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return shown


def _counts(tally: Tally, out: str) -> dict[str, Any]:
    """The counts; a file of which less than half is written has failed."""
    for line in tally.named:
        sys.stderr.write(printable(f"left out {line}") + "\n")
    meanings = reading.REASONS | boxes.REASONS
    for reason, count in tally.reasons.most_common():
        sys.stderr.write(f"{count:>12,} {reason}: {meanings[reason]}\n")
    counts = {
        name: tally.counts[name]
        for name in ("read", "written", "boxes", "lines")
        if name in ("read", "written") or tally.counts[name]
    }
    return {**counts, "reasons": dict(sorted(tally.reasons.items())), "failed": _failed(counts, out)}


def _failed(counts: dict[str, int], out: str) -> dict[str, str]:
    if not counts["read"]:
        return {out: "the files hold no entry"}
    return {out: "less than half of what was read could be written"} if 2 * counts["written"] < counts["read"] else {}


if __name__ == "__main__":
    from pipelines.runtime import command_line

    command_line.run("conversations", main)
