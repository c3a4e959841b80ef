"""The whole mill on a small corpus: defects caught, nothing done twice, and the same manifest after any number of kills."""

import hashlib
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines import run
from pipelines.manifest import connect
from pipelines.manifest.storage import Storage
from sharding.checks import faults
from sharding.index import read_dataset

pytestmark = pytest.mark.timeout(9000)
TIME_LIMIT = 3000  # seconds for one demo: ten times what it needs

CAUGHT_ALWAYS = ("http_404", "html", "truncated", "tiny", "exact_copy", "timeout", "redirect", "redirect_loop", "broken_row")


def demo(root: Path, corpus: Path, train_seconds: int = 0) -> list[str]:
    command = [sys.executable, "-m", "pipelines.demo", "--root", str(root), "--corpus", str(corpus)]
    return [*command, "--train-seconds", str(train_seconds)]


def contents(root: Path, folders: tuple[str, ...]) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in folders
        for path in sorted((root / folder).rglob("*"))
        if path.is_file() and "receipts" not in path.parts and ".tmp" not in path.parts
    }


MANIFEST = ("manifest", "images", "shards")
WEB = ("pictures", "eval", "metadata", "models")
JOB_LINES = 11  # of stderr: one a job of the chain, however much of it is done


@pytest.fixture(scope="module")
def undisturbed(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, str]:
    root = tmp_path_factory.mktemp("demo") / "root"
    done = subprocess.run(demo(root, corpus, train_seconds=8), capture_output=True, text=True, timeout=TIME_LIMIT)
    assert done.returncode == 0, done.stderr[-3000:]
    return root, json.loads(done.stdout.splitlines()[-1]), done.stderr


def test_planted_defects_are_caught_and_good_pairs_kept(undisturbed) -> None:
    counts = {row["defect"]: row for row in undisturbed[1]["planted"]}
    for defect in CAUGHT_ALWAYS:
        assert counts[defect]["caught"] == counts[defect]["planted"] > 0, defect
    lost = counts["untouched good pairs lost"]
    assert lost["caught"] <= 0.02 * lost["planted"]


def test_a_person_sees_progress_a_table_and_where_the_report_is(undisturbed) -> None:
    shown = undisturbed[2]
    assert "100.0%" in shown and "rows" in shown
    for words in ("planted defect", "untouched good pairs lost", "source", "(paper)", "text→image recall", "report/index.html"):
        assert words in shown
    assert "Traceback" not in shown


def test_every_sample_traces_to_its_row_and_every_dropped_one_to_a_reason(undisturbed) -> None:
    connection = connect(str(undisturbed[0]))
    unexplained = connection.sql(
        "select count(*) from manifest where shard is null and len(stage1_reasons) = 0 and len(stage2_reasons) = 0 "
        "and duplicate_of is null and eval_match is null"
    ).fetchall()
    assert unexplained == [(0,)]
    kept_but_dropped = connection.sql(
        "select count(*) from manifest where shard is not null and not (stage1_keep and stage2_keep and duplicate_of is null "
        "and eval_match is null and fetch_status = 'ok')"
    ).fetchall()
    assert kept_but_dropped == [(0,)]
    ((read, unique),) = connection.sql(
        "select count(*), count(distinct sample_id) from (select sample_id from samples union all select sample_id from rejects)"
    ).fetchall()
    files = [json.loads(path.read_text()) for path in (undisturbed[0] / "sources").glob("*/*.json")]
    assert read == unique == sum(file["rows"] for file in files)


def test_a_url_that_several_rows_share_is_stored_once(undisturbed) -> None:
    worst = connect(str(undisturbed[0])).sql(
        'select max(n) from (select count(distinct (tar, "offset")) as n from "fetch" join samples using (sample_id) '
        "where status = 'ok' group by url)"
    )
    assert worst.fetchall() == [(1,)]


def test_shards_hold_what_the_manifest_says(undisturbed) -> None:
    import io
    import tarfile

    root = undisturbed[0]
    dataset = read_dataset(str(root / "shards"))
    assert list(faults(dataset.uri)) == []
    columns = "sample_id, coalesce(caption_repaired, caption), url, shard, position"
    rows = connect(str(root)).sql(f"select {columns} from manifest where shard is not null").fetchall()
    stored = {}
    for shards in dataset.splits.values():
        for shard in shards:
            with tarfile.open(root / "shards" / f"{shard.name}.tar") as tar:
                for place, member in enumerate(tar):
                    data = tar.extractfile(member).read()
                    stored.setdefault((shard.name, place // 3), {})[member.name.split(".")[1]] = data
    assert len(rows) == len(stored) == sum(shard.samples for shards in dataset.splits.values() for shard in shards)
    storage = Storage(str(root))
    places = dict(
        (sample_id, place)
        for sample_id, *place in connect(str(root))
        .sql('select sample_id, tar, "offset", length from "fetch" where status = \'ok\'')
        .fetchall()
    )
    for sample_id, caption, url, shard, position in rows:
        sample = stored[shard, position]
        assert sample["txt"].decode() == caption
        assert json.loads(sample["json"])["url"] == url and json.loads(sample["json"])["sample_id"] == sample_id
        assert sample["jpg"] == storage.read_range(*places[sample_id])
        assert io.BytesIO(sample["jpg"]).read(2) == b"\xff\xd8"


def test_all_three_stages_trained_on_the_shards(undisturbed) -> None:
    for stage in ("contrastive", "generative", "chat"):
        folder = undisturbed[0] / "training" / stage
        steps = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert steps and all(math.isfinite(step["loss"]) for step in steps), stage
        summary = json.loads((folder / "summary.json").read_text())
        assert summary["pairs"] > 0 and 0 < summary["trained_parameters"] <= summary["parameters"]
        if stage != "chat":
            assert 0 <= summary["recall@1"] <= summary["recall@10"] <= 1
            assert summary["chance@1"] == pytest.approx(1 / summary["pictures"])
    assert {"itc", "itm", "itg"} == set(
        json.loads((undisturbed[0] / "training" / "generative" / "metrics.jsonl").read_text().splitlines()[0])["losses"]
    )


def test_scores_and_captions_come_from_the_small_models(undisturbed) -> None:
    connection = connect(str(undisturbed[0]))
    scored, fetched = connection.sql(
        "select count(c.clip_similarity), count(*) from manifest m left join scores c using (sample_id) "
        "where fetch_status = 'ok' and stage1_keep"
    ).fetchall()[0]
    assert scored == fetched > 300
    found = connection.sql(
        "select source, count(*), any_value(prompt), any_value(model) from captions join samples using (sample_id) group by 1"
    ).fetchall()
    assert {row[0] for row in found} == {"laion2b-en", "coyo", "wukong"}
    assert all(("图片" in row[2]) == (row[0] == "wukong") and row[3].startswith("internvl@") for row in found)
    page = (undisturbed[0] / "report" / "index.html").read_text()
    for words in (
        "Right and swapped captions",
        "Described by a model",
        "Generative stage: loss by step",
        "Chat stage: loss by step",
    ):
        assert words in page


def test_a_second_run_does_no_work_twice(undisturbed, corpus: Path) -> None:
    root = undisturbed[0]
    receipts = {
        path: path.read_bytes() for path in (root / "receipts").rglob("*.json") if not {"fetch", "scores"} & set(path.parts)
    }
    before, stamps = (
        contents(root, MANIFEST),
        {p: p.stat().st_mtime_ns for f in ("images", "shards") for p in (root / f).rglob("*.tar")},
    )
    done = subprocess.run(demo(root, corpus, train_seconds=8), capture_output=True, text=True, timeout=TIME_LIMIT)
    assert done.returncode == 0, done.stderr[-3000:]
    assert contents(root, MANIFEST) == before
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert {path: path.read_bytes() for path in receipts} == receipts
    assert done.stderr.count("was trained on these shards before") == 3


def test_a_threshold_change_touches_no_costly_step(undisturbed, tmp_path: Path, ray_session: None) -> None:
    from pipelines import stage1

    root = tmp_path / "root"
    shutil.copytree(undisturbed[0], root, ignore=shutil.ignore_patterns("shards", "pictures", "training"))
    before = contents(root, ("manifest/fetch", "images"))
    counts = stage1.main(["--root", str(root), "--set", "stage1.caption_length.short.min=12"])
    assert counts["ran"] == counts["parts"]
    assert counts["reasons"]["caption_length.short"] > 0
    assert contents(root, ("manifest/fetch", "images")) == before


def test_a_smaller_export_leaves_no_shard_of_a_larger_one(undisturbed, tmp_path: Path, ray_session: None) -> None:
    from pipelines import export

    root = tmp_path / "root"
    shutil.copytree(undisturbed[0], root, ignore=shutil.ignore_patterns("shards", "pictures", "training"))
    names = []
    for size in (50, 200):
        sized = ["--set", f"export.samples_per_shard={size}"]
        export.main(["--root", str(root), "--stage", "2", "--out", str(tmp_path / "out"), *sized])
        listed = {shard.name for shards in read_dataset(str(tmp_path / "out")).splits.values() for shard in shards}
        assert {path.stem for path in (tmp_path / "out").glob("*.tar")} == listed
        assert {path.stem for path in (tmp_path / "out" / "receipts").glob("*-*.json")} == listed
        assert list(faults(str(tmp_path / "out"))) == []
        names.append(listed)
    assert names[1] < names[0]


def test_a_chain_that_ended_before_scoring_goes_on_to_the_same_bytes(undisturbed, corpus: Path) -> None:
    root = undisturbed[0]
    before = contents(root, MANIFEST)
    for folder in ("manifest", "receipts", "partial"):
        shutil.rmtree(root / folder / "scores", ignore_errors=True)
    done = subprocess.run(demo(root, corpus), capture_output=True, text=True, timeout=TIME_LIMIT)
    assert done.returncode == 0, done.stderr[-3000:]
    assert contents(root, MANIFEST) == before


def test_the_recipe_in_the_demos_folder_is_the_whole_chain(undisturbed, ray_session: None) -> None:
    root = undisturbed[0]
    before = contents(root, MANIFEST)
    counts = run.main(["--root", str(root), "--recipe", str(root / "recipe.toml")])
    assert [job["job"] for job in counts["jobs"]] == [job for job in run.CHAIN if job != "report"]  # it follows training
    assert contents(root, MANIFEST) == before and not counts["failed"]


def kill_at_line(command: list[str], number: int, seconds: float) -> bool:
    """Runs a command and kills it so many seconds after that line of its stderr; whether it was still running then."""
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        for _, _ in zip(range(number), process.stderr, strict=False):
            pass
        time.sleep(seconds)
        running = process.poll() is None
        if running:
            os.killpg(process.pid, signal.SIGKILL)
    return running


@pytest.mark.slow
def test_kill_anywhere_leaves_the_same_bytes(undisturbed, corpus: Path, tmp_path: Path) -> None:
    chance, root, kills = random.Random(1), tmp_path / "root", 0
    for line in sorted(chance.sample(range(2, JOB_LINES), 5)):
        kills += kill_at_line(demo(root, corpus), line, chance.uniform(0, 2))
    assert kills >= 3
    done = subprocess.run(demo(root, corpus), capture_output=True, text=True, timeout=TIME_LIMIT)
    assert done.returncode == 0, done.stderr[-3000:]
    assert contents(root, MANIFEST) == contents(undisturbed[0], MANIFEST)
    assert contents(root, WEB) == contents(undisturbed[0], WEB)
    assert not list((root / "partial" / "fetch").rglob("*.parquet"))
