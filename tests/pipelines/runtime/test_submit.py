"""Every job runs when it is submitted to a Ray head that asks for a token; without the token nothing runs."""

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import ROOT
from tests.pipelines.test_demo import MANIFEST, contents, demo

BIN = Path(sys.executable).parent

pytestmark = [pytest.mark.slow, pytest.mark.timeout(9000)]


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture(scope="module")
def ray_head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """A head on loopback with token authentication; yields its job server and an environment that holds the token."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"  # a job's `python` is the head's
    environment = os.environ | {"PATH": path, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    log = tmp_path_factory.mktemp("head") / "log"
    for _ in range(3):  # another Ray on this machine may take a port that was free a moment before
        with _head(environment, log) as address:
            if address:
                yield address, environment
                return
    pytest.fail(f"no head of Ray answers:\n{log.read_text()[-3000:]}")


@contextmanager
def _head(environment: dict[str, str], log: Path) -> Iterator[str | None]:
    """Run a head of Ray, its words in `log`; yields the address of its job server, None where it doesn't answer."""
    dashboard = free_port()
    command = [str(BIN / "ray"), "start", "--head", "--block", "--port", free_port(), "--node-ip-address", "127.0.0.1"]
    command += ["--dashboard-host", "127.0.0.1", "--dashboard-port", dashboard, "--num-cpus", "2", "--disable-usage-stats"]
    command += ["--dashboard-agent-listen-port", free_port(), "--dashboard-agent-grpc-port", free_port()]
    # Ray's sockets lie 61 characters below its folder and a socket's path ends at 107: pytest's own folders are too deep.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder, log.open("w") as words:
        command += ["--object-store-memory", str(200 << 20), "--temp-dir", folder]
        with subprocess.Popen(command, env=environment, stdout=words, stderr=subprocess.STDOUT) as head:
            try:
                yield f"http://127.0.0.1:{dashboard}" if _answers(head, int(dashboard)) else None
            finally:
                head.terminate()
                head.wait(60)


def _answers(head: subprocess.Popen, port: int) -> bool:
    """Whether the head's job server answers within two minutes, if only to ask for the token."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and head.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/version", timeout=5).close()
            return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            time.sleep(0.5)
    return False


def test_the_submitted_demo_gives_the_manifest_of_the_local_one(ray_head, corpus: Path, tmp_path: Path) -> None:
    address, environment = ray_head
    roots = [tmp_path / "submitted", tmp_path / "local"]
    for root, more in zip(roots, (["--address", address], []), strict=True):
        done = subprocess.run(
            [*demo(root, corpus), *more], capture_output=True, text=True, timeout=4000, env=environment if more else None
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert not json.loads(done.stdout.splitlines()[-1])["failed"]
    assert contents(roots[0], MANIFEST) == contents(roots[1], MANIFEST)


def test_a_job_is_submitted_as_the_readme_says_and_not_without_the_token(ray_head, web: Path, tmp_path: Path) -> None:
    address, environment = ray_head
    files = sorted(str(path) for path in (web / "metadata" / "laion2b-en").glob("*.parquet"))
    command = [
        str(BIN / "ray"),
        "job",
        "submit",
        "--address",
        address,
        "--working-dir",
        str(ROOT),
        "--",
        "python",
        "-m",
        "pipelines.ingest",
    ]
    command += ["--root", str(tmp_path / "root"), "laion2b-en", *files]
    stranger = environment | {"RAY_AUTH_TOKEN": "0" * 64}
    refused = subprocess.run(command, capture_output=True, text=True, timeout=1200, env=stranger)
    assert refused.returncode != 0 and not (tmp_path / "root").exists()
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000, env=environment)
    assert done.returncode == 0, done.stdout[-2000:]
    assert '"samples"' in done.stdout and len(list((tmp_path / "root" / "manifest" / "samples").rglob("*.parquet"))) == len(files)
