"""Conversations of several sets as examples by position: complete, resumable, with faults in their places."""

import io
import json
import tarfile
import uuid
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from infra.compat.errors import RequestError
from infra.compat.files import file_system
from sharding import Sample
from sharding.conversation_sets import read_sets
from sharding.ranges import retried
from tests.support.chat_tokenizers import small
from tests.support.shards import write_dataset
from trainer_bridge.data.instructions import source as module
from trainer_bridge.data.instructions.encoding import Encoder
from trainer_bridge.data.instructions.example import Example
from trainer_bridge.data.instructions.loader import ExampleLoader
from trainer_bridge.data.instructions.source import InstructionSource, open_source, rule_of
from trainer_bridge.data.instructions.template import ChatTemplate
from trainer_bridge.data.instructions.tiles import TileRule
from trainer_bridge.data.settings import LoaderSettings

TILE = 4


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def png(width: int = 16, height: int = 16, level: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (level, level, level)).save(buffer, "PNG")
    return buffer.getvalue()


def conversation(number: int, **fields: Any) -> dict[str, Any]:
    turns = [{"from": "human", "value": f"question {number}?"}, {"from": "gpt", "value": f"answer {number}"}]
    return {"id": number, "conversations": turns, **fields}


def write_lines(path: Path, entries: list[Any]) -> Path:
    path.write_text("".join(entry if isinstance(entry, str) else json.dumps(entry) + "\n" for entry in entries))
    return path


def opened(path: Path, seed: int = 0, length: int = 512) -> InstructionSource:
    tokenizer = small()
    return open_source(str(path), Encoder(tokenizer, ChatTemplate(tokenizer, "chatml"), TILE, length), TileRule(16, 1, 4), seed)


def texts(source: InstructionSource, positions: Any) -> list[str]:
    """What is learned at each position; of a fault its kind."""
    return [
        small().decode(each.labels[each.labels >= 0]) if isinstance(each, Example) else each.kind
        for each in source.load_many(np.asarray(positions))
    ]


def meta(where: Path, **sets: dict[str, Any]) -> Path:
    path = where / "meta.json"
    path.write_text(json.dumps(sets))
    return path


def test_an_epoch_has_each_set_as_often_as_it_says(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", [conversation(n) for n in range(10)])
    (tmp_path / "b.json").write_text(json.dumps([conversation(100 + n) for n in range(4)]))
    path = meta(
        tmp_path,
        a={"root": "", "annotation": "a.jsonl", "repeat_time": 0.55, "data_augment": False, "length": 10},
        b={"root": "", "annotation": "b.json", "repeat_time": 3, "data_augment": False, "length": 4},
    )
    source = opened(path)
    assert source.total == 5 + 12
    expected = Counter([f"answer {n}<|im_end|>" for n in range(5)] + [f"answer {100 + n}<|im_end|>" for n in range(4)] * 3)
    first, second = texts(source, range(17)), texts(source, range(17, 34))
    assert Counter(first) == Counter(second) == expected and first != second


def test_pictures_lie_in_folders_tars_and_shards(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "x.png").write_bytes(png(16, 16, 10))
    with tarfile.open(tmp_path / "more.tar", "w") as tar:
        member = tarfile.TarInfo("deep/y.png")
        member.size = len(png(32, 16, 20))
        tar.addfile(member, io.BytesIO(png(32, 16, 20)))
    told = json.dumps({"conversations": conversation(3)["conversations"]}).encode()
    write_dataset(tmp_path / "shards", {"train": [[Sample(1, png(16, 32, 30), "", told)]]})
    path = meta(
        tmp_path,
        folder={"root": "pictures", "annotation": str(write_lines(tmp_path / "a.jsonl", [conversation(1, image="x.png")]))},
        tar={"root": "more.tar", "annotation": str(write_lines(tmp_path / "b.jsonl", [conversation(2, image="deep/y.png")]))},
        shards={"shards": "shards"},
    )
    source = opened(path)
    examples = {small().decode(each.labels[each.labels >= 0])[7]: each for each in loaded(source)}
    assert [(examples[n].tiles.shape[0], int(examples[n].tiles[0, 0, 0, 0])) for n in "123"] == [(1, 10), (3, 20), (3, 30)]
    image = small().convert_tokens_to_ids("<IMG_CONTEXT>")
    assert [int((examples[n].ids == image).sum()) for n in "123"] == [TILE, 3 * TILE, 3 * TILE]


@pytest.mark.slow
def test_conversations_and_pictures_lie_on_an_object_store_that_fails_now_and_then(tmp_path: Path, object_store: str) -> None:
    uri = f"{object_store}/{uuid.uuid4().hex}"
    fs, path = file_system(uri)
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w") as tar:
        for number in range(10, 20):
            member = tarfile.TarInfo(f"deep/{number}.png")
            member.size = len(png(32, 16, number))
            tar.addfile(member, io.BytesIO(png(32, 16, number)))
    lines = [json.dumps(conversation(n, image=f"{n}.png" if n < 10 else f"tars/a.tar/deep/{n}.png")) for n in range(20)]
    sets = {"a": {"root": "pictures", "annotation": "a.jsonl"}}
    files = {
        "a.jsonl": "\n".join(lines).encode(),
        "meta.json": json.dumps(sets).encode(),
        "pictures/tars/a.tar": tarred.getvalue(),
    }
    for name, data in (files | {f"pictures/{n}.png": png(16, 16, n) for n in range(10)}).items():
        retried(partial(fs.pipe_file, f"{path}/{name}", data))
    tokenizer = small()
    encoder = Encoder(tokenizer, ChatTemplate(tokenizer, "chatml"), TILE, 512)
    source = open_source(f"{uri}/meta.json", encoder, TileRule(16, 1, 4), 0)
    shown = {small().decode(each.labels[each.labels >= 0])[7:]: each.tiles for each in loaded(source)}
    assert {text: int(tiles[0, 0, 0, 0]) for text, tiles in shown.items()} == {f"{n}<|im_end|>": n for n in range(20)}


def loaded(source: InstructionSource) -> list[Example]:
    examples = source.load_many(np.arange(source.total))
    assert all(isinstance(each, Example) for each in examples), examples
    return [each for each in examples if isinstance(each, Example)]


def test_faults_keep_their_place_and_name_their_entry(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"nothing")
    (tmp_path / "big.png").write_bytes(png(64, 64))
    entries: list[Any] = [
        conversation(0),
        "{not json\n",
        conversation(2, image="absent.png"),
        conversation(3, image="broken.png"),
        {"conversations": []},
        {"conversations": [{"from": "human", "value": "long " * 200}, {"from": "gpt", "value": "x"}]},
        conversation(6, image=["big.png", "big.png"]),
        conversation(7, image="big.png"),
        "[1]\n",
    ]
    path = write_lines(tmp_path / "a.jsonl", entries)
    source = opened(path, length=80)
    kinds = ["answer 0<|im_end|>", "json", "missing", "picture", "turns", "learned", "tags", "answer 7<|im_end|>", "json"]
    order = [row for _, row in source._places(np.arange(source.total))]
    assert texts(source, range(source.total)) == [kinds[row] for row in order]
    for row, each in zip(order, source.load_many(np.arange(source.total)), strict=True):
        assert str(path) in (each.name if isinstance(each, Example) else str(each))
        assert f"entry {row + 1}" in (each.name if isinstance(each, Example) else str(each))


@pytest.mark.parametrize("world", [1, 2, 3])
def test_the_sequence_is_the_same_after_a_stop_at_any_world_size(
    tmp_path: Path, world: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 7)
    monkeypatch.setattr(module, "WINDOW", 2)
    source = opened(write_lines(tmp_path / "a.jsonl", [conversation(n) for n in range(25)]), seed=3)
    whole = texts(source, range(60))
    assert len(set(whole[:25])) == 25
    again = opened(tmp_path / "a.jsonl", seed=3)
    loaders = [ExampleLoader(again, 6, rank, world, LoaderSettings(workers=2)) for rank in range(world)]
    streams = [loader.batches(4, 10) for loader in loaders]
    for step, batches in enumerate(zip(*streams, strict=True), start=4):
        positions = [position for batch in batches for position in batch.positions]
        assert positions == list(range(step * 6, step * 6 + 6))
        assert [each.name for batch in batches for each in batch.examples if each] == [
            each.name for each in source.load_many(np.array(positions)) if isinstance(each, Example)
        ]


def test_augmented_pictures_are_a_function_of_the_position(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "x.png")
    write_lines(tmp_path / "a.jsonl", [conversation(1, image="x.png")])
    source = opened(meta(tmp_path, a={"root": ".", "annotation": "a.jsonl", "data_augment": True}))
    (first, again, other) = (source.load_many(np.array([position]))[0] for position in (0, 0, 5))
    assert isinstance(first, Example) and isinstance(again, Example) and isinstance(other, Example)
    assert (first.tiles == again.tiles).all() and (first.tiles != other.tiles).any()
    assert (first.tiles != noise.transpose(2, 0, 1)).any()


def test_a_loader_names_faults_and_leaves_their_places_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = opened(write_lines(tmp_path / "a.jsonl", [conversation(0), "{\n", conversation(2), conversation(3)]))
    (batch,) = ExampleLoader(source, 4, 0, 1, LoaderSettings(workers=1)).batches(0, 1)
    assert int(batch.valid.sum()) == 3 and len(batch.faults) == 1 and "entry 2: it is no JSON" in batch.faults[0]
    assert "skipped" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("entry", "cause"),
    [
        ({"root": ""}, "must name one of annotation"),
        ({"annotation": "a.jsonl", "shards": "x"}, "must name one of annotation"),
        ({"annotation": "a.jsonl", "repeat_time": 1.5}, "repeat_time = 1.5 is neither"),
        ({"annotation": "a.jsonl", "repeat_time": 0}, "repeat_time = 0 is neither"),
        ({"annotation": "a.jsonl", "repeat_time": 1e15}, "is neither a share below 1 nor a whole number up to 1,000,000"),
        ({"annotation": "a.jsonl", "max_dynamic_patch": 10**6}, "1,024 tiles at most, not 1,000,000"),
        ({"annotation": "a.jsonl", "repeat_time": "2"}, 'repeat_time = "2" is no number'),
        ({"annotation": "a.jsonl", "min_dynamic_patch": 7, "max_dynamic_patch": 6}, "is more than max_dynamic_patch = 6"),
        ({"annotation": "a.jsonl", "min_dynamic_patch": 1.5}, "min_dynamic_patch = 1.5 is no whole number"),
        ({"annotation": "a.jsonl", "min_dynamic_patch": 9}, "min_dynamic_patch = 9 is more than max_dynamic_patch = 4 of the"),
        ({"annotation": "a.jsonl", "length": float("inf")}, "length = Infinity is no number"),
        ({"annotation": "a.jsonl", "data_augment": "true"}, 'data_augment = "true" is neither true nor false'),
        ("a.jsonl", 'is "a.jsonl"; write an object'),
        ({"annotation": "gone.jsonl"}, "gone.jsonl is not there"),
    ],
)
def test_a_wrong_meta_file_is_told_in_one_line(tmp_path: Path, entry: Any, cause: str) -> None:
    write_lines(tmp_path / "a.jsonl", [conversation(0)])
    with pytest.raises(RequestError, match=cause) as error:
        source = opened(meta(tmp_path, other={"annotation": "a.jsonl"}, mine=entry))
        for each, _ in source.sets:
            rule_of(each, source.rule)
    assert "\n" not in str(error.value)


def test_a_set_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text('{"a": {"annotation": "a.jsonl"}, "b": {"annotation": "b.jsonl"}, "a": {}}')
    with pytest.raises(RequestError, match="names set 'a' twice"):
        read_sets(str(tmp_path / "meta.json"))


def test_a_set_of_which_nothing_comes_is_told(tmp_path: Path) -> None:
    write_lines(tmp_path / "a.jsonl", [conversation(n) for n in range(3)])
    source = opened(meta(tmp_path, all={"annotation": "a.jsonl"}, few={"annotation": "a.jsonl", "repeat_time": 0.3}))
    assert source.total == 3 and "of set 'few' nothing comes, as repeat_time = 0.3 of 3 entries" in source.describe()


def test_keys_of_a_meta_file_that_are_not_read_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_lines(tmp_path / "a.jsonl", [conversation(0)])
    (mine,) = read_sets(str(meta(tmp_path, mine={"annotation": "a.jsonl", "repeat_tme": 2, "max_dynamic_patch": 4})))
    assert "repeat_tme is not read; did you mean 'repeat_time'?" in capsys.readouterr().err and mine.most == 4
