"""Completeness: a caption is a phrase or a sentence. A number, code, date, address or list of hashtags alone is neither."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from filters.captions.placeholder import CAMERA_NAMES
from filters.captions.readability import digits
from filters.rules import Rule, Thresholds, matches
from filters.text.patterns import match_within

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

HASH = r"(?:[0-9a-f]{2,}[a-f]\d|[0-9a-f]{2,}\d[a-f])[0-9a-f]{5,}"
# A hash or half of two, an ISBN or an ASIN, a token that no person wrote (a4wORaq), and behind a name of a few words a number whose
# parts mix letters and digits.
NUMBERS = (
    rf"^(?:{HASH})\s+\S|\S\s(?:{HASH})\s*$|(?:^|\s)[0-9a-f]{{5}} [0-9a-f]{{5}}\s|\b97[89][- ]?(?:\d[- ]?){{9}}[\dXx]\b|\(\d{{9}}[\dXx]\)|\bB0\d[0-9A-Z]{{7}}\b",
    r" [0-9A-Za-z]{0,4}(?:[a-z]\d|\d[a-z])[0-9A-Za-z]{0,4}[a-z][A-Z][0-9A-Za-z]{0,4}\s*$",
    r"^(?:[A-Z][A-Za-z'&.]*\s+){1,5}(?:\d{4,}-[A-Z]+\d*-[A-Z]+\d*|[A-Z]+\d+-[A-Z\d]+-[A-Z\d]+|\d{4,}_\d+[A-Z]\d*\w*|[A-Z]{2,}\d{3,}_[A-Z\d]+)\s*$",
)
NUMBER_DIGITS = 0.03  # of the characters
LISTINGS = matches(
    r"(?i)\b(?:listing ?id|mls ?id|prop(?:erty)? ?id|sku|ean|asin|upc|jan)\s*[:#№]\s*#?\w*\d{4}|\bMLS ?®?(?:\(r\))? ?# ?\w*\d{4}",
    r"(?i)\b\d ?(?:br|bd|bdrm|beds?)\b.{0,12}\b\d(?:\.\d)? ?(?:ba|baths?)\b.{0,30}\bsq\.? ?ft\b|\bobjekt-?nr\b|\bISBN\b[-: ]*(?:1[03])?[-: ]*\d",
    r"房源编号|物件番号|매물번호|(?:家賃|敷金|礼金).{0,30}(?:徒歩|築)\d+|월세 ?\d+/\d+",
)


def _catalogue_number(table: pa.Table, thresholds: Thresholds) -> pa.Array:
    numbers = match_within(table["caption"], NUMBERS, digits(table).to_numpy() > NUMBER_DIGITS)
    return pc.or_(LISTINGS(table, thresholds), pa.array(numbers))


STREET = r"(?:st(?:reet)?|ave(?:nue)?|r(?:oa)?d|dr(?:ive)?|l(?:a)?ne?|c(?:our)?t|blvd|boulevard|way|pl(?:ace)?|cir(?:cle)?|ter(?:race)?|trail|trl|hwy|highway|pkwy|parkway|loop|run|sq(?:uare)?|crossing|path|row|cove|bend|point|ridge|w|e|n|s|nw|ne|sw|se)"
POSTAL = (
    rf"(?i)^\W*(?:(?:photo|image|picture|view) of )?(?:lot )?\d+[a-z]?\s+(?:[\w.'’-]+\s+){{1,5}}{STREET}\b[^\d]{{0,40}}(?:(?:#|apt\.?|unit|suite|lot)\s*\w+[\s,]+[^\d]{{0,30}})?\b(?-i:[A-Z]{{2}}),?\s+\d{{5}}(?:-\d{{4}})?(?:\s*(?:[(#:|-].*)?)?\W*$",
    r"^\W*[A-ZÄÖÜ][\pL.-]*(?:[ -][A-ZÄÖÜ][\pL.-]*)?(?:straße|strasse|str\.|weg|platz|allee|gasse)\s*\d+\s?[a-z]?\s*[,|•·-]*\s*(?:D-)?\d{5}\s+[A-ZÄÖÜ][\pL -]+$",
    r"(?i)^\W*\d+\s*(?:bis|ter)?,?\s+(?:rue|avenue|boulevard|place|chemin|allée|impasse|route|quai)\s[^\d]{3,40}[,-]?\s*\d{5}\s+[\pL' -]+$",
    r"(?i)^\W*(?:calle|c/|avda?\.?|avenida|plaza|paseo|carrer|rua|via|viale|piazza|corso|ul\.|ulica|ул\.|улица)\s*[^\d]{3,40},?\s*(?:n[ºo°]\.?\s*)?\d+\s*[\w,-]*\s*[,-]?\s*\d{2}[-.]?\d{3}(?:-\d{3})?\s+[\pL' -]+$",
)


ONE_CODE = matches(
    r"^\s*(?:[A-Z0-9]+[A-Z0-9._/#-]*\d[A-Z0-9._/#-]*\d[A-Z0-9._/#-]*[A-Z][A-Z0-9._/#-]*|[A-Z][A-Z0-9._/#-]*\d[A-Z0-9._/#-]*\d[A-Z0-9._/#-]+)\s*$",
    r"(?i)^\W*(?:sku|asin|ean|upc|mpn|isbn|gtin|item|article|art|artikel|model|ref|reference|réf|référence|referencia|product|part|style|lot|order|stock|id|serial|артикул|арт|код|商品编号|货号|型号|编号|品番|품번)[\s.:：#№-]*(?:no|nr|number|num|code|id|nummer|numero|número|n°|nº|№)?[\s.:：#№-]*[A-Z]{0,6}[-_./]?\d[A-Z0-9._/-]*\s*$",
    unless=CAMERA_NAMES,
)
# Several codes and their labels, with so many digits that they are no model of a car.
CODES = r"^(?:(?:[!-~]*\d[!-~]*|[A-Z]{1,5}|[\pP\pS]+|(?i:ref|réf|rev|cod|code|art|арт|код|уп|шт|ean|jan|sku|nr|no|lot|pcs|cx|conf|pz|uds|artikelnr|item|part|pn|model|型番|货号|品番)\.?[:：]?)\s+)+(?:[!-~]*\d[!-~]*|[A-Z]{1,5}|\S{0,3}\.?|[\pP\pS]+)\s*$"
CODE_DIGITS = 0.3  # of the characters


def _code(table: pa.Table, thresholds: Thresholds) -> pa.Array:
    codes = match_within(table["caption"], [CODES], digits(table).to_numpy() > CODE_DIGITS)
    return pc.or_(ONE_CODE(table, thresholds), pa.array(codes & ~match_within(table["caption"], CAMERA_NAMES, codes)))


RULES = [
    Rule(
        name="completeness.address",
        columns=("caption",),
        drops=matches(
            r"(?i)^\s*(?:(?:visit|see|source|via|website|web|e-?mail|url|link)\s*:?\s*)?(?:https?://\S+|www\.\S+|[\w.+-]+@[\w-]+\.[\w.]+)\s*$",
            r"(?i)^\s*https?://.*\.(?:jpe?g|png|gif|webp|svg|html?|php|aspx?)\s*$",
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
        drops=_code,
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
        name="completeness.catalogue_number",
        columns=("caption",),
        drops=_catalogue_number,
        catches="a name beside what a data base calls it: a hash, an ISBN, a stock number of several parts, a listing",
        origin=ORIGIN,
        kept={"caption": "Nikon D850 with a Nikkor AF-S 24-120mm f/4 lens"},
        dropped={"caption": "947a0d69900a Leather Winter Boots"},
    ),
    Rule(
        name="completeness.postal_address",
        columns=("caption",),
        drops=matches(*POSTAL, where=r"\d{5}|\d\d[-.]\d{3}"),
        catches="nothing but a house number, a street and a town",
        origin=ORIGIN,
        kept={"caption": "The house at 10 Downing Street, London"},
        dropped={"caption": "237 W Main St, Boonton, NJ 07005"},
    ),
]
