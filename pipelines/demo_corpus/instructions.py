"""An instruction set made from the demo's stamps, as LLaVA and InternVL publish theirs: what stage 3 is taught in the demo.

`python -m pipelines.demo_corpus.instructions --out DIR` writes DIR/meta.json, which `train --stage chat --data` takes,
DIR/train.jsonl, DIR/heldout.jsonl (one conversation in twenty) and DIR/pictures. Questions: describe it, name it, is it this, how
many are there (of one to six copies), say it in German, several of these in turn, and, without a picture, translate it.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from infra.compat.paths import cache_folder
from pipelines.demo_corpus.corpus import STAMPS, Picture, debian_packages, load_folder
from pipelines.demo_corpus.lessons import images_of
from pipelines.demo_corpus.render import rng
from pipelines.runtime.parser import Parser
from trainer_bridge.data.noun_phrases import noun_phrase

NUMBERS = ("One.", "Two.", "Three.", "Four.", "Five.", "Six.")
CELL, COLUMNS, ROWS = 96, 3, 2  # pixels of a copy, and the grid of the copies
HELD_OUT = 20  # one conversation in so many
DESCRIBE, NAME, COUNT, VERIFY = (
    "Describe the picture in one sentence.",
    "What is it?",
    "How many are there?",
    'Does "{}" name it?',
)
DESCRIBE_GERMAN, NAME_GERMAN, TRANSLATE = "Describe the picture in German.", "What is it, in German?", "Say in German: {}"

Turns = list[tuple[str, str]]


def dialogues(picture: Picture, others: Sequence[str]) -> Iterator[tuple[str, Turns]]:
    """(what is shown: "one", its copies "many", or "" nothing; questions and answers) about a stamp.

    others  names of other stamps, to ask about
    """
    draws, sentences = rng("instructions", picture.key), dict(picture.sentences)
    english, german = sentences["en"], sentences.get("de", "")
    name, german_name = noun_phrase(english, "en"), noun_phrase(german, "de") if german else None
    questions: Turns = [(DESCRIBE, english)]
    if name:
        questions += [(NAME, f"{name[:1].upper()}{name[1:]}."), (VERIFY.format(name), "Yes.")]
        questions.append((VERIFY.format(draws.choice([other for other in others if other != name])), "No."))
    if german:
        questions.append((DESCRIBE_GERMAN, german))
        yield "", [(TRANSLATE.format(english), german)]
    if german_name:
        questions.append((NAME_GERMAN, f"{german_name}."))
    yield from (("one", [question]) for question in questions)
    yield "one", draws.sample(questions, min(3, len(questions)))
    yield "many", [(COUNT, NUMBERS[copies_of(picture) - 1])]


def copies_of(picture: Picture) -> int:
    """How many copies of a stamp are counted."""
    return rng("copies", picture.key).randint(1, len(NUMBERS))


def copies(image: bytes, picture: Picture) -> bytes:
    """A JPEG with copies of the stamp in some cells of a grid."""
    with Image.open(io.BytesIO(image)) as opened:
        stamp = opened.convert("RGB")
    stamp.thumbnail((CELL - 8, CELL - 8))
    page = Image.new("RGB", (COLUMNS * CELL, ROWS * CELL), stamp.getpixel((0, 0)))
    for cell in rng("cells", picture.key).sample(range(COLUMNS * ROWS), copies_of(picture)):
        page.paste(stamp, (cell % COLUMNS * CELL + 4, cell // COLUMNS * CELL + 4))
    encoded = io.BytesIO()
    page.save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


def entries(pictures: Sequence[Picture], images: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """The published entries of all stamps, in random order."""
    shown = [picture for picture in pictures if picture.key in images]
    names = sorted({name for picture in shown if (name := noun_phrase(dict(picture.sentences)["en"], "en"))})
    drawn = [
        {"id": f"{picture.key}-{number}"} | _entry(picture, kind, turns)
        for picture in shown
        for number, (kind, turns) in enumerate(dialogues(picture, names))
    ]
    return rng("order").sample(drawn, len(drawn))


def _entry(picture: Picture, kind: str, turns: Turns) -> dict[str, Any]:
    image = {"image": path_of(picture, kind)} if kind else {}
    conversations = []
    for number, (question, answer) in enumerate(turns):
        tag = "<image>\n" if kind and number == 0 else ""
        conversations += [{"from": "human", "value": tag + question}, {"from": "gpt", "value": answer}]
    return image | {"conversations": conversations}


def path_of(picture: Picture, kind: str) -> str:
    """Where a picture lies in the folder of the set."""
    return f"pictures/{picture.key.replace('/', '-')}-{kind}.jpg"


def write(pictures: Sequence[Picture], images: Mapping[str, bytes], out: Path) -> dict[str, int]:
    """Writes the set; how many conversations are in each file."""
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        if image := images.get(picture.key):
            (out / path_of(picture, "one")).write_bytes(image)
            (out / path_of(picture, "many")).write_bytes(copies(image, picture))
    drawn = entries(pictures, images)
    files = {"heldout": drawn[: len(drawn) // HELD_OUT], "train": drawn[len(drawn) // HELD_OUT :]}
    for name, rows in files.items():
        (out / f"{name}.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    meta = {"root": ".", "annotation": "train.jsonl", "repeat_time": 1, "data_augment": False, "length": len(files["train"])}
    (out / "meta.json").write_text(json.dumps({"stamps": meta}, indent=1) + "\n")
    return {name: len(rows) for name, rows in files.items()}


def main(argv: Iterable[str] | None = None) -> None:
    """Writes the set."""
    parser = Parser(prog="pipelines.demo_corpus.instructions", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", required=True, type=Path)
    options = parser.parse_args(list(argv) if argv is not None else None)
    stamps = load_folder(debian_packages(cache_folder()) / STAMPS, "stamps")
    counts = write(stamps, images_of(stamps), options.out)
    sys.stdout.write(json.dumps(counts, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
