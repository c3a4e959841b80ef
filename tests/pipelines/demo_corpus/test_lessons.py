"""What the small models are taught and examined on: nothing of an examined prompt is in the lessons."""

import json
from pathlib import Path

from pipelines.demo_corpus.corpus import Picture
from pipelines.demo_corpus.lessons import Prompt, base, lessons, pairs, prompts, sentences, write_shards
from sharding.checks import faults
from sharding.index import read_dataset, summary_bytes
from sharding.layout import SUMMARY
from sharding.reader import ShardReader

FOX = (("en", "A red fox."), ("en_GB", "A red fox!"), ("de", "Ein roter Fuchs."), ("zh_CN", "一只狐狸。"), ("fr", "Un renard."))
DOG = (("en", "A dog."), ("de", "Ein Hund."), ("pt", "Cão"), ("es", "A dog."))
STAMPS = [
    Picture("stamps/fox", "f", "", FOX),
    Picture("stamps/dog", "d", "", DOG),
    Picture("stamps/x", "x", "", (("en", "A qux."),)),
]
EMOJI = [
    Picture(
        "emoji/1f98a", "font", "🦊", (("en", "fox: face, animal"), ("de", "Fuchs: Gesicht"), ("zh", "狐狸"), ("fr", "renard"))
    ),
    Picture("emoji/1f436", "font", "🐶", (("en", "dog: pet"), ("de", "Hund"), ("pt", "cachorro"))),
]


def test_a_prompt_names_the_thing_in_its_language() -> None:
    found = prompts(STAMPS, EMOJI, {"stamps/fox", "stamps/dog", "stamps/x"})
    assert [prompt.key for prompt in found] == ["stamps/dog", "stamps/fox"]  # nobody has a name for the third
    for prompt in found:
        said = dict({"stamps/fox": FOX, "stamps/dog": DOG}[prompt.key])
        assert any(base(locale) == prompt.language and prompt.noun in text.lower() for locale, text in said.items())
    assert found == prompts(STAMPS, EMOJI, {"stamps/fox", "stamps/dog"})
    assert [prompt.key for prompt in prompts(STAMPS, EMOJI, {"stamps/fox"})] == ["stamps/fox"]


def test_an_examined_language_and_its_variants_are_in_no_lesson() -> None:
    images = {picture.key: picture.key.encode() for picture in (*STAMPS, *EMOJI)}
    splits = lessons([*STAMPS, *EMOJI], images, [Prompt("stamps/fox", "en", "fox")])
    taught = {(about["key"], about["language"]) for _, _, about in splits["train"]}
    assert ("stamps/fox", "en") not in taught and ("stamps/fox", "en_GB") not in taught
    assert ("stamps/fox", "de") in taught and ("stamps/dog", "en") in taught
    ((image, text, about),) = splits["heldout"]
    assert (image, text, about["noun"]) == (b"stamps/fox", "A red fox.", "fox")


def test_talks_hold_the_other_languages_but_never_an_examined_one() -> None:
    images = {picture.key: b"x" for picture in STAMPS}
    splits = lessons(STAMPS, images, [Prompt("stamps/fox", "de", "fuchs")], talks=True)
    for _, text, about in (*splits["train"], *splits["heldout"]):
        others = {locale for locale, _ in about["also"]}
        assert about["language"] not in others and text not in {words for _, words in about["also"]}
        if about["key"] == "stamps/fox":
            assert "de" not in others and others


def test_a_sentence_is_given_once_and_in_the_chosen_languages() -> None:
    assert list(sentences(STAMPS[1], (), names_only=False)) == [("en", "A dog."), ("de", "Ein Hund."), ("pt", "Cão")]
    assert list(sentences(STAMPS[0], ("zh", "de"), names_only=False)) == [("de", "Ein roter Fuchs."), ("zh_CN", "一只狐狸。")]
    assert next(sentences(EMOJI[0], ("en",), names_only=True)) == ("en", "fox")


def test_lessons_are_shards_like_any(tmp_path: Path) -> None:
    rows = [(b"\xff\xd8\xff" + bytes([i]), f"text {i}", {"language": "en"}) for i in range(12)]
    shards = {"train": write_shards(rows, "train", 0, tmp_path)}
    (tmp_path / SUMMARY).write_bytes(summary_bytes(shards, {}))
    assert list(faults(str(tmp_path))) == []
    reader = ShardReader(read_dataset(str(tmp_path)), "train")
    sample = reader.read(0, 7)
    assert (sample.text, sample.sample_id, json.loads(sample.json)["language"]) == ("text 7", 7, "en")


def test_a_pair_is_held_out_in_words_that_no_other_language_has() -> None:
    cat = Picture("stamps/cat", "c", "", (("en", "A cat."), ("nl", "a cat"), ("de", "Eine Katze.")))
    pictures = [*STAMPS, cat]
    rendered = {picture.key: b"x" for picture in pictures}
    drawn = pairs(pictures, rendered, (), 600)
    assert {prompt.key for prompt in drawn} == {"stamps/fox", "stamps/dog", "stamps/cat"}  # one has no second language
    assert Prompt("stamps/cat", "de") in drawn
    assert len(pairs(pictures, rendered, (), 1)) == 1 and not pairs(pictures, {}, (), 1)
    splits = lessons(pictures, rendered, drawn)
    held = {(prompt.key, prompt.language) for prompt in drawn}
    assert {(about["key"], base(str(about["language"]))) for _, _, about in splits["heldout"]} == held
    assert not any((about["key"], base(str(about["language"]))) in held for _, _, about in splits["train"])
    assert not any("noun" in about for _, _, about in splits["heldout"])
