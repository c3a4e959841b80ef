"""The recipe that a calibration writes: the current one, with the fitted thresholds of each source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from filters.rules import RuleSetting
from infra.compat.errors import RequestError
from pipelines.recipe import Recipe, load_recipe

Thresholds = Mapping[str, Mapping[str, float]]  # source → rule → threshold


def write_recipe(out: Path, recipe: Recipe, section: str, settings: Sequence[RuleSetting], thresholds: Thresholds) -> None:
    """Writes the recipe with new thresholds in one section, and switches their rules on where they are off.

    RequestError when the file cannot be written.
    """
    document = recipe.model_dump(exclude_unset=True)
    by_name = {setting.rule.name: setting for setting in settings}
    for source, of_rules in thresholds.items():
        for name, value in of_rules.items():
            place = document.setdefault(section, {})
            for step in (*name.split("."), "by_source", source):
                place = place.setdefault(step, {})
            place |= _values(by_name[name], source, value)
    try:
        out.write_text(tomli_w.dumps(document), encoding="utf-8")
    except OSError as error:
        raise RequestError(f"--out {out} cannot be written ({error.strerror}); name another file") from None
    load_recipe(str(out))


def _values(setting: RuleSetting, source: str, value: float) -> dict[str, Any]:
    (threshold,) = setting.rule.thresholds
    return {threshold: value} if setting.is_enabled(source) else {"enabled": True, threshold: value}
