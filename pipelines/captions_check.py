"""captions-check [FILE]: how stage 2 repairs your captions, and which of its rules fire, with the numbers behind them.

One caption a line, or JSON lines with `caption` and optionally `language`; from FILE or standard input. Nothing is written and no
manifest is needed.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from filters.rules import RuleSetting, applicable, evaluate
from filters.stage2 import QUALITY_PARTS, columns_of, final_quality
from filters.text.language import identify
from filters.text.repair import repair
from infra.compat.errors import RequestError
from pipelines.recipe import load_recipe
from pipelines.runtime.parser import job_parser
from pipelines.runtime.terminal import printable

BATCH = 10_000


def main(argv: Sequence[str] | None = None) -> dict[str, Any] | None:
    """Prints the verdict on every caption; counts them, but not in JSON, where every line is a caption's."""
    parser = job_parser("captions-check", __doc__ or "")
    parser.add_argument("file", nargs="?", default="-", metavar="FILE", help="captions, a line each (default: standard input)")
    parser.add_argument("--recipe", metavar="FILE", help="the settings (TOML); every setting has a default")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override one setting of the recipe")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: one object a caption, in order")
    options = parser.parse_args(argv)
    recipe = load_recipe(options.recipe, options.set)
    rules, repairs = recipe.stage2_rules(), recipe.stage2_repairs()
    counts = {"captions": 0, "kept": 0}
    for lines in _batches(_lines(options.file)):
        for verdict in check(lines, rules, repairs=repairs):
            counts["captions"] += 1
            counts["kept"] += verdict["keep"]
            text = json.dumps(verdict, ensure_ascii=False) if options.format == "json" else _line(verdict)
            sys.stdout.write(text + "\n")
    return None if options.format == "json" else counts


def check(lines: Sequence[tuple[str, str | None]], rules: Sequence[RuleSetting], *, repairs: bool = True) -> list[dict[str, Any]]:
    """(caption, language or None) → of each: caption, repaired or None, language, keep, reasons, quality, its parts, values."""
    captions = pa.chunked_array([[caption for caption, _ in lines]], pa.string())
    repaired = repair(captions) if repairs else pa.nulls(len(captions), pa.string())
    table = columns_of(captions, repaired)
    rules = applicable(rules, table.column_names)
    keep, reasons = evaluate(table, rules, "")
    # A given language is not identified.
    unknown = pa.chunked_array(
        [["" if given else judged for judged, (_, given) in zip(table["caption"].to_pylist(), lines, strict=True)]], pa.string()
    )
    identified, confidence = (column.to_pylist() for column in identify(unknown))
    scores, parts = final_quality(table, reasons).to_pylist(), table[QUALITY_PARTS].to_pylist()
    values = {"characters": table["caption_chars"].to_pylist(), "words": table["caption_words"].to_pylist()}
    values |= {setting.rule.name: setting.rule.measure(table).to_pylist() for setting in rules if setting.rule.measure}
    values["language_confidence"] = confidence
    return [
        {
            "caption": caption,
            "repaired": repaired[row].as_py(),
            "language": given or identified[row],
            "keep": keep[row].as_py(),
            "reasons": reasons[row].as_py(),
            "quality": round(scores[row], 3),
            "quality_parts": {part: round(value, 2) for part, value in parts[row].items()},
            "values": {name: round(column[row], 3) for name, column in values.items() if column[row] is not None},
        }
        for row, (caption, given) in enumerate(lines)
    ]


def _lines(file: str) -> Iterator[tuple[str, str | None]]:
    try:
        binary = sys.stdin.buffer if file == "-" else Path(file).open("rb")  # noqa: SIM115 - closed with the text
    except OSError as error:
        raise RequestError(f"{file} cannot be read ({error.strerror}); name a file of captions, or - for stdin") from None
    # Bytes that are no UTF-8 become the mark that the rule on broken encodings looks for.
    handle = io.TextIOWrapper(binary, encoding="utf-8", errors="replace", newline="\n")
    with handle:
        for number, line in enumerate(handle, start=1):
            text = line.rstrip("\r\n")
            yield _record(text, f"{file}, line {number}") if text.startswith('{"') else (text, None)


def _record(text: str, where: str) -> tuple[str, str | None]:
    """A line of JSON; a caption may be source code that looks like one, so only an object with a `caption` is taken for it."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return text, None
    if "caption" not in record:
        return text, None
    caption, language = record["caption"], record.get("language")
    if not isinstance(caption, str) or not isinstance(language, str | None):
        raise RequestError(f"{where}: caption and language must be text; fix the line")
    return _whole(caption), None if language is None else _whole(language)


def _whole(text: str) -> str:
    """The text without half characters, which JSON can escape."""
    return text.encode("utf-8", "replace").decode()


def _batches(lines: Iterator[tuple[str, str | None]]) -> Iterator[list[tuple[str, str | None]]]:
    batch: list[tuple[str, str | None]] = []
    for line in lines:
        batch.append(line)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _line(verdict: dict[str, Any]) -> str:
    numbers = ", ".join(f"{name} {value:g}" for name, value in (verdict["values"] | verdict["quality_parts"]).items())
    reasons = " ".join(verdict["reasons"]) or "-"
    keep, language = "keep" if verdict["keep"] else "drop", verdict["language"] or "-"
    caption = printable(verdict["caption"]) + (f"  → {printable(verdict['repaired'])}" if verdict["repaired"] is not None else "")
    return f"{keep}  {verdict['quality']:.3f}  {language:<4} {reasons}  {caption}  [{numbers}]"


if __name__ == "__main__":
    from pipelines.runtime import command_line

    command_line.run("captions-check", main)
