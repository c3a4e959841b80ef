"""demo: the whole mill on a real corpus, on this machine, with a table of what was caught.

Pictures and sentences of Debian's Tux Paint stamps and Noto emoji become a small web on loopback, published in the schemas of
LAION, COYO and Wukong, with planted defects. Then every job runs as a person would run it. Run it again: nothing is done twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from pipelines import dedup, export, fetch, ingest, job, report, stage1, stage2
from pipelines.demoweb.build import build
from pipelines.demoweb.server import END
from pipelines.manifest.receipts import digest_of
from pipelines.parser import Parser
from pipelines.reporting.page import share
from pipelines.submit import submit

Body = Callable[[Sequence[str]], dict[str, Any]]
METADATA = {"laion2b-en": "*.parquet", "laion2b-multi": "*.parquet", "coyo": "*.parquet", "wukong": "*.csv"}
NOTES = (
    "Publishers' scores (similarity, watermark, unsafe, aesthetic) are simulated in this demo: swapped and made-up captions were "
    "simply given a low similarity. How well these scores work says nothing.",
    "The planted captions were made up by the authors of the rules, so the share caught shows that the chain works, not how good "
    "the rules are on the web. The corpus is mostly drawings with short captions: thresholds do not transfer to photographs.",
)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Builds the web, runs the chain, trains, reports."""
    parser = Parser(prog="pairmill demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", default=".demo", help="a folder for everything (default: .demo)")
    parser.add_argument(
        "--corpus", type=Path, metavar="DIR", help="any folder of pictures with .txt beside them, instead of Debian's"
    )
    parser.add_argument("--address", metavar="ADDRESS", help="a cluster; http://… submits each job to its job server")
    parser.add_argument(
        "--train-seconds", type=int, default=90, metavar="N", help="how long to train (default: 90; 0: not at all)"
    )
    options = parser.parse_args(argv)
    root = Path(options.root).resolve()  # a submitted job has another working folder
    started = time.monotonic()
    _say(f"the demo's web, in {root}")
    web = build(root, options.corpus)
    _say(f"{web['pairs']:,} pairs in {web['languages']} locales, {web['pictures']:,} pictures, {web['urls']:,} links")
    resource = files("pipelines.demoweb") / "recipe.toml"
    with as_file(resource) as recipe, _serving(root / "pictures") as port:
        common = ["--root", str(root), "--recipe", str(recipe)]
        failed = _chain(root, common, port, options.address)
    _stop_ray()
    if options.train_seconds:
        _train(root, options.train_seconds)
    notes = [word for note in NOTES for word in ("--note", note)]
    extra = ["--truth", str(root / "truth.parquet"), "--training", str(root / "training")]
    _run("report", report.main, [*common, "--out", str(root / "report"), "--title", "Pairmill demo", *extra, *notes])
    found = json.loads((root / "report" / "report.json").read_text())
    _show(found, time.monotonic() - started, root)
    return {
        "pairs": web["pairs"],
        "exported": found["funnel"][-1]["samples"],
        "planted": found["planted"],
        "failed": failed,
    }


def _chain(root: Path, common: Sequence[str], port: int, address: str | None) -> dict[str, str]:
    """Every job from ingest to export, here or submitted; returns the parts that failed."""
    failed: dict[str, str] = {}
    job_server = address if address and address.startswith("http") else None
    common = [*common, "--address", address] if address and not job_server else common

    def run(name: str, body: Body, arguments: Sequence[str]) -> None:
        failed.update(_run(name, partial(submit, job_server, name) if job_server else body, arguments)["failed"])

    for source, pattern in METADATA.items():
        files_of = sorted(str(path) for path in (root / "metadata" / source).glob(pattern))
        run("ingest", ingest.main, [*common, source, *files_of])
    connect = f'fetch.connect_to."pictures.test"="127.0.0.1:{port}"'
    steps: list[tuple[str, Body, list[str]]] = [
        ("stage1", stage1.main, []),
        ("fetch", fetch.main, ["--set", connect]),
        ("stage1", stage1.main, []),
        ("dedup", dedup.main, ["--against", f"demo={root / 'eval'}"]),
        ("stage2", stage2.main, []),
        ("export", export.main, ["--stage", "2", "--out", str(root / "shards")]),
    ]
    for name, body, arguments in steps:
        run(name, body, [*common, *arguments])
    return failed


def _run(name: str, body: Body, arguments: Sequence[str]) -> dict[str, Any]:
    counts = body(arguments)
    shown = {key: value for key, value in counts.items() if key not in ("reasons", "failed") and value is not None}
    _say(
        f"{name}: "
        + ", ".join(f"{key} {value:,}" if isinstance(value, int) else f"{key} {value}" for key, value in shown.items())
    )
    return counts


@contextlib.contextmanager
def _serving(pictures: Path) -> Iterator[int]:
    """The demo's web on loopback, in a process of its own session; yields its port."""
    command = [sys.executable, "-m", "pipelines.demoweb.server", str(pictures)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True) as server:
        assert server.stdin is not None and server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.communicate(END, timeout=60)


def _train(root: Path, seconds: int) -> None:
    """Two gloo processes under torchrun; skipped when these shards were trained on before."""
    out, marker = root / "training", root / "training" / "made_from.json"
    config = files("trainer_bridge.configs") / "contrastive-tiny.toml"
    wanted = {
        "shards": digest_of((root / "shards" / "dataset.json").read_bytes()),
        "config": digest_of(config.read_bytes()),
    }
    if marker.exists() and json.loads(marker.read_text()) == wanted:
        _say("train: these shards were trained on before")
        return
    shutil.rmtree(out, ignore_errors=True)  # a state of other shards is nothing to go on from
    _say(f"train: contrastive stage, 2 processes, {seconds} s")
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "DS_ACCELERATOR": "cpu",
        "PYTHONWARNINGS": "ignore",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
    }
    with as_file(config) as path:
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node",
            "2",
            "-m",
            "trainer_bridge.train",
        ]
        command += [
            "--stage",
            "contrastive",
            "--config",
            str(path),
            "--shards",
            str(root / "shards"),
            "--out",
            str(out),
        ]
        log = root / "training.log"
        with log.open("w") as errors:
            process = subprocess.Popen(
                [*command, "--seconds", str(seconds)], env=environment, stderr=subprocess.PIPE, stdout=errors, text=True
            )
            assert process.stderr is not None
            for line in process.stderr:
                errors.write(line)
                if line.startswith("train "):
                    sys.stderr.write(line)
        if process.wait():
            raise RuntimeError(f"training failed; {log} says why")
    marker.write_text(json.dumps(wanted) + "\n")


def _stop_ray() -> None:
    """Gives Ray's memory back before training."""
    import ray

    ray.shutdown()


def _say(line: str) -> None:
    sys.stderr.write(f"\n{line}\n")
    sys.stderr.flush()


def _show(found: dict[str, Any], seconds: float, root: Path) -> None:
    """The table a person came for."""
    lines = ["", f"{'planted defect':<28} {'planted':>9} {'caught':>9} {'share':>8}"]
    for row in found["planted"]:
        simulated = " *" if row["defect"] == "swapped" else ""
        lines.append(
            f"{row['defect'] + simulated:<28} {row['planted']:>9,} {row['caught']:>9,}"
            f" {_share_of(row['caught'], row['planted']):>8}"
        )
    lines += ["* by a simulated publisher's score; for `redirect`, caught means followed and kept", ""]
    lines.append(
        f"{'source':<12} {'original':>9} {'stage 1':>9} {'kept':>7} {'(paper)':>8} {'stage 2':>9} {'kept':>7} {'(paper)':>8}"
    )
    for row in found["retention"]:
        ours = f"{row['source']:<12} {row['original']:>9,}"
        ours += f" {row['stage1']:>9,} {share(row['stage1_share']):>7} {share(row['paper_stage1_share']):>8}"
        lines.append(f"{ours} {row['stage2']:>9,} {share(row['stage2_share']):>7} {share(row['paper_stage2_share']):>8}")
    if found.get("training"):
        summary, loss = found["training"]["summary"], found["training"]["loss"]
        lines += [
            "",
            f"contrastive loss {loss[0][1]:.2f} → {loss[-1][1]:.2f}: {summary['samples']:,} samples, {summary['seconds']:.0f} s",
        ]
        recall = ", ".join(f"@{k} {summary[f'recall@{k}']:.1%} (chance {summary[f'chance@{k}']:.2%})" for k in (1, 5, 10))
        lines.append(f"text→image recall, {summary['pairs']:,} held-out captions, {summary['pictures']:,} pictures: {recall}")
    lines += ["", f"done in {seconds:.0f} s; open {root / 'report' / 'index.html'}"]
    lines += [
        f'ask it: pairmill sql --root {root} "select source, count(*), avg(stage1_keep::int) from manifest group by 1"',
        "",
    ]
    sys.stderr.write("\n".join(lines))
    sys.stderr.flush()


def _share_of(part: int, whole: int) -> str:
    return share(part / whole if whole else None)


if __name__ == "__main__":
    job.run("demo", main)
