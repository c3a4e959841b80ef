"""The table of Mono-InternVL's directions tells what shows, and what does not."""

import json
from pathlib import Path

import pytest

from infra.benchmarks.mono_training.corpus import THINGS, write_corpus
from infra.benchmarks.mono_training.directions import table, told


def seed(shift: float, **changes: dict) -> dict:
    """What runs show as the paper has it, each loss `shift` apart from that of another seed."""
    losses = {"delta": 1.0, "attention": 0.9, "full with experts": 0.5, "full": 0.4, "connector": 1.5}
    losses |= {"concept": 2.0, "concept, concept": 1.9, "concept, semantic": 0.8}
    text = {"full": 9.0, "full with experts": 8.0, "attention": 3.0}
    of_all = {"same_text": True, "moved": [], "unmoved": ["attention", "language"]}
    shown = {
        name: of_all | {"text": text.get(name, 2.0), "caption": loss + shift, "shuffled": loss + 0.5}
        for name, loss in losses.items()
    }
    shown["attention"] |= {"same_text": False, "moved": ["attention"], "unmoved": ["language"]}
    return {name: figures | changes.get(name, {}) for name, figures in shown.items()}


def test_a_direction_shows_by_more_than_its_spread() -> None:
    shown = told([seed(0.0), seed(0.1), seed(0.2)])
    assert all(row["shows"] for row in shown["directions"].values()) and all(shown["exact"].values())
    assert "DID NOT SHOW" not in table(shown) and shown["losses"]["delta"]["caption"] == 1.1
    scattered = told([seed(0.0), seed(0.1), seed(0.2, connector={"caption": 0.9})])
    by_connector = [row for claim, row in scattered["directions"].items() if "connector" in claim]
    assert [row["shows"] for row in by_connector] == [False] and "DID NOT SHOW" in table(scattered)


@pytest.mark.parametrize(
    "changes", [{"delta": {"same_text": False}}, {"concept": {"moved": ["language"]}}, {"attention": {"unmoved": ["attention"]}}]
)
def test_what_must_hold_to_the_bit_is_said_of_every_seed(changes: dict) -> None:
    shown = told([seed(0.0), seed(0.1, **changes)])
    assert sorted(shown["exact"].values()) == [False, True] and ": NO" in table(shown)


@pytest.mark.slow
def test_held_out_pictures_show_known_things_anew(tmp_path: Path) -> None:
    write_corpus(tmp_path / "mono")
    sets = {
        name: [json.loads(line) for line in (tmp_path / "mono" / f"{name}.jsonl").read_text().splitlines()]
        for name in ("clean", "noisy", "heldout")
    }
    caption = {name: [entry["conversations"][1]["value"] for entry in entries] for name, entries in sets.items()}
    assert {*caption["heldout"]} == {*caption["clean"]} and len({*caption["clean"]}) == THINGS
    assert all(noisy != clean for noisy, clean in zip(caption["noisy"], caption["clean"], strict=True))
    assert not {entry["image"] for entry in sets["heldout"]} & {entry["image"] for entry in sets["clean"]}
