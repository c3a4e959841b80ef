"""Entries of files, found without reading these into memory."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.compat.errors import RequestError
from sharding import lines as module
from sharding.lines import Lines


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def read(path: Path) -> list[Any]:
    entries = Lines(str(path))
    return [json.loads(data) for data in entries.read_many(range(len(entries))) if isinstance(data, bytes)]


NESTED = st.none() | st.booleans() | st.integers() | st.text()
VALUES = st.recursive(NESTED, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=4)
ENTRIES = st.lists(st.dictionaries(st.text(), VALUES), max_size=4)


@settings(deadline=None, max_examples=50)
@given(ENTRIES, st.integers(1, 40), st.booleans(), st.sampled_from([None, 1, "\t"]), st.sampled_from(["", "\n", "\r\n\n  \n"]))
def test_entries_are_found_whatever_the_form_and_wherever_reading_is_cut(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Any], chunk: int, is_list: bool, indent: Any, gap: str
) -> None:
    path = tmp_path_factory.mktemp("file") / "entries.json"
    if is_list:
        text = json.dumps(entries, ensure_ascii=False, indent=indent) + gap
    else:
        text = f"\n{gap}".join(json.dumps(entry, ensure_ascii=False) for entry in entries) + gap
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK", chunk)
        if not is_list and not entries:
            assert read(path) == []
        else:
            assert read(path) == entries


def test_places_are_found_once_and_again_when_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"n": 1}\n{"n": 2}\n')
    assert read(path) == [{"n": 1}, {"n": 2}]
    with monkeypatch.context() as patch:
        patch.setattr(module, "_blocks", None)  # not called
        assert read(path) == [{"n": 1}, {"n": 2}]
    path.write_text('{"n": 3}\n{"n": 4}\n{"n": 5}')
    assert read(path) == [{"n": 3}, {"n": 4}, {"n": 5}]


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b'[{"a": 1}, {"b": ', "at byte 11 an entry is broken"),
        (b'[{"a": 1} nonsense]', "at byte 10 an entry is broken"),
        (b'[{"a": 1}', "or the list has no end"),
        (b'[{"a": 1}]\n[{"a": 2}]', "goes on at byte 11, behind the list"),
        (b"\x1f\x8b\x08 zipped", "compressed with gzip"),
    ],
)
def test_what_is_neither_is_refused_in_one_line(tmp_path: Path, data: bytes, cause: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(RequestError, match=cause) as error:
        Lines(str(path))
    assert "\n" not in str(error.value) and not list((tmp_path / "cache" / "pairmill" / "lines").iterdir())


@pytest.mark.parametrize("chunk", [10, 11, 4096])
def test_what_comes_behind_a_list_is_told_wherever_reading_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    path = tmp_path / "a.json"
    for gap in ("", "\n"):
        path.write_text(f'[{{"a": 1}}]{gap}[{{"a": 2}}]')
        with pytest.raises(RequestError, match=f"goes on at byte {10 + len(gap)}, behind the list"):
            Lines(str(path))


def test_an_entry_that_has_no_end_is_not_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 16)
    monkeypatch.setattr(module, "LARGEST", 64)
    path = tmp_path / "a.json"
    path.write_text('{"n": 1}\n{"images": [' + "7, " * 100)
    with pytest.raises(RequestError, match="at byte 9 a line does not end within 64 bytes"):
        Lines(str(path))
    path.write_text('{"n": 1}\n{"n": "' + "7" * 40 + '"}')
    assert len(read(path)) == 2


@pytest.mark.parametrize("cut", [0, 8, 30, -16, -5, 100])
def test_places_that_were_cut_are_found_again(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"n": 1}\n' * 9)
    assert len(read(path)) == 9
    (kept,) = (tmp_path / "cache" / "pairmill" / "lines").iterdir()
    data = kept.read_bytes()
    kept.write_bytes(data[:cut] if cut < 100 else data + bytes(16))
    assert read(path) == [{"n": 1}] * 9 and kept.read_bytes() == data


def test_a_million_lines_are_mapped_not_held(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"n": 1234567}\n' * 1_000_000)
    entries = Lines(str(path))
    assert len(entries) == 1_000_000 and isinstance(entries.spans, np.memmap)
    assert entries.read_many([999_999]) == [b'{"n": 1234567}']
