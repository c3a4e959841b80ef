"""Which files of others' tars are a sample, and what its members are called."""

import io
import re

import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from sharding.foreign import Samples, sample_id_of, samples_of
from sharding.index import read_index
from sharding.reader import ShardReader
from sharding.tar_headers import TarMember
from tests.support.tars import indexed_tars, tar_bytes


def samples(*names: str) -> Samples:
    """The samples of files of these names; the file at place n has offset n and length 1."""
    return samples_of("00000", [TarMember(name, place, 1) for place, name in enumerate(names)])


def members(*names: str) -> dict[str, dict[str, int]]:
    """Key → member → the place of its file."""
    return {
        row["key"]: {name.removesuffix("_offset"): place for name, place in row.items() if name.endswith("_offset")}
        for row in samples(*names).rows
    }


@pytest.mark.parametrize(
    "names, expected",
    [
        (["a.jpg", "a.txt", "a.json"], {"a": {"image": 0, "text": 1, "json": 2}}),
        (["a.TXT", "a.JPEG", "a.cls"], {"a": {"text": 0, "image": 1, "cls": 2}}),
        (["a.caption", "a.txt", "a.webp"], {"a": {"caption": 0, "text": 1, "image": 2}}),
        (["a.caption", "a.png"], {"a": {"text": 0, "image": 1}}),
        (["a.seg.png", "a.png", "a.jpg"], {"a": {"seg.png": 0, "image": 1, "jpg": 2}}),
        (["x/a.jpg", "y/a.jpg", "y/a.txt"], {"x/a": {"image": 0}, "y/a": {"image": 1, "text": 2}}),
        (["a.jpg", "b.jpg", "a.txt", "b.txt"], {"a": {"image": 0, "text": 2}, "b": {"image": 1, "text": 3}}),
        (["a.jpg", "a.jpg"], {"a": {"image": 1}}),
        (["v1.2/a.jpg", "README", "x/._a.jpg", ".hidden"], {"v1.2/a": {"image": 0}}),
        (["a.jpg", "a.image", "a.txt", "a.text"], {"a": {"image": 0, "image.2": 1, "text": 2, "text.2": 3}}),
    ],
)
def test_files_become_members(names: list[str], expected: dict) -> None:
    assert members(*names) == expected


@pytest.mark.parametrize(
    "names, fault",
    [
        (["a.jpg", "a.txt", "b.jpg"], r"1 sample \(b\) without text"),
        (["a.jpg", "a.json", "b.json"], r"1 sample \(b\) without image"),
        (["a.txt", "b.txt"], r"2 samples \(a, b\) without image"),
        (["a.jpg", "a.JPG"], r"1 name \(a.JPG\) several times"),
        ([f"a.{number}.jpg" for number in range(70)], r"6 endings .* left out"),
        (["00000000000000aa.jpg", "x/b.jpg", "x/b.c", "00000000000000aa.c"], ""),
    ],
)
def test_what_is_lost_or_missing_is_a_fault(names: list[str], fault: str) -> None:
    faults = [text for text in samples(*names).faults if "without image" not in text or "image" in fault]
    assert bool(faults) == bool(fault) and all(re.match(fault, text) for text in faults)


def test_scattered_and_ignored_files_are_counted() -> None:
    assert samples("a.jpg", "b.jpg", "a.txt", "b.txt", "README", "c.jpg").scattered == 2
    assert samples("a.jpg", "README", "b.jpg").ignored == 1


def test_our_keys_are_ids_and_others_get_a_stable_hash() -> None:
    assert sample_id_of("train-000000", "00000000000000ff") == sample_id_of("a/train-000001", "00000000000000ff") == 255
    assert len({sample_id_of(shard, f"{number:016d}") for shard in ("00000", "a/00001") for number in range(9)}) == 18
    # Golden: a change here gives every indexed sample another id.
    assert sample_id_of("00000", "000000012") == 15017936549961384670
    assert sample_id_of("00001", "000000012") != sample_id_of("00000", "000000012")


names = st.tuples(st.text("ab./", min_size=1, max_size=5), st.sampled_from(["jpg", "Txt", "json", "a.b", "cls"])).map(".".join)


@given(st.lists(names, max_size=12, unique=True))
def test_adjacent_files_make_the_samples_that_webdataset_reads(files: list[str]) -> None:
    files = sorted(file for file in files if not re.search("(^|/)[.]", file))
    ours = samples(*files)
    if ours.scattered or ours.ignored or any("several times" in fault for fault in ours.faults):
        return
    tar = io.BytesIO(tar_bytes([(file, b"") for file in files]))
    read = webdataset.tariterators.tar_file_iterator(tar)
    theirs = list(webdataset.tariterators.group_by_keys(dict(file, __url__="x") for file in read))
    assert [row["key"] for row in ours.rows] == [sample["__key__"] for sample in theirs]
    sizes = [len([name for name in row if name.endswith("_offset")]) for row in ours.rows]
    assert sizes == [len([name for name in sample if not name.startswith("__")]) for sample in theirs]


members_of_samples = st.dictionaries(
    st.sampled_from(["jpg", "PNG", "txt", "caption", "json", "cls", "seg.png", "image"]), st.binary(max_size=900), min_size=1
)
tars = st.dictionaries(st.text("ab/é-1", min_size=1, max_size=60).filter(lambda key: not key.endswith("/")), members_of_samples)


@given(tars.filter(bool), st.randoms())
def test_every_file_of_a_tar_is_a_member_of_its_sample_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, content: dict, chance
) -> None:
    folder = tmp_path_factory.mktemp("tars")
    files = [(f"{key}.{ending}", data) for key, sample in content.items() for ending, data in sample.items()]
    (folder / "a.tar").write_bytes(tar_bytes(chance.sample(files, len(files))))
    dataset = indexed_tars(folder)
    reader, places = ShardReader(dataset, "train"), read_index(dataset.uri, "a")
    read = {places.key(row): reader.read(0, row) for row in range(len(places))}
    assert read.keys() == content.keys()
    for key, sample in content.items():
        own = read[key]
        files_read = [own.image, own.text.encode(), own.json, *own.others.values()]
        files_read = [data for data in files_read if data]
        text = {"txt": sample["txt"]} if "txt" in sample else {"caption": sample.get("caption", b"")}
        expected = [data.decode(errors="replace").encode() if ending in text else data for ending, data in sample.items()]
        assert sorted(files_read) == sorted(data for data in expected if data)
