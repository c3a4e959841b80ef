"""Keyword strings: words put together for search engines, shops and tag clouds instead of for a reader.

Titles of products, headlines and names are no keyword strings, however little they say: the quality score judges those.
"""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.captions.repetition import CAPITALS, FUNCTION, PHRASES, REPEATED, SHARE, WORDS, repetition
from filters.rules import Rule, Thresholds, above, matches
from filters.text.patterns import match_within

ORIGIN = "InternVL §3.2 names boilerplate; the kinds are those of web alt texts, the patterns are ours"

# A query has no marks that end a phrase, hardly a capital, few function words; it repeats words, has two that pages are searched
# by, or goes on and on without any that joins them.
QUERY_WORDS, QUERY_FUNCTION, QUERY_REPEATED, ENDLESS_WORDS = 7, 0.3, 2, 12
SPUN_CAPITALS, SEARCHED_FUNCTION = 2, 0.2
QUERY = r"^[\s\pL\pN\pM'’&-]*[\p{Latin}\p{Cyrillic}\p{Greek}][\s\pL\pN\pM'’&-]*$"
SEARCHED = r"(?:ideas?|diy|cheap|best|reviews?|prices?|templates?|printables?|samples?|wallpapers?|decorating|makeovers?|inspirations?|trends|tutorials?|online|download|resumes?|cute|awesome|amazing|stunning|gorgeous|incredible|latest|unique|hairstyles?|coloring|worksheets?|designs?|images|pictures|photos|quotes|ideen|günstig|kaufen|vorlagen?|frisuren|idées?|pas cher|modèles?|coiffures?|baratos?|plantillas|fotos|imágenes|ideias|modelos|peinados|идеи|фото|своими руками|купить|дизайн|цена|отзывы)"
SEARCHED_TWICE = [rf"(?:^|\s){SEARCHED}\s(?:.*\s)?{SEARCHED}(?:\s|$)"]
# "patio furniture sale patio for Garden furniture": a title spun from another, with the topic behind it.
SPUN = [r"^(?:\p{Lu}?[\p{Ll}\pN']+\s+){4,}(?:for|of|in|with) \p{Lu}\p{Ll}+(?:\s+[\p{Ll}\pN]+){1,5}$"]

LEAST_ITEMS, ITEM_WORDS, TITLE_WORDS, SHARED_WORDS, LOWER_SHARE = 5, 4, 6, 3, 0.6
JOINING = frozenset(
    "and or & the a an with in on at of from by und oder mit im der die das et ou avec dans le la y con en el e com em de di и с в на".split()
)


SEARCH = (
    r"\b(?:images?|ideas?|pins?|photos|pictures)\b.{0,80}\bon pinterest\b|\bpinterest\b.{0,30}\b(?:images|ideas|pins)\b|\b(?:best|cool|top) \d+\+? .{3,60} ideas on\b",
    r"^\W*(?:large|medium|small|full|big|thumbnail) (?:size|resolution) of\b|\bthumbnail size\b|\((?:view|photo|image|picture|gallery|slide) \d+ of \d+\)",
    r"[.,:] (?:home|interior|house|garden|kitchen) (?:design|decor(?:ating|ation)?) ideas\W*$|\bdesign ideas \w*digs\b|\bpertaining to \d|\bmost (?:recently released|up-to-date|current|popular) .{0,60}\(view\b",
    r"\b(?:wiring|engine|fuse box|circuit) diagram\b.*\b(?:likewise|moreover|besides|in addition|together with|furthermore|as well as)\b|\b(?:likewise|moreover|besides|furthermore) (?:\d|[A-Z]\w+ [A-Z]).*\bdiagram\b",
    r"\b(?:probably|possibly) (?:containing|with) .{3,80} (?:entitled|titled|called)\b|^\W*image is loading\b|^\W*google image result\b|^\W*(?:related|similar) image\W*$|\bcheck more at http",
    r"\b(?:shops?|stores?|coupons?|services?|repairs?|delivery|rentals?|jobs|classes|restaurants?|doctors?|dentists?|hotels?|salons?|spas?|deals|plumbers?|cafes?|gyms?|sale|open) near me\b",
    r"\bkeygen\b|\b(?:serial|license|activation|product) (?:key|code)s?\b.{0,30}\b(?:crack|patch|free|download|full|generator)|\b(?:crack|patch)(?:ed)?\b.{0,40}\b(?:license|serial|activation|keys?|full version|download|torrent)\b|\bfull version\b.{0,15}\b(?:crack|free|download)|\bfull crack\b|\b(?:mod|hacked) apk\b|\bapk (?:mod|download)\b|\b(?:apk|nulled|torrent|repack|iso|rgh|jtag)\b.{0,40}\bdownload\b|\bdownload\b.{0,40}\b(?:apk|torrent|crack|nulled|full version)\b|\b(?:jtag|rgh)\b.{0,20}\biso\b",
    r"\bfull (?:movie|album|episode)s?\b.{0,25}\b(?:download|online|free|watch|hd|torrent)\b|\bwatch\b.{0,60}\bonline (?:free|for free|hd)\b|\bwatch free\b.{0,40}\bonline\b|\b(?:hindi|tamil|telugu|dual audio)\b.{0,25}\b(?:dubbed|dvdrip|720p|480p|1080p|bluray)\b|\b(?:1080p?|720p?|480p?|dvdrip|bdrip|webrip|hdrip|x264|x265|xvid|yify|yts)\b.{0,20}\b(?:720p?|480p?|420p?|dvdrip|bdrip|webrip|hdrip|x264|x265|xvid|yify|yts|torrent|download)\b|\b(?:mp3|ringtone|song|lagu|video song)s? (?:free )?download\b|\bdownload (?:lagu|mp3|video|ringtone|driver)\b",
    r"\b(?:essay|assignment|homework|dissertation|coursework|thesis|term paper) (?:help|writing (?:service|help)|writers? (?:online|service)|for sale)|\b(?:write|buy|do) (?:my|an?) (?:essay|paper|homework|assignment|dissertation)\b",
    r"\b(?:http|https|www|rh)\s+\w+\s+(?:com|net|org|co|info|me|ua)\b|\bwww\s+period\b|\bhttp www\b|\bquot http\b",
    r"\b(?:descargar|baixar|télécharger|herunterladen|indir|unduh|scaricare|pobierz|скачать)\b.{0,80}\b(?:gratis|gratuite?(?:ment)?|kostenlos|completo|crack|torrent|full|apk|iso|mp3|pc|xbox|windows|bedava|ücretsiz|za darmo|торрент|бесплатно|mp3|apk)\b|\b(?:ver|assistir|regarder|streaming)\b.{0,60}\b(?:online (?:gratis|grátis|completa|dublado)|streaming (?:vf|gratuit|complet)|película completa|filme completo|film complet)\b",
    r"(?:смотреть|скачать)\s.{0,60}(?:онлайн|бесплатно|торрент|в хорошем качестве)|(?:免费|高清|在线)(?:下载|观看|播放)|破解版|注册机|激活码|迅雷下载|百度云|网盘|汉化版下载|無料ダウンロード|동영상 다시보기|무료 다운로드|토렌트",
)
PEOPLE = r"(?:women|womens|men|mens|ladies|girls|boys|kids|children|child|teens?|teenagers?|babies|unisex)"
SHOP = (
    r"\bpictures? (?:&|and|&amp;) photos?\W*$|\(china \((?:mainland|taiwan)\)\)\W*$|\b(?:from|made in) china (?:suppliers?|manufacturers?|factory)\b|^\W*china (?:suppliers?|manufacturers?|factory|wholesale)\b|\bchina (?:suppliers|manufacturers|wholesale)\b|\b(?:suppliers?|manufacturers?|exporters?)\W*(?:&|and|,)\s*(?:suppliers?|manufacturers?|exporters?|factor(?:y|ies))\b",
    r"\b\d+ ?(?:pcs?|pieces?|pairs?|sets?) ?/ ?(?:lot|bag|pack)\b|\bfree ?ship(?:p)?ing\b|\bdrop ?ship(?:ping)?\b|\bno moq\b|\bretail ?(?:&|and) ?wholesale\b|\bwholesale ?(?:&|and) ?retail\b",
    r"\bhot[- ]?(?:sale|sell|selling|sales)\b|^\W*best sales?\b|\bfactory (?:wholesale|price|direct(?:ly)? sale|outlet price|supply)\b|\b(?:wholesale|cheap|discount|lowest) prices?\b|\bbuy (?:cheap|discount|wholesale)\b|^\W*(?:cheap|discount) -|\bwholesale lots?\b|\bcheap\b.{0,40}\b(?:wholesale|china|jerseys?|for sale)\b|^\W*wholesale\b.{0,60}\b(?:china|cheap|new style|hot|high quality|suppliers?|manufacturers?|custom)\b|\bhigh quality\b.{0,60}\b(?:wholesale|manufacturers?|suppliers?)\b",
    rf"^\W*(?:new arrivals?|hot|2\d{{3}} new|new 2\d{{3}}) .{{0,60}}\b(?:brand|quality|fashion|style|women|men|custom)\b.{{0,80}}\b(?:for|style|women|men|dress|shoes|bag)\b|\bfor {PEOPLE} {PEOPLE}\b|\b{PEOPLE} {PEOPLE}\b.*\b{PEOPLE} {PEOPLE}\b",
    r"großhandel.{0,40}(?:china|fabrik|preis|günstig)|(?:günstig|billig) (?:kaufen|online|bestellen)\b|(?:comprar|compre) .{0,60}(?:barat[oa]s?|al por mayor|online|atacado)|al por mayor.{0,40}(?:china|barat|fabricante|proveedor)|pas cher.{0,30}(?:chine|livraison|vente|achat|en ligne)|(?:achat|acheter|vente) .{0,60}pas cher|in vendita a prezzi? bass|prezzo più basso|купить .{0,60}(?:недорого|дешево|дёшево|по (?:низкой |выгодной )?цене|оптом|с доставкой|в интернет)|оптом (?:от|из) |(?:интернет[- ]магазин|цена).{0,40}купить|купить в (?:москве|интернет|спб|украине)|satın al\b.{0,30}(?:ucuz|fiyat)|tanie .{0,30}sklep",
    r"(?:厂家|批发|代理|加盟|供应).{0,16}(?:价格|直销|批发|电话|报价|热线|厂家|供应商)|(?:价格|报价|多少钱).{0,12}(?:厂家|批发|图片|供应)|(?:淘宝|天猫|京东).{0,10}(?:优惠券|旗舰店.{0,6}包邮)|(?:最安値|激安|格安).{0,16}(?:通販|販売|価格)|(?:通販|販売).{0,10}(?:最安値|激安|格安)|최저가|(?:도매|공장).{0,8}(?:가격|직판)|بسعر الجملة|سعر المصنع|सबसे कम (?:कीमत|दाम)",
)


def repeated_share(table: pa.Table) -> pa.Array:
    """The largest share of words of one phrase of a caption that repeat another of it (`repetition` says which count): float32[N]."""
    return pa.array(np.ascontiguousarray(repetition(table["caption"])[:, SHARE]))


def _query(table: pa.Table, thresholds: Thresholds) -> pa.Array:
    counts = repetition(table["caption"])
    words, function = counts[:, WORDS], counts[:, FUNCTION]
    capitals, repeated = counts[:, CAPITALS], counts[:, REPEATED]
    one_phrase, few_joined = (counts[:, PHRASES] == 1) & (words >= QUERY_WORDS), function <= QUERY_FUNCTION * words
    lower, spun = one_phrase & (capitals == 0), one_phrase & (capitals <= SPUN_CAPITALS) & few_joined & (repeated > 0)
    repeats, endless = few_joined & (repeated >= QUERY_REPEATED), (words >= ENDLESS_WORDS) & (function == 0)
    queries = match_within(table["caption"], [QUERY], lower & (repeats | endless))
    queries |= match_within(table["caption"], SEARCHED_TWICE, lower & (function <= SEARCHED_FUNCTION * words))
    return pa.array(queries | match_within(table["caption"], SPUN, spun))


def _list(table: pa.Table, thresholds: Thresholds) -> pa.Array:
    captions = table["caption"]
    rows = np.flatnonzero(pc.count_substring_regex(captions, "[,;]").to_numpy() >= LEAST_ITEMS - 2)
    lists = np.zeros(len(table), bool)
    lists[rows] = [is_list(text) for text in captions.take(pa.array(rows)).to_pylist()]
    return pa.array(lists)


def is_list(text: str) -> bool:
    """Whether a text is tags with commas between: short items in lower case without a joining word, or items that share words.

    The first item may be a title. A list of places, of people or of parts begins its items with capitals, or joins the last.
    """
    title, *items = (item.split() for item in re.split("[,;]", text.strip(" ,;.")))
    if len(items) < LEAST_ITEMS - 2 or len(title) > TITLE_WORDS or max(map(len, items)) > ITEM_WORDS:
        return False
    words = [word.lower() for item in items for word in item]
    if not words or not JOINING.isdisjoint(words) or any(word[-1] in ".:!?" for word in words):
        return False
    stems = [word.rstrip("s") for word in words if word.isalpha() and len(word) > 2]
    shared = len(stems) - len({*stems} - {word.lower().rstrip("s") for word in title})
    lower = sum(not item[0][:1].isupper() and any(map(str.isalpha, "".join(item))) for item in items if item)
    enough = len(items) >= LEAST_ITEMS - 1 and lower >= LOWER_SHARE * len(items) and lower >= LEAST_ITEMS - 2
    return enough or shared >= SHARED_WORDS


RULES = [
    Rule(
        name="keywords.tags",
        columns=("caption",),
        drops=matches(
            r"(?:^|[\s)\]|])(?:[Tt]ags|TAGS|[Kk]eywords?|KEYWORDS)\s*:\s*[\p{Ll}#\d]+(?:[\s,]+[\p{Ll}#\d]|$)|\) Tags: \w|^\W*(?:[Tt]ags?|TAGS|[Kk]eywords?)\s*:",
            r"(?i)(?:^|[\s)|])(?:schlagw(?:ö|oe)rter|stichw(?:ö|oe)rter|mots[- ]cl[ée]s|palabras clave|etiquetas|palavras[- ]chave|parole chiave|trefwoorden|słowa kluczowe|ключевые слова|теги|метки)\s*:\s*\S",
            r"(?:标签|关键词|关键字|タグ|キーワード|태그|키워드)\s*[:：]\s*\S|(?:الوسوم|كلمات مفتاحية|الكلمات المفتاحية|टैग|कीवर्ड)\s*:\s*\S",
            r"(?i)^\W*(?:(?:[\w' -]{2,25}, ){1,2}and (?:memes|🤖|dank|funny)|memes, (?:[\w' -]{2,25}, )?and [^:]{1,25}): ",
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
    Rule(
        name="keywords.search_phrases",
        columns=("caption",),
        drops=matches(*SEARCH, ignore_case=True),
        catches="phrases that pages repeat to be found: images on pinterest, full movie download, coupons near me, essay help",
        origin=ORIGIN,
        kept={"caption": "A pinterest board on a laptop in a living room"},
        dropped={"caption": "96 best garden images on pinterest"},
    ),
    Rule(
        name="keywords.shop",
        columns=("caption",),
        drops=matches(*SHOP, ignore_case=True),
        catches="what wholesalers add to the name of a product: hot sale, 10pcs/lot, factory price, pictures & photos",
        origin=ORIGIN,
        kept={"caption": "Wholesale flower market in Amsterdam"},
        dropped={"caption": "Soft foam mattress making glue pictures & photos"},
    ),
]
