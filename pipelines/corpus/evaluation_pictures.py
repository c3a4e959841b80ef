"""The pictures of an evaluation set: files, the samples of indexed shards, members of tars, or bytes in Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from infra.compat.errors import RequestError
from infra.compat.files import file_system, open_file
from pipelines.corpus import hash_lists
from pipelines.sources.files import stamp_of
from pipelines.sources.parquet_files import naming_broken, parquet_shape
from pipelines.sources.patterns import folder_of, matching
from sharding.index import read_dataset, read_index
from sharding.layout import SUMMARY, tar_file
from sharding.tar_headers import REMOTE_WINDOW, Window, read_members

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
KINDS = {"files": ENDINGS, "tar": (".tar",), "parquet": (".parquet",), "list": hash_lists.ENDINGS}  # the first that there are
CHUNK = 500
READ_AHEAD = 8 << 20  # bytes
KILOBYTE = 1000
PICTURE_COLUMNS = ("image", "jpg", "jpeg", "png", "webp", "img", "image_bytes", "bytes", "content")
Chunk = Mapping[str, Any]


class EvalPicture(NamedTuple):
    """A picture's name in its set, and its encoded bytes; or why there are none."""

    name: str
    data: bytes
    fault: str = ""


def require_name(name: str) -> None:
    """RequestError for a name that no set can have."""
    if not name.replace("-", "").replace("_", "").isalnum():
        raise RequestError(f"evaluation set {name!r}: a name has letters, digits, - and _ only; rename the set")


def chunks_of(name: str, uri: str) -> list[dict[str, Any]]:
    """What a set consists of, some at a time, as JSON values: `pictures` of them; RequestError when there are none."""
    require_name(name)
    fs, path = file_system(uri)
    if fs.exists(f"{path}/{SUMMARY}"):
        dataset = read_dataset(uri)
        return [
            {"kind": "shard", "uri": uri, "tars": dataset.tars, "shard": each.name, "pictures": each.samples}
            for each in dataset.every_shard()
        ]
    names = matching(fs, path)
    folder = fs.unstrip_protocol(folder_of(fs, path))
    for kind, endings in KINDS.items():
        if files := sorted(fs.unstrip_protocol(file) for file in names if file.lower().endswith(endings)):
            return [{"folder": folder, **chunk} for chunk in _chunks(kind, files)]
    known = ", ".join(ending for endings in KINDS.values() for ending in endings)
    raise RequestError(f"evaluation set {name}: no images ({known}) under {uri}; name a folder that holds the set")


def _chunks(kind: str, files: list[str]) -> list[dict[str, Any]]:
    if kind == "files":
        chunks = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
        return [{"kind": kind, "files": chunk, "pictures": len(chunk)} for chunk in chunks]
    if kind != "parquet":
        return [{"kind": kind, "files": [file], "pictures": 1} for file in files]
    return [chunk for file in files for chunk in _parquet_chunks(file)]


def _parquet_chunks(file: str) -> list[dict[str, Any]]:
    """A chunk for each row group of pictures, or one for a list of hashes."""
    schema, rows = parquet_shape(file)
    if picture_column(schema) is None:
        hash_lists.require_hashes(schema.names, file)
        return [{"kind": "list", "files": [file], "pictures": rows}]
    with naming_broken(file), open_file(file) as handle:
        metadata = pq.ParquetFile(handle).metadata
    sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    return [{"kind": "parquet", "files": [file], "group": group, "pictures": size} for group, size in enumerate(sizes) if size]


def units_of(chunk: Chunk) -> int:
    """What a chunk counts for in progress: its pictures; of a tar, whose members nobody has counted, its kilobytes."""
    return int(stamps_of(chunk)[0][1]) // KILOBYTE if chunk["kind"] == "tar" else int(chunk["pictures"])


def stamps_of(chunk: Chunk) -> list[list[str]]:
    """What changes when a picture of a chunk does: size and date of its file or tar, as reading all would cost too much."""
    files = chunk.get("files") or [f"{chunk['tars']}/{tar_file(chunk['shard'])}"]
    stamps = []
    for file in files:
        fs, path = file_system(file)
        info = fs.info(path)
        stamps.append([file, str(info["size"]), stamp_of(info), str(chunk.get("group", ""))])
    return stamps


def pictures_of(chunk: Chunk) -> Iterator[EvalPicture]:
    """The pictures of a chunk.

    A picture is named by its path below the folder of the set; one in a shard, tar or Parquet file by the path of that, without
    its ending, and its member, the key, name or path that its row has for it, or its place.
    """
    return READERS[chunk["kind"]](chunk)


def may_hold(chunk: Chunk, name: str) -> bool:
    """Whether a chunk may have the picture of that name, as far as is known without reading it."""
    match chunk["kind"]:
        case "files":
            return any(_below(chunk, file) == name for file in chunk["files"])
        case "shard":
            return name.startswith(f"{chunk['shard']}/")
        case "tar":
            return name.startswith(f"{_stem(chunk)}/")
        case kind:
            return bool(kind == "parquet")


def picture_column(schema: pa.Schema) -> str | None:
    """The column with encoded pictures: bytes, or as Hugging Face writes them, a struct of `bytes` and `path`."""
    for name in PICTURE_COLUMNS:
        kind = schema.field(name).type if name in schema.names else pa.null()
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            return name
        if pa.types.is_struct(kind) and "bytes" in [field.name for field in kind]:
            return name
    return None


def _of_files(chunk: Chunk) -> Iterator[EvalPicture]:
    for file in chunk["files"]:
        with open_file(file) as handle:
            yield EvalPicture(_below(chunk, file), handle.read())


def _of_shard(chunk: Chunk) -> Iterator[EvalPicture]:
    shard = chunk["shard"]
    index = read_index(chunk["uri"], shard)
    with open_file(f"{chunk['tars']}/{tar_file(shard)}", block_size=READ_AHEAD) as handle:
        for row in range(len(index)):
            if "image" in (spans := index.spans(row)):
                handle.seek(spans["image"][0])
                yield EvalPicture(f"{shard}/{index.key(row)}", handle.read(spans["image"][1]))


def _of_tar(chunk: Chunk) -> Iterator[EvalPicture]:
    (tar,) = chunk["files"]
    name = _stem(chunk)
    with open_file(tar, block_size=READ_AHEAD) as handle:
        contents = read_members(Window(handle, _size(tar), REMOTE_WINDOW))
        for member in contents.members:
            if member.name.lower().endswith(ENDINGS):
                handle.seek(member.offset)
                yield EvalPicture(f"{name}/{member.name}", handle.read(member.length))
    for fault in contents.faults:
        yield EvalPicture(name, b"", f"the tar {fault}")


def _of_parquet(chunk: Chunk) -> Iterator[EvalPicture]:
    (file,), group = chunk["files"], chunk["group"]
    with naming_broken(file), open_file(file) as handle:
        parquet = pq.ParquetFile(handle, page_checksum_verification=True)
        column = picture_column(parquet.schema_arrow)
        names = [name for name in hash_lists.NAMES if name in parquet.schema_arrow.names][:1]
        table = parquet.read_row_group(group, [column, *names])
    pictures = [value if isinstance(value, dict) else {"bytes": value} for value in table[column].to_pylist()]
    labels = table[names[0]].to_pylist() if names else [None] * len(table)
    for row, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        own = label or picture.get("path") or f"{group}/{row}"  # unique within its file at most
        name = f"{_stem(chunk)}/{own}"
        data = picture["bytes"]
        yield EvalPicture(name, data or b"", "" if data else "has no bytes")


READERS: dict[str, Callable[[Chunk], Iterator[EvalPicture]]] = {
    "files": _of_files,
    "shard": _of_shard,
    "tar": _of_tar,
    "parquet": _of_parquet,
}


def _below(chunk: Chunk, file: str) -> str:
    """The path of a file below the folder of the set."""
    return file.removeprefix(f"{chunk['folder'].rstrip('/')}/")


def _stem(chunk: Chunk) -> str:
    """The same of a chunk's one file, without its ending."""
    return _below(chunk, chunk["files"][0]).rpartition(".")[0]


def _size(file: str) -> int:
    fs, path = file_system(file)
    size: int = fs.info(path)["size"]
    return size
