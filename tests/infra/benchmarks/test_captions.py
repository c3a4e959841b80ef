"""What a worker holds that judges captions."""

from pathlib import Path

import pytest

from infra.benchmarks.captions import draw, judge_memory

MIB = 315  # 276 were measured on 2026-11-28, 188 of them Ray Data's, which other versions may surpass


@pytest.mark.slow
def test_a_worker_of_stage_2_holds_little_however_many_captions_a_part_has(tmp_path: Path) -> None:
    few, many = (judge_memory(tmp_path / str(rows), draw(rows)) for rows in (40_000, 240_000))
    assert few < many < MIB and many - few < 40
