"""verify names what is wrong with an export, an index or a reshard, and --repair writes the faulty shards again, no others."""

import json
import uuid
from pathlib import Path

import pyarrow as pa
import pytest

from infra.compat.errors import RequestError
from pipelines import export, index, reshard, verify
from pipelines.manifest.storage import Storage
from tests.support.pictured import pictured
from tests.support.shards import numbered_dataset
from tests.support.tars import img2dataset_tar


def replaced(path: Path, old: bytes, new: bytes) -> None:
    """Replaces bytes in a file, in whose summary no checksum is left."""
    data = path.read_bytes()
    assert data.count(old) == 1 and len(old) == len(new)
    path.write_bytes(data.replace(old, new))
    summary = path.parent / "dataset.json"
    document = json.loads(summary.read_text())
    for shard in document["splits"]["train"]:
        shard["sha256"] = ""
    summary.write_text(json.dumps(document))


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.tar")}


def test_an_export_is_compared_with_its_manifest_and_repaired(tmp_path: Path, ray_session: None, capsys) -> None:
    root, out = pictured(tmp_path / "root", broken=False).root, tmp_path / "out"
    sizes = ["--set", "export.samples_per_shard=2", "--set", "export.holdout=0"]
    export.main(["--root", root, "--stage", "1", "--out", str(out), *sizes])
    assert verify.main([str(out), "--decode", "--root", root])["failed"] == {}
    tars = sorted(out.glob("*.tar"))
    whole, before = [tar.read_bytes() for tar in tars], stamps(out)
    place = next(number for number, tar in enumerate(whole) if b"\0green\0" in tar)
    replaced(tars[place], b"\0green\0", b"\0brown\0")
    counts = verify.main([str(out), "--root", root])
    (fault,) = counts["faults"]
    assert fault["shard"] == tars[place].stem and "no caption of its row" in fault["what"] and len(fault["sample"]) == 16
    assert f"{fault['shard']}  {fault['sample']}" in capsys.readouterr().out
    with pytest.raises(RequestError, match="name its manifest by --root"):
        (out / tars[place].name).write_bytes(b"")
        verify.main([str(out), "--repair"])
    repaired = verify.main([str(out), "--root", root, "--repair"])
    assert repaired["failed"] == {} and repaired["repaired"] == 1
    assert [tar.read_bytes() for tar in tars] == whole
    assert {name: stamp for name, stamp in stamps(out).items() if before[name] != stamp}.keys() == {tars[place].name}


def test_an_export_of_no_sample_is_sound(tmp_path: Path, ray_session: None) -> None:
    root, out = pictured(tmp_path / "root").root, str(tmp_path / "out")
    assert export.main(["--root", root, "--stage", "1", "--out", out, "--where", "false"])["shards"] == 0
    assert verify.main([out, "--decode", "--root", root])["failed"] == {}


@pytest.mark.slow
def test_the_manifest_may_lie_in_an_object_store(tmp_path: Path, object_store: str, ray_session: None) -> None:
    root, out = pictured(tmp_path / "root", broken=False), tmp_path / "out"
    export.main(["--root", root.root, "--stage", "1", "--out", str(out)])
    moved = Storage(f"{object_store}/{uuid.uuid4().hex}")
    for path in Path(root.root).rglob("*.*"):
        if path.is_file():
            moved.write(str(path.relative_to(root.root)), path.read_bytes())
    assert verify.main([str(out), "--root", moved.root])["failed"] == {}
    (shard,) = (tar for tar in out.glob("*.tar") if b"a red square" in tar.read_bytes())
    replaced(shard, b"a red square", b"a red circle")
    (fault,) = verify.main([str(out), "--root", moved.root])["faults"]
    assert "no caption of its row" in fault["what"] and not moved.glob("verify/*/*")


def test_a_picture_of_another_row_and_a_lost_sample_are_named(tmp_path: Path, ray_session: None) -> None:
    root, out = pictured(tmp_path / "root", broken=False), tmp_path / "out"
    export.main(["--root", root.root, "--stage", "1", "--out", str(out), "--set", "export.samples_per_shard=9"])
    family = root.glob("manifest/fetch/*/*.parquet")[0]
    table = root.read_parquet(family)
    checksums = table["stored_checksum"].to_pylist()
    checksums[2], checksums[3] = checksums[3], checksums[2]
    column = table.column_names.index("stored_checksum")
    root.write_parquet(family, table.set_column(column, table.schema.field(column), pa.array(checksums, pa.uint64())))
    counts = verify.main([str(out), "--root", root.root])
    assert [fault["what"] for fault in counts["faults"]] == ["its picture is not the one that was fetched for its row"] * 2
    with pytest.raises(RequestError, match="has no export to"):
        verify.main([numbered_dataset(tmp_path / "other", [1]).uri, "--root", root.root])


def test_an_index_and_a_reshard_are_repaired(tmp_path: Path, ray_session: None) -> None:
    for number in range(3):
        img2dataset_tar(tmp_path / f"in/{number}.tar", 10 * number, 4)
    index.main([str(tmp_path / "in"), "--checksums"])
    reshard.main([str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--samples-per-shard", "5"])
    whole = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.suffix in (".tar", ".parquet")}
    (tmp_path / "in/1.index.parquet").write_bytes(b"broken")
    (tmp_path / "out/train-000001.tar").write_bytes(b"broken")
    for folder in ("in", "out"):
        assert len(verify.main([str(tmp_path / folder)])["failed"]) == 1
        counts = verify.main([str(tmp_path / folder), "--repair", "--decode"])
        assert counts["failed"] == {} and counts["repaired"] == 1, counts
    assert {path: path.read_bytes() for path in whole} == whole
    (tmp_path / "in/0.tar").unlink()
    (tmp_path / "in/1.index.parquet").write_bytes(b"broken")
    counts = verify.main([str(tmp_path / "in"), "--repair"])  # one tar that is gone keeps no other from being repaired
    assert counts["failed"] == {"0": "its tar is missing"} and counts["repaired"] == 1 and counts["samples"] == 12
    (tmp_path / "in/0.tar").write_bytes(whole[tmp_path / "in/0.tar"])
    data = whole[tmp_path / "in/2.tar"]
    (tmp_path / "in/2.tar").write_bytes(data[:4000])
    counts = verify.main([str(tmp_path / "in"), "--repair"])
    assert "ends early" in counts["failed"]["2"] and counts["samples"] < 12


def test_what_no_job_wrote_cannot_be_repaired(tmp_path: Path, ray_session: None) -> None:
    numbered_dataset(tmp_path, [1, 2])
    (tmp_path / "train-000001.tar").unlink()
    with pytest.raises(RequestError, match="does not say what wrote it"):
        verify.main([str(tmp_path), "--repair"])
    assert verify.main([str(tmp_path)])["failed"] == {"train-000001": "its tar is missing"}
