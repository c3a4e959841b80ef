"""calibrate finds the thresholds of stage 1 that give a retention, and says what a recipe would change, without running a job."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pyarrow as pa
import pytest

from infra.compat.errors import RequestError
from pipelines import calibrate
from pipelines import stage1 as stage1_job
from pipelines.manifest.ids import sample_ids
from pipelines.manifest.parts import Part, SourceFile, register_files
from pipelines.manifest.receipts import Receipt, write_receipt
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import conform
from tests.support.scored import scored_samples


@pytest.fixture
def manifest(root: str) -> Storage:
    """Two thousand rows of COYO, ten of them rejected."""
    storage = Storage(root)
    register_files(storage, "coyo", [SourceFile("f", 0, 2000, 1, "x")])
    part, ids = Part("coyo", 0, 0, 2000), sample_ids(4, 0, 0, 2000)
    known = scored_samples(1990, 7)
    samples = known.drop_columns(["fetch_status"]).append_column("sample_id", pa.array(ids[:1990]))
    families = {
        "samples": samples.append_column("source", pa.repeat("coyo", 1990)),
        "rejects": pa.table({"sample_id": ids[1990:], "reason": ["no_url"] * 10, "raw": [""] * 10}),
        "fetch": pa.table({"sample_id": ids[:1990], "status": known["fetch_status"]}),
    }
    for family, made in families.items():
        storage.write_parquet(part.path(family), conform(made, family))
        write_receipt(storage, part, Receipt(family, "coyo", part.name, "f", "d", 2000, 1990))
    return storage


def run(storage: Storage, *more: str) -> dict:
    return calibrate.main(["--root", storage.root, *more])["sources"]["coyo"]


def test_the_recipe_it_writes_gives_what_it_promised(manifest: Storage, tmp_path: Path, ray_session: None) -> None:
    current = tmp_path / "current.toml"
    current.write_text("[stage1.aesthetic]\nmin = 4.0\n[export]\nholdout = 0.1\n")
    for number, more in enumerate(([], ["--target", "0.5"], ["--target", "coyo=0.6", "--policy", "aesthetic"])):
        out = tmp_path / f"{number}.toml"
        found = run(manifest, "--recipe", str(current), "--out", str(out), *more)
        assert found["target"] == (0.716, 0.5, 0.6)[number]  # COYO's in InternVL's Table 2
        assert found["kept_then"] == pytest.approx(found["target"], abs=0.01)
        assert tomllib.loads(out.read_text())["export"] == {"holdout": 0.1}
        judged = stage1_job.main(["--root", manifest.root, "--recipe", str(out)])
        assert judged["kept"] / 2000 == pytest.approx(found["kept_then"], abs=1e-9)


def test_what_another_recipe_would_change_is_what_it_changes(manifest: Storage, tmp_path: Path, ray_session: None) -> None:
    other = tmp_path / "other.toml"
    other.write_text(
        "[stage1.clip_similarity]\nmin = 0.31\n[stage1.caption_length.long]\nmax = 1e9\n[stage1.watermark]\nmax = 0.9\n"
    )
    change = run(manifest, "--compare", str(other))
    before = stage1_job.main(["--root", manifest.root])
    after = stage1_job.main(["--root", manifest.root, "--recipe", str(other)])
    assert change["kept_now"] == before["kept"] / 2000 and change["kept_then"] == after["kept"] / 2000
    assert change["come_back"] - change["leave"] == after["kept"] - before["kept"] and change["come_back"] > 0
    for name, counts in change["dropped_by"].items():
        assert (before["reasons"].get(name, 0), after["reasons"].get(name, 0)) == (counts["now"], counts["then"])


@pytest.mark.parametrize(
    "more, said",
    [
        (["--target", "84"], "is no share between 0 and 1"),
        (["--target", "coio=0.5"], "did you mean 'coyo'"),
        (["--policy", "clip_similarty"], "did you mean 'clip_similarity'"),
        (["--compare", "nowhere.toml"], "cannot be read"),
        (["--out", "/nowhere/recipe.toml"], "cannot be written"),
        (["--policy", "download"], "'download' is no rule with one threshold"),
        (["--stage", "2", "--policy", "placeholder.camera_name"], "is no rule with one threshold"),
        (["--stage", "2", "--policy", "length.character"], "did you mean 'length.characters'"),
        (["--target", "=0.4"], "is no share between 0 and 1"),
    ],
)
def test_wrong_requests_are_one_line(manifest: Storage, more: list[str], said: str) -> None:
    with pytest.raises(RequestError, match=said) as caught:
        run(manifest, *more)
    assert "\n" not in str(caught.value)


def test_it_loads_neither_ray_nor_torch_and_ends_with_json(manifest: Storage) -> None:
    code = "import sys; from pipelines.calibrate import main; main(sys.argv[1:]); assert not {'ray', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code, "--root", manifest.root], check=True, capture_output=True, timeout=60)
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.calibrate", "--root", manifest.root],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stdout)["sources"]["coyo"]["rows"] == 2000
    assert "alone keeps" in done.stderr and "Warning" not in done.stderr
