"""calibrate: the thresholds of a stage that would give a retention, from the manifest alone; nothing is run again.

    pairmill calibrate                                   each source's retention as in InternVL's Table 2, all factors together
    pairmill calibrate --target 0.9 --policy aesthetic   one factor, the others as they are
    pairmill calibrate --stage 2                         what the paper's stage 2 leaves of what stage 1 keeps, by quality.low
    pairmill calibrate --stage 2 --target coyo=0.4       shares of stage 2 are of what stage 1 keeps
    pairmill calibrate --compare other.toml              what another recipe would change against the current one

InternVL publishes what each stage keeps and no threshold, so the retention is the only handle. Of sources of more than five
million samples (half a million for stage 2) a sample is read, drawn by a hash of the ids; the counts say so.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from filters.calibration import is_scalable
from filters.rules import RuleSetting, required_columns
from infra.compat.errors import RequestError, nearest
from pipelines.calibration import show
from pipelines.calibration.comparing import compare
from pipelines.calibration.fitting import fit
from pipelines.calibration.recipe_file import write_recipe
from pipelines.calibration.samples import SampledManifest, as_judged
from pipelines.calibration.stages import STAGES, TOGETHER
from pipelines.calibration.targets import targets_of
from pipelines.manifest.storage import Storage
from pipelines.recipe import Recipe, load_recipe, recipe_of
from pipelines.runtime import command_line
from pipelines.runtime.score_models import require_score_models


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Fits thresholds, or compares two recipes."""
    parser = command_line.parser("calibrate", __doc__ or "")
    parser.add_argument("--stage", type=int, choices=tuple(STAGES), default=1, help="the filter whose thresholds to fit")
    what = "a share for all sources, or source=share (default: the paper's)"
    parser.add_argument("--target", action="append", default=[], metavar="SHARE", help=what)
    policies = "scale all rules, or fit one of them (default: together for stage 1, quality.low for stage 2)"
    parser.add_argument("--policy", metavar="together|RULE", help=policies)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the current recipe with the fitted thresholds")
    parser.add_argument("--compare", metavar="FILE", help="another recipe: say what it would change, and fit nothing")
    options = parser.parse_args(argv)
    stage, recipe = STAGES[options.stage], recipe_of(options)
    settings = stage.rules(recipe)
    storage = Storage(options.root)
    require_score_models(storage, command_line.require_parts(storage), settings, stage.name)
    manifest = SampledManifest(options.root, stage)
    if options.compare:
        other = load_recipe(options.compare)
        return {"sources": {source: _compare(manifest, source, recipe, other) for source in manifest.totals}, "failed": {}}
    policy = _policy(options.policy or stage.policy, settings)
    targets = targets_of(options.target, manifest.totals, stage)
    fits = {source: _fit(manifest, source, recipe, target, policy) for source, target in targets.items()}
    if options.out:
        thresholds = {source: result.get("thresholds", {}) for source, result in fits.items()}
        write_recipe(options.out, recipe, stage.name, settings, thresholds)
    return {"sources": fits, "recipe": str(options.out) if options.out else None, "failed": {}}


def _policy(policy: str, settings: Sequence[RuleSetting]) -> str:
    names = [TOGETHER, *(setting.rule.name for setting in settings if is_scalable(setting))]
    if policy not in names:
        raise RequestError(f"--policy {policy!r} is no rule with one threshold; {nearest(policy, names)}")
    return policy


def _columns(settings: Sequence[RuleSetting], policy: str) -> tuple[str, ...]:
    """What the enabled rules read, and the rule to be fitted, which may be off now."""
    fitted = [column for setting in settings if setting.rule.name == policy for column in setting.rule.columns]
    return (*required_columns(settings), *fitted)


def _fit(manifest: SampledManifest, source: str, recipe: Recipe, target: float | None, policy: str) -> dict[str, Any]:
    stage, rows, settings = manifest.stage, manifest.totals[source], manifest.stage.rules(recipe)
    if target is None:
        _print([f"\n{source}: the paper leaves it whole; nothing is fitted without --target {source}=SHARE"])
        return {"rows": rows, "target": None}
    samples = as_judged(manifest.read(source, _columns(settings, policy)), stage, recipe)
    result = {"rows": rows, "one_in": samples.one_in} | fit(samples, settings, source, target, policy)
    head = f"\n{source}: {rows:,} {stage.unit}, {result['kept_now']:.1%} kept now, {target:.1%} wanted"
    unjudged = f"; stage 1 has not judged {manifest.unjudged[source]:,}" if manifest.unjudged[source] else ""
    _print([head + show.drawn(samples.one_in) + unjudged, *show.fitted(result)])
    return result


def _compare(manifest: SampledManifest, source: str, recipe: Recipe, other: Recipe) -> dict[str, Any]:
    stage = manifest.stage
    settings, others = stage.rules(recipe), stage.rules(other)
    samples = manifest.read(source, required_columns([*settings, *others]))
    now, then = as_judged(samples, stage, recipe), as_judged(samples, stage, other)
    change = compare(now, settings, then, others, source)
    head = f"\n{source}: {change['kept_now']:.2%} kept now, {change['kept_then']:.2%} then"
    _print([head + show.drawn(samples.one_in), *show.changed(change)])
    return {"rows": manifest.totals[source], "one_in": samples.one_in, **change}


def _print(lines: Iterable[str]) -> None:
    sys.stderr.write("\n".join([*lines, ""]))


if __name__ == "__main__":
    command_line.run("calibrate", main)
