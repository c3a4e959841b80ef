"""What is written tensor by tensor is what the safetensors library reads, and what is cut off is refused."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from infra.compat.errors import RequestError
from sharding.ranges import LocalRanges, Range
from trainer_bridge.checkpoints.states.tensor_file import DTYPES, read_headers, write_tensors


def write(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    with path.open("wb") as stream:
        write_tensors(stream, tensors, {"a": "1"})


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(DTYPES)), st.integers(0, 9)), max_size=4))
def test_the_library_reads_what_is_written_and_the_other_way_round(tmp_path_factory: pytest.TempPathFactory, kinds: list) -> None:
    path = tmp_path_factory.mktemp("files") / "file"
    tensors = {f"t{i}": torch.arange(n).to(DTYPES[code]) for i, (code, n) in enumerate(kinds)}
    for save in (write, lambda path, tensors: save_file(tensors, path, {"a": "1"})):
        save(path, tensors)
        loaded = load_file(path)
        assert loaded.keys() == tensors.keys() and all(torch.equal(loaded[name], tensors[name]) for name in tensors)
        reader = LocalRanges(1)
        header = read_headers(reader, {str(path): path.stat().st_size})[str(path)]
        assert header.metadata == {"a": "1"} and header.tensors.keys() == tensors.keys()
        for name, (dtype, count, first) in header.tensors.items():
            (data,) = reader.read([Range(str(path), first, first + count * dtype.itemsize)])
            read = torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)
            assert torch.equal(read, tensors[name])


def test_a_file_cut_off_anywhere_is_refused_in_one_line(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    write(whole, {"a": torch.arange(5), "b": torch.ones(3)})
    data = whole.read_bytes()
    for end in [*range(len(data)), len(data) + 1]:
        cut.write_bytes((data + b"x")[:end])
        with pytest.raises(RequestError, match="is broken") as caught:
            read_headers(LocalRanges(1), {str(cut): end})
        assert "\n" not in str(caught.value)
