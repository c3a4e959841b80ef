"""The data card of an export for a training stage: what it holds, how it was chosen, and what the paper has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from pipelines.exporting.plan import HELD_OUT, TRAIN
from pipelines.exporting.products import PRODUCTS
from pipelines.exporting.settings import ExportSettings
from pipelines.manifest.parts import Part
from pipelines.manifest.receipts import Receipt

CARD = "data-card.md"
FILTERS = {1: "what stage 1 keeps", 2: "what stages 1 and 2 keep"}


def data_card(settings: ExportSettings, receipts: Mapping[Part, Receipt]) -> bytes:
    """The card in Markdown; `receipts` are those of the plans of all parts."""
    product = PRODUCTS[str(settings.stage)]
    sources: dict[str, Counter[str]] = {}
    for part, receipt in receipts.items():
        sources.setdefault(part.source, Counter()).update({split: receipt.counts.get(split, 0) for split in (TRAIN, HELD_OUT)})
    ours = [(source, f"{counts[TRAIN]:,}", f"{counts[HELD_OUT]:,}") for source, counts in sorted(sources.items())]
    total = sum(sources.values(), Counter())
    asked = [(language or "all others", f"`{prompt}`") for language, prompt in sorted(settings.prompts.items(), reverse=True)]
    pieces = [
        f"# {settings.name}: data of Mono-InternVL's stage `{settings.stage}`",
        f"Samples are {FILTERS[settings.filter]}; captions: {settings.captions}."
        + (f" Only where `{settings.where}`." if settings.where else ""),
        "## Samples",
        _table(("source", TRAIN, HELD_OUT), [*ours, ("**all**", f"{total[TRAIN]:,}", f"{total[HELD_OUT]:,}")]),
        "## In the paper",
        _table(("what", "samples"), product.paper) + "\n\nMono-InternVL §3.3 and tables 1 and 7; shares × 143 M are inferred.",
        "## Questions",
        _table(("language", "question"), asked),
    ]
    return ("\n\n".join(pieces) + "\n").encode()


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
