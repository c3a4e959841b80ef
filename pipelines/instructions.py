"""instructions RECIPE --data DIR --out DIR: the sets of an instruction mix → conversations and one meta file for training.

RECIPE is a TOML file, or `internvl-sft`, the mix of InternVL's stage 3. Sets whose files lie in --data are written as JSON lines,
in LLaVA-1.5's words; those that are not there are named, with where each is to be had. --against NAME=FILE (of `index-evalset`)
leaves out what an evaluation set shows. Train on it by `trainer_bridge.train --stage chat --data OUT/meta.json`.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.compat.errors import RequestError
from infra.compat.files import file_system
from infra.compat.paths import absolute
from pipelines.annotations.answered import read_set
from pipelines.annotations.mix import MixSettings, SetSettings, read_mix
from pipelines.annotations.overlap import shown
from pipelines.annotations.reading import REASONS, Tally
from pipelines.corpus.evaluation_search import EvalSet, open_set
from pipelines.corpus.evaluation_sets import named_sets
from pipelines.runtime.parser import job_parser
from pipelines.runtime.terminal import printable
from sharding.named_files import within
from sharding.named_pictures import named_pictures


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Writes the sets that are there, and the meta file; counts entries by set."""
    parser = job_parser("instructions", __doc__ or "")
    parser.add_argument("recipe", metavar="RECIPE", help="a mix: a TOML file, or internvl-sft")
    parser.add_argument("--data", required=True, metavar="DIR", help="where the published files lie, as the recipe names them")
    parser.add_argument("--out", required=True, metavar="DIR", help="the folder to write to")
    parser.add_argument("--set", action="append", default=[], metavar="NAME", dest="sets", help="this set alone; may be repeated")
    parser.add_argument(
        "--against", action="append", default=[], metavar="NAME=FILE", help="leave out pictures of an evaluation set (.evalset)"
    )
    options = parser.parse_args(argv)
    mix, data, out = _chosen(read_mix(options.recipe), options.sets), absolute(options.data), _folder(options.out)
    against = [open_set(name, uri) for name, uri in named_sets(options.against).items()]
    fs, path = file_system(data)
    if not fs.isdir(path):
        raise RequestError(f"--data {data} is no folder; name where the files of the sets lie")
    meta: dict[str, Any] = {}
    absent: dict[str, str] = {}
    counts = Counter[str]()
    for name, each in mix.sets.items():
        if not fs.exists(f"{path}/{each.file}"):
            absent[name] = f"{each.file} is not in {data}; to be had at {each.to_be_had()}"
            continue
        meta[name] = _written(name, each, data, out, against, counts)
    (out / "meta.json").write_text(json.dumps(meta, indent=1, ensure_ascii=False) + "\n")
    return {"sets": len(meta), **counts, "meta": str(out / "meta.json"), "failed": absent}


def _folder(uri: str) -> Path:
    """The folder to write to; RequestError when it is none of this machine."""
    path = Path(absolute(uri))
    if "://" in uri:
        raise RequestError(f"--out {uri} is on no disk of this machine; name a folder here, and copy it from there")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise RequestError(f"--out {uri} is a file, or within one; name a folder") from None
    return path


def _chosen(mix: MixSettings, names: Sequence[str]) -> MixSettings:
    for name in names:
        if name in mix.refused:
            raise RequestError(f"--set {name} is refused: {mix.refused[name]}")
        if name not in mix.sets:
            raise RequestError(f"--set {name} is not in the recipe; it has {', '.join(mix.sets)}")
    return mix.model_copy(update={"sets": {name: mix.sets[name] for name in names}}) if names else mix


def _written(
    name: str, each: SetSettings, data: str, out: Path, against: Sequence[EvalSet], counts: Counter[str]
) -> dict[str, Any]:
    """Writes a set; its entry in the meta file."""
    tally, root, source = Tally(), f"{data}/{each.pictures}".rstrip("/"), f"{data}/{each.file}"
    missing = [label for label in each.overlaps if label not in {one.name for one in against}]
    if missing:
        sys.stderr.write(f"{name}: pictures of {', '.join(missing)} may be among its own; --against leaves them out\n")
    left_out = _left_out(source, each, root, against, tally, counts)
    temporary, target, written = out / f".{name}.part", out / f"{name}.jsonl", 0
    with temporary.open("w", encoding="utf-8", errors="replace") as file:
        for line in read_set(source, each, Tally() if against else tally):
            if any(within(root, name) in left_out for name in named_pictures(line)):
                counts["left_out"] += 1
                continue
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            written += 1
    temporary.replace(target)
    counts.update(read=tally.counts["read"], written=written)
    for refusal in tally.named:
        sys.stderr.write(printable(f"left out {refusal}") + "\n")
    for reason, count in tally.reasons.most_common():
        sys.stderr.write(f"{count:>12,} of {name}: {REASONS.get(reason, reason)}\n")
    entry: dict[str, Any] = {"root": root, "annotation": str(target.absolute()), "repeat_time": each.repeat}
    entry |= {"data_augment": False, "length": written}
    return entry | ({"max_dynamic_patch": each.tiles} if each.tiles else {})


def _left_out(
    source: str, each: SetSettings, root: str, against: Sequence[EvalSet], tally: Tally, counts: Counter[str]
) -> dict[str, str]:
    """The pictures of a set that an evaluation set shows."""
    if not against:
        return {}
    pictures = list(dict.fromkeys(within(root, name) for line in read_set(source, each, tally) for name in named_pictures(line)))
    matched, unreadable = shown(pictures, against)
    if unreadable:
        counts["not_compared"] += unreadable
        sys.stderr.write(f"{unreadable:,} of {len(pictures):,} pictures in {root} cannot be read, and are not compared\n")
    return matched


if __name__ == "__main__":
    from pipelines.runtime import command_line

    command_line.run("instructions", main)
