"""The jobs of the mill: one file here is one job, run as `python -m pipelines.<job>` or `pairmill <job>`.

    sources → ingest → stage1 → fetch → stage1 → score → stage1 → dedup → stage2 → caption → export → report, trainer

Every step reads columns of the manifest and writes columns back, one part (≤ 1 M rows of one source file) at a time.

ingest.py          published metadata → samples
stage1.py          the six factors → keep and reasons
fetch.py           URLs → checked pictures in tars
score.py           pictures → scores of our own
dedup.py           evaluation sets and duplicates → evidence
stage2.py          the caption rules → keep and reasons
caption.py         kept pictures → synthetic captions
export.py          kept samples → WebDataset shards
report.py          one HTML page
run.py             the whole chain that a recipe describes
demo.py            the whole chain on a small corpus, on this machine
index_evalset.py   an evaluation set → one file of hashes
index.py           tars of others → an index beside them
reshard.py         shards → shards of another size or order
verify.py          what is wrong with shards, and its repair
instructions.py    the sets of an instruction mix → conversations and one meta file
conversations.py   boxes and texts that others annotated → conversations
status.py          what is done and what is pending
sql.py             DuckDB over the manifest
explain.py         everything known about one sample
calibrate.py       thresholds that give a retention
captions_check.py  which caption rules drop captions of yours
cli.py             one console command for all jobs
recipe.py          the one settings file
manifest/          storage, parts, receipts, tables, the SQL view
runtime/           what a job runs on: steps, Ray, cached results, the command line, plugins
images/            identify, decode, resize, hash
sources/           one file per published schema
fetching/          downloads, politely and safely
scoring/           one file per score
captioning/        one file per kind of captioner
corpus/            what is asked of the whole corpus
judging/           the two filters over parts
exporting/         kept samples → shards
shards/            finished shards: indexed, checked, cut anew
annotations/       boxes and texts of others, and the words of conversations about them
calibration/       retention → thresholds
reporting/         numbers, figures, the page
demo_corpus/       the demo's small web

The names below load their modules when they are first used.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

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

_MODULES = {
    "Storage": "manifest.storage",
    "connect": "manifest.view",
    "load_recipe": "recipe",
    "read_columns": "manifest.join",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
