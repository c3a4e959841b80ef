"""Completeness: a caption is a phrase or a sentence. A file name, number, code, date or list of hashtags alone is neither, and a
text that breaks off is half of one.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from filters.captions.placeholder import CAMERA_NAMES
from filters.rules import Rule, Thresholds, matches

ORIGIN = "InternVL §3.2 names completeness; the patterns are ours"

MONTH = (
    r"(?:jan(?:uary|uar|vier|eiro|\.)?|feb(?:ruary|ruar|rero|\.)?|février|fevereiro|febbraio|mar(?:ch|s|zo|ço|\.)?|märz|apr(?:il|ile|\.)?"
    r"|avril|abril|may|mai|mayo|maio|maggio|june?|juni|juin|junio|junho|giugno|july?|juli|juillet|julio|julho|luglio|aug(?:ust|\.)?"
    r"|août|agosto|sept?(?:ember|embre|\.)?|se[pt]+iembre|setembro|settembre|oct(?:ober|obre|\.)?|okt(?:ober|\.)?|outubro|ottobre"
    r"|nov(?:ember|embre|iembre|embro|\.)?|dec(?:ember|\.)?|dez(?:ember|embro|\.)?|décembre|diciembre|dicembre|gennaio|enero"
    r"|января|февраля|марта|апреля|мая|июня|июля|августа|сентября|октября|ноября|декабря)"
)
DAY = r"(?:mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\.?|montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonntag"
POSTED = r"(?:posted|published|updated|created|uploaded|date|taken|modified)(?: on| at|:)?\s*:?"
CLOCK = r"\d{1,2}[:.h]\d\d(?:[:.]\d\d)?\s*(?:[ap]\.?m\.?|uhr)?"
UNIT = r"(?:px|pixels?|cm|mm|m|km|in|inch(?:es)?|ft|kg|g|mg|oz|lbs?|ml|cl|l|w|v|kw|mb|gb|kb|tb|dpi|usd|eur|gbp|rub|руб|元|円|원|x|×|°[cf]?|ghz|mhz|像素|英寸|厘米|毫米|公斤|千克|克|毫升|升|寸|码|个|件|[nsew])"

# Words that cannot end a caption; in lower case only, because "Vitamin A" is complete.
DANGLING = {
    "en": r"an|the|and|or|with|and/or|&|(?:on|in|at|with|from|of|for|by|to|into|near|under|over) a|(?:the|an?) \pL+ of",
    "de": "der|die|des|dem|und|oder|mit dem|mit einem|mit einer|von|für|im|am|zum|zur|einem|einen|einer|eines",
    "fr": "le|les|des|du|de|et|ou|avec|aux|sur le|dans le|dans la",
    "es": "los|las|de|del|con|en el|en la|para el|de la",
    "pt": "dos|das|com|em um|em uma",
    "it": "il|lo|gli|di|del|della|dei|con|nel|nella|un",
    "ru": "и|в|на|с|для|из|от|по|к|у|за|под|над|при|без|до|или|из-за",
}


def _breaks_off(table: pa.Table, thresholds: Thresholds) -> pa.Array:
    has_ellipsis = pc.match_substring_regex(table["caption"], r"(?:…|\.\.\.|\[…\]|\[\.\.\.\]|。。。|……)[\s\"”’)»]*$")
    return pc.and_(has_ellipsis, pc.greater_equal(table["caption_words"], thresholds["from_words"]))


RULES = [
    Rule(
        name="completeness.file_name",
        columns=("caption",),
        drops=matches(
            r"(?i)^\s*[^\s/\\]*[\pL\pN_)\]-]\.(?:jpe?g|png|gif|webp|bmp|tiff?|svg|heic|avif|pdf|psd|raw|mp4|docx?|pptx?|html?)\s*$",
            r"(?i)^\s*[\pL\pN_ ()-]+\.(?:jpe?g|png|gif|webp|bmp|tiff?|svg|heic|avif|psd)\s*$",
            r"(?i)^[a-z0-9]+(?:[_-][a-z0-9]+){2,}[_-](?:\d{2,}x\d{2,}|\d{3,}|thumb|small|large|scaled|copy|final)$",
            r"^[\pL\pN]+(?:_[\pL\pN]+){2,}$",
            r"^[a-z0-9]+(?:-[a-z]+){3,}$",
            unless=CAMERA_NAMES,
        ),
        catches="nothing but a file name, or the slug of one",
        origin=ORIGIN,
        kept={"caption": "How to open a .jpg file on a phone"},
        dropped={"caption": "summer-party_0042.jpg"},
    ),
    Rule(
        name="completeness.address",
        columns=("caption",),
        drops=matches(
            r"(?i)^\s*(?:(?:visit|see|source|via|website|web|e-?mail|url|link)\s*:?\s*)?(?:https?://\S+|www\.\S+|[\w.+-]+@[\w-]+\.[\w.]+)\s*$",
            r"(?i)^\s*[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:com|net|org|info|de|fr|ru|cn|co\.uk|jp|br|it|es|io)(?:/\S*)?\s*$",
        ),
        catches="nothing but a web or mail address",
        origin=ORIGIN,
        kept={"caption": "Screenshot of www.example.org in 1998"},
        dropped={"caption": "https://www.example.org/p/991"},
    ),
    Rule(
        name="completeness.no_letters",
        columns=("caption",),
        drops=matches(r"^[^\pL]*$"),
        catches="captions without a single letter: numbers, dates, prices, symbols",
        origin=ORIGIN,
        kept={"caption": "Route 66"},
        dropped={"caption": "12.04.2017 – 18:30"},
    ),
    Rule(
        name="completeness.measure",
        columns=("caption",),
        drops=matches(
            rf"(?i)^[\s\pP\pS]*(?:\d+(?:[.,]\d+)?\s*(?:{UNIT})?[\s\pP\pS]*)*\d\s*{UNIT}(?:[\s\pP\pS]*\d*\s*(?:{UNIT})?)*$",
            rf"(?i)^\s*(?:size|grösse|größe|taille|talla|размер|尺寸|尺码|weight|price|preis|prix|precio|цена|价格|售价)\s*[:：]?\s*[€$£¥￥]?[\d.,x×\s]+(?:{UNIT})?\s*$",
        ),
        catches="nothing but numbers and their units: sizes, prices, coordinates",
        origin=ORIGIN,
        kept={"caption": "A 10 cm ruler"},
        dropped={"caption": "1920 x 1080 px"},
    ),
    Rule(
        name="completeness.date",
        columns=("caption",),
        drops=matches(
            rf"(?i)^[\s\pP]*(?:{POSTED}\s*)?(?:(?:{DAY})[\s,]+)?(?:\d{{1,2}}(?:st|nd|rd|th|er|\.|º)?\s*(?:de |of )?)?{MONTH}(?:\s*\d{{1,2}}(?:st|nd|rd|th)?)?(?:\s*(?:,|de|of)?\s*['’]?\d{{2,4}}(?:\s*(?:г\.?|года))?)?(?:\s*(?:at|um|à|,|-|–|\|)?\s*{CLOCK})?[\s\pP]*$",
            r"^\s*(?:\d{4}年)?\d{1,2}月(?:\d{1,2}日)?(?:\s*(?:星期|周|曜).|\s*[(（]\pL+[)）])?\s*(?:\d{1,2}[:：时]\d{0,2}分?)?\s*$",
            r"^\s*\d{4}년\s*(?:\d{1,2}월)?\s*(?:\d{1,2}일)?\s*$",
            rf"(?i)^\s*{POSTED}\s*[\d./-]+(?:\s*{CLOCK})?\s*$",
        ),
        catches="nothing but a date or a time",
        origin=ORIGIN,
        kept={"caption": "May 1968 in Paris"},
        dropped={"caption": "Posted on March 12, 2017 at 10:33 am"},
    ),
    Rule(
        name="completeness.code",
        columns=("caption",),
        drops=matches(
            r"^\s*(?:[A-Z0-9]+[A-Z0-9._/#-]*\d[A-Z0-9._/#-]*\d[A-Z0-9._/#-]*[A-Z][A-Z0-9._/#-]*|[A-Z][A-Z0-9._/#-]*\d[A-Z0-9._/#-]*\d[A-Z0-9._/#-]+)\s*$",
            r"(?i)^\W*(?:sku|asin|ean|upc|mpn|isbn|gtin|item|article|art|artikel|model|ref|reference|réf|référence|referencia|product|part|style|lot|order|stock|id|serial|артикул|арт|код|商品编号|货号|型号|编号|品番|품번)[\s.:：#№-]*(?:no|nr|number|num|code|id|nummer|numero|número|n°|nº|№)?[\s.:：#№-]*[A-Z]{0,6}[-_./]?\d[A-Z0-9._/-]*\s*$",
            unless=CAMERA_NAMES,
        ),
        catches="nothing but a stock number or another code",
        origin=ORIGIN,
        kept={"caption": "Boeing 747-8"},
        dropped={"caption": "SKU: AB-12345"},
    ),
    Rule(
        name="completeness.numbered",
        columns=("caption",),
        drops=matches(
            r"(?i)^\W*(?:page|slide|fig(?:ure|\.)?|table|chart|diagram|exhibit|plate|part|chapter|section|step|option|view|seite|abb(?:ildung|\.)?|tabelle|folie|página|pag|figura|tabla|tabela|tabella|paso|passo|рис(?:унок|\.)?|стр(?:аница|\.)?|табл(?:ица|\.)?|слайд|рисунок)[\s.:#№-]*(?:n[oº°r]\.?\s*)?\d+(?:[.-]?\d*[a-h]?)?(?:\s*(?:of|/|von|sur|de|di|из)\s*\d+)?\W*$",
            r"(?i)^\W*(?:image|photo|picture|slide|page|item) \d+ (?:of|/) \d+\W*$",
            r"^\s*(?:第\s*\d+\s*[页张图章节步]|[图表]\s*\d+(?:[-.]\d+)*|[図表]\s*\d+|그림\s*\d+|चित्र\s*\d+)\s*$",
        ),
        catches="nothing but a numbered page, figure or slide",
        origin=ORIGIN,
        kept={"caption": "Figure 3: a heart and its valves"},
        dropped={"caption": "Slide 12 of 30"},
    ),
    Rule(
        name="completeness.hashtags",
        columns=("caption",),
        drops=matches(
            r"^\s*[#＃@][\pL\pN\pM_.]+[#＃]?(?:[\s,]*[#＃@][\pL\pN\pM_.]+[#＃]?)+\s*$",
            r"^\s*(?:\S+\s+){0,2}(?:[#＃@][\pL\pN\pM_.]+\s*){5,}$",
        ),
        catches="hashtags and mentions, and hardly a word besides",
        origin=ORIGIN,
        kept={"caption": "Sunset over Naxos #greece #travel #sea"},
        dropped={"caption": "#sunset #naxos #travel"},
    ),
    Rule(
        name="completeness.breaks_off",
        columns=("caption", "caption_words"),
        drops=_breaks_off,
        catches="captions cut in the middle and ended with an ellipsis (from so many words on: short ones are meant so)",
        origin=ORIGIN,
        kept={"caption": "To be continued...", "caption_words": 3},
        dropped={"caption": "The ten best places to stay in Lisbon with children and …", "caption_words": 11},
        thresholds={"from_words": 7},
    ),
    Rule(
        name="completeness.dangling",
        columns=("caption",),
        drops=matches(
            rf"(?:^|[\s,(])(?:{'|'.join(DANGLING.values())})[\s,:;-]*$",
            r"(?:以及|、|，|[^温柔祥饱总共平谐缓亲暖中调]和|或者|关于|对于|由于|和一[个只位条]|一[个只位条张]的?)\s*$",
            r"[,(\[–—+]\s*$|[A-Za-z]:\s*$",
        ),
        catches="captions that end where something must follow: an article, a conjunction, an open bracket",
        origin=ORIGIN,
        kept={"caption": "What dreams are made of clouds"},
        dropped={"caption": "Portrait of the"},
    ),
]
