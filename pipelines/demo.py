"""demo: the whole chain on a real corpus, on this machine, with a table of what was caught.

Pictures and sentences of Debian's Tux Paint stamps and Noto emoji become a small web on loopback, published in the schemas of
LAION, COYO and Wukong, with planted defects. Its recipe, recipe.toml in the demo's folder, then goes through `pairmill run`, with
scores and captions by the small models of `infra/models`, and the three alignment stages are trained a little on the shards. Of
Debian's pictures samples are exported for Mono-InternVL too, whose stages concept, semantic and instruction follow each other.
Run it again: nothing is done twice.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from infra.compat.children import child_environment
from infra.models import CLIP, INTERNVL
from pipelines import report, run
from pipelines.demo_corpus.build import build, require
from pipelines.demo_corpus.mono import export_stages
from pipelines.demo_corpus.results import results_table
from pipelines.demo_corpus.server import END
from pipelines.demo_corpus.training import export_clip, train, train_mono
from pipelines.runtime import command_line
from pipelines.runtime.parser import job_parser
from pipelines.runtime.submit import submit

NOTES = (
    "Similarities and synthetic captions come from small models of ours that were trained on these very pictures (cards in "
    "infra/models): how well they work here says nothing about photographs of the web. COYO's unsafe scores are "
    "OpenNSFW's. Watermark, aesthetic and LAION's unsafe scores are random numbers: no weights of those could be had.",
    "The planted captions were written by the authors of the rules, so the share caught shows that the chain works, not how good "
    "the rules are on the web. The corpus is mostly drawings with short captions: thresholds do not transfer to photographs.",
)
NOTE_ON_OTHER_CORPORA = (
    "The small models know Debian's pictures and no others. With the pictures of this corpus no pair is dropped for its "
    "similarity, and synthetic captions name what the model knows, not what the picture shows."
)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Builds the web, runs the recipe, trains, reports."""
    parser = job_parser("demo", __doc__ or "")
    parser.add_argument("--root", default=".demo", help="a folder for everything (default: .demo)")
    parser.add_argument(
        "--corpus", type=Path, metavar="DIR", help="any folder of pictures with .txt beside them, instead of Debian's"
    )
    parser.add_argument("--address", metavar="ADDRESS", help="a cluster; http://… submits the run to its job server")
    parser.add_argument(
        "--train-seconds",
        type=int,
        default=15,
        metavar="N",
        help="how long to train a stage, one of Mono-InternVL half as long (default: 15; 0: not at all)",
    )
    options = parser.parse_args(argv)
    root, started = Path(options.root).resolve(), time.monotonic()  # a submitted job has another working folder
    require(root, options.corpus)
    export_clip(CLIP, root / "models" / "clip")
    web = build(root, options.corpus, str(root / "models" / "clip"))
    pairs = f"{web['pairs']:,} pairs in {web['languages']} locales, {web['pictures']:,} pictures, {web['urls']:,} links"
    sys.stderr.write(f"the demo's web, in {root}: {pairs}\n\n")
    recipe = write_recipe(root, options.corpus)
    with _serving(root / "pictures") as port:
        chain = _run_recipe(root, recipe, port, options.address)
    if chain["failed"]:
        return {"pairs": web["pairs"], "stopped_at": chain["stopped_at"], "failed": chain["failed"]}
    with_mono = bool(options.train_seconds) and options.corpus is None  # its instruction set is of the stamps
    if with_mono:
        export_stages(root, recipe, None if (options.address or "").startswith("http") else options.address)
    _stop_ray()
    if options.train_seconds:
        train(root, options.train_seconds, CLIP, INTERNVL)
    if with_mono:
        train_mono(root, max(1, options.train_seconds // 2), INTERNVL)
    numbers = _report(root, recipe, options.corpus)
    question = f'pairmill sql --root {root} "select source, count(*), avg(stage1_keep::int) from manifest group by 1"'
    page = root / "report" / "index.html"
    sys.stderr.write(f"{results_table(numbers)}\n{time.monotonic() - started:.0f} s; the report is {page}; try\n{question}\n\n")
    return {"pairs": web["pairs"], "exported": numbers["funnel"][-1]["samples"], "planted": numbers["planted"], "failed": {}}


def write_recipe(root: Path, corpus: Path | None) -> Path:
    """Writes the demo's whole recipe into its folder; returns its path."""
    text = Template((files("pipelines.demo_corpus") / "recipe.toml").read_text(encoding="utf-8"))
    recipe = text.substitute(internvl=json.dumps(str(INTERNVL), ensure_ascii=False)[1:-1])
    if corpus is not None:
        section = "[stage1.clip_similarity]\n"
        recipe = recipe.replace(section, f"{section}enabled = false  # the small CLIP knows Debian's pictures and no others\n")
    path = root / "recipe.toml"
    path.write_text(recipe, encoding="utf-8")
    return path


def _run_recipe(root: Path, recipe: Path, port: int, address: str | None) -> dict[str, Any]:
    """Runs the recipe, here or on a cluster; the counts of `run`. Only the port of the demo's web changes from run to run."""
    connect = f'fetch.connect_to."pictures.test"="127.0.0.1:{port}"'
    arguments = ["--root", str(root), "--recipe", str(recipe), "--set", connect]
    if address and address.startswith("http"):
        return submit(address, "run", arguments)
    return run.main([*arguments, *(["--address", address] if address else [])])


def _report(root: Path, recipe: Path, corpus: Path | None) -> dict[str, Any]:
    """Writes the report on manifest, planted defects and training; returns its numbers."""
    notes = [*NOTES, *([NOTE_ON_OTHER_CORPORA] if corpus else [])]
    arguments = ["--root", str(root), "--recipe", str(recipe), "--out", str(root / "report")]
    arguments += ["--truth", str(root / "truth.parquet")]
    arguments += ["--training", str(root / "training")] if (root / "training").is_dir() else []
    report.main([*arguments, *(argument for note in notes for argument in ("--note", note))])
    numbers: dict[str, Any] = json.loads((root / "report" / "report.json").read_text())
    return numbers


@contextlib.contextmanager
def _serving(pictures: Path) -> Iterator[int]:
    """The demo's web on loopback, in a process of its own session; yields its port."""
    command = [sys.executable, "-m", "pipelines.demo_corpus.server", str(pictures)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True, env=child_environment()
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.communicate(END, timeout=60)


def _stop_ray() -> None:
    """Gives Ray's memory back before training."""
    import ray

    ray.shutdown()


if __name__ == "__main__":
    command_line.run("demo", main)
