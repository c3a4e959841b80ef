"""The report shows numbers that add up, and text from the web as text."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from infra.compat.errors import RequestError
from pipelines import report
from pipelines.manifest.ids import sample_ids
from pipelines.manifest.parts import Part, SourceFile, register_files
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import conform
from sharding.tar import TarWriter
from tests.support.hostile_web import picture

EVIL = '<script>document.title="owned"</script><img src=x onerror=alert(1)>'


@pytest.fixture
def manifest(tmp_path: Path) -> Storage:
    """Six samples of COYO and one reject: two kept, one dropped by each of download, similarity, stage 2 and dedup."""
    storage, part = Storage(str(tmp_path / "root")), Part("coyo", 0, 0, 7)
    register_files(storage, "coyo", [SourceFile("f", 0, 7, 1, "x")])
    ids = sample_ids(4, 0, 0, 7)
    captions = [EVIL, "a cat", "gone", "wrong", "click here", "a cat"]
    scores = pa.array([0.3, 0.31, None, 0.1, 0.3, 0.3], pa.float32())
    size = pa.array([64] * 6, pa.int32())
    samples = {"sample_id": ids[:6], "source": ["coyo"] * 6, "url": [f"http://a.test/{i}" for i in range(6)], "caption": captions}
    tables = {
        "samples": pa.table({**samples, "language": ["en"] * 6, "clip_similarity": scores, "width": size, "height": size}),
        "rejects": pa.table({"sample_id": ids[6:], "reason": ["no_url"], "raw": [""]}),
        "stage1": pa.table(
            {
                "sample_id": ids[:6],
                "keep": [True, True, False, False, True, True],
                "reasons": [[], [], ["download"], ["clip_similarity"], [], []],
            }
        ),
        "stage2": pa.table(
            {
                "sample_id": ids[:6],
                "keep": [True] * 4 + [False, True],
                "reasons": [[]] * 4 + [["boilerplate.call_to_action"], []],
                "quality": pa.array([0.1, 0.9, 0.3, 0.2, 0.0, 0.6], pa.float32()),
            }
        ),
        "dedup": pa.table({"sample_id": ids[:6], "duplicate_of": pa.array([None] * 5 + [int(ids[1])], pa.uint64())}),
        "shards": pa.table({"sample_id": ids[:2], "shard": ["train-000000"] * 2, "position": pa.array([0, 1], pa.int32())}),
    }
    Path(storage.full("images")).mkdir(parents=True)
    with Path(storage.full("images/a.tar")).open("wb") as handle:
        writer = TarWriter(handle)
        places = [writer.add(f"{i}", {"jpg": picture()})["jpg"] for i in range(6)]
        writer.close()
    ok = [i != 2 for i in range(6)]
    tables["fetch"] = pa.table(
        {
            "sample_id": ids[:6],
            "status": ["ok" if o else "failed" for o in ok],
            "error": pa.array([None if o else "http_404" for o in ok], pa.string()),
            "tar": pa.array(["images/a.tar" if o else None for o in ok]),
            "offset": pa.array([places[i][0] if ok[i] else None for i in range(6)], pa.int64()),
            "length": pa.array([places[i][1] if ok[i] else None for i in range(6)], pa.int64()),
        }
    )
    for family, table in tables.items():
        storage.write_parquet(part.path(family), conform(table, family))
    return storage


def write_report(storage: Storage, folder: Path) -> dict:
    report.main(["--root", storage.root, "--out", str(folder), "--note", EVIL])
    return json.loads((folder / "report.json").read_text())


def test_quality_has_the_thresholds_that_leave_the_papers_shares(manifest: Storage, tmp_path: Path) -> None:
    (histogram,) = [row for row in write_report(manifest, tmp_path / "out")["histograms"] if row["title"] == "Quality: low"]
    assert sum(histogram["bins"]) == 6
    (paper,) = histogram["paper"]  # of the four that stage 1 keeps: 0.1, 0.9, 0.0, 0.6
    assert paper["source"] == "COYO" and paper["share"] == pytest.approx(0.268 / 0.716)
    assert paper["value"] == pytest.approx(0.6)
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count('<line class="paper"') == 1 and "COYO: 0.6 leaves 37.4% of what stage 1 keeps, as in the paper" in page


def test_numbers_add_up(manifest: Storage, tmp_path: Path) -> None:
    numbers = write_report(manifest, tmp_path / "out")
    assert [row["samples"] for row in numbers["funnel"]] == [7, 6, 5, 4, 4, 3, 2, 2]
    coyo, total = numbers["retention"]
    assert (coyo["source"], coyo["original"], coyo["stage1"], coyo["stage2"]) == ("COYO", 7, 4, 2)
    assert coyo["paper_stage1_share"] == 0.716 and total["paper_stage2_share"] == 0.17
    assert numbers["stage1_reasons"] == [
        {"reason": "clip_similarity", "dropped": 1, "alone": 1},
        {"reason": "download", "dropped": 1, "alone": 1},
    ]
    similarity = numbers["histograms"][0]
    assert similarity["unknown"] == 1 and sum(similarity["bins"]) == 5
    assert similarity["thresholds"] == [{"rule": "clip_similarity", "source": None, "name": "min", "value": 0.26}]
    assert (similarity["low"], similarity["high"]) == (0.1, 0.5) and np.flatnonzero(similarity["bins"]).tolist() == [0, 20, 21]
    assert numbers["fetch"] == [
        {"status": "ok", "error": None, "samples": 5, "urls": 5},
        {"status": "failed", "error": "http_404", "samples": 1, "urls": 1},
    ]
    assert numbers["hosts"] == [{"host": "a.test", "urls": 1, "error": "http_404"}]


def test_arguments_that_name_nothing_are_refused(manifest: Storage, tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no table")
    pq.write_table(pa.table({"defect": ["x"]}), tmp_path / "other.parquet")
    for option, value, message in (
        ("--truth", "none.parquet", "is no Parquet file of sample_id, defect and of"),
        ("--truth", "text.parquet", "is no Parquet file of sample_id, defect and of"),
        ("--truth", "other.parquet", "is no Parquet file of sample_id, defect and of"),
        ("--training", "none", "holds no summary.json of a run that ended"),
        ("--out", "s3://bucket/report", "is no folder of this machine"),
    ):
        place = value if "://" in value else str(tmp_path / value)
        with pytest.raises(RequestError, match=message) as refusal:
            report.main(["--root", manifest.root, "--out", str(tmp_path / "out"), option, place])
        assert "\n" not in str(refusal.value)


def test_text_from_the_web_is_escaped(manifest: Storage, tmp_path: Path) -> None:
    write_report(manifest, tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text()
    assert "&lt;script&gt;document.title" in page
    assert "<script" not in page and "onerror=alert(1)>" not in page.replace("onerror=alert(1)&gt;", "")
    assert "http://" not in page.replace("http://www.w3.org", "")  # self-contained


@pytest.fixture
def browser(tmp_path: Path) -> list[str]:
    """The command of a Chromium without a window and without network."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium on this machine")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking".split()
    flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}"]
    return [program, *flags, "--window-size=1200,3000"]


def test_a_browser_shows_the_page_and_runs_no_script(browser: list[str], manifest: Storage, tmp_path: Path) -> None:
    write_report(manifest, tmp_path / "out")
    page = (tmp_path / "out" / "index.html").as_uri()
    dom = subprocess.run([*browser, "--dump-dom", page], capture_output=True, text=True, timeout=300, check=True).stdout
    assert "<title>Pairmill report</title>" in dom and "owned</title>" not in dom
    assert dom.count("<svg") >= 9 and dom.count("data:image/jpeg") == 5
    shot = tmp_path / "page.png"
    subprocess.run([*browser, f"--screenshot={shot}", page], capture_output=True, timeout=300, check=True)
    pixels = np.asarray(Image.open(shot).convert("RGB"))
    assert (np.abs(pixels.astype(int) - (63, 124, 172)).sum(axis=2) < 12).sum() > 2000  # bars were drawn


def test_explain_tells_all_that_is_known_of_one_sample(manifest: Storage, capsys: pytest.CaptureFixture[str]) -> None:
    from infra.compat.errors import RequestError
    from pipelines import explain

    ids = sample_ids(4, 0, 0, 7).tolist()
    kept = explain.main(["--root", manifest.root, str(ids[1])])
    assert kept["source row"] == {"source": "coyo", "file": "f", "row": 1, "key": f"{ids[1]:016x}"}
    assert kept["samples"]["caption"] == "a cat" and kept["fetch"]["status"] == "ok"
    assert kept["stage1"] == {"keep": True, "reasons": []} and kept["dedup"] == {"copied_by": [ids[5]]}
    assert "a cat" in capsys.readouterr().out
    copy = explain.main(["--root", manifest.root, f"{ids[5]:016x}"])
    assert copy["dedup"]["duplicate_of"] == ids[1] and "shards" not in copy
    assert explain.main(["--root", manifest.root, str(ids[2])])["fetch"]["error"] == "http_404"
    assert explain.main(["--root", manifest.root, str(ids[6])])["rejects"]["reason"] == "no_url"
    with pytest.raises(RequestError, match="no sample or reject has the id 7"):
        explain.main(["--root", manifest.root, "7"])
