"""Placeholder text: what stands where a caption was never written."""

from __future__ import annotations

from filters.rules import Rule, matches

ORIGIN = "InternVL §3.2 names placeholder text; the patterns are ours"

RULES = [
    Rule(
        name="placeholder.camera_name",
        columns=("caption",),
        drops=matches(
            r"(?i)^\s*(?:img|dscn?|dscf|pict?|p|mvi|gopro?|screenshot|scan|image|photo|picture|untitled|foto|bild|图片)[\s_.-]*\(?\d{2,}\)?(?:[\s_.-]*\d+)*\s*$"
        ),
        catches="names that cameras and phones give",
        origin=ORIGIN,
        kept={"caption": "Photo of Apollo 11"},
        dropped={"caption": "IMG_1234"},
    ),
    Rule(
        name="placeholder.stock_words",
        columns=("caption",),
        drops=matches(
            r"(?i)^\s*(?:untitled(?:[ -]?(?:image|design|document))?|no (?:image|photo|picture|caption|title|description)(?: (?:available|yet|found|provided))?|(?:default|sample|dummy|placeholder|featured|blank|missing)[ _-]?(?:image|photo|picture|text|caption|title)?|(?:your )?(?:alt(?:ernative)?[ _-]?text|caption|description|title)(?: goes)?(?: here)?|image (?:coming soon|description|placeholder|title|alt)|(?:enter|insert|add|type|write) (?:your |a |the )?(?:alt(?:ernative)? text|caption|description|title|text)(?: here)?|图片描述|暂无图片|无标题|未命名|默认图片|bild folgt|sans titre|sin título|без названия)[\s.!…:]*$"
        ),
        catches="untitled, no image available, alt text here, 图片描述 …",
        origin=ORIGIN,
        kept={"caption": "Untitled, oil on canvas, Mark Rothko"},
        dropped={"caption": "Alt text here"},
    ),
    Rule(
        name="placeholder.lorem_ipsum",
        columns=("caption",),
        drops=matches(r"(?i)lorem ipsum|dolor sit amet|consectetur adipi"),
        catches="printers' Latin",
        origin=ORIGIN,
        kept={"caption": "Amet, a small Latin dictionary"},
        dropped={"caption": "Lorem ipsum dolor sit amet"},
    ),
    Rule(
        name="placeholder.template",
        columns=("caption",),
        drops=matches(
            r"\{\{.*?\}\}",
            r"\$\{[^}]*\}",
            r"\{%.*?%\}",
            r"<%.*?%>",
            r"%%\w+%%",
            r"\[\[\w+\]\]",
            r"^\s*[\[{](?:caption|title|alt|image|product)[\w ]*[\]}]\s*$",
        ),
        catches="template braces left unfilled",
        origin=ORIGIN,
        kept={"caption": "Sets: {1, 2, 3} and their subsets"},
        dropped={"caption": "{{ product.title }}"},
    ),
]
