"""Keyword strings: words put together for search engines, shops and tag clouds instead of for a reader.

Titles of products, headlines and names are no keyword strings, however little they say: the quality score judges those.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.captions.repetition import CAPITALS, FUNCTION, PHRASES, REPEATED, SHARE, WORDS, repetition
from filters.rules import Rule, Thresholds, above, matches
from filters.text.patterns import match_within

ORIGIN = "InternVL §3.2 names boilerplate; the kinds are those of web alt texts, the patterns are ours"

# A query has no marks that end a phrase, hardly a capital, few function words; it repeats words, has two that pages are searched
# by, or goes on and on without any that joins them; without any, one repetition is enough.
QUERY_WORDS, QUERY_REPEATED, QUERY_FUNCTION, ENDLESS_WORDS = 7, 2, 0.15, 12
LOOSE_REPEATED, LOOSE_FUNCTION = 4, 0.3  # so many repetitions are none of a sentence, whatever joins them
SPUN_CAPITALS = 2
QUERY = r"^[\s\pL\pN\pM'’&-]*[\p{Latin}\p{Cyrillic}\p{Greek}][\s\pL\pN\pM'’&-]*$"
SEARCHED = r"(?:ideas?|diy|diagrams?|wiring|schematic|pdf|cheats?|answers|youtube|20[012]\d|xbox|ps4|apk|step by step|lyrics|chords|gratis|paso a paso|passo a passo|fai da te|f[aá]ciles|sencill[oa]s|precios|prezzi|offerte|modernas?|pequeñas|decorar|decoração|penteados|пошагово|легко|схема|бесплатно|образец|скачать|cheap|best|reviews?|prices?|templates?|printables?|samples?|wallpapers?|decorating|makeovers?|inspirations?|trends|tutorials?|online|download|resumes?|cute|awesome|amazing|stunning|gorgeous|incredible|latest|unique|hairstyles?|coloring|worksheets?|designs?|images|pictures|photos|quotes|ideen|günstig|kaufen|vorlagen?|frisuren|idées?|pas cher|modèles?|coiffures?|baratos?|plantillas|fotos|imágenes|ideias|modelos|peinados|идеи|фото|своими руками|купить|дизайн|цена|отзывы)"
SEARCHED_TWICE = [rf"(?:^|\s){SEARCHED}\s(?:.*\s)?{SEARCHED}(?:\s|$)"]
# "patio furniture sale patio for Garden furniture": a title spun from another, with the topic behind it.
SPUN = [r"^(?:\p{Lu}?[\p{Ll}\pN']+\s+){4,}(?:for|of|in|with) \p{Lu}\p{Ll}+(?:\s+[\p{Ll}\pN]+){1,5}$"]

LEAST_ITEMS, ITEM_WORDS, TITLE_WORDS, SHARED_WORDS, LOWER_SHARE = 5, 4, 6, 3, 0.6
JOINING_WORDS = "and or & the a an with in on at of from by und oder mit im der die das et ou avec dans le la y con en el e com em de di и с в на"
JOINING = frozenset(JOINING_WORDS.split())


def repeated_share(table: pa.Table) -> pa.Array:
    """The largest share of words of one phrase of a caption that repeat another of it (`repetition` says which count): float32[N]."""
    return pa.array(np.ascontiguousarray(repetition(table["caption"])[:, SHARE]))


def _query(table: pa.Table, thresholds: Thresholds) -> pa.Array:
    counts = repetition(table["caption"])
    words, function = counts[:, WORDS], counts[:, FUNCTION]
    capitals, repeated = counts[:, CAPITALS], counts[:, REPEATED]
    one_phrase = (counts[:, PHRASES] == 1) & (words >= QUERY_WORDS)
    few_joined, some_joined = (function <= share * words for share in (QUERY_FUNCTION, LOOSE_FUNCTION))
    repeats = few_joined & (repeated >= QUERY_REPEATED) & (words > QUERY_WORDS) | some_joined & (repeated >= LOOSE_REPEATED)
    endless = (function == 0) & ((words >= ENDLESS_WORDS) | (repeated > 0))
    lower = match_within(table["caption"], [QUERY], one_phrase & (capitals == 0) & (repeats | endless | some_joined))
    queries = lower & (repeats | endless) | match_within(table["caption"], SEARCHED_TWICE, lower & some_joined)
    spun = one_phrase & (capitals <= SPUN_CAPITALS) & some_joined & (repeated > 0)
    return pa.array(queries | match_within(table["caption"], SPUN, spun))


def _list(table: pa.Table, thresholds: Thresholds) -> pa.Array:
    captions = table["caption"]
    rows = np.flatnonzero(pc.count_substring(captions, ",").to_numpy() >= LEAST_ITEMS - 2)
    lists = np.zeros(len(table), bool)
    lists[rows] = [is_list(text) for text in captions.take(pa.array(rows)).to_pylist()]
    return pa.array(lists)


def is_list(text: str) -> bool:
    """Whether a text is tags with commas between: short items in lower case without a joining word, or items that share words.

    Without a space behind any comma it is the name of a file at a stock site.
    The first item may be a title. A list of places, of people or of parts begins its items with capitals, or joins the last.
    """
    title, *items = (item.split() for item in text.strip(" ,;.").split(","))
    if " " not in text:
        return len(items) >= LEAST_ITEMS
    if len(items) < LEAST_ITEMS - 2 or len(title) > TITLE_WORDS or max(map(len, items)) > ITEM_WORDS:
        return False
    words = [word.lower() for item in items for word in item]
    if not words or not JOINING.isdisjoint(words) or any(word[-1] in ".:!?" for word in words):
        return False
    stems = [word.rstrip("s") for word in words if word.isalpha() and len(word) > 2]
    shared = len(stems) - len({*stems} - {word.lower().rstrip("s") for word in title})
    lower = sum(not item[0][:1].isupper() and any(map(str.isalpha, "".join(item))) for item in items if item)
    enough = len(items) >= LEAST_ITEMS - 1 and lower >= LOWER_SHARE * len(items) and lower >= LEAST_ITEMS - 2
    short = text.islower() and max(map(len, [title, *items])) <= 2
    return enough or short or shared >= SHARED_WORDS


RULES = [
    Rule(
        name="keywords.tags",
        columns=("caption",),
        drops=matches(
            r"(?:^|[\s)\]|])(?:Tags|tags|TAGS|[Kk]eywords?|KEYWORDS)\s*:\s*[\p{Ll}#\d]+(?:[\s,]+[\p{Ll}#\d]|$)|\) Tags: \w|^\W*(?:[Tt]ags?|TAGS|[Kk]eywords?)\s*:",
            r"(?i)(?:^|[\s)|])(?:schlagw(?:ö|oe)rter|stichw(?:ö|oe)rter|mots[- ]cl[ée]s|palabras clave|etiquetas|palavras[- ]chave|parole chiave|trefwoorden|słowa kluczowe|ключевые слова|теги|метки)\s*:\s*\S",
            r"(?:标签|关键词|关键字|タグ|キーワード|태그|키워드)\s*[:：]\s*\S|(?:الوسوم|كلمات مفتاحية|الكلمات المفتاحية|टैग|कीवर्ड)\s*:\s*\S",
            r"(?i)^[^:]*, and (?:memes|🤖|dank|funny): |^\W*memes, [^:]*: ",
            unless=[r"(?i)\b(?:gift|price|hang|name|dog|luggage|swing|id|skin|ear|favor|bottle|wine) tags?:"],
        ),
        catches="tags and keywords of a page, a photograph or a post",
        origin=ORIGIN,
        kept={"caption": "Printable Christmas gift tags: set of 12"},
        dropped={"caption": "Teddy bear (Anna) Tags: bear brown canada bokeh"},
    ),
    Rule(
        name="keywords.list",
        columns=("caption",),
        drops=_list,
        catches="tags with commas between",
        origin=ORIGIN,
        kept={"caption": "Bread, cheese, olives, tomatoes, and a bottle of wine on a table"},
        dropped={"caption": "camera, device, function, iso, isometric, smartphone icon"},
    ),
    Rule(
        name="keywords.repeated",
        columns=("caption",),
        drops=above(repeated_share),
        measure=repeated_share,
        catches="the same words again and again in one phrase (share of words that repeat another)",
        origin=ORIGIN,
        kept={"caption": "A black cat and a white cat sleep on a black sofa"},
        dropped={"caption": "Light Blue Leather Sectional Sofa Light Blue Sofa Sets"},
        thresholds={"max": 0.16},
    ),
    Rule(
        name="keywords.query",
        columns=("caption",),
        drops=_query,
        catches="search queries: lower case throughout, no marks, words that repeat, hardly one that joins them",
        origin=ORIGIN,
        kept={"caption": "happy young women dancing in autumn park"},
        dropped={"caption": "sentra nissan 2016 nissan sentra review top speed"},
    ),
]
