"""The demo's recipe, as it is written into the demo's folder."""

from pathlib import Path

from infra.models import INTERNVL
from pipelines.demo import write_recipe
from pipelines.recipe import load_recipe
from pipelines.run import CHAIN, chain


def test_it_describes_the_whole_chain_beside_its_data(tmp_path: Path) -> None:
    recipe = load_recipe(str(write_recipe(tmp_path, None)))
    assert chain(recipe) == [job for job in CHAIN if job != "report"]  # it follows training
    assert [source.name for source in recipe.sources] == ["laion2b-en", "laion2b-multi", "coyo", "wukong"]
    assert recipe.sources[0].files == (str(tmp_path / "metadata" / "laion2b-en" / "*.parquet"),)
    assert recipe.score.clip_checkpoint == str(tmp_path / "models" / "clip")
    assert recipe.dedup.against == {"demo": str(tmp_path / "eval")} and recipe.caption.model == str(INTERNVL)


def test_only_debians_pictures_are_judged_by_similarity(tmp_path: Path) -> None:
    for corpus, enabled in ((None, True), (tmp_path, False)):
        rules = load_recipe(str(write_recipe(tmp_path, corpus))).stage1_rules()
        (similarity,) = [setting for setting in rules if setting.rule.name == "clip_similarity"]
        assert similarity.enabled == enabled and similarity.for_source("coyo") == {"min": 0.5}
