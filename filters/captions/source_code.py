"""Source code: markup, scripts, queries and stack traces that slipped out of a page into its alt text."""

from __future__ import annotations

from filters.rules import Rule, matches

ORIGIN = "InternVL §3.2 names source code; the patterns are ours"

RULES = [
    Rule(
        name="source_code.markup",
        columns=("caption",),
        drops=matches(
            r"</?(?:div|span|img|a|p|br|b|i|strong|em|script|style|table|t[dr]|ul|li|h[1-6]|font|iframe|input|svg)(?:\s+[\w-]+\s*=[^>]*|\s*/?)>",
            r"\b(?:src|href|class|style)\s*=\s*[\"']",
            ignore_case=True,
        ),
        catches="HTML tags and attributes",
        origin=ORIGIN,
        kept={"caption": "Is 3 < 4 and 5 > 4? A lesson"},
        dropped={"caption": '<img src="cat.jpg" alt="cat">'},
    ),
    Rule(
        name="source_code.script",
        columns=("caption",),
        drops=matches(
            r"\bfunction\s*\w*\s*\([^)]*\)\s*\{",
            r"\b(?:var|let|const)\s+\w+\s*=\s*[^=]",
            r"=>\s*[{(]",
            r"\bdocument\.\w+",
            r"\bwindow\.\w+\s*[=(]",
            r"\bconsole\.log\(",
            r"\$\(['\"(]",
            r"\bdef \w+\([^)]*\)\s*(?:->[^:]*)?:",
            r"\bimport (?:\w+\.)*\w+ as \w+",
            r"\bfrom \w+(?:\.\w+)* import \w+",
            r"#include\s*<",
            r"\bpublic (?:static )?(?:void|class|int)\b",
            r"\bif\s*\([^)]+\)\s*\{",
            r"\breturn\s+\w+(?:\.\w+)*\([^)]*\);",
            r"\bprint(?:f|ln)?\(.*\)\s*;?\s*$",
        ),
        catches="statements of common programming languages",
        origin=ORIGIN,
        kept={"caption": "The function of the heart (diagram)"},
        dropped={"caption": "var img = new Image(); img.onload = function() {"},
    ),
    Rule(
        name="source_code.data",
        columns=("caption",),
        drops=matches(
            r"^\s*[{\[]\s*\"[\w@-]+\"\s*:",
            r"\{[^{}]*[\w-]+\s*:\s*[^;{}]+;[^{}]*\}",
            r"\"\w+\"\s*:\s*(?:\"[^\"]*\"|[\d{\[]|true|false|null).*,\s*\"\w+\"\s*:",
        ),
        catches="JSON and CSS",
        origin=ORIGIN,
        kept={"caption": 'The word "set": how it is used'},
        dropped={"caption": '{"id": 12, "title": "Sofa"}'},
    ),
    Rule(
        name="source_code.query",
        columns=("caption",),
        drops=matches(
            r"\bSELECT\b.+\bFROM\b\s+\w+",
            r"\bINSERT INTO\b\s+\w+",
            r"\bUPDATE\s+\w+\s+SET\b",
            r"\b(?:CREATE|DROP|ALTER) TABLE\b",
            r"(?:^|\s)(?:sudo|apt-get|pip install|npm install|chmod|git (?:clone|commit))\s+\S+",
        ),
        catches="SQL and shell commands",
        origin=ORIGIN,
        kept={"caption": "Select a gift from our table"},
        dropped={"caption": "SELECT * FROM wp_posts WHERE id=3"},
    ),
    Rule(
        name="source_code.traceback",
        columns=("caption",),
        drops=matches(
            r"Traceback \(most recent call last\)",
            r"(?:Exception|Error) in thread",
            r"\bat [\w$.]+\([\w.]+:\d+\)",
            r"\b\w+(?:Error|Exception): ",
            r"(?:Warning|Fatal error|Notice|Parse error): .* (?:in|on line) ",
            r"Undefined (?:index|variable|offset)",
        ),
        catches="stack traces and interpreter messages",
        origin=ORIGIN,
        kept={"caption": "An exception to the rule"},
        dropped={"caption": "Warning: Undefined variable $alt in /srv/x.php on line 3"},
    ),
]
