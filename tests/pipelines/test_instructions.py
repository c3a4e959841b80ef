"""An instruction mix: the sets that are there become conversations and one meta file, without what evaluation sets show."""

import io
import json
import shutil
import tarfile
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from infra.compat.errors import RequestError
from infra.compat.files import file_system
from pipelines.annotations.answered import read_set
from pipelines.annotations.mix import read_mix
from pipelines.annotations.reading import Tally
from pipelines.corpus.evaluation_file import ITEMS, write_evalset
from pipelines.corpus.evaluation_hashing import picture_hashes
from pipelines.instructions import main
from sharding.ranges import retried

RECIPE = """
[refused]
nocaps = "an evaluation set"
[sets.captions]
task = "captioning"
form = "captions"
file = "captions.json"
pictures = "pictures"
licence = "CC BY 4.0"
where = "https://example.org/captions"
overlaps = ["held"]
[sets.vqa]
task = "vqa"
form = "questions"
file = "vqa.jsonl"
pictures = "pictures"
suffix = "Answer the question using a single word or phrase."
repeat = 2
tiles = 4
licence = "MIT"
where = "https://example.org/vqa"
[sets.phrases]
task = "grounding"
form = "phrases"
file = "phrases.jsonl"
licence = "MIT"
where = "https://example.org/phrases"
[sets.regions]
task = "grounded captions"
form = "regions"
file = "phrases.jsonl"
licence = "MIT"
where = "https://example.org/phrases"
[sets.dialogues]
task = "conversation"
form = "conversations"
file = "dialogues.json"
licence = "MIT"
where = "https://example.org/dialogues"
[sets.absent]
task = "ocr"
form = "questions"
file = "absent.jsonl"
licence = "MIT"
where = "https://example.org/absent"
"""


def photograph(seed: int) -> Image.Image:
    """A picture that hashes tell from others."""
    noise = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    return Image.fromarray(noise).resize((320, 240), Image.Resampling.BICUBIC)


def lines(path: Path, *entries: Any) -> None:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        photograph(number).save(tmp_path / "pictures" / f"{number}.png")
    images = [{"id": number, "file_name": f"{number}.png"} for number in range(3)]
    annotations = [{"image_id": number, "caption": f"picture {number} "} for number in (0, 0, 1, 2)]
    (tmp_path / "captions.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    lines(
        tmp_path / "vqa.jsonl",
        {"image": "0.png", "question": "what?", "answer": "a dog"},
        {"image": "0.png", "question": "how many?", "answers": [{"answer": "2"}, {"answer": "3"}, {"answer": "2"}]},
        {"image": "1.png", "question": "where?", "answers": ["there"]},
        {"image": "2.png", "question": "nothing?"},
    )
    lines(
        tmp_path / "phrases.jsonl", {"image": "p.png", "width": 200, "height": 100, "sent": "the dog", "bbox": [20, 10, 120, 60]}
    )
    dialogues = json.dumps([{"id": 7, "conversations": [{"from": "human", "value": "?"}]}])
    (tmp_path / "dialogues.json").write_text(dialogues, encoding="utf-8-sig")  # as Windows saves it
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


def written(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def test_sets_become_conversations_in_the_published_words(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = data / "mix"
    counts = main([str(data / "recipe.toml"), "--data", str(data), "--out", str(out)])
    assert (counts["sets"], counts["read"], counts["written"]) == (5, 11, 9)
    assert counts["failed"] == {"absent": f"absent.jsonl is not in {data}; to be had at https://example.org/absent; licence: MIT"}
    meta = json.loads((out / "meta.json").read_text())
    assert meta["vqa"] == {
        "root": f"{data}/pictures",
        "annotation": str(out / "vqa.jsonl"),
        "repeat_time": 2,
        "data_augment": False,
        "length": 2,
        "max_dynamic_patch": 4,
    }
    first, second = written(out, "vqa")
    suffix = "\nAnswer the question using a single word or phrase."
    assert [turn["value"] for turn in first["conversations"]] == [
        f"<image>\nwhat?{suffix}",
        "a dog",
        f"how many?{suffix}",
        "2",
    ]
    assert second["image"] == "1.png"
    caption = written(out, "captions")[0]["conversations"]
    assert [turn["value"] for turn in caption] == [
        "<image>\nProvide a one-sentence caption for the provided image.",
        "picture 0",
    ]
    assert "<box>[[100, 100, 600, 600]]</box>" in written(out, "phrases")[0]["conversations"][1]["value"]
    region = written(out, "regions")[0]["conversations"]
    assert "<box>[[100, 100, 600, 600]]</box>" in region[0]["value"] and region[1]["value"] == "the dog"
    assert written(out, "dialogues")[0]["id"] == 7
    told = capsys.readouterr().err
    assert "captions: pictures of held may be among its own; --against leaves them out" in told
    assert "vqa.jsonl, line 4: no_text" in told


def held(data: Path) -> str:
    """An evaluation set that shows the second picture."""
    shrunk = io.BytesIO()
    photograph(1).resize((256, 192)).save(shrunk, "JPEG", quality=70)
    phash, pdq, quality = picture_hashes(Image.open(shrunk).convert("RGB"))
    row = dict(zip(ITEMS.names, ("one.jpg", phash, pdq, quality), strict=True)) | {"fault": None}
    table = pa.Table.from_pylist([row], ITEMS.append(pa.field("fault", pa.string())))
    write_evalset(data / "held.evalset", [table], {})
    return f"held={data / 'held.evalset'}"


def in_a_tar(data: Path) -> str:
    """The folder of the data, whose pictures now lie in a tar."""
    with tarfile.open(data / "pictures.tar", "w") as tar:
        for path in sorted((data / "pictures").iterdir()):
            tar.add(path, path.name)
    shutil.rmtree(data / "pictures")
    (data / "recipe.toml").write_text(RECIPE.replace('pictures = "pictures"', 'pictures = "pictures.tar"'))
    return str(data)


def in_an_object_store(data: Path, bucket: str) -> str:
    """The folder of the data on a store that fails now and then, its pictures in a tar."""
    uri = f"{bucket}/{uuid.uuid4().hex}"
    fs, path = file_system(uri)
    for file in Path(in_a_tar(data)).iterdir():
        retried(partial(fs.pipe_file, f"{path}/{file.name}", file.read_bytes()))
    return uri


@pytest.mark.parametrize("place", ["folder", "tar", pytest.param("store", marks=pytest.mark.slow)])
def test_what_an_evaluation_set_shows_is_left_out(data: Path, place: str, request: pytest.FixtureRequest) -> None:
    chosen = ["--set", "captions", "--set", "vqa", "--against", held(data)]
    source = str(data) if place == "folder" else in_a_tar(data) if place == "tar" else ""
    source = source or in_an_object_store(data, request.getfixturevalue("object_store"))
    counts = main([str(data / "recipe.toml"), "--data", source, "--out", str(data / "mix"), *chosen])
    assert counts["left_out"] == 2 and not counts["failed"] and "not_compared" not in counts
    assert {line["image"] for line in written(data / "mix", "captions")} == {"0.png", "2.png"}
    assert {line["image"] for line in written(data / "mix", "vqa")} == {"0.png"}
    assert json.loads((data / "mix" / "meta.json").read_text())["captions"]["length"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "nocaps"], "nocaps is refused: an evaluation set"),
        (["--set", "other"], "other is not in the recipe"),
        (["--out", "s3://bucket/mix"], "on no disk of this machine"),
        (["--out", "recipe.toml/mix"], "is a file, or within one"),
        (["--against", "held"], "is not NAME=URI"),
        (["--against", "held=gone.evalset"], "no file .*gone.evalset"),
    ],
)
def test_a_wrong_request_is_one_line(data: Path, arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data)
    with pytest.raises(RequestError, match=message) as error:
        main([str(data / "recipe.toml"), "--data", str(data), "--out", str(data / "mix"), *arguments])
    assert "\n" not in str(error.value)


def test_pictures_that_were_published_for_another_folder_or_by_number(data: Path) -> None:
    """As the lines behind InternVL's evaluation scripts, and LRV-Instruction's, name them."""
    settings = 'prefix = "data/"\nnames = "{}.png"\npictures = "pictures"\nsuffix'
    (data / "recipe.toml").write_text(RECIPE.replace('pictures = "pictures"\nsuffix', settings))
    asked = {"question": "what?", "answer": "a dog"}
    lines(data / "vqa.jsonl", {"image": "data/0.png", **asked}, {"image_id": 1, **asked}, {"image_id": "2", **asked}, asked)
    counts = main([str(data / "recipe.toml"), "--data", str(data), "--out", str(data / "mix"), "--set", "vqa"])
    entries = written(data / "mix", "vqa")
    assert counts["written"] == 4 and [entry.get("image") for entry in entries] == ["0.png", "1.png", "2.png", None]
    assert [entry["conversations"][0]["value"].startswith("<image>") for entry in entries] == [True, True, True, False]


def test_the_papers_mix_is_read_and_has_a_set_for_each_of_its_tasks() -> None:
    mix = read_mix("internvl-sft")
    assert {each.task for each in mix.sets.values()} == set(mix.samples)
    assert sum(mix.samples.values()) == 3_989_000
    assert all(each.where.startswith("https://") and each.licence for each in mix.sets.values())
    assert {
        f"{name}-{task}" for name in ("refcoco", "refcoco+", "refcocog") for task in ("grounding", "captions")
    } <= mix.sets.keys()
    of_2017 = [each for each in mix.sets.values() if each.pictures == "coco/train2017"]  # which has most of val2014
    assert of_2017 and all("coco-val" in each.overlaps for each in of_2017)
    told = "licence: terms of the Robust Reading Competition (not verified); made from infographicVQA_train_v1.0.json"
    assert told in mix.sets["infovqa"].to_be_had()


def test_it_is_left_out_wherever_an_entry_names_it(data: Path) -> None:
    here = str(data / "pictures")
    parts = [
        [{"type": "image", "image": f"{here}/{number}.png"}, {"type": "image_url", "image_url": {"url": f"{here}/0.png"}}]
        for number in range(2)
    ]
    entries = [
        {"images": [f"{here}/1.png", f"{here}/2.png"]},
        {"images": [f"{here}/0.png", f"{here}/2.png"]},
        *({"messages": [{"role": "user", "content": each}]} for each in parts),
        {"image": 5, "conversations": [None, {"value": None}]},
        {"image": [None, {"x": 1}], "messages": "no"},
    ]
    (data / "dialogues.json").write_text(json.dumps(entries))
    counts = main(
        [
            str(data / "recipe.toml"),
            "--data",
            str(data),
            "--out",
            str(data / "mix"),
            "--set",
            "dialogues",
            "--against",
            held(data),
        ]
    )
    assert counts["left_out"] == 2 and written(data / "mix", "dialogues") == [entries[1], entries[2], *entries[4:]]


@pytest.mark.parametrize(
    "text", ['{"image": "a.png", "caption": "x"}\n{}\n', '{"images": []}', '{"images": [5], "annotations": []}']
)
def test_captions_that_are_not_as_coco_has_them_are_told_in_one_line(data: Path, text: str) -> None:
    (data / "captions.json").write_text(text)
    with pytest.raises(RequestError, match=r"captions\.json is no file of captions as COCO's") as error:
        main([str(data / "recipe.toml"), "--data", str(data), "--out", str(data / "mix"), "--set", "captions"])
    assert "\n" not in str(error.value)


def test_captions_of_pictures_that_coco_does_not_name_are_counted(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, annotations = [{"id": 1, "file_name": "1.png"}], [{"image_id": n, "caption": "a" if n else None} for n in (0, 1, 2)]
    (data / "captions.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    counts = main([str(data / "recipe.toml"), "--data", str(data), "--out", str(data / "mix"), "--set", "captions"])
    assert (counts["read"], counts["written"]) == (3, 1) and "annotation 2: no_image" in capsys.readouterr().err


def test_of_captions_as_cocos_an_annotation_that_is_none_costs_itself_alone(data: Path, tmp_path: Path) -> None:
    captions = [{"image_id": 7, "caption": "One."}, {"image_id": 99, "caption": "Of a picture that is not there."}, "none"]
    captions += [{"image_id": [7], "caption": "x"}, {"image_id": "7", "caption": "Two."}, {"image_id": 7}, {"caption": "x"}]
    images = [{"id": 7, "file_name": "a.jpg"}, {"file_name": "b.jpg"}, "none"]
    (data / "captions.json").write_text(json.dumps({"images": images, "annotations": captions}))
    tally = Tally()
    found = list(read_set(str(data / "captions.json"), read_mix(str(data / "recipe.toml")).sets["captions"], tally))
    assert [line["conversations"][1]["value"] for line in found] == ["One.", "Two."]
    assert tally.counts["read"] == 7 and tally.reasons == {"no_image": 4, "no_text": 1}
