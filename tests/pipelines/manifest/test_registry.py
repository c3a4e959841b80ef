"""Files keep their ordinals for good, whoever registers them and when; what is no longer registered leaves nothing behind."""

import multiprocessing
import re
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pytest

from infra.compat.errors import RequestError
from pipelines.manifest.parts import Part, SourceFile, all_parts, file_of, read_files, register_files, remove_files
from pipelines.manifest.receipts import Receipt, digest_of, read_receipts, write_receipt
from pipelines.manifest.registry import identity_of
from pipelines.manifest.removal import remove_outdated_results, remove_unregistered
from pipelines.manifest.storage import Storage, json_bytes
from pipelines.manifest.tables import conform
from pipelines.sources.tags import register_tags

FAMILIES = ("samples", "rejects", "stage1", "tag_keys")


def file(name: str, rows: int = 10, size: int = 1) -> SourceFile:
    return SourceFile(f"file:///meta/{name}", 0, rows, size, "stamp")


def register_several(root: str, worker: int, barrier: object) -> None:
    barrier.wait()
    for number in range(5):
        register_files(Storage(root), "coyo", [file(f"own-{worker}-{number}"), file(f"shared-{number}")])


def test_jobs_that_register_at_once_lose_no_file_and_give_no_ordinal_twice(root: str) -> None:
    context, workers = multiprocessing.get_context("fork" if not root.startswith("s3") else "spawn"), 4
    barrier = context.Barrier(workers)
    processes = [context.Process(target=register_several, args=(root, worker, barrier)) for worker in range(workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
        assert process.exitcode == 0
    files = read_files(Storage(root), "coyo")
    assert [one.ordinal for one in files] == list(range(workers * 5 + 5))
    assert len({one.uri for one in files}) == len(files)


def test_a_path_is_created_once(root: str) -> None:
    storage = Storage(root)
    assert storage.create("a/b.json", b"one") and storage.create("a/b.json", b"one")
    assert not storage.create("a/b.json", b"two") and storage.read("a/b.json") == b"one"


def test_a_registry_of_an_earlier_version_keeps_its_ordinals(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    old = [SourceFile(f"file:///meta/{name}", ordinal, 700, 1, "x") for ordinal, name in enumerate("ab")]
    storage.write_json("sources/coyo.json", {"source": "coyo", "part_rows": 300, "files": [asdict(one) for one in old]})
    tables = [SourceFile(f"file:///meta/{name}", 0, 700, 1, "x") for name in "zy"]
    storage.write_json("tags/coyo.json", {"source": "coyo", "files": [asdict(one) for one in tables]})
    storage.write("sources/coyo/000000.json", json_bytes({**asdict(old[0]), "part_rows": 300}))  # another job is at it
    assert len(all_parts(storage)) == 6 and read_files(storage, "coyo") == old
    assert [one.ordinal for one in register_files(storage, "coyo", [file("c"), file("a")], 300)] == [0, 1, 2]
    assert register_tags(storage, "coyo", [file("x")]) == [*tables, file("x")]
    assert not storage.exists("sources/coyo.json") and not storage.exists("tags/coyo.json")


def test_all_spellings_of_a_file_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    spellings = ["data/a.csv", "./data//a.csv", "data/../data/a.csv", "link/a.csv", f"file://{tmp_path}/data/a.csv"]
    assert {identity_of(spelling) for spelling in spellings} == {str(tmp_path / "data" / "a.csv")}
    assert identity_of("memory://b//k///x") == identity_of("memory://b/k/x")
    storage = Storage(str(tmp_path / "root"))
    for spelling in spellings:
        assert len(register_files(storage, "coyo", [SourceFile(spelling, 0, 1, 1, "x")])) == 1


def test_a_copy_of_a_known_file_is_named_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = Storage(str(tmp_path))
    heads = {file("old").uri: "h", file("new").uri: "h", file("other").uri: "different"}
    for name in ("old", "other", "old"):
        register_files(storage, "coyo", [file(name)], heads=heads)
    assert not capsys.readouterr().err
    register_files(storage, "coyo", [file("new")], heads=heads)
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "/meta/new" in message and "coyo --remove file:///meta/old" in message


def test_files_are_removed_by_pattern_and_folder_and_a_moved_folder_is_one_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = Storage(str(tmp_path))
    register_files(storage, "coyo", [file(f"old/{number}.parquet", size=number) for number in range(9)])
    register_files(storage, "coyo", [file(f"new/{number}.parquet", size=number) for number in range(9)])
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "and 8 more alike" in message
    remove_files(storage, "coyo", ["/meta/old/[0-3].parquet"])
    assert [one.ordinal for one in read_files(storage, "coyo")] == list(range(4, 18))
    remove_files(storage, "coyo", ["/meta/./old/"])
    assert [one.ordinal for one in read_files(storage, "coyo")] == list(range(9, 18))
    again = [file(f"old/{number}.parquet", size=number) for number in range(2)]
    assert [one.ordinal for one in register_files(storage, "coyo", again)] == [*range(9, 20)]


def make_parts(storage: Storage) -> None:
    """Families, receipts and pictures of every registered part."""
    for part in all_parts(storage):
        for family in FAMILIES:
            storage.write(part.path(family), b"data")
            write_receipt(storage, part, Receipt(family, part.source, part.name, "", "", part.rows, part.rows))
        tars = [f"images/coyo/{part.name}/0.tar", None, "s3://elsewhere/0.tar"]
        storage.write_parquet(part.path("fetch"), conform(pa.table({"sample_id": [1, 2, 3], "tar": tars}), "fetch"))
        storage.write(f"images/coyo/{part.name}/0.tar", b"tar")


def part_files(root: str) -> set[str]:
    storage = Storage(root)
    patterns = ("manifest/*/*/*", "partial/*/*/*", "receipts/*/*/*", "images/*/*/*")
    return {path for pattern in patterns for path in storage.glob(pattern)}


def test_a_shorter_file_leaves_nothing_of_the_parts_it_no_longer_has(root: str) -> None:
    storage = Storage(root)
    register_files(storage, "coyo", [file("a", rows=10), file("b", rows=3)], part_rows=3)
    make_parts(storage)
    assert not +remove_unregistered(storage, "coyo")
    register_files(storage, "coyo", [file("a", rows=4)], part_rows=3)
    assert remove_unregistered(storage, "coyo") == {"removed_parts": 2, "removed_pictures": 2}
    names = {re.search(r"\d{6}-\d{10}", path)[0] for path in part_files(root)}
    assert names == {part.name for part in all_parts(storage)} and len(names) == 3
    assert not +remove_unregistered(storage, "coyo")


def test_a_removed_file_is_gone_and_its_ordinal_is_never_given_again(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    register_files(storage, "coyo", [file("a"), file("b"), file("c")])
    make_parts(storage)
    with pytest.raises(RequestError, match=r"--remove file:///meta/bb: no file of coyo; did you mean 'file:///meta/b'"):
        remove_files(storage, "coyo", [file("c").uri, "file:///meta/bb"])
    for _ in range(2):
        remove_files(storage, "coyo", ["/meta/c"])
        remove_unregistered(storage, "coyo")
    assert [one.uri for one in read_files(storage, "coyo")] == [file("a").uri, file("b").uri]
    assert not [path for path in part_files(str(tmp_path)) if "000002-" in path]
    assert [one.ordinal for one in register_files(storage, "coyo", [file("c")])] == [0, 1, 3]


class Killed(Exception):
    pass


@pytest.mark.parametrize("kill_at", range(1, 9))
def test_a_removal_killed_anywhere_is_finished_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_at: int) -> None:
    storage = Storage(str(tmp_path))
    register_files(storage, "coyo", [file("a"), file("b")])
    make_parts(storage)
    kept = {path for path in part_files(str(tmp_path)) if "000000-" in path}
    calls, delete = [], type(storage.fs).rm_file

    def rm_file(self: object, path: str) -> None:
        calls.append(path)
        if len(calls) == kill_at:
            raise Killed
        delete(self, path)

    with monkeypatch.context() as patched:
        patched.setattr(type(storage.fs), "rm_file", rm_file)
        with pytest.raises(Killed):
            remove_files(storage, "coyo", [file("b").uri])
            remove_unregistered(storage, "coyo")
    remove_files(storage, "coyo", [file("b").uri])
    remove_unregistered(storage, "coyo")
    assert part_files(str(tmp_path)) == kept


def samples_of(urls: list[str | None]) -> pa.Table:
    table = {"sample_id": list(range(len(urls))), "url": urls, "caption": ["a"] * len(urls)}
    return conform(pa.table(table), "samples")


def test_results_of_rows_that_became_other_pairs_are_removed(root: str) -> None:
    storage, part = Storage(root), Part("coyo", 0, 0, 4)
    register_files(storage, "coyo", [file("a", rows=4)])
    storage.write_parquet(part.path("samples"), samples_of(["u0", "u1", None, "u3"]))
    for family, column in (("fetch", "tar"), ("scores", "unsafe"), ("captions", "model")):
        results = pa.table({"sample_id": [0, 1, 3], column: pa.nulls(3)})
        storage.write_parquet(part.path(family), conform(results, family))
        write_receipt(storage, part, Receipt(family, "coyo", part.name, "f", "d", 4, 3, settings={"size": 1}, seconds=9.0))
    storage.write(f"partial/fetch/coyo/{part.name}/0.parquet", b"of other URLs")

    def ids(family: str) -> list[int]:
        return storage.read_parquet(part.path(family))["sample_id"].to_pylist()

    remove_outdated_results(storage, part, samples_of(["u0", "u1", None, "u3"]))
    assert ids("fetch") == [0, 1, 3] and storage.glob("partial/fetch/coyo/*/*")
    samples = samples_of(["u0", "u1", None, "u3"])
    recaptioned = samples.set_column(samples.column_names.index("caption"), "caption", pa.array(["a", "b", "a", "a"]))
    remove_outdated_results(storage, part, recaptioned)
    assert ids("fetch") == ids("captions") == [0, 1, 3] and ids("scores") == [0, 3]
    remove_outdated_results(storage, part, samples_of(["u1", "u1", None]))
    assert ids("fetch") == ids("captions") == [1] and not storage.glob("partial/fetch/coyo/*/*")
    for family in ("fetch", "scores", "captions"):
        receipt = read_receipts(storage, family, [part])[part]
        assert receipt.settings == {"size": 1} and receipt.rows_out == len(ids(family))
        assert receipt.digest == digest_of(storage.read(part.path(family)))


def test_a_part_knows_its_file_after_others_were_removed(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    register_files(storage, "coyo", [file(name) for name in "abc"])
    remove_files(storage, "coyo", [file("a").uri])
    assert [file_of(storage, part).uri for part in all_parts(storage)] == [file("b").uri, file("c").uri]


def test_an_empty_name_removes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    storage = Storage(str(tmp_path / "root"))
    register_files(storage, "coyo", [SourceFile(str(tmp_path / "a"), 0, 1, 1, "x")])
    with pytest.raises(RequestError, match="empty name"):
        remove_files(storage, "coyo", [""])
    assert read_files(storage, "coyo")
