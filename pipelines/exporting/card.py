"""The data card of an export for a training stage: what it holds, how it was chosen, and what the paper has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from pipelines.exporting.plan import HELD_OUT, TRAIN
from pipelines.exporting.products import INSTRUCTION, PAPER_INSTRUCTIONS, PRODUCTS
from pipelines.exporting.settings import ExportSettings
from pipelines.manifest.parts import Part
from pipelines.manifest.receipts import Receipt

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


def conversations_card(
    settings: ExportSettings, kinds: Mapping[str, str], times: Mapping[str, float], tallies: Mapping[str, Mapping[str, int]]
) -> bytes:
    """The card of exported sets of conversations; `times` is how often each comes in an epoch, `tallies` what was written."""
    is_instruction = settings.stage == INSTRUCTION
    numbers = {name: [tallies[name].get(key, 0) for key in ("entries", "conversations", "pictures")] for name in kinds}
    ours = [(name, *(f"{count:,}" for count in counts), f"{times[name]:.4g}") for name, counts in numbers.items()]
    totals = (f"{sum(counts):,}" for counts in zip(*numbers.values(), strict=True)) if numbers else ("0",) * 3
    draws = {name: int(counts[1] * times[name]) for name, counts in numbers.items()}
    paper, source = (
        (PAPER_INSTRUCTIONS, "Mono-InternVL figure 3, §3.3 and tables 7 and 8; the draws are inferred.")
        if is_instruction
        else (PRODUCTS[str(settings.stage)].paper, "Mono-InternVL §3.3 and tables 1 and 7; shares × 143 M are inferred.")
    )
    pieces = [
        f"# {settings.name}: data of Mono-InternVL's stage `{settings.stage}`",
        f"Conversations of `{settings.conversations}`, as they are; of a set that comes less than once, the first share.",
        "## Sets",
        _table(("set", "entries", "written", "pictures", "times in an epoch"), [*ours, ("**all**", *totals, "")]),
        f"An epoch has {sum(draws.values()):,} conversations.",
        *(() if is_instruction else ("## Kinds", _kinds(kinds, draws, settings.shares))),
        "## In the paper",
        f"{_table(('what', 'samples'), paper)}\n\n{source}",
    ]
    return ("\n\n".join(pieces) + "\n").encode()


def _kinds(kinds: Mapping[str, str], draws: Mapping[str, int], shares: Mapping[str, float]) -> str:
    """The share of an epoch that each kind has, beside the one that it is to have."""
    found = {kind: sum(draws[name] for name in kinds if kinds[name] == kind) for kind in shares}
    total = max(1, sum(found.values()))
    rows = [(kind, f"{found[kind]:,}", f"{found[kind] / total:.1%}", f"{share:.1%}") for kind, share in shares.items()]
    return _table(("kind", "conversations in an epoch", "share", "wanted"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
