"""Exports for a training stage: conversations in the language of the caption, and a data card that counts."""

import json
from pathlib import Path

import pytest

from infra.compat.errors import RequestError
from pipelines import export
from pipelines.exporting.products import IN_ONE_SENTENCE, PRODUCTS, conversation
from pipelines.exporting.settings import ExportSettings
from pipelines.manifest import connect
from sharding import ShardReader, faults, read_dataset
from tests.support.pictured import pictured


def samples(out: Path) -> list[tuple[str, dict]]:
    reader = ShardReader(read_dataset(str(out)), "train")
    read = (reader.read(shard, row) for shard, size in enumerate(reader.sizes()) for row in range(size))
    return [(sample.text, json.loads(sample.json)) for sample in read]


def test_a_concept_export_is_conversations_with_a_card(tmp_path: Path, ray_session: None) -> None:
    storage, out = pictured(tmp_path / "root", broken=False), tmp_path / "shards"
    counts = export.main(["--root", storage.root, "--stage", "concept", "--out", str(out)])
    assert counts["exported"] == 6 and counts["failed"] == {} and list(faults(str(out))) == []
    for caption, metadata in samples(out):
        assert metadata["conversations"] == [
            {"from": "human", "value": "<image>\nProvide a one-sentence caption for the image."},
            {"from": "gpt", "value": caption},
        ]
    card = (out / "data-card.md").read_text()
    assert "| coyo | 6 | 0 |" in card and "922 M" in card and "Provide a one-sentence caption" in card
    assert connect(storage.root).sql("select count(*) from shards_concept where shard is not null").fetchall() == [(6,)]
    before = {path.name: path.read_bytes() for path in out.glob("*") if path.is_file()}
    export.main(["--root", storage.root, "--stage", "concept", "--out", str(out)])
    assert {path.name: path.read_bytes() for path in out.glob("*") if path.is_file()} == before
    export.main(
        ["--root", storage.root, "--stage", "concept", "--out", str(out), "--set", 'export.prompts={"" = "Was ist das?"}']
    )
    assert {metadata["conversations"][0]["value"] for _, metadata in samples(out)} == {"<image>\nWas ist das?"}


def test_captions_of_one_picture_have_a_conversation_each(tmp_path: Path, ray_session: None) -> None:
    storage, out = pictured(tmp_path / "root", broken=False), tmp_path / "shards"
    several = ["--set", "export.captions_per_sample=9"]
    export.main(["--root", storage.root, "--stage", "concept", "--out", str(out), *several])
    reader = ShardReader(read_dataset(str(out)), "train")
    pairs = [pair for row in range(reader.sizes()[0]) for pair in reader.read(0, row).pairs()]
    assert len(pairs) == 6
    for pair in pairs:
        assert json.loads(pair.json)["conversations"][1]["value"] == pair.text


def test_a_stage_needs_what_it_is_made_of(tmp_path: Path, ray_session: None) -> None:
    storage = pictured(tmp_path / "root")
    with pytest.raises(RequestError, match="stage2 has not judged"):
        export.main(["--root", storage.root, "--stage", "alignment", "--out", str(tmp_path / "shards")])
    counts = export.main(["--root", storage.root, "--stage", "semantic", "--out", str(tmp_path / "semantic")])
    assert counts["exported"] == 0, "nothing has a synthetic caption"


@pytest.mark.parametrize("stage", PRODUCTS)
def test_a_recipe_may_set_what_a_stage_would(stage: str) -> None:
    settings = ExportSettings.model_validate({"stage": stage, "captions": "mixture"}).of_product()
    assert settings.captions == "mixture" and settings.name == stage and settings.prompts == dict(IN_ONE_SENTENCE)
    assert settings.filter == PRODUCTS[stage].filter


def test_the_question_is_in_the_language_of_the_caption() -> None:
    asked = {language: conversation("x", language, IN_ONE_SENTENCE)[0]["value"] for language in ("zh", "en", "de", None)}
    assert asked["zh"] == "<image>\n请用一句话描述这张图片。" and len(set(asked.values())) == 2
    assert conversation("x", "de", {"zh": "?"})[0]["value"] == "<image>\n?"
