"""Which files paths and patterns name, on any fsspec URI.

A path that exists is that file, whatever characters its name has. Else `{a,b}` and `{000..127}` are written out as a shell does
(a missing member is an error), `*`, `?`, `[…]` and `**` match, and a folder stands for the data files below it. Hidden files, and
those that writers leave beside data (`_SUCCESS`, `_temporary/`, `.part.crc`), are never matched.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from typing import Any

import fsspec

from infra.compat.errors import RequestError
from infra.compat.files import file_system
from infra.compat.paths import absolute
from pipelines.manifest.registry import identity_of

MAGIC = re.compile(r"[*?\[]")
BRACES = re.compile(r"\{([^{}]*,[^{}]*|\d+\.\.\d+)\}")
TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson")
COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
NAMED = 3  # of the missing files, in an error


def published_files(files: list[str]) -> list[str]:
    """Of the files in a folder the Parquet files, or where it has none its text files."""
    return [file for file in files if file.endswith(".parquet")] or [file for file in files if _is_text(file)]


def expand(patterns: Sequence[str], of_folder: Callable[[list[str]], list[str]] = published_files) -> list[str]:
    """The URIs of the files that paths, folders and patterns name, each file once; RequestError for one that names none.

    Files of one pattern come in natural order: `2.parquet` before `10.parquet`. Of the files below a folder those count that
    `of_folder` chooses.
    """
    uris: dict[str, str] = {}
    for pattern in patterns:
        if not pattern.strip():
            raise RequestError(
                "a name of a file is empty, as where a shell's variable is not set; name files, or a pattern in quotes"
            )
        for uri in _expand(absolute(pattern), of_folder):
            uris.setdefault(identity_of(uri), uri)
    return list(uris.values())


def matching(fs: fsspec.AbstractFileSystem, path: str) -> list[str]:
    """The files that a path names as a file, a pattern, or a folder with all that is below it; in natural order."""
    kind = kind_of(fs, path)
    if kind == "file":
        return [path]
    is_pattern = kind is None and MAGIC.search(path)
    found = fs.glob(_literal_where_it_exists(fs, path), detail=True) if is_pattern else fs.find(path, detail=True)
    base = folder_of(fs, path)
    files = [name for name, info in found.items() if info["type"] == "file" and not _is_hidden(name[len(base) :])]
    return sorted(files, key=natural)


def folder_of(fs: fsspec.AbstractFileSystem, path: str) -> str:
    """The folder below which all files lie that a path names: itself, that of the file, or what stands before a pattern."""
    kind = kind_of(fs, path)
    if kind == "file":
        return path.rpartition("/")[0]
    return MAGIC.split(path)[0].rpartition("/")[0] if kind is None and MAGIC.search(path) else path


def kind_of(fs: fsspec.AbstractFileSystem, path: str) -> str | None:
    """`file` or `directory`, None where there is none; unlike fsspec's own, raises what is another error than a missing file."""
    try:
        return str(fs.info(path)["type"])
    except FileNotFoundError as error:
        cause = error.__cause__  # over http every error is a missing file, and its cause says more
        if cause is not None and (getattr(cause, "status", 404) != 404 or isinstance(cause, OSError)):
            raise cause from None
        return None


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts names by the values of the numbers in them."""
    return [(int(piece), piece) if piece.isdecimal() else (-1, piece) for piece in re.split(r"(\d+)", name)]


def _expand(pattern: str, of_folder: Callable[[list[str]], list[str]]) -> list[str]:
    fs, path = file_system(pattern)
    members = [path] if kind_of(fs, path) else _without_braces(path)
    with ThreadPoolExecutor(16) as pool:
        named = dict(zip(members, pool.map(partial(_data_files, fs, of_folder), members), strict=True))
    missing = [fs.unstrip_protocol(member) for member, files in named.items() if not files]
    if missing and len(members) > 1:
        some = ", ".join(missing[:NAMED]) + (f" and {len(missing) - NAMED} more" if len(missing) > NAMED else "")
        raise RequestError(f"no such file: {some}, of {len(members)} that {pattern} names; fetch them or name the others")
    if missing:
        folder = f"{pattern} is a folder without data files" if fs.isdir(path) else f"no such file: {pattern}"
        raise RequestError(f"{folder}; name files, or a pattern in quotes")
    return [fs.unstrip_protocol(file) for files in named.values() for file in files]


def _data_files(fs: fsspec.AbstractFileSystem, of_folder: Callable[[list[str]], list[str]], path: str) -> list[str]:
    """The files of a path or pattern; of a folder those that `of_folder` chooses."""
    plain = re.sub(r"/{2,}", "/", path) if "://" not in path else path
    if plain != path and fs.isfile(plain):
        return [plain]
    files = matching(fs, path)
    return of_folder(files) if files != [path] and kind_of(fs, path) == "directory" else files


def _is_text(name: str) -> bool:
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    return name.endswith(TEXT_ENDINGS)


def _is_hidden(name: str) -> bool:
    return name.endswith(".crc") or any(piece.startswith((".", "_")) for piece in name.split("/"))


def _literal_where_it_exists(fs: fsspec.AbstractFileSystem, path: str) -> str:
    """The pattern with those folders escaped that exist as they are written: `data[1]/*.parquet`."""
    pieces = path.split("/")
    for place, piece in enumerate(pieces):
        if MAGIC.search(piece) and not fs.exists("/".join([*pieces[:place], piece])):
            return "/".join([*map(glob.escape, pieces[:place]), *pieces[place:]])
    return glob.escape(path)


def _without_braces(path: str) -> list[str]:
    """`a{0..2}b{c,d}` as a shell writes it out; numbers keep the zeros before them."""
    texts, braces = BRACES.split(path)[::2], BRACES.findall(path)
    choices: list[Any] = [_choices(text) for text in braces]
    return ["".join([texts[0], *(a + b for a, b in zip(chosen, texts[1:], strict=True))]) for chosen in product(*choices)]


def _choices(braces: str) -> list[str]:
    first, dots, last = braces.partition("..")
    if not dots or "," in braces:
        return braces.split(",")
    width = max(len(first), len(last)) if first.startswith("0") or last.startswith("0") else 0
    step = 1 if int(first) <= int(last) else -1
    return [f"{number:0{width}d}" for number in range(int(first), int(last) + step, step)]
