"""Source code: markup, scripts, queries and stack traces that slipped out of a page into its alt text."""

from __future__ import annotations

from filters.rules import Rule, matches

ORIGIN = "InternVL §3.2 names source code; the patterns are ours"

RULES = [
    Rule(
        name="source_code.markup",
        columns=("caption",),
        drops=matches(r"(?i)</?(?:div|span|img|a|p|br|b|i|strong|em|script|style|table|t[dr]|ul|li|h[1-6]|font|iframe|input|svg)(?:\s+[\w-]+\s*=[^>]*|\s*/?)>|\b(?:src|href|class|style)\s*=\s*[\"']"),
        catches="HTML tags and attributes",
        origin=ORIGIN,
        kept={"caption": "Is 3 < 4 and 5 > 4? A lesson"},
        dropped={"caption": '<img src="cat.jpg" alt="cat">'},
    ),
    Rule(
        name="source_code.script",
        columns=("caption",),
        drops=matches(
            r"\bfunction\s*\w*\s*\([^)]*\)\s*\{|\b(?:var|let|const)\s+\w+\s*=\s*[^=]|=>\s*[{(]|\bdocument\.\w+|\bwindow\.\w+\s*[=(]|\bconsole\.log\(|\$\(['\"(]|\bdef \w+\([^)]*\)\s*(?:->[^:]*)?:|\bimport (?:\w+\.)*\w+ as \w+|\bfrom \w+(?:\.\w+)* import \w+|#include\s*<|\bpublic (?:static )?(?:void|class|int)\b|\bif\s*\([^)]+\)\s*\{|\breturn\s+\w+(?:\.\w+)*\([^)]*\);|\bprint(?:f|ln)?\(.*\)\s*;?\s*$"
        ),
        catches="statements of common programming languages",
        origin=ORIGIN,
        kept={"caption": "The function of the heart (diagram)"},
        dropped={"caption": "var img = new Image(); img.onload = function() {"},
    ),
    Rule(
        name="source_code.data",
        columns=("caption",),
        drops=matches(r"^\s*[{\[]\s*\"[\w@-]+\"\s*:|\{[^{}]*[\w-]+\s*:\s*[^;{}]+;[^{}]*\}|\"\w+\"\s*:\s*(?:\"[^\"]*\"|[\d{\[]|true|false|null).*,\s*\"\w+\"\s*:"),
        catches="JSON and CSS",
        origin=ORIGIN,
        kept={"caption": 'The word "set": how it is used'},
        dropped={"caption": '{"id": 12, "title": "Sofa"}'},
    ),
    Rule(
        name="source_code.query",
        columns=("caption",),
        drops=matches(r"\bSELECT\b.+\bFROM\b\s+\w+|\bINSERT INTO\b\s+\w+|\bUPDATE\s+\w+\s+SET\b|\b(?:CREATE|DROP|ALTER) TABLE\b|(?:^|\s)(?:sudo|apt-get|pip install|npm install|chmod|git (?:clone|commit))\s+\S+"),
        catches="SQL and shell commands",
        origin=ORIGIN,
        kept={"caption": "Select a gift from our table"},
        dropped={"caption": "SELECT * FROM wp_posts WHERE id=3"},
    ),
    Rule(
        name="source_code.traceback",
        columns=("caption",),
        drops=matches(
            r"Traceback \(most recent call last\)|(?:Exception|Error) in thread|\bat [\w$.]+\([\w.]+:\d+\)|\b\w+(?:Error|Exception): |(?:Warning|Fatal error|Notice|Parse error): .* (?:in|on line) |Undefined (?:index|variable|offset)"
        ),
        catches="stack traces and interpreter messages",
        origin=ORIGIN,
        kept={"caption": "An exception to the rule"},
        dropped={"caption": "Warning: Undefined variable $alt in /srv/x.php on line 3"},
    ),
]
