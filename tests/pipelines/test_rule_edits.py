"""An edited rule is never served from old verdicts: exactly the parts of the step that it belongs to go stale."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from filters import stage1, stage2
from filters.rules import Rule, below, column, matches
from filters.text import repair
from infra.compat.errors import RequestError
from pipelines import calibrate, dedup, ingest, status
from pipelines import stage1 as stage1_job
from pipelines import stage2 as stage2_job
from pipelines.manifest import connect, precedence
from pipelines.manifest.parts import Part, all_parts
from pipelines.manifest.receipts import read_receipts
from pipelines.manifest.storage import Storage
from pipelines.recipe import load_recipe
from pipelines.runtime.step import fingerprints

CAPTIONS = ["A red fox in the snow", "A woman sits on a sofa", "Two cats on a roof"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, ray_session: None) -> Storage:
    """Two sources of two files each, ingested and judged by both stages."""
    folder = tmp_path_factory.mktemp("finished")
    root = str(folder / "root")
    rows = {"URL": [f"http://a/{n}.jpg" for n in range(3)], "TEXT": CAPTIONS, "WIDTH": [640] * 3, "HEIGHT": [480] * 3}
    for source in ("laion2b-en", "laion2b-multi"):
        files = [str(folder / f"{source}-{number}.parquet") for number in range(2)]
        for file in files:
            pq.write_table(pa.table({**rows, "similarity": [0.3, 0.31, 0.9], "LANGUAGE": ["en"] * 3}), file)
        ingest.main(["--root", root, source, *files])
    stage1_job.main(["--root", root])
    stage2_job.main(["--root", root])
    return Storage(root)


def stale(storage: Storage, overrides: list[str] | None = None) -> dict[str, set[Part]]:
    """By step, the parts whose receipt does not carry the fingerprint that they would get now."""
    recipe, parts = load_recipe(None, overrides or []), all_parts(storage)
    by_step = {}
    for step in (stage1_job.stage1_step(recipe), stage2_job.stage2_step(recipe)):
        now, receipts = fingerprints(storage, step, parts), read_receipts(storage, step.family, parts)
        by_step[step.family] = {part for part in parts if part not in receipts or receipts[part].fingerprint != now[part]}
    return by_step


WORDS = ["sofa", "chair"]


def names_furniture(table: pa.Table, thresholds: object) -> pa.Array:
    return pc.match_substring_regex(table["caption"], "|".join(WORDS))


def edited(name: str, **changes: object) -> Callable[[pytest.MonkeyPatch], None]:
    """Puts a rule with these fields in the place of the rule of that name."""

    def edit(patch: pytest.MonkeyPatch) -> None:
        for stage in (stage1, stage2):
            patch.setattr(stage, "RULES", [replace(rule, **changes) if rule.name == name else rule for rule in stage.RULES])

    return edit


def added(stage: object, rule: Rule) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(stage, "RULES", [*stage.RULES, replace(rule, name="new.rule")])


def repair_edited(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(repair, "STEPS", repair.STEPS[:-1])


EDITS = {
    "repair": ("stage2", repair_edited),
    "regex": ("stage2", edited("source_code.query", drops=matches(r"\bSELECT\b"))),
    "function": ("stage2", edited("boilerplate.repetition", drops=names_furniture)),
    "measure": ("stage2", edited("readability.marks", measure=column("caption_words"))),
    "closure": ("stage1", edited("aesthetic", drops=below(column("watermark")))),
    "function of stage 1": ("stage1", edited("download", drops=lambda table, thresholds: pc.is_null(table["fetch_status"]))),
    "threshold": ("stage1", edited("clip_similarity", thresholds={"min": 0.27})),
    "threshold of stage 2": ("stage2", edited("length.short", thresholds={"min": 4})),
    "meaning of NULL": ("stage1", edited("watermark", missing="drop")),
    "new rule": ("stage1", added(stage1, stage1.RULES[0])),
    "new rule of stage 2": ("stage2", added(stage2, stage2.RULES[0])),
}


@pytest.mark.parametrize("step, edit", EDITS.values(), ids=EDITS)
def test_an_edited_rule_makes_exactly_the_parts_of_its_step_stale(finished, monkeypatch, step: str, edit) -> None:
    assert stale(finished) == {"stage1": set(), "stage2": set()}
    edit(monkeypatch)
    assert stale(finished) == {"stage1": set(), "stage2": set(), step: set(all_parts(finished))}


def test_an_edited_word_list_makes_the_parts_of_its_step_stale(finished, monkeypatch) -> None:
    edited("boilerplate.repetition", drops=names_furniture)(monkeypatch)
    before = stage2_job.stage2_step(load_recipe(None))
    monkeypatch.setitem(globals(), "WORDS", ["sofa", "table"])
    after = stage2_job.stage2_step(load_recipe(None))
    parts = all_parts(finished)
    first, second = (fingerprints(finished, step, parts) for step in (before, after))
    assert all(first[part] != second[part] for part in parts)


SETTINGS = {"stage1.unsafe.max=0.4": "stage1", "stage2.length.words.max=99": "stage2", "stage2.repair.enabled=false": "stage2"}


@pytest.mark.parametrize("override, step", SETTINGS.items())
def test_a_setting_of_the_recipe_makes_exactly_the_parts_of_its_step_stale(finished, override: str, step: str) -> None:
    assert stale(finished, [override]) == {"stage1": set(), "stage2": set(), step: set(all_parts(finished))}


def test_the_edit_of_a_disabled_rule_makes_nothing_stale(finished, monkeypatch) -> None:
    off = ["stage2.source_code.query.enabled=false"]
    before = stage2_job.stage2_step(load_recipe(None, off))
    EDITS["regex"][1](monkeypatch)
    after = stage2_job.stage2_step(load_recipe(None, off))
    parts = all_parts(finished)
    assert fingerprints(finished, before, parts) == fingerprints(finished, after, parts)


def test_the_next_run_judges_by_the_edited_rule(finished, monkeypatch) -> None:
    def kept() -> list[str]:
        query = "select distinct caption from manifest where stage2_keep order by 1"
        return [caption for (caption,) in connect(finished.root).sql(query).fetchall()]

    assert kept() == sorted(CAPTIONS)
    with monkeypatch.context() as patch:
        edited("source_code.query", drops=matches(r"(?i)\bsofa\b"))(patch)
        assert stage2_job.main(["--root", finished.root])["dropped"] == 4
        assert kept() == sorted({*CAPTIONS} - {"A woman sits on a sofa"})
    assert stage2_job.main(["--root", finished.root])["dropped"] == 0 and stale(finished)["stage2"] == set()


def test_another_precedence_of_a_column_that_rules_read_makes_verdicts_stale(
    finished: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(precedence.PRECEDENCE, "width", (("samples", "width"),))
    assert stale(finished) == {"stage1": set(all_parts(finished)), "stage2": set()}


def test_a_rule_on_a_column_that_comes_later_is_refused_by_every_job(monkeypatch: pytest.MonkeyPatch) -> None:
    added(stage1, replace(stage1.RULES[0], columns=("shard",)))(monkeypatch)
    with pytest.raises(RequestError, match=r"rule 'new\.rule' of stage1 reads shard, which is not known before stage1"):
        load_recipe()


def test_calibrate_reads_any_column(finished: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    added(stage1, replace(stage1.RULES[0], columns=("clip_similarity", "sample_id")))(monkeypatch)
    counts = calibrate.main(["--root", finished.root, "--target", "0.5", "--policy", "clip_similarity"])
    assert {row["rows"] for row in counts["sources"].values()} == {6}


def test_status_shows_stale_parts_of_every_pure_step(finished: Storage, tmp_path: Path) -> None:
    root = shutil.copytree(finished.root, tmp_path / "root")
    dedup.main(["--root", str(root)])
    assert status_of_dedup(root) == [(0, 0), (0, 0)]
    stage1_job.main(["--root", str(root), "--set", "stage1.clip_similarity.min=0.305"])
    assert status_of_dedup(root) == [(2, 6), (2, 6)]


def status_of_dedup(root: Path) -> list[tuple[int, int]]:
    rows = status.main(["--root", str(root)])["status"]
    return [(row["stale"], row["to_do"]) for row in rows if row["family"] == "dedup"]
