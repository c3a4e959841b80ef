"""The instruction set of the stamps is one that the trainer reads whole: every question, every picture, known answers."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from infra.models import INTERNVL
from pipelines.demo_corpus import instructions
from pipelines.demo_corpus.corpus import Picture
from pipelines.demo_corpus.render import encode
from trainer_bridge.data.chat_tokenizer import load_tokenizer
from trainer_bridge.data.instructions.encoding import Encoder
from trainer_bridge.data.instructions.example import Example
from trainer_bridge.data.instructions.source import open_source
from trainer_bridge.data.instructions.template import ChatTemplate
from trainer_bridge.data.instructions.tiles import TileRule
from trainer_bridge.models.losses import IGNORED

SENTENCES = [
    (("en", "A red fox."), ("de", "Ein roter Fuchs.")),
    (("en", "A blue bird."), ("de", "Ein blauer Vogel."), ("fr", "Un oiseau bleu.")),
    (("en", "A green house."),),
    (("en", "Look, it is raining, and nobody has an umbrella!"), ("de", "Schau, es regnet, und keiner hat einen Schirm!")),
]
PICTURES = [Picture(f"stamps/s{number}", "", "", sentences) for number, sentences in enumerate(SENTENCES)]


def stamp(number: int) -> bytes:
    image = Image.new("RGB", (80, 60), "white")
    ImageDraw.Draw(image).ellipse((20, 10, 60, 50), fill=("red", "blue", "green", "gray")[number])
    return encode(image, "jpg")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    counts = instructions.write(PICTURES, {picture.key: stamp(i) for i, picture in enumerate(PICTURES)}, tmp_path)
    assert counts["train"] == len((tmp_path / "train.jsonl").read_text().splitlines()) > 20 and counts["heldout"] == 1
    return tmp_path


def test_the_trainer_reads_every_conversation_of_the_set(folder: Path) -> None:
    tokenizer = load_tokenizer(INTERNVL)
    encoder = Encoder(tokenizer, ChatTemplate(tokenizer, "pairmill"), 4, 128)
    source = open_source(str(folder / "meta.json"), encoder, TileRule(64, 1, 2), 0)
    examples = source.load_many(np.arange(source.total))
    assert all(isinstance(example, Example) for example in examples) and source.total == len(examples)
    answers = {tokenizer.decode(example.labels[example.labels != IGNORED].tolist()) for example in examples}
    assert any("Ein roter Fuchs." in answer for answer in answers) and any("No." in answer for answer in answers)
    assert {len(example.tiles) for example in examples} >= {0, 1, 3}


def test_copies_are_as_many_as_the_answer_says(folder: Path) -> None:
    rows = [json.loads(line) for name in ("train", "heldout") for line in (folder / f"{name}.jsonl").read_text().splitlines()]
    counted = {
        row["image"]: row["conversations"][1]["value"] for row in rows if instructions.COUNT in row["conversations"][0]["value"]
    }
    assert len(counted) == len(PICTURES)
    for picture in PICTURES:
        image = Image.open(io.BytesIO((folder / instructions.path_of(picture, "many")).read_bytes()))
        drawn = np.abs(np.asarray(image, int) - 255).max(axis=2) > 60
        cells = drawn.reshape(2, instructions.CELL, 3, instructions.CELL).any(axis=(1, 3)).sum()
        assert counted[instructions.path_of(picture, "many")] == instructions.NUMBERS[cells - 1]
        assert cells == instructions.copies_of(picture)
