"""Which rows are published where, and which are planted defects. A function of the pictures and a seed, nothing else.

Good rows are never altered: a defect is a row of its own, a changed copy of a good one. The emoji's lists of keywords say little
of a picture: they are a defect that comes with the corpus. Rows of one picture lie in one file; copies lie in a source's last
file, so that what they copy has the smaller sample_id.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from filters.duplicates.hashes import caption_key
from pipelines.demo_corpus.corpus import KEYWORDS_FOLLOW, Picture
from pipelines.demo_corpus.junk import KINDS
from pipelines.demo_corpus.render import rng

SITE = "pictures.test"
FILES = {"laion2b-en": 2, "coyo": 2, "wukong": 2, "laion2b-multi": 6}
EVAL_PICTURES = 60
NOT_IN_COPIES = ("exact_copy", "near_copy", "eval_copy")
KEYWORD_LIST = "keyword_list"

# Of the good rows of a source, the share planted again as each defect: more in the small sources, so that all show something.
RATES = {
    "http_404": 0.010,
    "redirect": 0.006,
    "redirect_loop": 0.002,
    "html": 0.006,
    "truncated": 0.006,
    "tiny": 0.006,
    "swapped": 0.015,
    "boilerplate": 0.012,
    "placeholder": 0.012,
    "code": 0.012,
    "gibberish": 0.012,
    "weak": 0.012,
    "exact_copy": 0.012,
    "near_copy": 0.006,
}
SMALL_SOURCE, LARGE_SOURCE = 1.0, 0.3
TIMEOUTS = {"laion2b-en": 4, "laion2b-multi": 8, "coyo": 4, "wukong": 4}
BROKEN = {"laion2b-multi": 7, "wukong": 5}


@dataclass(frozen=True)
class Row:
    """A row to publish.

    picture  the file below the pictures' folder that the link leads to, or would if it were sound
    defect   "" for a good one; KEYWORD_LIST for an emoji's keywords, which are published as they are
    of       the row (url, caption) a copy repeats
    """

    source: str
    file: int
    url: str
    picture: str
    caption: str
    language: str
    width: int
    height: int
    defect: str = ""
    of: tuple[str, str] | None = None


Rendered = Mapping[str, tuple[str, int, int]]  # key → path, width, height


def hold_out(pictures: Sequence[Picture], rendered: Rendered, seed: int) -> list[Picture]:
    """The evaluation set: pictures that are published nowhere but as planted copies. Photographs and drawings, no emoji."""
    candidates = [picture for picture in pictures if picture.key in rendered and not picture.text]
    return sorted(
        rng("eval", seed).sample(candidates, min(EVAL_PICTURES, len(candidates) // 10)), key=lambda picture: picture.key
    )


def source_of(locale: str, key: str) -> str:
    """Where a sentence is published: Chinese in Wukong, English in LAION or COYO, the rest in LAION's multilingual part."""
    language = locale.partition("_")[0]
    if language in ("zh", "yue"):
        return "wukong"
    if language == "en":
        return rng("english", key).choice(("laion2b-en", "coyo"))
    return "laion2b-multi"


def url_of(source: str, path: str, prefix: str = "") -> str:
    """The address at which a source links to a picture; each source links to a site of its own."""
    return f"http://{source}.{SITE}/{prefix}{path}"


def good_rows(pictures: Sequence[Picture], rendered: Rendered) -> list[Row]:
    """Every picture with each of its sentences once (locales that say the same are one)."""
    rows = []
    sentences = pa.chunked_array([[sentence for picture in pictures for _, sentence in picture.sentences]], pa.string())
    folded = iter(caption_key(sentences).to_pylist())
    for picture in pictures:
        path, width, height = rendered[picture.key]
        seen = set()
        for (locale, sentence), words in zip(picture.sentences, folded, strict=False):
            if words not in seen:
                seen.add(words)
                source = source_of(locale, picture.key)
                file = rng("file", picture.key).randrange(FILES[source])
                defect = KEYWORD_LIST if picture.text and KEYWORDS_FOLLOW in sentence else ""
                rows.append(Row(source, file, url_of(source, path), path, sentence, locale, width, height, defect))
    return rows


def plan(pictures: Sequence[Picture], rendered: Rendered, held_out: Sequence[Picture], seed: int) -> list[Row]:
    """All rows, good and planted, in the order of publication."""
    held = {picture.key for picture in held_out}
    good = good_rows([p for p in pictures if p.key in rendered and p.key not in held], rendered)
    by_source = defaultdict(list)
    for row in good:
        by_source[row.source].append(row)
    planted = [row for source, rows in sorted(by_source.items()) for row in _planted(source, rows, rng("defects", seed, source))]
    copies = list(_eval_copies(held_out, rendered, seed))
    # A redirect that works leads to a good pair, so it stands in the place of the direct link.
    moved = {row.of for row in planted if row.defect == "redirect"}
    direct = [row for row in good if (row.url, row.caption) not in moved]
    return sorted([*direct, *planted, *copies], key=_order)


def _order(row: Row) -> tuple[str, int, bool, int]:
    shuffled = rng("order", row.source, row.url, row.caption, row.defect).getrandbits(63)
    return row.source, row.file, row.defect in NOT_IN_COPIES, shuffled


def _planted(source: str, rows: Sequence[Row], chance: random.Random) -> Iterator[Row]:
    scale = LARGE_SOURCE if source == "laion2b-multi" else SMALL_SOURCE
    counts = {defect: max(3, round(rate * scale * len(rows))) for defect, rate in RATES.items()}
    counts |= {"timeout": TIMEOUTS[source], "broken_row": BROKEN.get(source, 0)}
    moved = chance.sample(rows, min(counts.pop("redirect"), len(rows) // 10))
    still = sorted(set(rows) - set(moved), key=_order)
    yield from (_spoil(row, "redirect", still, chance) for row in moved)
    for defect, count in counts.items():
        for row in chance.sample(still, min(count, len(still))):
            yield _spoil(row, defect, still, chance)


def _spoil(row: Row, defect: str, rows: Sequence[Row], chance: random.Random) -> Row:
    spoiled = replace(row, defect=defect)
    if defect in KINDS:
        return replace(spoiled, caption=KINDS[defect](chance))
    if defect == "broken_row":
        return replace(spoiled, url="")
    if defect == "swapped":
        other = chance.choice(
            [r for r in chance.sample(rows, min(50, len(rows))) if r.url != row.url and r.language == row.language] or rows
        )
        return replace(spoiled, caption=other.caption)
    # A link of its own for each, so that one broken link never spoils a good row.
    spoiled = replace(spoiled, url=url_of(row.source, row.picture, f"{defect}/{chance.getrandbits(40):010x}/"))
    if defect == "redirect":
        return replace(spoiled, of=(row.url, row.caption))
    if defect in ("exact_copy", "near_copy"):
        return replace(spoiled, file=FILES[row.source] - 1, of=(row.url, row.caption))
    return spoiled


def _eval_copies(held_out: Sequence[Picture], rendered: Rendered, seed: int) -> Iterator[Row]:
    chance = rng("eval copies", seed)
    for picture in held_out:
        path, width, height = rendered[picture.key]
        for locale, sentence in chance.sample(picture.sentences, min(4, len(picture.sentences))):
            source = source_of(locale, picture.key)
            url = url_of(source, path, f"eval_copy/{chance.getrandbits(40):010x}/")
            yield Row(source, FILES[source] - 1, url, path, sentence, locale, width, height, "eval_copy")
