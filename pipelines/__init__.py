"""The jobs of the mill: one file here is one job, run as `python -m pipelines.<job>` or `pairmill <job>`.

The flow: sources → ingest → stage1 → fetch → stage1 → score → stage1 → dedup → stage2 → caption → export → trainer; every step
reads columns of the manifest and writes columns back, one part (≤ 1 M rows of one source file) at a time. `run` does all of it.
See `pipelines.runtime.runner`.
"""

import sys
from importlib.util import find_spec
from pathlib import Path

HOME = Path(__file__).parents[1]


def _shadowing_file() -> str | None:
    """The file or folder elsewhere on Python's path that takes the name of one of our packages; None where none does."""
    for name in ("filters", "sharding", "trainer_bridge", "infra"):
        spec = find_spec(name)
        if spec and spec.origin and HOME not in Path(spec.origin).parents:
            return spec.origin
    return None


# Our packages have common names: a `filters.py` in the working folder would be imported in place of ours, and fail far from here.
if (_shadowed_by := _shadowing_file()) is not None:
    _fault = f"pairmill: {_shadowed_by} hides the package of that name in {HOME}; rename it, or work in another folder"
    if Path(sys.argv[0]).name in ("-m", "pairmill"):  # a job is starting: one line is enough
        sys.stderr.write(f"{_fault}\n")
        sys.exit(2)
    raise ImportError(_fault)
