"""The sound pairs of the demo's corpus as shards: what the small models in `infra/models` are taught and examined on.

`python -m pipelines.demo_corpus.lessons --out DIR` writes the splits `train` and `heldout`. Held out are a hundred prompts
(picture, language) whose noun is known, or with --pairs so many pictures, a language each: the sentences of that picture in that
language, and its regional variants, are in no training shard. Nothing is planted or scored here: these are the pairs before the
demo spoils some of them.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from infra.compat.paths import cache_folder
from infra.compat.settings import read_toml
from pipelines.demo_corpus.corpus import (
    ANNOTATIONS,
    FONT,
    STAMPS,
    Picture,
    debian_packages,
    load_emoji,
    load_folder,
)
from pipelines.demo_corpus.render import encode, render, rng
from pipelines.fetching.settings import FetchSettings
from pipelines.images.identify import identify
from pipelines.images.prepare import prepare
from pipelines.runtime.parser import Parser
from sharding.index import Shard, summary_bytes
from sharding.layout import SUMMARY, shard_name
from sharding.sample import Sample, sample_json
from sharding.writer import write_shard

PROMPT_LANGUAGES = ("en", "zh", "de", "fr", "es", "pt", "it", "ru")
PROMPTS = 100
SHARD = 5_000
SEED = 0

Lesson = tuple[bytes, str, dict[str, object]]  # image, text, json


@dataclass(frozen=True)
class Prompt:
    """A picture to be described in a language, and the noun that a right description holds, in lower case; "": any."""

    key: str
    language: str
    noun: str = ""


def base(locale: str) -> str:
    """The language of a locale: zh of zh_TW, sr of sr@latin."""
    return re.split(r"[_@]", locale)[0]


def prompts(stamps: Sequence[Picture], emoji: Sequence[Picture], rendered: Container[str]) -> list[Prompt]:
    """A hundred stamps, a language each. The noun is the name Unicode gives the thing, where the stamp's own sentence uses it."""
    names = {dict(picture.sentences)["en"].partition(": ")[0].lower(): dict(picture.sentences) for picture in emoji}
    candidates = [prompt for picture in stamps if (prompt := _prompt(picture, names)) is not None]
    shuffled = rng("prompts", SEED).sample(candidates, len(candidates))
    by_key = {picture.key: picture for picture in stamps}
    chosen = [prompt for prompt in shuffled if prompt.key in rendered and _is_new(prompt, by_key[prompt.key])][:PROMPTS]
    return sorted(chosen, key=lambda prompt: prompt.key)


def _is_new(prompt: Prompt, picture: Picture) -> bool:
    """Is the sentence one that no other language has word for word?"""
    with_noun = [(base(locale), sentence) for locale, sentence in picture.sentences if prompt.noun in sentence.lower()]
    elsewhere = {sentence for language, sentence in with_noun if language != prompt.language}
    return not any(sentence in elsewhere for language, sentence in with_noun if language == prompt.language)


def _prompt(picture: Picture, names: Mapping[str, Mapping[str, str]]) -> Prompt | None:
    english = dict(picture.sentences)["en"].lower()
    named = [name for name in names if re.search(rf"\b{re.escape(name)}\b", english)]
    if not named:
        return None
    translated = names[max(named, key=len)]
    nouns = {}
    for locale, sentence in picture.sentences:
        noun = translated.get(base(locale), "").partition(": ")[0].lower()
        if base(locale) in PROMPT_LANGUAGES and noun and noun in sentence.lower():
            nouns[base(locale)] = noun
    language = rng("asked", SEED, picture.key).choice(sorted(nouns)) if nouns else ""
    return Prompt(picture.key, language, nouns[language]) if nouns else None


def sentences(picture: Picture, languages: Sequence[str], *, names_only: bool) -> Iterator[tuple[str, str]]:
    """(locale, sentence), each sentence once; with `names_only` emoji without their keywords."""
    seen = set()
    for locale, sentence in picture.sentences:
        text = sentence.partition(": ")[0] if names_only and picture.text else sentence
        if text not in seen and (not languages or base(locale) in languages):
            seen.add(text)
            yield locale, text


def pairs(pictures: Sequence[Picture], rendered: Container[str], languages: Sequence[str], count: int) -> list[Prompt]:
    """So many pictures, a language each: one in which the picture's words are its words in no other language."""
    drawn = list[Prompt]()
    for picture in rng("pairs", SEED).sample(pictures, len(pictures)):
        words: dict[str, set[str]] = {}
        for locale, sentence in sentences(picture, languages, names_only=False):
            words.setdefault(base(locale), set()).add(sentence.casefold().strip(" .!"))
        new = [language for language in sorted(words) if not _elsewhere(words, language)]
        if picture.key in rendered and len(words) > 1 and new:
            drawn.append(Prompt(picture.key, rng("language", SEED, picture.key).choice(new)))
    return sorted(drawn[:count], key=lambda prompt: prompt.key)


def _elsewhere(words: Mapping[str, set[str]], language: str) -> bool:
    return any(words[language] & words[other] for other in words if other != language)


def lessons(
    pictures: Sequence[Picture],
    images: Mapping[str, bytes],
    held_out: Sequence[Prompt],
    languages: Sequence[str] = (),
    *,
    names_only: bool = False,
    talks: bool = False,
) -> dict[str, list[Lesson]]:
    """(image, text, json) of each split, in an order that is a function of the corpus.

    With `talks` the json's `also` holds the picture's sentences in the other languages that may be taught.
    """
    held = {(prompt.key, prompt.language): prompt.noun for prompt in held_out}
    splits: dict[str, list[Lesson]] = {"train": []}
    examined: dict[tuple[str, str], Lesson] = {}
    for picture in pictures:
        if picture.key not in images:
            continue
        described = list(sentences(picture, languages, names_only=names_only))
        taught = [(locale, text) for locale, text in described if (picture.key, base(locale)) not in held] if talks else []
        for locale, text in described:
            about: dict[str, object] = {"key": picture.key, "language": locale}
            if talks:
                about["also"] = [[other, words] for other, words in taught if base(other) != base(locale)]
            prompt = picture.key, base(locale)
            if prompt not in held:
                splits["train"].append((images[picture.key], text, about))
            elif held[prompt] in text.lower():
                noun = {"noun": held[prompt]} if held[prompt] else {}
                examined.setdefault(prompt, (images[picture.key], text, about | noun))
    splits["heldout"] = list(examined.values())
    return splits


def write_shards(rows: Sequence[Lesson], split: str, first_id: int, out: Path) -> list[Shard]:
    """Writes one split, its samples numbered from `first_id`; returns its shards."""
    samples = [
        Sample(number, image, text, sample_json(number, metadata))
        for number, (image, text, metadata) in enumerate(rows, start=first_id)
    ]
    starts = range(0, len(samples), SHARD)
    return [write_shard(out, shard_name(split, number), samples[start : start + SHARD]) for number, start in enumerate(starts)]


def _image(picture: Picture) -> tuple[str, bytes] | None:
    """The picture as the demo's fetch stores it."""
    image = render(picture)
    if image is None:
        return None
    settings = FetchSettings(**read_toml(str(Path(__file__).with_name("recipe.toml")), "recipe")["fetch"])
    return picture.key, prepare(identify(encode(image, "jpg"), settings), settings).data


def images_of(pictures: Sequence[Picture]) -> dict[str, bytes]:
    """The pictures that can be drawn, encoded, by their keys."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        return dict(filter(None, pool.map(_image, pictures, chunksize=16)))


def main(argv: Iterable[str] | None = None) -> None:
    """Writes the shards."""
    parser = Parser(prog="pipelines.demo_corpus.lessons", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--languages", default="", help="only these, comma-separated (default: all)")
    parser.add_argument("--names-only", action="store_true", help="emoji by name, without their keywords; only those of one sign")
    parser.add_argument(
        "--talks", action="store_true", help="with each sample the sentences of its picture in other languages that may be taught"
    )
    parser.add_argument("--pairs", type=int, default=0, help="stamps alone, and so many of them held out in a language each")
    options = parser.parse_args(list(argv) if argv is not None else None)
    tree = debian_packages(cache_folder())
    stamps = load_folder(tree / STAMPS, "stamps")
    emoji = load_emoji(tree / FONT, [tree / folder for folder in ANNOTATIONS])
    # Sequences are people in five skin tones, and flags: many nearly equal pictures.
    shown = [picture for picture in emoji if not options.names_only or len(picture.text.replace("\ufe0f", "")) == 1]
    pictures = stamps if options.pairs else [*stamps, *shown]
    images = images_of(pictures)
    languages = [language for language in options.languages.split(",") if language]
    held_out = pairs(stamps, images, languages, options.pairs) if options.pairs else prompts(stamps, emoji, images)
    splits = lessons(pictures, images, held_out, languages, names_only=options.names_only, talks=options.talks)
    options.out.mkdir(parents=True, exist_ok=True)
    ids = {"train": 0, "heldout": len(splits["train"])}
    shards = {split: write_shards(rows, split, ids[split], options.out) for split, rows in splits.items()}
    (options.out / SUMMARY).write_bytes(summary_bytes(shards, {"languages": languages, "names_only": options.names_only}))
    counts = {split: len(rows) for split, rows in splits.items()}
    sys.stdout.write(json.dumps(counts | {"prompts": len(held_out)}, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
