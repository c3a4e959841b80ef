"""The file of an evaluation set: its items come back, it is small, other programs read it, and damage is named."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from infra.compat.errors import RequestError
from pipelines.corpus import evaluation_file
from pipelines.corpus.evaluation_file import BLOCK, ITEMS, open_evalset, write_evalset

PROVENANCE = {"name": "shapes", "uri": "/data/shapes"}


def items(names: list[str], seed: int = 0, faults: dict[int, str] | None = None) -> pa.Table:
    """Items of random hashes; those at the places in `faults` cannot be read."""
    rng, count = np.random.default_rng(seed), len(names)
    columns = {
        "item": names,
        "phash": rng.integers(0, 2**64, count, np.uint64),
        "pdq": pa.array([rng.bytes(32) for _ in names], pa.binary(32)),
        "pdq_quality": rng.integers(0, 101, count).astype(np.uint8),
        "fault": [(faults or {}).get(row) for row in range(count)],
    }
    return pa.table(columns, ITEMS.append(pa.field("fault", pa.string())))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1, max_size=40), st.data())
def test_items_come_back_as_they_were_however_they_are_cut(tmp_path_factory, names: list[str], data: st.DataObject) -> None:
    path, cut = tmp_path_factory.mktemp("sets") / "a.evalset", data.draw(st.integers(0, len(names)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation_file, "BLOCK", data.draw(st.integers(1, 9)))
        table = items(names)
        write_evalset(path, [table.slice(0, cut), table.slice(cut)], PROVENANCE)
        whole = path.read_bytes()
        write_evalset(path, [table], PROVENANCE)
        file = open_evalset(path)
        assert path.read_bytes() == whole and file.items == len(names) and file.provenance == PROVENANCE
        assert file.names(range(len(names))) == names
    assert file.phash.tolist() == table["phash"].to_pylist()
    assert [row.tobytes() for row in file.pdq] == table["pdq"].to_pylist()
    assert file.pdq_quality.tolist() == table["pdq_quality"].to_pylist()
    assert load_file(path)["phash"].tolist() == file.phash.tolist()


def test_sixteen_million_items_of_imagenet_take_less_than_a_gigabyte(tmp_path: Path) -> None:
    synsets = [f"n{1440764 + number // 1300:08d}" for number in range(20_000)]
    names = [f"{synset}/{synset}_{number * 7919 % 99991}.JPEG" for number, synset in enumerate(synsets)]
    write_evalset(tmp_path / "a.evalset", [items(names)], PROVENANCE)
    assert (tmp_path / "a.evalset").stat().st_size / len(names) * 16e6 < 1e9


def test_items_that_cannot_be_read_are_left_out_and_named(tmp_path: Path) -> None:
    table = items(["a", "b", "c"], faults={1: "is not a picture"})
    write_evalset(tmp_path / "a.evalset", [table], PROVENANCE)
    file = open_evalset(tmp_path / "a.evalset")
    assert (file.items, file.left_out, file.faults, file.names([0, 1])) == (2, 1, {"b": "is not a picture"}, ["a", "c"])
    with pytest.raises(RequestError, match=r"no item of the set can be read \(b is not a picture\)"):
        write_evalset(tmp_path / "a.evalset", [table.slice(1, 1)], PROVENANCE)
    with pytest.raises(RequestError, match="are mixed"):
        write_evalset(tmp_path / "a.evalset", [table, table.drop_columns("pdq")], PROVENANCE)


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:5], lambda data: b"", lambda data: b"[]" + data])
def test_a_broken_file_is_named_with_its_mend(tmp_path: Path, damage) -> None:
    path = tmp_path / "a.evalset"
    write_evalset(path, [items([str(number) for number in range(BLOCK + 1)])], PROVENANCE)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RequestError, match=r"a\.evalset is no evaluation set, or a broken one.*delete it and run"):
        open_evalset(path)
