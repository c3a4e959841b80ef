"""Data products: what each stage of Mono-InternVL is trained on, as samples with a conversation in their json.

The answer is the sample's caption. What alignment has beside captions are conversations of others (`--conversations`). The paper
states the prompt of the concept stage alone: that the others use it is a choice, and so are the filters. Source: Mono-InternVL
§3.3, tables 1 and 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ProductName = Literal["concept", "semantic", "alignment"]
INSTRUCTION = "instruction"  # which is made of conversations, not of the samples of a manifest

# language → question; that of "" is asked in all other languages
IN_ONE_SENTENCE = {"": "Provide a one-sentence caption for the image.", "zh": "请用一句话描述这张图片。"}


@dataclass(frozen=True)
class Product:
    """Which samples, with which captions, and how many the paper has.

    filter    1: what stage 1 keeps; 2: what both keep
    captions  as `export.captions`
    prompts   language → question
    paper     what the paper says of it: rows of (what, how many)
    shares    kind of conversation → its share of an epoch, where it is made of several
    """

    filter: Literal[1, 2]
    captions: Literal["original", "synthetic", "mixture", "both"]
    prompts: Mapping[str, str] = field(default_factory=lambda: IN_ONE_SENTENCE)
    paper: tuple[tuple[str, str], ...] = ()
    shares: Mapping[str, float] = field(default_factory=dict)


PRODUCTS: dict[str, Product] = {
    # Noisy on purpose: the paper's samples are not filtered by their captions.
    "concept": Product(1, "original", paper=(("pairs of LAION-2B (en) and COYO (en), noisy captions", "922 M"),)),
    "semantic": Product(
        1, "synthetic", paper=(("pictures of LAION-2B (en), COYO (en) and SAM, captions by InternVL-8B", "258 M"),)
    ),
    "alignment": Product(
        2,
        "original",
        paper=(
            ("captions: LAION (en, zh), COYO (zh), GRIT (zh), COCO (en), TextCaps (en)", "77.1 M (53.9 %)"),
            ("detection: Objects365, GRIT, All-Seeing (en, zh)", "7.4 M (5.2 %)"),
            ("OCR, large: Wukong-OCR (zh), LaionCOCO-OCR (en), Common Crawl PDF (en, zh)", "45.8 M (32.0 %)"),
            ("OCR, small: 14 sets such as TextOCR, ChartQA, DocVQA", "12.7 M (8.9 %)"),
        ),
        shares={"captioning": 0.539, "detection": 0.052, "ocr_large": 0.320, "ocr_small": 0.089},
    ),
}
MIX = "mix"  # ends the name of an export of a product's conversations: its samples of a manifest lie in another

PAPER_INSTRUCTIONS = (
    (
        "conversations: captions, questions, science, charts, mathematics, knowledge, OCR, documents, grounding, text alone …",
        "7 M",
    ),
    ("of which without video and handwriting", "about 5 M"),
    ("draws of a training: 14 k steps of 1 024", "14.3 M"),
)


def conversation(caption: str, language: str | None, prompts: Mapping[str, str]) -> list[dict[str, str]]:
    """LLaVA's `conversations` about a picture: the question of the caption's language, and the caption as its answer."""
    question = prompts.get(language or "", prompts.get("", next(iter(prompts.values()))))
    return [{"from": "human", "value": f"<image>\n{question}"}, {"from": "gpt", "value": caption}]
