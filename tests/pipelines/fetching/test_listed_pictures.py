"""Pictures without text, of folders and tars, are used where they lie, captioned, and exported with what was written."""

import io
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from infra.compat.errors import RequestError
from pipelines import export, fetch, ingest, stage1
from pipelines.fetching.listed_pictures import list_pictures
from pipelines.manifest import connect
from pipelines.manifest.storage import Storage
from sharding.index import read_dataset
from sharding.reader import ShardReader
from tests.pipelines.test_caption import model, run  # noqa: F401


def field(colour: str, size: tuple[int, int] = (256, 200)) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "PNG")
    return data.getvalue()


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder of pictures below folders, one of them cut short, beside a tar as SAM's: two pictures of one name, and masks."""
    folder = tmp_path / "corpus"
    tar_of(folder / "sa_000000.tar", {"a/1.png": field("red"), "a/1.json": b"{}", "b/1.png": field("lime"), "notes.txt": b"x"})
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "2.PNG").write_bytes(field("blue"))
    (folder / "deep" / "3.png").write_bytes(field("white")[:-200])
    (folder / "deep" / "4.png").write_bytes(field("white", (30, 30)))
    (folder / "deep" / "readme.txt").write_text("no picture")
    return folder


def test_pictures_without_text_become_captioned_samples(
    corpus: Path,
    model: Path,  # noqa: F811
    tmp_path: Path,
    ray_session: None,
) -> None:
    root = ["--root", str(tmp_path / "root")]
    assert ingest.main([*root, "pictures", str(corpus)])["samples"] == 5
    stage1.main(root)
    counts = fetch.main(root)
    assert counts["ok"] == 4 and sum(counts["reasons"].values()) == 1
    assert not [path for path in (tmp_path / "root").rglob("*.tar")] and fetch.main(root)["ran"] == 0
    stage1.main(root)
    dropped = connect(root[1]).sql("select distinct unnest(stage1_reasons) from manifest order by 1").fetchall()
    assert dropped == [("download",), ("resolution.shorter_side",)], "none for the length of a text that is not there"
    assert run(Storage(root[1]), model)["captioned"] == 3
    written = connect(root[1]).sql("select sample_id, synthetic_caption from captions").fetchall()
    assert export.main([*root, "--stage", "semantic", "--out", str(tmp_path / "semantic")])["exported"] == 3
    reader = ShardReader(read_dataset(str(tmp_path / "semantic")), "train")
    read = [reader.read(0, row) for row in range(reader.sizes()[0])]
    assert {(sample.sample_id, sample.text) for sample in read} == set(written)
    assert {sample.image for sample in read} == {field(colour) for colour in ("red", "lime", "blue")}
    mixture = ["--set", "export.captions=mixture", "--set", "export.synthetic_share=0"]
    assert export.main([*root, "--stage", "1", "--out", str(tmp_path / "mixture"), *mixture])["exported"] == 3
    assert export.main([*root, "--stage", "concept", "--out", str(tmp_path / "concept")])["exported"] == 0


def test_a_tar_that_is_written_again_is_read_again(corpus: Path, tmp_path: Path, ray_session: None) -> None:
    root = ["--root", str(tmp_path / "root")]
    tar = corpus / "sa_000000.tar"

    def checksums() -> list[tuple]:
        ingest.main([*root, "pictures", str(tar)])
        stage1.main(root)
        fetch.main(root)
        return connect(root[1]).sql("select stored_checksum from manifest order by sample_id").fetchall()

    first = checksums()
    assert checksums() == first
    tar_of(tar, {"a/1.png": field("blue"), "b/1.png": field("lime")})
    second = checksums()
    assert second[0] != first[0] and second[1] == first[1]
    assert ingest.main([*root, "pictures", "--remove", str(tar)])["removed_parts"] == 1


def test_a_listing_that_is_as_before_is_not_written(corpus: Path, tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "root"))
    (tar, others) = list_pictures(storage, [str(corpus)])
    before = [(Path(uri).stat().st_mtime_ns, Path(uri).read_bytes()) for uri in (tar, others)]
    assert list_pictures(storage, [f"{corpus}/../corpus/"]) == [tar, others]
    assert [(Path(uri).stat().st_mtime_ns, Path(uri).read_bytes()) for uri in (tar, others)] == before


def test_what_holds_no_picture_is_a_wrong_request(corpus: Path, tmp_path: Path) -> None:
    storage = Storage(str(tmp_path / "root"))
    empty, broken = tar_of(tmp_path / "empty.tar", {"x.txt": b"x"}), tmp_path / "broken.tar"
    broken.write_bytes(b"x" * 5000)
    for name, fault in (
        (empty, "holds no picture"),
        (broken, "is a broken tar"),
        (corpus / "deep" / "readme.txt", "neither a .tar nor a picture"),
        (tmp_path / "nowhere", "no such file"),
    ):
        with pytest.raises(RequestError, match=fault):
            list_pictures(storage, [str(name)])


def test_a_picture_that_is_gone_is_counted(corpus: Path, tmp_path: Path, ray_session: None) -> None:
    root = ["--root", str(tmp_path / "root")]
    ingest.main([*root, "pictures", f"{corpus}/deep"])
    stage1.main(root)
    (corpus / "deep" / "er" / "2.PNG").unlink()
    counts = fetch.main(root)
    assert counts["ok"] == 1 and counts["reasons"] == {"truncated": 2}
