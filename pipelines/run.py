"""run --recipe FILE: the whole chain that a recipe describes, in the order of the flow; only what is pending is done.

    ingest → stage1 → fetch → stage1 → score → stage1 → dedup → stage2 → caption → export → report

ingest, score, caption, export and report run where the recipe gives them what they need: [[sources]], a model, a place for the
output. The chain stops at the first job of which parts failed; run it again to go on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from infra.compat.errors import RequestError
from pipelines.cli import load_job
from pipelines.manifest.storage import Storage
from pipelines.recipe import Recipe, recipe_of
from pipelines.runtime import command_line
from pipelines.runtime.terminal import WITHOUT_PICTURES, brief

CHAIN = ("ingest", "stage1", "fetch", "stage1", "score", "stage1", "dedup", "stage2", "caption", "export", "report")


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Checks the whole request, then runs the chain up to its end or its first failed job."""
    parser = command_line.parser("run", __doc__ or "")
    options = parser.parse_args(argv)
    if not options.recipe:
        parser.error("the following arguments are required: --recipe")
    recipe = recipe_of(options)
    jobs = chain(recipe)
    require_runnable(recipe, jobs, Storage(options.root))
    arguments = ["--root", options.root, "--recipe", options.recipe]
    arguments += [argument for override in options.set for argument in ("--set", override)]
    arguments += ["--address", options.address] if options.address else []
    return run_chain(jobs, arguments)


def chain(recipe: Recipe) -> list[str]:
    """The jobs that the recipe gives what they need, in order."""
    needs: dict[str, object] = {
        "ingest": recipe.sources,
        "score": recipe.score.names_a_model(),
        "caption": recipe.caption.model,
        "export": recipe.export.out,
        "report": recipe.report.out,
    }
    return [job for job in CHAIN if needs.get(job, True)]


def require_runnable(recipe: Recipe, jobs: Sequence[str], storage: Storage) -> None:
    """RequestError for anything in the recipe that one of the jobs would refuse, before the first of them starts."""
    storage.require_writable()
    if "ingest" not in jobs:
        command_line.require_parts(storage)
    for job in dict.fromkeys(jobs):
        check = getattr(load_job(job), "check", None)
        if check is not None:
            check(recipe)


def run_chain(jobs: Sequence[str], arguments: Sequence[str]) -> dict[str, Any]:
    """Runs the jobs with these options; their counts in order, the failed parts of the job that it stopped at, and those that
    lack pictures by job: what can be read goes on.
    """
    done, lost = list[dict[str, Any]](), dict[str, str]()
    for job in jobs:
        try:
            counts = load_job(job).main(arguments)
        except RequestError as error:
            raise RequestError(f"{job}: {error}") from None
        done.append({"job": job, **counts})
        sys.stderr.write(f"{job}: {brief(counts)}\n\n")
        lost |= {f"{job} {part}": cause for part, cause in counts.get(WITHOUT_PICTURES, {}).items()}
        if counts.get("failed"):
            return {"jobs": done, "stopped_at": job, "failed": counts["failed"]}
    return {"jobs": done, "failed": {}, **({WITHOUT_PICTURES: lost} if lost else {})}


if __name__ == "__main__":
    command_line.run("run", main)
