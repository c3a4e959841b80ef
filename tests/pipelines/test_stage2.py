"""Stage 2 judges captions as it repaired them, keeps them as published, and says in the manifest what it changed."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa

from pipelines.manifest import connect
from pipelines.manifest.ids import sample_ids
from pipelines.manifest.parts import Part
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import conform
from pipelines.recipe import load_recipe
from pipelines.runtime.step import PartResult
from pipelines.stage2 import stage2_step

CAPTIONS = {
    "Two &amp;amp; three cats on a &quot;roof&quot;": 'Two & three cats on a "roof"',
    "Ein Hund im Schnee — Stockfoto": "Ein Hund im Schnee",
    "A red fox in the snow": None,
    "Click to enlarge": None,
    "x" + "<br />" * 200: "x",
}
PART = Part("coyo", 0, 0, len(CAPTIONS))


def judged(root: Path, *overrides: str) -> PartResult:
    """The captions judged by the recipe with these overrides; published and verdicts are written."""
    storage, ids = Storage(str(root)), sample_ids(4, 0, 0, len(CAPTIONS))
    counts = {"caption_chars": [*map(len, CAPTIONS)], "caption_words": [9] * len(CAPTIONS)}
    samples = {"sample_id": ids, "source": ["coyo"] * len(CAPTIONS), "caption": [*CAPTIONS], **counts}
    storage.write_parquet(PART.path("samples"), conform(pa.table(samples), "samples"))
    step = stage2_step(load_recipe(None, ["stage2.boilerplate.duplicate_text.enabled=false", *overrides]))
    result = step.work(storage, PART, lambda rows: None)
    storage.write_parquet(PART.path("stage2"), conform(result.table, "stage2"))
    return result


def test_captions_are_judged_as_repaired_and_kept_as_published(tmp_path: Path) -> None:
    result = judged(tmp_path)
    assert result.table["caption_repaired"].to_pylist() == [*CAPTIONS.values()] and result.counts["repaired"] == 3
    assert result.table["keep"].to_pylist() == [True, True, True, False, False]
    assert result.table["reasons"].to_pylist()[4] == ["length.short"]  # by the characters and words that are left
    assert result.table["language"].to_pylist() == ["en", "de", "en", "en", None]
    rows = connect(str(tmp_path)).sql("select caption, caption_repaired from manifest order by sample_id").fetchall()
    assert rows == [*CAPTIONS.items()]


def test_without_repair_captions_are_judged_as_published(tmp_path: Path) -> None:
    result = judged(tmp_path, "stage2.repair.enabled=false")
    assert result.table["caption_repaired"].null_count == len(CAPTIONS) and result.counts["repaired"] == 0
    assert result.table["keep"].to_pylist() == [False, True, True, False, False]
    assert "length.characters" in result.table["reasons"].to_pylist()[4]


def test_a_worker_of_stage_2_imports_what_it_needs() -> None:
    heavy = {"pipelines.stage2": {"duckdb", "torch", "scipy"}, "pipelines.judging.captions": {"duckdb", "pydantic", "PIL"}}
    for module, others in heavy.items():
        code = f"import sys, {module}; assert not {others} & set(sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True)
