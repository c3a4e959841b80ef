"""run does the whole chain that a recipe describes: in order, only what is pending, up to the first failed job."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.compat.errors import RequestError
from pipelines import run
from pipelines.recipe import load_recipe
from sharding.checks import faults

ROWS = {
    "URL": [f"http://pictures.test/{number}.jpg" for number in range(6)],
    "TEXT": [f"A red fox number {number} in the snow" for number in range(6)],
    "WIDTH": [640] * 6,
    "HEIGHT": [480] * 6,
    "similarity": [0.4] * 5 + [0.01],
}
RECIPE = """
[[sources]]
name = "laion2b-en"
files = ["metadata/*.parquet"]

[fetch]
connect_to."pictures.test" = "127.0.0.1:9"  # nothing listens there
retries = 0
breaker = 100

[export]
out = "shards"

[report]
out = "report"
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe in a folder with the metadata it names."""
    folder = tmp_path / "mill"
    (folder / "metadata").mkdir(parents=True)
    pq.write_table(pa.table(ROWS), folder / "metadata" / "part.parquet")
    (folder / "recipe.toml").write_text(RECIPE)
    return folder / "recipe.toml"


def test_the_chain_runs_in_order_and_a_second_run_does_nothing(
    recipe: Path, root: str, ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # paths of the recipe are relative to its folder
    first = run.main(["--root", root, "--recipe", str(recipe)])
    jobs = [job["job"] for job in first["jobs"]]
    assert jobs == ["ingest", "stage1", "fetch", "stage1", "stage1", "dedup", "stage2", "export", "report"]
    assert first["failed"] == {} and "stopped_at" not in first
    assert first["jobs"][0]["samples"] == 6 and first["jobs"][1]["dropped"] == 1
    assert (recipe.parent / "report" / "index.html").exists() and not list(faults(str(recipe.parent / "shards")))
    again = run.main(["--root", root, "--recipe", str(recipe)])
    assert [job["job"] for job in again["jobs"]] == jobs
    assert {job["job"] for job in again["jobs"] if job.get("ran")} <= {"fetch"}  # it looks whether stage1 left it new samples
    edited = run.main(["--root", root, "--recipe", str(recipe), "--set", "stage1.clip_similarity.min=0.0"])
    ran = {job["job"] for job in edited["jobs"] if job.get("ran")}
    assert "stage1" in ran and not ran & {"ingest", "stage2"}


def test_it_stops_at_the_first_failed_job_and_goes_on_from_there(
    recipe: Path, root: str, ray_session: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines import fetch

    main = fetch.main
    monkeypatch.setattr(fetch, "main", lambda argv: {"ok": 0, "parts": 1, "ran": 1, "failed": {"laion2b-en/0": "disk full"}})
    stopped = run.main(["--root", root, "--recipe", str(recipe)])
    assert stopped["stopped_at"] == "fetch" and stopped["failed"] == {"laion2b-en/0": "disk full"}
    assert [job["job"] for job in stopped["jobs"]] == ["ingest", "stage1", "fetch"]
    monkeypatch.setattr(fetch, "main", main)
    resumed = run.main(["--root", root, "--recipe", str(recipe)])
    assert not resumed["failed"] and next(job["job"] for job in resumed["jobs"] if job.get("ran")) == "fetch"


@pytest.mark.parametrize(
    "addition, message",
    [
        ('[[sources]]\nname = "laion2b-em"\nfiles = ["metadata/*.parquet"]', "did you mean 'laion2b-en'"),
        ('[[sources]]\nname = "coyo"\nfiles = ["metadata/*.csv"]', "no such file: "),
        ('[[sources]]\nname = "coyo"\nfiles = ["metadata/*.parquet"]\njoin_tag = []', "sources.1.join_tag is no setting"),
        ('[dedup.against]\nflickr30k = "images"', "evaluation set flickr30k: no images"),
        ('[caption]\nmodel = "model"', "holds no config.json"),
        ('[score]\nclip_model = "onnx"\nclip_checkpoint = "clip"', "holds no readable image.onnx"),
        ('[score]\nclip_model = "onnx"', "go together"),
    ],
)
def test_a_wrong_recipe_is_refused_before_anything_runs(recipe: Path, tmp_path: Path, addition: str, message: str) -> None:
    recipe.write_text(f"{RECIPE}\n{addition}\n")
    root = tmp_path / "root"
    command = [sys.executable, "-m", "pipelines.run", "--root", str(root), "--recipe", str(recipe)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 2 and message in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1 and not done.stdout
    assert not [path for path in root.rglob("*") if path.is_file()]


def test_relative_paths_start_at_the_recipe_and_those_of_options_at_the_working_folder(recipe: Path) -> None:
    recipe.write_text('[export]\nout = "shards"\n[fetch]\nblocked_urls = "s3://bucket/urls"\n[caption]\nmodel = "/models/a"\n')
    loaded = load_recipe(str(recipe), ["score.clip_checkpoint=weights.safetensors"])
    assert loaded.export.out == str(recipe.parent / "shards")
    assert (loaded.fetch.blocked_urls, loaded.caption.model) == ("s3://bucket/urls", "/models/a")
    assert loaded.score.clip_checkpoint == str(Path("weights.safetensors").absolute())


def test_without_sources_the_manifest_has_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("[export]\nout = 'shards'\n")
    with pytest.raises(RequestError, match="holds no samples"):
        run.main(["--root", str(tmp_path / "root"), "--recipe", str(tmp_path / "recipe.toml")])


def test_a_failed_chain_is_exit_1_and_one_closing_sentence(recipe: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    command = [sys.executable, "-m", "pipelines.cli", "run", "--root", str(root), "--recipe", str(recipe)]
    ingest = [sys.executable, "-m", "pipelines.ingest", "--root", str(root), "--recipe", str(recipe)]
    subprocess.run(ingest, check=True, capture_output=True, timeout=600)
    (samples,) = (root / "manifest" / "samples").rglob("*.parquet")
    samples.write_bytes(b"no parquet")  # so that stage1 fails
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["stopped_at"] == "stage1"
    assert done.stderr.splitlines()[-1].startswith("run stopped at stage1: 1 part failed")
    assert "Traceback" not in done.stderr
