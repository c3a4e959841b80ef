"""demo: the whole mill on a real corpus, on this machine, with a table of what was caught.

Pictures and sentences of Debian's Tux Paint stamps and Noto emoji become a small web on loopback, published in the schemas of
LAION, COYO and Wukong, with planted defects. Then every job runs as a person would run it, scores and captions by the small
models of `infra/models`, and the three alignment stages go on a little from them. Run it again: nothing is done twice.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from infra.compat.torchrun import trainer_command, trainer_environment
from infra.models import CLIP, INTERNVL
from pipelines import caption, dedup, export, fetch, ingest, report, score, stage1, stage2
from pipelines.demo_corpus.build import build, require
from pipelines.demo_corpus.server import END
from pipelines.manifest.receipts import digest_of
from pipelines.reporting.page import share
from pipelines.runtime import command_line
from pipelines.runtime.parser import Parser
from pipelines.runtime.submit import submit

Body = Callable[[Sequence[str]], dict[str, Any]]
METADATA = {"laion2b-en": "*.parquet", "laion2b-multi": "*.parquet", "coyo": "*.parquet", "wukong": "*.csv"}
NOTES = (
    "Similarities and synthetic captions come from small models of ours that were trained on these very pictures (cards in "
    "infra/models): how well they work here says nothing about photographs of the web. COYO's unsafe scores are "
    "OpenNSFW's. Watermark, aesthetic and LAION's unsafe scores are drawn at random: no weights of those were to be had.",
    "The planted captions were made up by the authors of the rules, so the share caught shows that the chain works, not how good "
    "the rules are on the web. The corpus is mostly drawings with short captions: thresholds do not transfer to photographs.",
)

STRANGERS = (
    "The small models know Debian's pictures and no others. Here, with other pictures, no pair is dropped for its similarity, "
    "and synthetic captions name what the model knows, not what is there."
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
        "--train-seconds", type=int, default=15, metavar="N", help="how long to train each stage (default: 15; 0: not at all)"
    )
    options = parser.parse_args(argv)
    root = Path(options.root).resolve()  # a submitted job has another working folder
    started = time.monotonic()
    require(root, options.corpus)
    clip = _export_clip(root)
    _say(f"the demo's web, in {root}")
    web = build(root, options.corpus, str(clip))
    _say(f"{web['pairs']:,} pairs in {web['languages']} locales, {web['pictures']:,} pictures, {web['urls']:,} links")
    resource = files("pipelines.demo_corpus") / "recipe.toml"
    with as_file(resource) as recipe, _serving(root / "pictures") as port:
        common = ["--root", str(root), "--recipe", str(recipe), "--set", f"score.clip_checkpoint={json.dumps(str(clip))}"]
        if options.corpus:  # the small models know Debian's pictures and no others
            common += ["--set", "stage1.clip_similarity.enabled=false"]
        failed = _chain(root, common, port, options.address)
    _stop_ray()
    if options.train_seconds:
        _train(root, options.train_seconds)
    notes = [word for note in (*NOTES, *([STRANGERS] if options.corpus else [])) for word in ("--note", note)]
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
        ("stage1", stage1.main, []),  # pictures too small as found are not scored, whether or not a run was killed before
        ("score", score.main, []),
        ("stage1", stage1.main, []),
        ("dedup", dedup.main, ["--against", f"demo={root / 'eval'}"]),
        ("stage2", stage2.main, []),
        ("caption", caption.main, ["--model", str(INTERNVL)]),
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
    command = [sys.executable, "-m", "pipelines.demo_corpus.server", str(pictures)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True) as server:
        assert server.stdin is not None and server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.communicate(END, timeout=60)


def _train(root: Path, seconds: int) -> None:
    """The three stages on the demo's shards; they go on from the repository's small models and from each other."""
    _train_stage(root, "contrastive", "contrastive-continue.toml", CLIP, seconds)
    _train_stage(root, "generative", "generative-tiny.toml", root / "training" / "contrastive" / "model", seconds)
    _train_stage(root, "chat", "chat-tiny.toml", INTERNVL, seconds)


def _train_stage(root: Path, stage: str, name: str, start: Path, seconds: int) -> None:
    """Two gloo processes under torchrun; skipped when this was trained on these shards before."""
    out, config = root / "training" / stage, files("trainer_bridge.configs") / name
    marker = out / "made_from.json"
    wanted = {
        "shards": digest_of((root / "shards" / "dataset.json").read_bytes()),
        "config": digest_of(config.read_bytes()),
        "start": digest_of((start / "model.safetensors").read_bytes()),
    }
    if marker.exists() and json.loads(marker.read_text()) == wanted:
        _say(f"train: the {stage} stage was trained on these shards before")
        return
    shutil.rmtree(out, ignore_errors=True)  # a state of other shards is nothing to go on from
    _say(f"train: {stage} stage, 2 processes, {seconds} s")
    with as_file(config) as path:
        command = trainer_command(stage, path, root / "shards", out, start)
        _run_trainer([*command, "--seconds", str(seconds)], root / f"training-{stage}.log")
    marker.write_text(json.dumps(wanted) + "\n")


def _run_trainer(command: list[str], log: Path) -> None:
    """Runs it, its progress on stderr and everything it says in `log`."""
    with log.open("w") as said:
        process = subprocess.Popen(command, env=trainer_environment(), stderr=subprocess.PIPE, stdout=said, text=True)
        assert process.stderr is not None
        for line in process.stderr:
            said.write(line)
            if line.startswith("train "):
                sys.stderr.write(line)
    if process.wait():
        raise RuntimeError(f"training failed; {log} says why")


def _export_clip(root: Path) -> Path:
    """The small CLIP of the repository as ONNX, for publishers and `score`; made once."""
    out = root / "models" / "clip"
    marker = out / "made_from.json"
    wanted = {"weights": digest_of((CLIP / "model.safetensors").read_bytes())}
    if not (marker.exists() and json.loads(marker.read_text()) == wanted):
        _say("the small CLIP, as ONNX")
        command = [sys.executable, "-m", "trainer_bridge.export_onnx", "--checkpoint", str(CLIP), "--out", str(out)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the CLIP could not be exported: {done.stderr.strip().splitlines()[-1]}")
        marker.write_text(json.dumps(wanted) + "\n")
    return out


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
        noted = " *" if row["defect"] in ("swapped", "redirect") else ""
        lines.append(
            f"{row['defect'] + noted:<28} {row['planted']:>9,} {row['caught']:>9,} {_share_of(row['caught'], row['planted']):>8}"
        )
    lines += ["* swapped: by the small CLIP's similarity; redirect: caught means followed and kept", ""]
    if found.get("separation"):
        means = {row["kind"]: row["mean"] for row in found["separation"]["kinds"]}
        lines += [f"similarity of right pairs {means['right']:.2f} on average, of swapped ones {means['swapped']:.2f}", ""]
    if found["synthetic"]["captioned"]:
        lines += [f"{found['synthetic']['captioned']:,} pairs have a synthetic caption of {found['synthetic']['model']}", ""]
    lines.append(
        f"{'source':<12} {'original':>9} {'stage 1':>9} {'kept':>7} {'(paper)':>8} {'stage 2':>9} {'kept':>7} {'(paper)':>8}"
    )
    for row in found["retention"]:
        ours = f"{row['source']:<12} {row['original']:>9,}"
        ours += f" {row['stage1']:>9,} {share(row['stage1_share']):>7} {share(row['paper_stage1_share']):>8}"
        lines.append(f"{ours} {row['stage2']:>9,} {share(row['stage2_share']):>7} {share(row['paper_stage2_share']):>8}")
    for run in found.get("training", []):
        lines += ["", *_learned(run)]
    lines += ["", f"done in {seconds:.0f} s; open {root / 'report' / 'index.html'}"]
    lines += [
        f'ask it: pairmill sql --root {root} "select source, count(*), avg(stage1_keep::int) from manifest group by 1"',
        "",
    ]
    sys.stderr.write("\n".join(lines))
    sys.stderr.flush()


def _learned(run: dict[str, Any]) -> Iterator[str]:
    """What a stage's training did, in a line or two."""
    summary, loss = run["summary"], run["loss"]
    trained = f"{summary['trained_parameters'] / 1e6:.1f} M of {summary['parameters'] / 1e6:.1f} M parameters trained"
    seen = f"{summary['samples']:,} samples in {summary['seconds']:.0f} s"
    first, last = (sum(value for _, value in some) / len(some) for some in (loss[:5], loss[-5:]))
    yield f"{run['stage']} stage: loss {first:.2f} → {last:.2f} (means of five steps), {seen}, {trained}"
    if "recall@1" in summary:
        recall = ", ".join(f"@{k} {summary[f'recall@{k}']:.1%} (chance {summary[f'chance@{k}']:.2%})" for k in (1, 5, 10))
        yield f"  text→image recall, {summary['pairs']:,} held-out captions, {summary['pictures']:,} pictures: {recall}"
    elif "caption_loss" in summary:
        yield f"  loss on {summary['pairs']:,} held-out captions: {summary['caption_loss']:.2f} a token"


def _share_of(part: int, whole: int) -> str:
    return share(part / whole if whole else None)


if __name__ == "__main__":
    command_line.run("demo", main)
