"""Completeness: a caption says something; a lone file name, address, number or pile of hashtags does not."""

from __future__ import annotations

from filters.rules import Rule, matches

ORIGIN = "InternVL §3.2 names completeness; the patterns are ours"

RULES = [
    Rule(
        name="completeness.file_name",
        columns=("caption",),
        drops=matches(r"(?i)^\s*[^\s/\\]*[\w)\]-]\.(jpe?g|png|gif|webp|bmp|tiff?|svg|heic|avif|pdf|psd)\s*$"),
        catches="nothing but a file name",
        origin=ORIGIN,
        kept={"caption": "How to open a .jpg file on a phone"},
        dropped={"caption": "summer-party_0042.jpg"},
    ),
    Rule(
        name="completeness.address",
        columns=("caption",),
        drops=matches(r"(?i)^\s*(https?://\S+|www\.\S+|[\w.+-]+@[\w-]+\.[\w.]+)\s*$"),
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
        name="completeness.hashtags",
        columns=("caption",),
        drops=matches(r"^\s*#[\pL\pN_]+(\s*#[\pL\pN_]+){2,}\s*$"),
        catches="three hashtags or more and nothing else",
        origin=ORIGIN,
        kept={"caption": "Sunset over Naxos #greece #travel #sea"},
        dropped={"caption": "#sunset #naxos #travel"},
    ),
]
