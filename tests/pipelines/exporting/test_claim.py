"""An export overwrites and removes nothing that it did not write."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.compat.errors import RequestError
from pipelines.exporting.claim import claim, forget
from pipelines.manifest.storage import Storage
from sharding.layout import index_file, receipt_file, shard_name, tar_file

FOREIGN = ["train-000007.tar", "train-000000.index.parquet", "dataset.json", "val-000000.tar"]


def write_shards(out: Storage, counts: dict[str, int]) -> None:
    for split, count in counts.items():
        for number in range(count):
            for file in (tar_file, index_file, receipt_file):
                out.write(file(shard_name(split, number)), b"ours")
    out.write("dataset.json", b"{}")


def files(out: Storage) -> dict[str, bytes]:
    folder = Path(out.root)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_folder_with_shards_of_others_is_refused_and_left_alone(tmp_path: Path, name: str) -> None:
    root, out = Storage(str(tmp_path / "root")), Storage(str(tmp_path / "out"))
    out.write(name, b"precious")
    out.write("notes.tar", b"not called like a shard")
    with pytest.raises(RequestError, match=rf"holds {name}, which export 'stage1' did not write.*--force"):
        claim(root, "stage1", out, force=False)
    assert files(out) == {name: b"precious", "notes.tar": b"not called like a shard"}


@settings(deadline=None, max_examples=30)
@given(
    st.dictionaries(st.sampled_from(["train", "heldout"]), st.integers(1, 4), min_size=1),
    st.dictionaries(st.sampled_from(["train", "heldout"]), st.integers(1, 4), min_size=1),
    st.integers(0, 9),
    st.booleans(),
)
def test_only_own_shards_are_removed(
    tmp_path_factory: pytest.TempPathFactory, before: dict[str, int], after: dict[str, int], place: int, killed: bool
) -> None:
    folder = tmp_path_factory.mktemp("claim")
    root, out = Storage(str(folder / "root")), Storage(str(folder / "out"))
    first = claim(root, "stage1", out, force=False).extend(before)
    write_shards(out, before)
    if not killed:
        first.remove_beyond(before)
    foreign = f"train-{place:06d}.tar"
    is_own = place < before.get("train", 0)
    if not is_own:
        out.write(foreign, b"precious")
        with pytest.raises(RequestError, match=foreign):
            claim(root, "stage1", out, force=False)
        assert files(out)[foreign] == b"precious"
        out.remove([foreign])
    second = claim(root, "stage1", out, force=False).extend(after)
    write_shards(out, after)
    second.remove_beyond(after)
    names = {shard_name(split, number) for split, count in after.items() for number in range(count)}
    expected = {file(name) for name in names for file in (tar_file, index_file, receipt_file)}
    assert files(out).keys() == expected | {"dataset.json", "receipts/export.json"}


def test_another_exports_folder_is_refused_by_name_and_replaced_by_force(tmp_path: Path) -> None:
    root, other, out = (Storage(str(tmp_path / name)) for name in ("root", "other", "out"))
    claim(root, "stage1", out, force=False).extend({"train": 2})
    write_shards(out, {"train": 2})
    root.write("manifest/shards_stage1/source=coyo/000000-0000000000.parquet", b"")
    root.write_json("exports/latest.json", {"family": "shards_stage1"})
    for storage, name in ((root, "stage2"), (other, "stage1")):
        with pytest.raises(RequestError, match=f"holds export 'stage1' of {root.root}, not '{name}' of {storage.root}"):
            claim(storage, name, out, force=False)
    claim(root, "stage2", out, force=True)
    # What the manifest said of the shards that are about to go is gone.
    assert not root.glob("manifest/shards_stage1/*/*") and not root.exists("exports/latest.json")
    with pytest.raises(RequestError, match="holds export 'stage2'"):
        claim(root, "stage1", out, force=False)
    assert claim(root, "stage2", out, force=False).shards == {"train": 2}


def test_a_moved_folder_and_a_moved_root_stay_ours(tmp_path: Path) -> None:
    root, out = Storage(str(tmp_path / "root")), Storage(str(tmp_path / "out"))
    claim(root, "stage1", out, force=False).extend({"train": 1})
    write_shards(out, {"train": 1})
    for name in ("root", "out"):
        (tmp_path / name).rename(tmp_path / f"moved-{name}")
    moved_root, moved_out = Storage(str(tmp_path / "moved-root")), Storage(str(tmp_path / "moved-out"))
    assert claim(moved_root, "stage1", moved_out, force=False).shards == {"train": 1}


def test_shards_of_an_earlier_version_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, out = Storage(str(tmp_path / "root")), Storage(str(tmp_path / "out"))
    write_shards(out, {"train": 3, "heldout": 1})
    monkeypatch.chdir(tmp_path)  # earlier versions noted relative paths as they were given
    root.write_json("exports/latest.json", {"family": "shards_stage1", "uri": "out", "shards": 4})
    assert claim(root, "stage1", out, force=False).shards == {"train": 3, "heldout": 1}


def test_an_export_is_forgotten_with_its_receipts_and_no_other(tmp_path: Path) -> None:
    root = Storage(str(tmp_path))
    for family in ("shards_stage1", "shards_stage2"):
        root.write(f"manifest/{family}/source=coyo/a.parquet", b"")
        root.write(f"receipts/{family}/source=coyo/a.json", b"")
    root.write_json("exports/latest.json", {"family": "shards_stage2"})
    forget(root, "stage1")
    assert root.glob("*/shards_*/*/*") == [
        "manifest/shards_stage2/source=coyo/a.parquet",
        "receipts/shards_stage2/source=coyo/a.json",
    ]
    assert root.exists("exports/latest.json")


def test_a_copied_root_is_another_while_the_first_is_there(tmp_path: Path) -> None:
    root, out = Storage(str(tmp_path / "root")), Storage(str(tmp_path / "out"))
    claim(root, "stage1", out, force=False).extend({"train": 1})
    write_shards(out, {"train": 1})
    shutil.copytree(tmp_path / "root", tmp_path / "copy")
    (tmp_path / "link").symlink_to(tmp_path / "root")
    copy, link = Storage(str(tmp_path / "copy")), Storage(str(tmp_path / "link"))
    with pytest.raises(RequestError, match=f"holds export 'stage1' of {root.root}, not 'stage1' of {copy.root}"):
        claim(copy, "stage1", out, force=False)
    assert claim(link, "stage1", out, force=False).shards == {"train": 1}
    claim(copy, "stage1", out, force=True)
    with pytest.raises(RequestError, match=f"holds export 'stage1' of {copy.root}"):
        claim(root, "stage1", out, force=False)
    shutil.rmtree(tmp_path / "copy")
    assert claim(root, "stage2", Storage(str(tmp_path / "other")), force=False).shards == {}


@pytest.mark.parametrize("note", ["[]", "3", "null", "{}", '{"token": "t", "name": "stage1", "root": "/r", "shards": 1}'])
def test_a_note_that_is_none_is_refused(tmp_path: Path, note: str) -> None:
    out = Storage(str(tmp_path / "out"))
    out.write("receipts/export.json", note.encode())
    with pytest.raises(RequestError, match=r"out/receipts/export\.json is no note of an export; give another folder"):
        claim(Storage(str(tmp_path / "root")), "stage1", out, force=False)


def test_the_name_of_the_folder_is_no_pattern(tmp_path: Path) -> None:
    out = Storage(str(tmp_path / "out[1]"))
    out.write("train-000000.tar", b"precious")
    with pytest.raises(RequestError, match=r"train-000000\.tar"):
        claim(Storage(str(tmp_path / "root")), "stage1", out, force=False)


def test_an_export_may_go_back_to_a_folder_it_wrote_before(tmp_path: Path) -> None:
    root, one, two = (Storage(str(tmp_path / name)) for name in ("root", "one", "two"))
    for out in (one, two, one):
        claim(root, "stage1", out, force=False).extend({"train": 1})
        write_shards(out, {"train": 1})
    claim(root, "stage2", two, force=True)
    with pytest.raises(RequestError, match="holds export 'stage2'"):
        claim(root, "stage1", two, force=False)
