"""The demo on the real corpus, as `make demo` runs it, against what its issue promises."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.compat.paths import cache_folder
from pipelines.demo_corpus.corpus import debian_pictures
from pipelines.demo_corpus.render import render_all
from pipelines.manifest import connect

CERTAIN = ("http_404", "html", "truncated", "tiny", "exact_copy")


pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(9000),
    pytest.mark.skipif(shutil.which("apt-get") is None, reason="the corpus comes from Debian packages"),
]


def test_two_drawings_of_the_corpus_are_the_same_bytes(tmp_path: Path) -> None:
    pictures = debian_pictures(cache_folder())
    drawings = [render_all(pictures, tmp_path / name) for name in ("first", "second")]
    assert drawings[0] == drawings[1] and len(drawings[0]) > 4000
    for path, _, _ in drawings[0].values():
        assert (tmp_path / "first" / path).read_bytes() == (tmp_path / "second" / path).read_bytes(), path


def test_the_demo_keeps_its_promises(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    command = [sys.executable, "-m", "pipelines.demo", "--root", str(root), "--train-seconds", "20"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=4000)
    assert done.returncode == 0, done.stderr[-3000:]
    counts = json.loads(done.stdout.splitlines()[-1])
    planted = {row["defect"]: (row["planted"], row["caught"]) for row in counts["planted"]}
    for defect in CERTAIN:
        assert planted[defect][0] == planted[defect][1] > 0, defect
    good, lost = planted["untouched good pairs lost"]
    assert good > 45_000 and lost <= 0.1 * good
    swapped, caught = planted["swapped"]
    assert caught >= 0.7 * swapped > 0
    connection = connect(str(root))
    cut = "select avg(list_contains(stage2_reasons, 'quality.low')::int) from manifest "
    cut += "left join read_parquet($truth) t using (sample_id)"
    shares = [
        connection.sql(f"{cut} where {where}", params={"truth": str(root / "truth.parquet")}).fetchall()[0][0]
        for where in ("t.defect = 'weak'", "t.defect is null")
    ]
    assert shares[0] >= 0.8 and shares[1] <= 0.05, shares
    ((languages, pictures),) = connection.sql("select count(distinct language), count(distinct sha256) from manifest").fetchall()
    assert languages > 70 and pictures > 4000
    for stage in ("contrastive", "generative"):
        summary = json.loads((root / "training" / stage / "summary.json").read_text())
        assert summary["recall@10"] > 2 * summary["chance@10"]
    for stage in ("concept", "semantic", "instruction"):
        rows = [json.loads(line) for line in (root / "training" / f"mono-{stage}" / "metrics.jsonl").read_text().splitlines()]
        losses = [row["loss"] for row in rows]
        some = min(5, len(losses) // 2)  # a loaded machine makes few steps in the time that a stage has
        assert sum(losses[-some:]) < sum(losses[:some]) and f"mono-{stage} stage: loss" in done.stderr, stage
    ((captioned, prompts),) = connection.sql("select count(synthetic_caption), count(distinct prompt) from captions").fetchall()
    assert captioned > 10_000 and prompts == 2
    report = json.loads((root / "report" / "report.json").read_text())
    right, wrong = (kind["mean"] for kind in report["separation"]["kinds"])
    assert right > wrong + 0.2
    tars = {path: path.stat().st_mtime_ns for folder in ("images", "shards") for path in (root / folder).rglob("*.tar")}
    again = subprocess.run(command, capture_output=True, text=True, timeout=4000, check=True)
    assert again.stderr.count("was trained on these shards before") == 3
    assert {path: path.stat().st_mtime_ns for path in tars} == tars
