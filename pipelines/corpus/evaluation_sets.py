"""Evaluation sets as files of hashes: what `index-evalset` writes, and `dedup --against NAME=URI` compares the corpus with."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filters.duplicates.descriptors import PATH, descriptors
from filters.duplicates.hashes import PICTURE_HASH
from infra.compat.content import content_digest
from infra.compat.errors import RequestError
from infra.compat.paths import absolute
from pipelines.corpus.evaluation_file import ENDING, write_evalset
from pipelines.corpus.evaluation_hashing import Embedder, Hasher, Kept, picture_hashes
from pipelines.corpus.evaluation_pictures import chunks_of, require_name, stamps_of, units_of
from pipelines.corpus.evaluation_search import EvalSet, local_file, open_set, require_sound
from pipelines.corpus.variants import VARIANTS, with_variants
from pipelines.manifest.receipts import fingerprint_of
from pipelines.manifest.storage import Storage
from pipelines.runtime.runner import run_items

FOLDER = "evalsets"
AUTO = "auto"
MOST_WITH_VARIANTS = 3_000_000  # pictures: with all variants an item takes some 260 bytes
MOST_WITH_LOOKS = 500_000  # pictures: a look takes 1.5 kB more


def named_sets(requests: Sequence[str]) -> dict[str, str]:
    """`NAME=URI` of --against as name → URI; RequestError for what is not of that form."""
    sets = {}
    for request in requests:
        name, equals, uri = request.partition("=")
        if not (equals and uri):
            raise RequestError(f"--against {request!r} is not NAME=URI; e.g. --against flickr30k=/data/flickr30k/images")
        if name in sets:
            raise RequestError(f"--against names {name} twice; give each set a name of its own")
        sets[name] = absolute(uri)
    return sets


def require_sets(against: Mapping[str, str]) -> None:
    """RequestError where a set has a name that cannot be, or no items."""
    for name, uri in against.items():
        require_name(name)
        if uri.endswith(ENDING):
            open_set(name, uri)
        else:
            chunks_of(name, uri)


def sets_of(storage: Storage, against: Mapping[str, str], with_squares: bool = False) -> list[EvalSet]:
    """The sets, name → URI: a file of `index-evalset`, or what that reads, which is then indexed under the root, once."""
    return [
        open_set(name, uri) if uri.endswith(ENDING) else _indexed(storage, name, uri, with_squares)
        for name, uri in against.items()
    ]


@dataclass(frozen=True)
class Options:
    """What the file of a set keeps besides hashes of its pictures.

    `variants` of the pictures (`variants.py`), hashed too, and `looks` of them, by which matches are confirmed: each `all`,
    `none`, or `auto` for all where the file stays below 1 GB. `squares` of them with descriptors; embeddings by an `embedder`.
    """

    variants: str = AUTO
    looks: str = AUTO
    squares: bool = False
    embedder: Embedder | None = None

    def kept(self, chunks: Sequence[Mapping[str, Any]]) -> Kept:
        """The same for a set of these chunks."""
        count, has_pictures = sum(map(_pictures, chunks)), all(chunk["kind"] != "list" for chunk in chunks)

        def is_kept(choice: str, most: int) -> bool:
            return has_pictures and (choice == "all" or (choice == AUTO and count <= most))

        variants = tuple(VARIANTS) if is_kept(self.variants, MOST_WITH_VARIANTS) else ()
        return Kept(variants, is_kept(self.looks, MOST_WITH_LOOKS), self.squares and has_pictures, self.embedder)


def index_set(storage: Storage, name: str, uri: str, options: Options | None = None) -> EvalSet:
    """Writes the file of a set, `evalsets/<name>.evalset` under the root; hashes of pictures are cached beside it.

    RequestError where no item can be read.
    """
    kept, parts = _hashed_parts(storage, name, uri, options or Options())
    return _write(storage, name, uri, kept, parts, f"{FOLDER}/{name}{ENDING}")


def _indexed(storage: Storage, name: str, uri: str, with_squares: bool) -> EvalSet:
    """A set that has no file, by one among its cached hashes."""
    kept, parts = _hashed_parts(storage, name, uri, Options(squares=with_squares))
    path = f"{FOLDER}/parts/{name}/{fingerprint_of({'parts': parts})}{ENDING}"
    return _with_faults(storage, name, path) if storage.exists(path) else _write(storage, name, uri, kept, parts, path)


def _write(storage: Storage, name: str, uri: str, kept: Kept, parts: Sequence[str], path: str) -> EvalSet:
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / f"{name}{ENDING}"
        write_evalset(local, map(storage.read_parquet, parts), {"name": name, "uri": uri}, kept.variants, kept.about)
        storage.adopt(local, path)
    return _with_faults(storage, name, path)


def _with_faults(storage: Storage, name: str, path: str) -> EvalSet:
    """The set in a file under the root, and the items that it lacks."""
    target = f"{storage.root}/{path}"
    file = local_file(target)
    require_sound(file)
    faults = dict(file.faults)
    if file.left_out > len(faults):
        faults["others"] = f"{file.left_out - len(faults):,} more cannot be read"
    return EvalSet(name, target, file.digest, faults)


def describe(sets: Sequence[EvalSet]) -> list[dict[str, object]]:
    """What decides of the sets as plain JSON values, for fingerprints: wherever their files lie."""
    return [{"name": each.name, "digest": each.digest} for each in sets]


def _hashed_parts(storage: Storage, name: str, uri: str, options: Options) -> tuple[Kept, list[str]]:
    """What is kept of a set, and the tables of its items, hashed where they are not cached."""
    found = chunks_of(name, uri)
    if options.embedder and any(chunk["kind"] == "list" for chunk in found):
        raise RequestError(f"evaluation set {name}: {uri} is a list of hashes, which cannot be embedded; name its pictures")
    kept = options.kept(found)
    chunks = {_target(name, chunk, kept): chunk for chunk in found}
    items: list[dict[str, Any]] = [
        {"label": target, "chunk": chunk, "target": target} for target, chunk in chunks.items() if not storage.exists(target)
    ]
    total, unit = sum(units_of(item["chunk"]) for item in items), "kB" if found[0]["kind"] == "tar" else "pictures"
    for label, _, error in run_items(items, Hasher(storage, kept), name=f"hash {name}", unit=unit, total=total):
        if error:
            raise RequestError(f"evaluation set {name}: {label}: {error}; repair the file or leave it out")
    return kept, list(chunks)


def _pictures(chunk: Mapping[str, Any]) -> int:
    """How many pictures a chunk has; of a tar, which is not read for it, how many it would have of 20 kB each."""
    return units_of(chunk) // 20 if chunk["kind"] == "tar" else int(chunk["pictures"])


def _content() -> str:
    """What decides of the hashes of pictures."""
    return content_digest(
        PICTURE_HASH,
        picture_hashes,
        with_variants,
        packages=["filters", "sharding", "pipelines.images", "pipelines.corpus.variants", "pipelines.corpus.evaluation_hashing"],
    )


def _target(name: str, chunk: Mapping[str, Any], kept: Kept) -> str:
    """Where the hashes of these pictures lie."""
    decides: dict[str, Any] = {
        "items": stamps_of(chunk),
        "folder": chunk.get("folder", ""),
        "content": _content(),
        "variants": kept.variants,
        "embedder": kept.about,
    }
    decides |= {"squares": content_digest(PATH, descriptors, packages=["filters"])} if kept.squares else {}
    decides |= {"looks": True} if kept.looks else {}
    return f"{FOLDER}/parts/{name}/{fingerprint_of(decides)}.parquet"
