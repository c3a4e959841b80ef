"""Numbers, figures and examples → index.html (one self-contained file) and report.md. All text is escaped by the template."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from jinja2 import Environment

from pipelines.reporting import figures


def html(numbers: dict[str, Any], examples: dict[str, Any], title: str) -> str:
    """The page; `page.html.j2` decides which figure shows which numbers."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"count": count, "share": share}
    environment.globals |= {"figures": figures, "funnel_bars": funnel_bars, "reason_bars": reason_bars}
    template = environment.from_string((files(__package__) / "page.html.j2").read_text(encoding="utf-8"))
    return template.render(title=title, n=numbers, examples=examples)


def funnel_bars(rows: list[dict[str, Any]]) -> list[tuple[str, float, str]]:
    """Each step with its samples and their share of the first step's."""
    first = max(1, rows[0]["samples"])
    return [(row["step"], row["samples"], f"{row['samples']:,}  ({share(row['samples'] / first)})") for row in rows]


def reason_bars(rows: list[dict[str, Any]]) -> list[tuple[str, float, str]]:
    """Each reason with the samples it dropped, and how many of them no other reason would have."""
    return [(row["reason"], row["dropped"], f"{row['dropped']:,}  ({row['alone']:,} by it alone)") for row in rows]


def markdown(numbers: dict[str, Any], title: str) -> str:
    """The tables as Markdown, for a terminal or an issue."""
    lines = [f"# {title}", "", "| | samples |", "|---|---|"]
    lines += [f"| {row['step']} | {row['samples']:,} |" for row in numbers["funnel"]]
    lines += ["", "## Retention", "", *retention_table(numbers["retention"])]
    for stage in ("stage1", "stage2"):
        lines += ["", f"## Reasons of {stage}", "", "| rule | dropped | by it alone |", "|---|---|---|"]
        lines += [f"| {row['reason']} | {row['dropped']:,} | {row['alone']:,} |" for row in numbers[f"{stage}_reasons"]]
    if numbers.get("planted"):
        lines += ["", "## Planted defects", "", "| defect | planted | caught | share |", "|---|---|---|---|"]
        lines += [
            f"| {r['defect']} | {r['planted']:,} | {r['caught']:,} | {share(r['caught'] / max(1, r['planted']))} |"
            for r in numbers["planted"]
        ]
    lines += ["", *(f"> {note}" for note in numbers.get("notes", []))]
    return "\n".join(lines).rstrip() + "\n"


def retention_table(rows: list[dict[str, Any]]) -> list[str]:
    """InternVL's Table 2 as Markdown, ours and the paper's shares side by side."""
    head = ["source", "language", "original", "stage 1", "kept", "paper", "stage 2", "kept", "paper"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        ours = [count(row[name]) for name in ("original", "stage1", "stage2")]
        shares = [share(row[name]) for name in ("stage1_share", "paper_stage1_share", "stage2_share", "paper_stage2_share")]
        cells = [row["source"], row["language"], ours[0], ours[1], *shares[:2], ours[2], *shares[2:]]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def count(value: int | None) -> str:
    """An integer with thousands separated; – for None."""
    return "–" if value is None else f"{value:,}"


def share(value: float | None) -> str:
    """A share as a percentage with one decimal; – for None."""
    return "–" if value is None else f"{value:.1%}"
