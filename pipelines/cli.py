"""`pairmill <job> …`: one command for all jobs. `pairmill <job> --help` says what each takes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

JOBS = {
    "ingest": "published metadata → samples",
    "fetch": "URLs → checked pictures in tars",
    "score": "pixels → the four scores",
    "stage1": "the six factors → keep and reasons",
    "stage2": "the caption rules → keep and reasons",
    "dedup": "evaluation sets and in-corpus copies → evidence",
    "caption": "kept pictures → synthetic captions by an InternVL",
    "export": "kept samples → WebDataset shards",
    "report": "one HTML page, with JSON and Markdown beside it",
    "calibrate": "the thresholds that would give a retention, without running anything again",
    "captions-check": "which caption rules fire on captions of yours",
    "sql": "DuckDB over the manifest",
    "explain": "the whole story of one pair",
    "status": "families x sources: done, failed, to do",
    "demo": "all of it, on a real corpus, on this machine",
}


# The extra of the distribution that brings what a job imports.
EXTRAS = {
    "score": "models,fetch",
    "caption": "models,fetch",
    "fetch": "fetch",
    "dedup": "fetch",
    "report": "report",
    "demo": "demo",
}


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the named job; only that job's module is imported."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        lines = [f"  {job:<15} {what}" for job, what in JOBS.items()]
        sys.stdout.write("\n".join(["usage: pairmill JOB …  (pairmill JOB --help says more)", "", *lines, ""]))
        return
    if name not in JOBS:
        from infra.compat.errors import nearest

        sys.stderr.write(f"pairmill: no job {name!r}; {nearest(name, JOBS)}\n")
        sys.exit(2)
    module = _import(name)
    if name == "sql":
        sys.exit(module.main(arguments[1:]))
    from pipelines.runtime import command_line

    command_line.run(name, module.main, arguments[1:])


def _import(name: str) -> ModuleType:
    try:
        return import_module(f"pipelines.{name.replace('-', '_')}")
    except ModuleNotFoundError as error:
        if name not in EXTRAS or (error.name or "").startswith("pipelines"):
            raise
        sys.stderr.write(f"pairmill {name}: {error.name} is not installed; pip install 'pairmill[{EXTRAS[name]}]'\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
