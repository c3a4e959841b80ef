"""The pictures of an evaluation set: files of a folder or pattern, or the samples of shards that have an index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from infra.compat.errors import RequestError
from infra.compat.files import file_system, open_file
from pipelines.sources.files import stamp_of
from pipelines.sources.patterns import matching
from sharding.index import read_dataset, read_index
from sharding.layout import SUMMARY, tar_file

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
CHUNK = 500
READ_AHEAD = 8 << 20  # bytes


def picture_chunks(name: str, uri: str) -> list[dict[str, Any]]:
    """The pictures of a set, some at a time, as JSON values: files, or a shard; RequestError when there are none."""
    if not name.replace("-", "").replace("_", "").isalnum():
        raise RequestError(f"evaluation set {name!r}: a name has letters, digits, - and _ only; rename the set")
    fs, path = file_system(uri)
    if fs.exists(f"{path}/{SUMMARY}"):
        return [{"uri": uri, "shard": shard.name, "pictures": shard.samples} for shard in read_dataset(uri).every_shard()]
    names = matching(fs, path)
    files = sorted(fs.unstrip_protocol(file) for file in names if file.lower().endswith(ENDINGS))
    if not files:
        has_tars = any(file.endswith(tar_file("")) for file in names)
        mend = f"its tars have no index: run `pairmill index {uri}` first" if has_tars else "name a folder that holds the set"
        raise RequestError(f"evaluation set {name}: no images ({', '.join(ENDINGS)}) under {uri}; {mend}")
    chunks = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    return [{"files": chunk, "pictures": len(chunk)} for chunk in chunks]


def stamps_of(chunk: Mapping[str, Any]) -> list[list[str]]:
    """What changes when a picture of a chunk does: size and date of its file or tar, as reading all would cost too much."""
    files = chunk.get("files") or [f"{read_dataset(chunk['uri']).tars}/{tar_file(chunk['shard'])}"]
    stamps = []
    for file in files:
        fs, path = file_system(file)
        info = fs.info(path)
        stamps.append([file, str(info["size"]), stamp_of(info)])
    return stamps


def pictures_of(chunk: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """(name, encoded picture) of each; a picture in a shard is named by the shard and its key."""
    for file in chunk.get("files", ()):
        with open_file(file) as handle:
            yield file.rpartition("/")[2], handle.read()
    if "shard" in chunk:
        shard = chunk["shard"]
        index = read_index(chunk["uri"], shard)
        with open_file(f"{read_dataset(chunk['uri']).tars}/{tar_file(shard)}", block_size=READ_AHEAD) as handle:
            for row in range(len(index)):
                if "image" in (spans := index.spans(row)):
                    handle.seek(spans["image"][0])
                    yield f"{shard}/{index.key(row)}", handle.read(spans["image"][1])
