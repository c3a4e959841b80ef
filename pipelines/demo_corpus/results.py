"""The demo's results as a table for a person: planted defects caught, retention beside the paper's, what was trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.reporting.page import share


def results_table(numbers: dict[str, Any]) -> str:
    """The numbers of a report as lines of text."""
    sections = [_planted(numbers), _models(numbers), _retention(numbers), *map(_training, numbers.get("training", []))]
    return "\n".join("".join(f"{line}\n" for line in section) for section in map(list, sections) if section)


def _planted(numbers: dict[str, Any]) -> Iterator[str]:
    yield f"{'planted defect':<28} {'planted':>9} {'caught':>9} {'share':>8}"
    for row in numbers["planted"]:
        name = row["defect"] + (" *" if row["defect"] in ("swapped", "redirect") else "")
        caught_share = share(row["caught"] / row["planted"] if row["planted"] else None)
        yield f"{name:<28} {row['planted']:>9,} {row['caught']:>9,} {caught_share:>8}"
    yield "* swapped: by the small CLIP's similarity; redirect: caught means followed"


def _models(numbers: dict[str, Any]) -> Iterator[str]:
    if numbers.get("separation"):
        means = {row["kind"]: row["mean"] for row in numbers["separation"]["kinds"]}
        yield f"mean similarity of right pairs {means['right']:.2f}, of swapped ones {means['swapped']:.2f}"
    if numbers["synthetic"]["captioned"]:
        yield f"{numbers['synthetic']['captioned']:,} pairs have a synthetic caption of {numbers['synthetic']['model']}"


def _retention(numbers: dict[str, Any]) -> Iterator[str]:
    columns = f"{'original':>9} {'stage 1':>9} {'kept':>7} {'(paper)':>8} {'stage 2':>9} {'kept':>7} {'(paper)':>8}"
    yield f"{'source':<12} {columns}"
    for row in numbers["retention"]:
        stages = [
            f"{row[stage]:>9,} {share(row[f'{stage}_share']):>7} {share(row[f'paper_{stage}_share']):>8}"
            for stage in ("stage1", "stage2")
        ]
        yield f"{row['source']:<12} {row['original']:>9,} {' '.join(stages)}"


def _training(run: dict[str, Any]) -> Iterator[str]:
    """What the training of a stage did, in a line or two."""
    summary, losses = run["summary"], [value for _, value in run["loss"]]
    first, last = (sum(values) / len(values) for values in (losses[:5], losses[-5:]))
    parameters = f"{summary['trained_parameters'] / 1e6:.1f} M of {summary['parameters'] / 1e6:.1f} M parameters trained"
    samples = f"{summary['samples']:,} samples in {summary['seconds']:.0f} s"
    yield f"{run['stage']} stage: loss {first:.2f} → {last:.2f} (means of five steps), {samples}, {parameters}"
    if "recall@1" in summary:
        recall = ", ".join(f"@{k} {summary[f'recall@{k}']:.1%} (chance {summary[f'chance@{k}']:.2%})" for k in (1, 5, 10))
        yield f"  text→image recall, {summary['pairs']:,} held-out captions, {summary['pictures']:,} pictures: {recall}"
    elif "caption_loss" in summary:
        yield f"  loss on {summary['pairs']:,} held-out captions: {summary['caption_loss']:.2f} a token"
