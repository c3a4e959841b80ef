"""The recipes to start from load by their names, judge as their comments say, and name only sources and rules there are."""

import re
import tomllib
from pathlib import Path

import pyarrow as pa
import pytest

from filters.calibration import is_scalable, threshold_of
from filters.reference import TABLE_2
from infra import recipes
from pipelines.manifest.ids import sample_ids
from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import conform
from pipelines.recipe import SHIPPED, Recipe, load_recipe
from pipelines.sources import sources
from pipelines.stage1 import stage1_step
from pipelines.stage2 import stage2_step
from tests import ROOT

CAPTIONS = ["Two children feed a goat at the fence of a farm", "IMG_2041.jpg", "Home | About us | Products | Contact"]


def kept(recipe: Recipe, storage: Storage, source: str) -> list[bool]:
    """What both stages keep of a part of three samples, with junk for captions of two."""
    part, ids = Part(source, 0, 0, 3), sample_ids(sources()[source].ordinal, 0, 0, 3)
    samples = {
        "sample_id": ids,
        "source": [source] * 3,
        "caption": CAPTIONS,
        "clip_similarity": pa.array([0.31] * 3, pa.float32()),
    }
    words = {"caption_chars": [len(text) for text in CAPTIONS], "caption_words": [len(text.split()) for text in CAPTIONS]}
    storage.write_parquet(part.path("samples"), conform(pa.table(samples | words), "samples"))
    results = [
        step(recipe).work(storage, part, lambda rows: None).table["keep"].to_pylist() for step in (stage1_step, stage2_step)
    ]
    return [all(keeps) for keeps in zip(*results, strict=True)]


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_recipe_loads_by_its_name_or_path_and_runs(name: str, tmp_path: Path) -> None:
    assert load_recipe(name) == load_recipe(SHIPPED[name])
    assert kept(load_recipe(name), Storage(str(tmp_path)), "coyo") == [True, False, False]
    assert f"{name}.toml" in (ROOT / "README.md").read_text() and f"{name}.toml" in (recipes.__doc__ or "")


def test_a_file_goes_before_a_recipe_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "strict").write_text("[export]\nholdout = 0.5\n")
    monkeypatch.chdir(tmp_path)
    assert load_recipe("strict").export.holdout == 0.5


def test_internvl_leaves_whole_in_stage_2_what_the_paper_does_and_gives_its_shares(tmp_path: Path) -> None:
    rules, text = load_recipe("internvl").stage2_rules(), Path(SHIPPED["internvl"]).read_text()
    of_paper = {source.name: TABLE_2[source.title] for source in sources().values() if source.title in TABLE_2}
    for name, row in of_paper.items():
        assert {setting.is_enabled(name) for setting in rules} == {row.stage2_of_stage1 is not None}
        (line,) = [line for line in text.splitlines() if line.startswith(f"#     {name} ")]
        of_rows, *of_stage1 = (float(share) / 100 for share in re.findall(r"([\d.]+) %", line))
        assert of_rows == pytest.approx(row.stage1)
        assert (
            line.endswith(" all")
            if row.stage2_of_stage1 is None
            else of_stage1 == pytest.approx([row.stage2_of_stage1], abs=1e-3)
        )
    assert kept(load_recipe("internvl"), Storage(str(tmp_path)), "wukong") == [True, True, True]
    assert set(tomllib.loads(text)["stage2"]["by_source"]) == {name for name, row in of_paper.items() if not row.stage2_of_stage1}


@pytest.mark.parametrize("stage", ["stage1_rules", "stage2_rules"])
def test_strict_loosens_no_default(stage: str) -> None:
    stricter = 0
    for default, strict in zip(getattr(load_recipe(), stage)(), getattr(load_recipe("strict"), stage)(), strict=True):
        assert default.rule.name == strict.rule.name and strict.enabled
        for source in (*strict.by_source, "coyo"):
            if is_scalable(strict):
                sign = 1 if "min" in strict.thresholds else -1
                difference = sign * (threshold_of(strict, source) - threshold_of(default, source))
                assert difference >= 0, (strict.rule.name, source)
                stricter += difference > 0
    assert stricter >= 5
