"""Thresholds are of one model: a rule whose recipe names it judges no scores of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filters.rules import RuleSetting
from infra.compat.errors import RequestError
from pipelines.manifest.parts import Part
from pipelines.manifest.precedence import places_of
from pipelines.manifest.receipts import read_receipts
from pipelines.manifest.storage import Storage

LEAST_HEX = 8  # digits of a sha256 that name a model


def require_score_models(storage: Storage, parts: Sequence[Part], rules: Sequence[RuleSetting], stage: str) -> None:
    """RequestError where scores of our own were made by another model than the one that a rule names.

    Scores that were published are not looked at: nothing says what made them.
    """
    naming = [setting for setting in rules if setting.model and setting.is_used]
    receipts = read_receipts(storage, "scores", parts) if naming else {}
    for setting in naming:
        where = f"{stage}.{setting.rule.name}.model = {setting.model!r}"
        columns = [column for column in setting.rule.columns if ("scores", column) in places_of(column)]
        if not columns:
            raise RequestError(f"{where}: this rule reads no score; leave it out")
        made_by = {part: made for part, receipt in receipts.items() for c in columns if (made := receipt.settings.get(c))}
        others = {part: made for part, made in made_by.items() if not _is_model(setting.model, made)}
        if others:
            part, made = next(iter(others.items()))
            raise RequestError(
                f"{where}, but {len(others)} parts ({part} …) were scored by {made.get('model')} (sha256 "
                f"{made.get('sha256')}); name that "
                "model with thresholds of its own, or score again with yours: pairmill score --redo"
            )


def _is_model(name: str, made: Mapping[str, Any]) -> bool:
    known = str(made.get("model", ""))
    is_digest = len(name) >= LEAST_HEX and str(made.get("sha256", "")).startswith(name.lower())
    return is_digest or name in (known, Path(known).stem if known.endswith(".json") else known)
