"""calibrate: the thresholds of stage 1 that would give a retention, from the manifest alone; nothing is run again.

    pairmill calibrate                                   each source's retention as in InternVL's Table 2, all factors together
    pairmill calibrate --target 0.9 --policy aesthetic   one factor, the others as they are
    pairmill calibrate --compare other.toml              what another recipe would change against the current one

InternVL publishes what stage 1 keeps and no threshold, so the retention is the only handle. Sources of more than five million
samples are read through a sample of them, drawn by a hash of their ids; the counts say so.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from filters.calibration import Fit, fit_one, kept_share, own_loss, scalable, scale_together, with_thresholds
from filters.reference import TABLE_2
from filters.rules import RuleSetting, evaluate, required_columns
from infra.compat.errors import RequestError, nearest
from pipelines.manifest import connect
from pipelines.manifest.storage import Storage
from pipelines.recipe import load_recipe, recipe_of
from pipelines.runtime import command_line
from pipelines.sources import sources

MOST = 5_000_000
TOGETHER = "together"


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Fits thresholds, or compares two recipes."""
    parser = command_line.parser("calibrate", __doc__ or "")
    what = "a share for all sources, or source=share (default: the paper's)"
    parser.add_argument("--target", action="append", default=[], metavar="SHARE", help=what)
    parser.add_argument("--policy", default=TOGETHER, metavar="together|RULE", help="scale all factors, or fit one of them")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the current recipe with the fitted thresholds")
    parser.add_argument("--compare", metavar="FILE", help="another recipe: say what it would change, and fit nothing")
    options = parser.parse_args(argv)
    settings = recipe_of(options).stage1_rules()
    storage = Storage(options.root)
    command_line.require_parts(storage)
    manifest = SampledManifest(options.root)
    if options.compare:
        return _compare(manifest, settings, load_recipe(options.compare).stage1_rules())
    names = [setting.rule.name for setting in scalable(settings)]
    if options.policy not in (TOGETHER, *names):
        raise RequestError(f"--policy {options.policy!r} is no factor; {nearest(options.policy, [TOGETHER, *names])}")
    targets = _targets(options.target, manifest.totals)
    fits = {source: _fit(manifest, source, settings, target, options.policy) for source, target in targets.items()}
    if options.out:
        _write_recipe(options.out, options.recipe, settings, fits)
    return {"sources": fits, "recipe": str(options.out) if options.out else None, "failed": {}}


class SampledManifest:
    """What the manifest knows of each source: how many rows were read, and the columns that rules read."""

    def __init__(self, root: str) -> None:
        self.connection = connect(root)
        self.totals: dict[str, int] = dict(
            self.connection.sql(
                """
                select source, count(*) from (select source from samples union all select source from rejects)
                group by 1 order by 1
                """
            ).fetchall()
        )

    def table(self, source: str, columns: Sequence[str]) -> tuple[pa.Table, int, int]:
        """(samples of the source, or one in so many of them; the rows read that these stand for; one in how many)."""
        one_in = -(-self.totals[source] // MOST)
        query = f"""
            select {", ".join(f'"{column}"' for column in dict.fromkeys(["sample_id", *columns]))} from manifest
            where source = $source and hash(sample_id) % $one_in = 0
        """
        table = self.connection.sql(query, params={"source": source, "one_in": one_in}).to_arrow_table()
        return table, max(1, round(self.totals[source] / one_in)), one_in


def _targets(given: Sequence[str], totals: Mapping[str, int]) -> dict[str, float]:
    """Source → wanted share; the paper's where none is given. RequestError for a share or source that cannot be."""
    titles = {name: source.title for name, source in sources().items()}
    targets = {name: TABLE_2[titles[name]].stage1 for name in totals if titles.get(name) in TABLE_2}
    for text in given:
        name, equals, share = text.rpartition("=")
        try:
            value = float(share)
        except ValueError:
            value = -1.0
        if not 0 < value <= 1:
            raise RequestError(f"--target {text!r} is no share between 0 and 1; write 0.84 or laion2b-en=0.84")
        if equals and name not in totals:
            raise RequestError(f"--target {text!r} names no ingested source; {nearest(name, totals)}")
        targets |= {name: value} if equals else dict.fromkeys(totals, value)
    if not targets:
        raise RequestError("the paper has no retention for these sources; give one with --target")
    return targets


def _fit(manifest: SampledManifest, source: str, settings: Sequence[RuleSetting], target: float, policy: str) -> dict[str, Any]:
    table, total, one_in = manifest.table(source, required_columns(settings))
    now = kept_share(table, settings, source, total)
    result: dict[str, Any] = {"rows": manifest.totals[source], "one_in": one_in, "target": target, "kept_now": now}
    sys.stderr.write(f"\n{source}: {manifest.totals[source]:,} rows, {now:.1%} kept now, {target:.1%} wanted{_drawn(one_in)}\n")
    try:
        if policy == TOGETHER:
            fit = scale_together(table, settings, source, target, total)
        else:
            fit = fit_one(table, settings, policy, source, target, total)
    except ValueError as error:
        sys.stderr.write(f"  {error}\n")
        return result | {"problem": str(error)}
    rows = [_row(table, setting, source, total, fit) for setting in scalable(settings)]
    _show(rows, fit)
    return result | {"kept_then": fit.kept, "thresholds": dict(fit.thresholds), "factors": rows}


def _drawn(one_in: int) -> str:
    return f" (from one row in {one_in})" if one_in > 1 else ""


def _row(table: pa.Table, setting: RuleSetting, source: str, total: int, fit: Fit) -> dict[str, Any]:
    """One factor: its threshold and what it alone would keep, now and then."""
    name, now = setting.rule.name, next(iter(setting.for_source(source).values()))
    then = fit.thresholds.get(name, now)
    alone = [1 - own_loss(table, one, source, total) for one in (setting, with_thresholds(setting, source, then))]
    return {"factor": name, "now": now, "alone_now": alone[0], "then": then, "alone_then": alone[1]}


def _show(rows: Sequence[Mapping[str, Any]], fit: Fit) -> None:
    lines = [f"  {'factor':<26} {'now':>10} {'alone keeps':>12} {'then':>10} {'alone keeps':>12}"]
    for row in rows:
        values = f"{row['now']:>10.4g} {row['alone_now']:>12.2%} {row['then']:>10.4g} {row['alone_then']:>12.2%}"
        lines.append(f"  {row['factor']:<26} {values}")
    sys.stderr.write("\n".join([*lines, f"  all together keep {fit.kept:.2%} then", ""]))


def _write_recipe(out: Path, current: str | None, settings: Sequence[RuleSetting], fits: Mapping[str, Any]) -> None:
    """Writes the current recipe with the fitted thresholds of each source."""
    import tomli_w

    document = load_recipe(current).model_dump(exclude_unset=True)
    for source, result in fits.items():
        for name, value in result.get("thresholds", {}).items():
            (threshold,) = next(setting for setting in settings if setting.rule.name == name).rule.thresholds
            section = document.setdefault("stage1", {})
            for step in (*name.split("."), "by_source", source):
                section = section.setdefault(step, {})
            section[threshold] = value
    try:
        out.write_text(tomli_w.dumps(document), encoding="utf-8")
    except OSError as error:
        raise RequestError(f"--out {out} cannot be written ({error.strerror}); name another file") from None
    load_recipe(str(out))


def _compare(manifest: SampledManifest, settings: Sequence[RuleSetting], others: Sequence[RuleSetting]) -> dict[str, Any]:
    """What changes from the current rules to others: samples that stay, leave or come back, and reasons by rule."""
    changes = {}
    for source in manifest.totals:
        table, total, one_in = manifest.table(source, required_columns([*settings, *others]))
        (keep, reasons), (keep_then, reasons_then) = (evaluate(table, rules, source) for rules in (settings, others))
        counted = pa.table({"now": keep, "then": keep_then}).group_by(["now", "then"]).aggregate([([], "count_all")]).to_pylist()
        moved = {(row["now"], row["then"]): row["count_all"] * one_in for row in counted}
        by_rule = {name: (_count(reasons, name) * one_in, _count(reasons_then, name) * one_in) for name in _names(settings)}
        changes[source] = {
            "rows": manifest.totals[source],
            "one_in": one_in,
            "kept_now": kept_share(table, settings, source, total),
            "kept_then": kept_share(table, others, source, total),
            "leave": moved.get((True, False), 0),
            "come_back": moved.get((False, True), 0),
            "dropped_by": {name: {"now": now, "then": then} for name, (now, then) in by_rule.items() if now != then},
        }
        one = changes[source]
        lines = [f"\n{source}: {one['kept_now']:.2%} kept now, {one['kept_then']:.2%} then{_drawn(one_in)}"]
        lines.append(f"  {one['leave']:,} leave, {one['come_back']:,} come back")
        lines += [f"  {name}: drops {now:,} now, {then:,} then" for name, (now, then) in by_rule.items() if now != then]
        sys.stderr.write("\n".join([*lines, ""]))
    return {"sources": changes, "failed": {}}


def _names(settings: Sequence[RuleSetting]) -> list[str]:
    return [setting.rule.name for setting in settings]


def _count(reasons: pa.Array, name: str) -> int:
    import pyarrow.compute as pc

    return pc.sum(pc.equal(reasons.flatten(), name)).as_py() or 0


if __name__ == "__main__":
    command_line.run("calibrate", main)
