"""A file system that counts which files are opened for reading, and work done in this process instead of Ray's."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from infra.compat.failures import failure_line

USERS = (
    "pipelines.runtime.external_sort",
    "pipelines.runtime.step",
    "pipelines.corpus.near_copies",
    "pipelines.corpus.semantic_copies",
    "pipelines.exporting.shards",
    "pipelines.exporting.estimate",
)


class CountedFile:
    """A file opened for reading that adds the bytes it gives to a counter."""

    def __init__(self, handle: Any, counter: Counter[str], path: str) -> None:
        self._handle, self._counter, self._path = handle, counter, path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)

    def __enter__(self) -> "CountedFile":
        return self

    def __exit__(self, *error: object) -> None:
        self._handle.close()

    def read(self, size: int = -1) -> bytes:
        return self._count(self._handle.read(size))

    def readline(self) -> bytes:
        return self._count(self._handle.readline())

    def _count(self, data: bytes) -> bytes:
        self._counter[self._path] += len(data)
        return data


class CountedFileSystem(LocalFileSystem):
    """A folder as an object store, `counted:///…`; `opened` counts the reads of each path, `requests` those of ranges alone, and
    `fetched` the bytes of both.
    """

    protocol = "counted"
    opened: ClassVar[Counter[str]] = Counter()
    requests: ClassVar[Counter[str]] = Counter()
    fetched: ClassVar[Counter[str]] = Counter()

    def __init__(self, **options: Any) -> None:
        super().__init__(auto_mkdir=True, **options)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return LocalFileSystem._strip_protocol(str(path).removeprefix("counted://"))

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        handle = super()._open(path, mode, **options)
        if mode != "rb":
            return handle
        self.opened[self._strip_protocol(path)] += 1
        return CountedFile(handle, self.fetched, self._strip_protocol(path))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        if start is not None:
            self.requests[self._strip_protocol(path)] += 1
        return super().cat_file(path, start, end, **options)


fsspec.register_implementation("counted", CountedFileSystem, clobber=True)


def run_here(
    items: Sequence[dict[str, Any]], work: Callable[..., dict[str, Any]], **about: Any
) -> Iterator[tuple[str, Any, str | None]]:
    """As `run_items`, in this process, one item after the other, once; items and results are JSON."""
    for item in items:
        try:
            yield item["label"], json.loads(json.dumps(work(json.loads(json.dumps(item)), lambda units: None))), None
        except Exception as error:
            yield item["label"], None, failure_line(error) or f"{type(error).__name__}: {error}"


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps of an export run in this process."""
    for module in USERS:
        monkeypatch.setattr(f"{module}.run_items", run_here)
