"""`pairmill <job> …`: one command for all jobs. `pairmill <job> --help` describes the options of a job."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version
from types import ModuleType

from infra.compat.errors import RequestError, nearest
from pipelines.runtime.flow import ANNOTATIONS, CHAIN, JOBS, QUESTIONS, SETS, SHARDS, WHOLE

SECTIONS = {
    "The chain, in its order:": CHAIN,
    "The whole chain:": WHOLE,
    "Evaluation sets:": SETS,
    "Finished shards, ours or others':": SHARDS,
    "Annotations of others:": ANNOTATIONS,
    "Questions about a manifest or captions:": QUESTIONS,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the named job; only that job's module is imported."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        sys.stdout.write(_help())
        return
    if name == "--version":
        sys.stdout.write(f"pairmill {version('pairmill')}\n")
        return
    try:
        module = load_job(name)
    except RequestError as error:
        sys.stderr.write(f"pairmill: {error}\n")
        sys.exit(2)
    if name == "sql":
        sys.exit(module.main(arguments[1:]))
    from pipelines.runtime import command_line

    command_line.run(name, module.main, arguments[1:])


def load_job(name: str) -> ModuleType:
    """The module of a job; RequestError for an unknown job, and for one whose optional packages are not installed."""
    if name not in JOBS:
        raise RequestError(f"no job {name!r}; {nearest(name, JOBS)}")
    try:
        return import_module(f"pipelines.{name.replace('-', '_')}")
    except ModuleNotFoundError as error:
        extra = JOBS[name].extra
        if not extra or (error.name or "").startswith("pipelines"):
            raise
        raise RequestError(f"{name}: {error.name} is not installed; pip install 'pairmill[{extra}]'") from None


def _help() -> str:
    lines = ["usage: pairmill JOB …   (pairmill JOB --help describes its options)"]
    for heading, jobs in SECTIONS.items():
        lines += ["", heading, *(f"  {name:<15} {job.summary}" for name, job in jobs.items())]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
