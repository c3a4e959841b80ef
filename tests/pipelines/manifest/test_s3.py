"""On a real S3 server that fails now and then, and killed at random, the mill leaves the bytes of an undisturbed run."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from infra.benchmarks.tools.object_store import bucket, environment
from pipelines.demo import write_recipe
from pipelines.demo_corpus.server import END
from tests.support.s3 import Faults, faulty

COMPARED = ("manifest", "images", "receipts")


@pytest.fixture(scope="module")
def site(web: Path) -> Iterator[int]:
    """The demo's web; yields its port."""
    command = [sys.executable, "-m", "pipelines.demo_corpus.server", str(web / "pictures")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        yield int(process.stdout.readline())
        process.communicate(END, timeout=60)


@pytest.fixture(scope="module")
def s3(s3_server: int) -> int:
    bucket(s3_server).mkdir("mill")
    return s3_server


def chain(web: Path, site: int, root: str, out: str) -> list[str]:
    """The command that runs the demo's recipe from ingest to export, without models."""
    recipe = write_recipe(web, corpus=web)
    settings = {
        'fetch.connect_to."pictures.test"': f"127.0.0.1:{site}",
        "fetch.chunk": 60,
        "fetch.first_byte_timeout": 5.0,
        "score.clip_model": "",
        "score.clip_checkpoint": "",
        "caption.model": "",
        "export.out": out,
        "export.samples_per_shard": 100,
    }
    overrides = [word for name, value in settings.items() for word in ("--set", f"{name}={json.dumps(value)}")]
    return [sys.executable, "-m", "pipelines.run", "--root", root, "--recipe", str(recipe), *overrides]


def run(command: list[str], more: dict[str, str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=os.environ | more)
    assert done.returncode == 0, done.stderr[-3000:]


def contents(fs: fsspec.AbstractFileSystem, root: str, out: str) -> dict[str, str]:
    """sha256 of everything that must not depend on how often a run was killed; receipts without times, and whose folder it is."""
    found = {}
    for path in [path for folder in COMPARED for path in fs.find(f"{root}/{folder}")] + fs.find(out):
        data, name = fs.cat_file(path), path.rpartition("mill/")[2] if "mill/" in path else path
        if path.endswith(".json") and "receipts" in path:
            kept = json.loads(data)
            data = json.dumps({key: kept[key] for key in kept if key not in ("seconds", "finished_at", "root", "token")}).encode()
        found[name] = hashlib.sha256(data).hexdigest()
    return found


@pytest.fixture(scope="module")
def quiet(web: Path, site: int, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What an undisturbed run leaves in a folder."""
    folder = tmp_path_factory.mktemp("quiet") / "mill"
    run(chain(web, site, str(folder / "root"), str(folder / "out")), {})
    return contents(fsspec.filesystem("file"), str(folder / "root"), str(folder / "out"))


@pytest.mark.slow
def test_an_object_store_that_fails_now_and_then_holds_the_same_bytes(
    web: Path, site: int, s3: int, quiet: dict[str, str]
) -> None:
    faults = Faults(seed=1)
    with faulty(s3, faults) as port:
        run(chain(web, site, "s3://mill/faulty/mill/root", "s3://mill/faulty/mill/out"), environment(port))
    assert faults.done["503"] > 20 and faults.done["dropped"] > 5 and faults.done["lost_response"] > 5
    found = contents(bucket(s3), "mill/faulty/mill/root", "mill/faulty/mill/out")
    assert found == quiet
    query = "select source, count(*), count(shard) from manifest where stage1_keep and source != 'wukong' group by 1 order by 1"
    command = [sys.executable, "-m", "pipelines.sql", "--root", "s3://mill/faulty/mill/root", "--format", "json", query]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=os.environ | environment(s3))
    assert [json.loads(line)["source"] for line in done.stdout.splitlines()] == ["coyo", "laion2b-en", "laion2b-multi"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("where", ["disk", "s3"])
def test_twenty_kills_leave_the_same_bytes(
    web: Path, site: int, s3: int, quiet: dict[str, str], tmp_path: Path, where: str
) -> None:
    chance, kills, runs = random.Random(where), 0, 0
    folder = str(tmp_path / "mill") if where == "disk" else "s3://mill/killed/mill"
    more = {} if where == "disk" else environment(s3)
    command = chain(web, site, f"{folder}/root", f"{folder}/out")
    while kills < 20 and runs < 60:
        runs += 1
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, env=os.environ | more
        )
        deadline = time.monotonic() + chance.uniform(4, 13)
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # the driver; every other time its workers live on for a while
            kills += 1
        process.wait()
    run(command, more)
    fs = fsspec.filesystem("file") if where == "disk" else bucket(s3)
    root, out = (f"{folder.removeprefix('s3://')}/{name}" for name in ("root", "out"))
    assert kills == 20 and contents(fs, root, out) == quiet
