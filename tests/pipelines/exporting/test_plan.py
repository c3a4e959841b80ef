"""The caption that is exported: as published, repaired where stage 2 repaired it, or synthetic; and what says which."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.exporting.plan import plan_part
from pipelines.exporting.settings import ExportSettings
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import conform
from tests.support.pictured import PART, pictured

REPAIRED = {0: "a red thing", 2: "a green thing", 5: "what is this"}


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    """Eight samples, of which stage 2 repaired three, and two have a synthetic caption, 2 and 3."""
    storage = pictured(tmp_path)
    ids = storage.read_parquet(PART.path("samples"), ["sample_id"])["sample_id"]
    judged = {"sample_id": ids, "keep": [True] * 8, "caption_repaired": [REPAIRED.get(row) for row in range(8)]}
    written = {"sample_id": ids, "synthetic_caption": ["s2" if row == 2 else "s3" if row == 3 else None for row in range(8)]}
    for family, columns in (("stage2", judged), ("captions", written)):
        storage.write_parquet(PART.path(family), conform(pa.table(columns), family))
    return storage


def planned(storage: Storage, settings: ExportSettings) -> dict[str, tuple[bool, bool]]:
    """Caption → whether it is synthetic, whether it is repaired."""
    table = plan_part(storage, PART, lambda rows: None, settings=settings, stage=2).table
    return {row["caption"]: (row["synthetic"], row["repaired"]) for row in table.to_pylist()}


def test_an_original_caption_is_the_repaired_one(storage: Storage) -> None:
    captions = planned(storage, ExportSettings())
    assert {caption for caption, (_, repaired) in captions.items() if repaired} == {*REPAIRED.values()}
    assert captions.keys() - REPAIRED.values() == {"a red square", "blue", ""}
    assert not any(synthetic for synthetic, _ in captions.values())


def test_a_synthetic_caption_is_not_repaired(storage: Storage) -> None:
    assert planned(storage, ExportSettings(captions="synthetic")) == {"s2": (True, False), "s3": (True, False)}
    mixture = planned(storage, ExportSettings(captions="mixture", synthetic_share=1))
    original = {"a red thing": (False, True), "a red square": (False, False), "": (False, False), "what is this": (False, True)}
    assert mixture == {"s2": (True, False), "s3": (True, False), **original}
