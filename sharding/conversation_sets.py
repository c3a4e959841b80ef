"""Which sets of conversations a training reads: InternVL's meta file, or one file of conversations."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from infra.compat.errors import RequestError, nearest
from infra.compat.failures import failure_line
from infra.compat.files import file_system, open_file
from infra.compat.paths import absolute

LARGEST = 16 << 20  # bytes of a meta file; what is larger is a file of conversations
KEYS = (
    "root",
    "annotation",
    "shards",
    "split",
    "repeat_time",
    "data_augment",
    "min_dynamic_patch",
    "max_dynamic_patch",
    "length",
    "kind",
)
MOST_REPEATS = 1_000_000
MOST_TILES = 1024  # of a picture: 256 tokens each are more than a language model reads
ENTRY_KEYS = ("conversations", "messages")


@dataclass(frozen=True)
class ConversationSet:
    """A set of conversations.

    name        for messages
    annotation  its file, JSON lines or a list; or
    shards      the URI of indexed shards whose json members have conversations, and their `split`
    root        the folder, tar or URI that paths of pictures are relative to
    share       below 1 the first share of entries, else how often each comes in an epoch
    augment     pictures go through JPEG once, at a random quality
    least, most tiles of a picture; 0: the experiment's
    length      how many entries it says it has; 0: it does not say
    kind        what it teaches, for exports that give each kind a share; "": it does not say
    """

    name: str
    annotation: str = ""
    shards: str = ""
    split: str = "train"
    root: str = ""
    share: float = 1.0
    augment: bool = False
    least: int = 0
    most: int = 0
    length: int = 0
    kind: str = ""


def read_sets(uri: str) -> list[ConversationSet]:
    """The sets that a file names, or the file itself as one; RequestError in one line when it is neither."""
    place = absolute(uri)
    document = _document(place)
    if document is None:
        return [ConversationSet(PurePath(place).stem, place, root=place.rpartition("/")[0])]
    return [_set(place, name, entry) for name, entry in document.items()]


def _document(uri: str) -> dict[str, Any] | None:
    """The object in a meta file; None where the file holds conversations."""
    try:
        fs, path = file_system(uri)
        if fs.isdir(path) or fs.size(path) > LARGEST:
            return None
        with open_file(uri) as handle:
            data = handle.readline() + handle.readline()
            if _is_of_entries(data):
                return None
            data += handle.read()
    except Exception as error:  # file systems raise many kinds
        line = failure_line(error)
        if line is None:
            raise
        raise RequestError(f"{uri} cannot be read: {line}") from None
    pairs: list[tuple[str, Any]] = []

    def remember(fields: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs[:] = fields  # of the outermost object in the end
        return dict(fields)

    try:
        document = json.loads(data, object_pairs_hook=remember)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or any(key in document for key in ENTRY_KEYS) or not _names_sets(document):
        return None
    names = [name for name, _ in pairs]
    if len(names) > len(document):
        twice = next(name for name in names if names.count(name) > 1)
        raise RequestError(f"{uri} names set {twice!r} twice, of which one would be lost; give each a name of its own")
    return document


def _is_of_entries(lines: bytes) -> bool:
    """Whether the first two lines of a file say that it is a list or JSON lines, so that the rest need not be read twice."""
    first, _, second = lines.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
    if first.lstrip().startswith(b"["):
        return True
    try:
        json.loads(first)
    except (ValueError, RecursionError):
        return False
    return bool(second.strip())


def _names_sets(document: Mapping[str, Any]) -> bool:
    """Whether all values describe sets, or one does beyond doubt."""
    described = [isinstance(entry, dict) for entry in document.values()]
    certain = (isinstance(entry, dict) and not entry.keys().isdisjoint(KEYS) for entry in document.values())
    return bool(described) and (all(described) or any(certain))


def _set(uri: str, name: str, entry: Any) -> ConversationSet:
    where = f"{uri}, set {name!r}"
    if not isinstance(entry, Mapping):
        raise RequestError(f"{where} is {json.dumps(entry)[:100]}; write an object with root and annotation")
    ignored = [key for key in entry if key not in KEYS]
    if ignored:
        sys.stderr.write(f"{where}: {', '.join(ignored)} is not read; {nearest(ignored[0], KEYS)}\n")
    if bool(entry.get("annotation")) == bool(entry.get("shards")):
        raise RequestError(f"{where} must name one of annotation (a file) and shards (a URI)")
    share = _number(where, entry, "repeat_time", 1.0)
    if share <= 0 or (share > 1 and share % 1) or share > MOST_REPEATS:
        raise RequestError(
            f"{where}: repeat_time = {share:g} is neither a share below 1 nor a whole number up to {MOST_REPEATS:,}"
        )
    least, most, length = (_whole(where, entry, key) for key in ("min_dynamic_patch", "max_dynamic_patch", "length"))
    if max(least, most) > MOST_TILES:
        raise RequestError(
            f"{where}: a picture has {MOST_TILES:,} tiles at most, not {max(least, most):,}; lower max_dynamic_patch"
        )
    if most and least > most:
        raise RequestError(f"{where}: min_dynamic_patch = {least} is more than max_dynamic_patch = {most}")
    paths = {key: entry.get(key) or "" for key in ("annotation", "shards", "root")}
    names = {key: entry.get(key) or default for key, default in (("split", "train"), ("kind", ""))}
    if not all(isinstance(path, str) for path in (*paths.values(), *names.values())):
        raise RequestError(f"{where}: annotation, shards and root are paths or URIs, split and kind are names")
    augment = entry.get("data_augment") or False
    if not isinstance(augment, bool):
        raise RequestError(f"{where}: data_augment = {json.dumps(augment)} is neither true nor false")
    places: dict[str, Any] = {key: _located(uri, path) for key, path in paths.items()}
    numbers: dict[str, Any] = {"share": share, "least": least, "most": most, "length": length}
    return ConversationSet(name, **places, split=names["split"], kind=names["kind"], augment=augment, **numbers)


def _number(where: str, entry: Mapping[str, Any], key: str, default: float) -> float:
    value = entry.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise RequestError(f"{where}: {key} = {json.dumps(value)} is no number from 0 on")
    return float(value)


def _whole(where: str, entry: Mapping[str, Any], key: str) -> int:
    number = _number(where, entry, key, 0)
    if number % 1:
        raise RequestError(f"{where}: {key} = {number:g} is no whole number")
    return int(number)


def _located(uri: str, path: str) -> str:
    """A path of a meta file: from the file's folder if it is there, else from the working folder, as the released code has it."""
    if not path or "://" in path or path.startswith(("/", "~")):
        return absolute(path)
    folder = uri.rpartition("/")[0]
    beside = folder if path == "." else f"{folder}/{path}"  # an object store has no file `.`
    fs, local = file_system(beside)
    return absolute(beside if fs.exists(local) else path)
