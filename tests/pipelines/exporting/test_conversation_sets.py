"""Published conversations exported with their pictures are trained on as they are from their files."""

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from PIL import Image

from infra.compat.errors import RequestError
from pipelines import export
from pipelines.exporting.products import PRODUCTS
from sharding import faults, read_dataset
from sharding.conversation_sets import read_sets
from sharding.named_pictures import named_pictures, without_names
from tests.support.pictured import pictured
from trainer_bridge.data.instructions.dialogue import read_dialogue
from trainer_bridge.data.instructions.entries import open_entries
from trainer_bridge.data.instructions.pictures import Pictures
from trainer_bridge.data.instructions.source import parsed, read_entry


def picture(path: Path, seed: int, kind: str) -> bytes:
    data = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)).save(data, kind)
    path.write_bytes(data.getvalue())
    return data.getvalue()


def turns(question: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": "Two."}]


@pytest.fixture
def mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two sets: pictures of two types, several of them, text alone, parts as chat templates take them; and two broken entries."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "mix" / "pictures").mkdir(parents=True)
    folder = tmp_path / "mix"
    for number, kind in enumerate(("JPEG", "PNG", "JPEG")):
        picture(folder / "pictures" / f"{number}.{kind.lower()}", number, kind)
    inline = [{"type": "text", "text": "Before "}, {"type": "image", "path": "1.png"}, {"type": "text", "text": "after"}]
    both = [*inline, {"type": "image"}, {"type": "text", "text": "or <image>?"}]
    asked: list[Any] = [
        {"id": "a", "image": "0.jpeg", "conversations": turns("<image>\nHow many?"), "width": 12, "height": 9},
        {"conversations": turns("Say something.")},
        {"image": ["1.png", "2.jpeg", "0.jpeg"], "conversations": turns("<image> <image> or <image>?")},
        {"messages": [{"role": "user", "content": inline}, {"role": "assistant", "content": "Yes."}]},
        {
            "images": ["0.jpeg", "2.jpeg"],
            "messages": [{"role": "user", "content": both}, {"role": "assistant", "content": ""}],
        },
        {"image": ["0.jpeg", "1.png"], "conversations": [*turns("<image>?"), {"from": "human", "value": "<image> And this?"}]},
    ]
    (folder / "asked.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in asked))
    (folder / "told.json").write_text(json.dumps([asked[0] | {"id": number} for number in range(10)]))
    sets = {
        "asked": {"root": "pictures", "annotation": "asked.jsonl", "repeat_time": 2, "max_dynamic_patch": 3},
        "told": {"root": "pictures", "annotation": "told.json", "repeat_time": 0.5, "data_augment": True},
    }
    (folder / "meta.json").write_text(json.dumps(sets))
    return folder


def exported(mix: Path, *more: str) -> tuple[dict[str, Any], Path]:
    out = mix.parent / "shards"
    arguments = ["--root", str(mix.parent / "root"), "--stage", "instruction", "--conversations", str(mix / "meta.json")]
    return export.main([*arguments, "--out", str(out), *more]), out


def dialogues(meta: Path) -> dict[str, list[Any]]:
    """What a training reads of each set: messages, and pictures as they are encoded."""
    read = {}
    for each in read_sets(str(meta)):
        entries = open_entries(each)
        rows = entries.read_many(range(int(len(entries) * min(1.0, each.share))))
        both = (read_entry(each, entry, Pictures()) for entry in rows if not isinstance(entry, Exception))
        read[each.name] = [(dialogue.messages, pictures) for dialogue, pictures in both]
    return read


def test_a_training_reads_of_shards_what_it_reads_of_files(mix: Path, ray_session: None) -> None:
    counts, out = exported(mix, "--set", "export.samples_per_shard=2")
    assert counts["failed"] == {} and (counts["sets"], counts["conversations"], counts["pictures"]) == (2, 11, 15)
    assert list(faults(str(out))) == [] and {split: len(shards) for split, shards in read_dataset(str(out)).splits.items()} == {
        "asked": 3,
        "told": 3,
    }
    assert dialogues(out / "meta.json") == dialogues(mix / "meta.json")
    first, second = read_sets(str(out / "meta.json"))
    assert (first.share, first.most, first.augment, second.share, second.augment) == (2, 3, False, 1, True)
    assert [each.length for each in (first, second)] == [6, 5]
    entry = open_entries(first).read_many([2])[0]
    assert not isinstance(entry, Exception)
    told = parsed(entry.data)
    assert (told["set"], told["entry"], "image" in told) == ("asked", 3, False)
    card = (out / "data-card.md").read_text()
    assert "| asked | 6 | 6 | 10 | 2 |" in card and "An epoch has 17 conversations" in card and "7 M" in card


def test_a_second_run_writes_what_changed_alone(mix: Path, ray_session: None) -> None:
    _, out = exported(mix)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in out.rglob("*.tar")}
    (mix / "told.json").write_text(json.dumps([{"conversations": turns(f"And {number}?")} for number in range(4)]))
    counts, _ = exported(mix)
    changed = {path.name for path in before if (path.stat().st_mtime_ns, path.read_bytes()) != before[path]}
    assert counts["conversations"] == 8 and changed == {"told-000000.tar"}
    (mix / "told.json").unlink()
    (mix / "meta.json").write_text(json.dumps({"asked": {"root": "pictures", "annotation": "asked.jsonl"}}))
    exported(mix)
    assert [path.name for path in out.glob("*.tar")] == ["asked-000000.tar"], "a set that is gone leaves no shard"


def test_entries_without_their_pictures_are_counted_and_named(mix: Path, ray_session: None) -> None:
    (mix / "pictures" / "2.jpeg").unlink()
    (mix / "pictures" / "1.png").write_bytes(b"<html>")
    with (mix / "asked.jsonl").open("a") as file:
        file.write("[1]\n")
    counts, out = exported(mix)
    assert counts["conversations"] == 7
    assert counts["failed"].keys() == {"asked"} and counts["failed"]["asked"].startswith("5 of 7 entries are left out: 1 no JSON")
    lost = json.loads((out / "receipts" / "asked-000000.json").read_text())["lost"]
    assert [row["entry"] for row in lost] == [3, 4, 5, 6, 7]
    for number, kind in ((2, "JPEG"), (1, "PNG")):  # put back, they are exported by the next run
        picture(mix / "pictures" / f"{number}.{kind.lower()}", number, kind)
    assert exported(mix)[0]["conversations"] == 11


def test_a_set_of_which_nothing_comes_is_told(mix: Path, ray_session: None) -> None:
    (mix / "none.jsonl").touch()
    sets = json.loads((mix / "meta.json").read_text())
    few = sets["asked"] | {"repeat_time": 0.01}
    (mix / "meta.json").write_text(json.dumps(sets | {"none": {"annotation": "none.jsonl"}, "few": few}))
    counts, out = exported(mix)
    assert counts["conversations"] == 11 and json.loads((out / "meta.json").read_text()).keys() == {"asked", "told"}
    assert counts["failed"].keys() == {"none", "few"} and "nothing comes of its 6 entries" in counts["failed"]["few"]


def test_another_export_takes_card_and_meta_file_away(mix: Path, ray_session: None) -> None:
    _, out = exported(mix)
    storage = pictured(mix.parent / "other", broken=False)
    for stage, left in (("concept", {"data-card.md"}), ("1", set())):
        export.main(["--root", storage.root, "--stage", stage, "--out", str(out), "--force"])
        assert {path.name for path in out.glob("*") if path.name in ("meta.json", "data-card.md")} == left
        assert {path.name for path in out.glob("*.tar")} == {"train-000000.tar"}


ONE_KIND = ["--set", "export.shares={detection = 1.0}"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--stage", "instruction"], "name their meta file, --conversations"),
        (["--stage", "1", "--conversations", "meta.json"], "is for stage instruction"),
        (["--stage", "semantic", "--conversations", "meta.json"], "is for stage instruction"),
        (["--stage", "alignment", "--conversations", "empty.jsonl"], "set 'empty' of empty.jsonl does not say its kind"),
        (["--stage", "alignment", "--conversations", "kinds.json"], "'dection', which has no share.*did you mean 'detection'"),
        (
            ["--stage", "alignment", "--conversations", "one.json"],
            "no set of one.json is of kind 'captioning', whose share is 0.539",
        ),
        (["--stage", "alignment", "--conversations", "one.json", *ONE_KIND], "has no conversation to be put into shards"),
        (
            ["--stage", "alignment", "--conversations", "one.json", "--set", "export.shares={detection = 0.9}"],
            "sum to 0.9, not to 1",
        ),
        (["--stage", "alignment", "--conversations", "stored.json", *ONE_KIND], "set 'a': .*somewhere.*export its shards first"),
        (["--stage", "instruction", "--conversations", "absent.json"], "cannot be read"),
        (["--stage", "instruction", "--conversations", "empty.jsonl"], "has no conversation"),
        (["--stage", "instruction", "--conversations", "named.json"], "shards are called after it"),
        (["--stage", "instruction", "--conversations", "shards.json"], "lies in shards already"),
        (["--stage", "instruction", "--conversations", "empty.jsonl", "--where", "width > 1"], "export.where is a condition"),
    ],
)
def test_a_request_that_cannot_be_is_told(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "named.json").write_text(json.dumps({"a/b": {"root": "", "annotation": "empty.jsonl"}}))
    (tmp_path / "shards.json").write_text(json.dumps({"a": {"shards": "somewhere"}}))
    (tmp_path / "stored.json").write_text(json.dumps({"a": {"shards": "somewhere", "kind": "detection"}}))
    for name, kind in (("kinds", "dection"), ("one", "detection")):
        (tmp_path / f"{name}.json").write_text(json.dumps({"a": {"annotation": "empty.jsonl", "kind": kind}}))
    with pytest.raises(RequestError, match=told):
        export.main(["--root", "root", "--out", "out", *arguments])


@pytest.fixture
def kinds(mix: Path) -> Path:
    """A meta file for alignment: captions in shards already, of the others little, and of one more than its share."""
    captions = exported(mix, "--name", "captions")[1]
    counts = {"boxes": 20, "signs": 300, "charts": 70}
    for name, count in counts.items():
        lines = (json.dumps({"image": "0.jpeg", "conversations": turns(f"<image>{number}")}) + "\n" for number in range(count))
        (mix / f"{name}.jsonl").write_text("".join(lines))
    sets = {
        "captions": {"shards": str(captions), "split": "asked", "repeat_time": 90, "kind": "captioning"},
        "boxes": {"root": "pictures", "annotation": "boxes.jsonl", "repeat_time": 2, "kind": "detection"},
        "signs": {"root": "pictures", "annotation": "signs.jsonl", "kind": "ocr_large"},
        "charts": {"root": "pictures", "annotation": "charts.jsonl", "kind": "ocr_small"},
    }
    (mix / "kinds.json").write_text(json.dumps(sets))
    return mix


def aligned(mix: Path, *more: str) -> tuple[dict[str, Any], Path]:
    out = mix.parent / "aligned"
    arguments = ["--root", str(mix.parent / "root"), "--stage", "alignment", "--conversations", str(mix / "kinds.json")]
    return export.main([*arguments, "--out", str(out), *more]), out


def test_kinds_come_by_their_shares(kinds: Path, ray_session: None) -> None:
    counts, out = aligned(kinds)
    assert counts["failed"] == {} and (counts["sets"], counts["conversations"]) == (4, 390), "captions are named, not copied"
    sets = {each.name: each for each in read_sets(str(out / "meta.json"))}
    drawn = {name: len(open_entries(each)) * each.share for name, each in sets.items()}
    by_kind = Counter[str]()
    for name, each in sets.items():
        by_kind[each.kind] += round(drawn[name])
    total = by_kind.total()
    shares = PRODUCTS["alignment"].shares
    assert total == pytest.approx(40 / shares["detection"], abs=3), "the kind of which there is least comes whole"
    assert {kind: by_kind[kind] / total for kind in shares} == pytest.approx(dict(shares), abs=0.005)
    assert sets["captions"].share == 69 and 0 < sets["captions in part"].share < 1, "a meta file repeats whole sets"
    assert (sets["boxes"].share, sets["signs"].share) == (2, pytest.approx(0.8205, abs=1e-4))
    card = (out / "data-card.md").read_text()
    assert "| detection | 40 | 5.2% | 5.2% |" in card and "| signs | 300 | 300 | 300 | 0.8205 |" in card and "77.1 M" in card


def test_other_shares_write_no_shard_again(kinds: Path, ray_session: None) -> None:
    _, out = aligned(kinds)
    before = {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    even = "export.shares={captioning = 0.25, detection = 0.25, ocr_large = 0.25, ocr_small = 0.25}"
    aligned(kinds, "--set", even)
    assert {path: path.stat().st_mtime_ns for path in out.glob("*.tar")} == before and len(before) == 3
    assert [each.share for each in read_sets(str(out / "meta.json")) if each.name == "signs"] == [pytest.approx(40 / 300)]


def test_a_kind_of_which_nothing_could_be_written_is_told(kinds: Path, ray_session: None) -> None:
    (kinds / "boxes.jsonl").write_text(json.dumps({"image": "gone.jpeg", "conversations": turns("<image>?")}) + "\n")
    with pytest.raises(RequestError, match="no conversation of kind 'detection', whose share is"):
        aligned(kinds)


def test_pictures_are_named_beside_the_turns_and_in_them() -> None:
    part = {"type": "image_url", "image_url": {"url": "b.png"}}
    entry = {"images": ["a.png"], "messages": [{"role": "user", "content": [part, {"type": "text", "text": "?"}]}], "id": 3}
    assert named_pictures(entry) == ["b.png", "a.png"], "a picture without a place comes last"
    told = {"messages": [{"role": "user", "content": [{"type": "image_url"}, {"type": "text", "text": "?"}]}], "id": 3}
    assert without_names(entry) == told and named_pictures(told) == []


def test_pictures_within_texts_are_named_in_their_place() -> None:
    asked = {"from": "user", "value": "1: <img>b.png</img> 2: <image> 3: <img> c.png </img>?"}
    told = {"from": "assistant", "value": "<img>no.png</img>"}
    entry = {"image": "a.png", "conversations": [asked, told]}
    assert named_pictures(entry) == ["b.png", "a.png", "c.png"]
    unnamed = without_names(entry)
    assert unnamed == {"conversations": [asked | {"value": "1: <image> 2: <image> 3: <image>?"}, told]}
    assert read_dialogue(unnamed, named_pictures(entry)).messages == read_dialogue(entry).messages
    parts = {"messages": [{"role": "user", "content": [{"type": "text", "text": asked["value"]}]}], "images": ["a.png"]}
    assert named_pictures(parts) == ["b.png", "a.png", "c.png"]
    assert without_names(parts)["messages"][0]["content"] == [{"type": "text", "text": "1: <image> 2: <image> 3: <image>?"}]


def test_a_meta_file_names_the_folder_that_it_lies_in_on_any_file_system() -> None:
    with fsspec.open("memory://instruction/meta.json", "w") as file:
        file.write('{"asked": {"shards": ".", "split": "asked"}}')
    (each,) = read_sets("memory://instruction/meta.json")
    assert each.shards.rstrip("/") == "memory://instruction" and each.split == "asked"
