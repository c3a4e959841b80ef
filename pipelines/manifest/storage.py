"""Files under one root, on a folder or any fsspec URI; every write lands whole or not at all."""

from __future__ import annotations

import glob
import io
import itertools
import json
import re
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from infra.compat.errors import RequestError
from infra.compat.files import file_system
from infra.compat.paths import absolute
from pipelines.manifest.parquet import parquet_bytes, write_parquet

NAMELESS = re.compile(r"\s*(?:(?!file:)[\w+.-]+:/+)?\s*")  # nothing, or nothing behind a scheme
STALE_SECONDS = 3600  # since the last byte was written to a temporary file: its process was killed
CREATE_RETRIES = 5
READ_BYTES = 1 << 20  # of a column at a time, where a file is read in slices


class Storage:
    """Whole-file reads and atomic writes below a root. Paths are relative to it, with forward slashes."""

    def __init__(self, root: str) -> None:
        if NAMELESS.fullmatch(root):
            raise RequestError(
                "the name of a root or folder is empty, as where a shell's variable is not set; name a folder or URI"
            )
        self.root = absolute(root).rstrip("/") or "/"
        self.fs, self.base = file_system(self.root)

    def __reduce__(self) -> tuple[Any, ...]:
        return Storage, (self.root,)

    @cached_property
    def is_local(self) -> bool:
        """Whether the root is a folder of this machine."""
        return "file" in (self.fs.protocol if isinstance(self.fs.protocol, tuple) else (self.fs.protocol,))

    def full(self, path: str) -> str:
        """The path as the file system knows it."""
        return f"{self.base}/{path}"

    def require_writable(self) -> None:
        """Raises RequestError when nothing can be written under the root; removes old temporary files."""
        probe = f".tmp/{uuid.uuid4().hex}"
        try:
            self.write(probe, b"")
            self.fs.rm_file(self.full(probe))
        except OSError as error:
            reason = error.strerror or str(error)
            raise RequestError(f"{self.root} is not writable ({reason}); name a folder or bucket that is") from None
        if self.is_local:
            for stale in Path(self.full(".tmp")).iterdir():
                with suppress(FileNotFoundError):  # another job moved its file into place
                    if time.time() - stale.stat().st_mtime > STALE_SECONDS:
                        stale.unlink()

    def require_readable(self) -> None:
        """Raises the error of listing the root, which patterns pass over; no error where there is no root."""
        with suppress(FileNotFoundError):
            self.fs.ls(self.base, refresh=True)

    def write(self, path: str, data: bytes | pa.Buffer) -> None:
        """Puts `data` at `path`: by one rename on a folder, by one PUT elsewhere."""
        if not self.is_local:
            self.fs.pipe_file(self.full(path), bytes(data))
            return
        with self._landing(path) as temporary:
            temporary.write_bytes(data)

    def create(self, path: str, data: bytes) -> bool:
        """Puts `data` at a path that has none, whole; False where it has other data. Of several writers one succeeds."""
        for attempt in itertools.count():
            try:
                if self.is_local:
                    self._link(data, path)
                else:
                    self.fs.pipe_file(self.full(path), data, mode="create")
                return True
            except OSError as error:  # s3fs has no class of its own for a condition that did not hold
                self.fs.invalidate_cache()  # a listing from before the other's write would hide it
                with suppress(FileNotFoundError):
                    return self.read(path) == data  # a response may be lost, and the request sent again
                # A store may refuse while another's write is under way that cannot be read yet, or fails.
                if attempt == CREATE_RETRIES:
                    raise error
                time.sleep(0.1 * 2**attempt)
        raise AssertionError  # count() does not end

    def _link(self, data: bytes, path: str) -> None:
        with self._temporary() as temporary:
            temporary.write_bytes(data)
            target = Path(self.full(path))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.hardlink_to(temporary)

    def adopt(self, local: Path, path: str) -> None:
        """Moves a finished local file to `path`, whole."""
        if not self.is_local:
            self.fs.put_file(str(local), self.full(path))
            local.unlink()
            return
        with self._landing(path) as temporary:
            shutil.move(local, temporary)
            temporary.chmod(0o644)  # temporary files are born private

    @contextmanager
    def _temporary(self) -> Iterator[Path]:
        """A temporary file, of which nothing is left when the block ends."""
        # One folder below the root: the same file system, so that the last step is a rename.
        folder = Path(self.full(".tmp"))
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / uuid.uuid4().hex
        try:
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)

    @contextmanager
    def _landing(self, path: str) -> Iterator[Path]:
        """A temporary file that is moved to `path` when the block ends, unless that raises."""
        with self._temporary() as temporary:
            yield temporary
            target = Path(self.full(path))
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.replace(target)

    def read(self, path: str) -> bytes:
        """The bytes at `path`; FileNotFoundError when there are none."""
        data: bytes = self.fs.cat_file(self.full(path))
        return data

    def read_many(self, paths: Sequence[str]) -> list[bytes | None]:
        """The bytes at each path, None where there are none; read in parallel."""

        def read(path: str) -> bytes | None:
            try:
                return self.read(path)
            except FileNotFoundError:
                return None

        with ThreadPoolExecutor(16) as pool:
            return list(pool.map(read, paths))

    def read_range(self, path: str, offset: int, length: int) -> bytes:
        """`length` bytes of `path` from `offset`; a path with a scheme of its own need not lie below the root."""
        fs, full = file_system(path) if "://" in path else (self.fs, self.full(path))
        data: bytes = fs.cat_file(full, start=offset, end=offset + length)
        return data

    def open(self, path: str, **options: Any) -> BinaryIO:
        """`path` opened for reading bytes, seekable; `options` are those of its file system."""
        handle: BinaryIO = self.fs.open(self.full(path), "rb", **options)
        return handle

    def exists(self, path: str) -> bool:
        """Whether there is a file at `path`."""
        return bool(self.fs.exists(self.full(path)))

    def glob(self, pattern: str) -> list[str]:
        """The files that match `pattern`, sorted, relative to the root."""
        if self.is_local:
            return sorted(glob.glob(pattern, root_dir=self.base))  # noqa: PTH207 Path.glob() would list hidden files
        self.fs.invalidate_cache()
        return sorted(found[len(self.base) + 1 :] for found in self.fs.glob(f"{glob.escape(self.base)}/{pattern}"))

    def move(self, folder: str, target: str) -> None:
        """Moves a folder of files: by one rename on a folder, file by file elsewhere; one that is gone is no error."""
        with suppress(FileNotFoundError):
            if self.is_local:
                Path(self.full(folder)).rename(self.full(target))
            else:
                for path in self.glob(f"{folder}/*.*"):
                    self.fs.cp_file(self.full(path), self.full(target + path.removeprefix(folder)))
                    self.fs.rm_file(self.full(path))

    def remove(self, paths: Iterable[str]) -> None:
        """Deletes the files; one that is gone already is no error."""
        for path in paths:
            if self.exists(path):
                self.fs.rm_file(self.full(path))

    def remove_folder(self, path: str) -> None:
        """Deletes a folder with all that is in it; one that is gone already is no error."""
        self.fs.invalidate_cache()
        with suppress(FileNotFoundError):
            self.fs.rm(self.full(path), recursive=True)

    def read_json(self, path: str) -> Any:
        """The JSON document at `path`."""
        try:
            return json.loads(self.read(path))
        except ValueError as error:  # bytes that are not UTF-8 too
            raise self.broken(path, "JSON", error) from None

    def broken(self, path: str, kind: str, error: Exception) -> RequestError:
        """The error for a file of ours that cannot be read."""
        cause = " ".join(str(error).split())[:200]
        return RequestError(f"{self.full(path)} is broken {kind} ({cause}); delete it and run the job that wrote it again")

    def write_json(self, path: str, document: Any) -> None:
        """Writes `document` as readable JSON with sorted keys."""
        self.write(path, json_bytes(document))

    def read_parquet(self, path: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The table at `path`, or those of the named columns that it has, in this order."""
        source = self.full(path) if self.is_local else io.BytesIO(self.read(path))
        with self._parquet_file(path, source, memory_map=self.is_local) as file:
            table = file.read(columns)
        return _selected(table, columns)

    def parquet_slices(self, path: str, columns: Sequence[str], rows: int) -> Iterator[pa.Table]:
        """What `read_parquet` returns, at most so many rows at a time, one table at least; no more are in memory."""
        # Not mapped: what was read of a mapped file counts as the process's memory until it is closed.
        source = nullcontext(self.full(path)) if self.is_local else self.open(path, cache_type="none")
        with source as opened, self._parquet_file(path, opened, buffer_size=READ_BYTES) as file:
            # A group at a time: Arrow keeps the bytes of all groups that one call has read.
            for group in range(file.num_row_groups):
                for batch in file.iter_batches(rows, [group], columns, use_threads=False):
                    yield _selected(pa.Table.from_batches([batch]), columns)
            if not file.metadata.num_rows:
                yield _selected(file.schema_arrow.empty_table(), columns)

    @contextmanager
    def _parquet_file(self, path: str, source: str | BinaryIO, **options: Any) -> Iterator[pq.ParquetFile]:
        """The file at `path`, that is `source`; RequestError where it is found broken."""
        try:
            with pq.ParquetFile(source, **options) as file:
                yield file
        except (pa.ArrowInvalid, EOFError) as error:
            raise self.broken(path, "parquet", error) from None
        except OSError as error:  # Arrow's error for bytes that do not unpack has no number
            if error.errno is not None:
                raise
            raise self.broken(path, "parquet", error) from None

    def write_parquet(self, path: str, table: pa.Table, more: Iterable[pa.Table] = ()) -> pa.NativeFile:
        """Writes `table`, and the rows of `more` after its own; the same rows give the same bytes. Returns the file, opened.

        Not mapped: what is read of a mapped file counts as the process's memory.
        """
        if not self.is_local:
            data = parquet_bytes(table, more)
            self.write(path, data)
            return pa.BufferReader(data)
        with self._landing(path) as temporary:
            write_parquet(table, str(temporary), more)
            return pa.OSFile(str(temporary))


def _selected(table: pa.Table, columns: Sequence[str] | None) -> pa.Table:
    """Those of the named columns that the table has, in this order; all where none are named."""
    return table if columns is None else table.select([name for name in columns if name in table.column_names])


def require_kind(name: str, value: object, *kinds: type) -> None:
    """TypeError where a value of a JSON document is of none of these kinds; true and false are no numbers."""
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise TypeError(f"{name} is {value!r:.60}")


def json_bytes(document: Any) -> bytes:
    """`document` as readable JSON with sorted keys."""
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
