"""The jobs in the order of the flow: what each does, what a person runs after it, and the packages it needs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """One job of the command line.

    summary    what it does, for `pairmill --help`
    next_step  what to run after it, the end of "Next: …"
    extra      the optional dependencies of the distribution that it imports
    mend       what to do where parts failed
    """

    summary: str
    next_step: str
    extra: str = ""
    mend: str = "run it again to do only what is pending"


CHAIN = {
    "ingest": Job("read published metadata into samples", "pairmill stage1"),
    "stage1": Job(
        "keep or drop each sample by the six factors, with reasons",
        "pairmill fetch; once images are fetched and scored, pairmill dedup",
    ),
    "fetch": Job("download, check and resize the images", "pairmill stage1, for sizes as measured and failed downloads", "fetch"),
    "score": Job(
        "score the images by models of your choice (similarity, aesthetic, unsafe, watermark)",
        "pairmill stage1, to judge by these scores",
        "models,fetch",
    ),
    "dedup": Job("find duplicates, and images of evaluation sets", "pairmill stage2", "fetch"),
    "stage2": Job(
        "keep or drop each sample by its caption, with reasons",
        "pairmill export --out URI, or pairmill caption --model URI first",
    ),
    "caption": Job("describe the kept images by an InternVL", "pairmill export --out URI", "models,fetch"),
    "export": Job("write the kept samples as WebDataset shards", "pairmill report --out DIR, or train on the shards"),
    "report": Job("write one HTML page about the manifest", "open the page", "report"),
}
WHOLE = {
    "run": Job("do all of the above that a recipe describes, only what is pending", "pairmill status shows what is done"),
    "demo": Job("do all of it on a small corpus, on this machine", "open the report's page", "demo"),
}
SETS = {
    "index-evalset": Job("hash the images of an evaluation set into one file", "pairmill dedup --against NAME=FILE", "fetch"),
}
SHARDS = {
    "index": Job(
        "index WebDataset tars that others wrote, without rewriting them", "pairmill verify URI, or train on the shards"
    ),
    "reshard": Job("write indexed tars as shards of another size or order", "pairmill verify URI, or train on the shards"),
    "verify": Job(
        "check shards: bytes, index, pictures, pairing with the manifest",
        "train on the shards",
        mend="--repair writes faulty shards again, and no others",
    ),
}
ANNOTATIONS = {
    "instructions": Job(
        "turn the sets of an instruction mix into conversations and one meta file",
        "trainer_bridge.check_conversations META.json, then train --stage chat --data META.json",
        "annotations",
        mend="put the files of the sets where the recipe names them",
    ),
    "conversations": Job(
        "turn boxes and texts that others annotated into conversations",
        "look at the boxes on --page; then train a chat or Mono-InternVL stage on them",
        "annotations",
        mend="check the kind and the file",
    ),
}
QUESTIONS = {
    "status": Job("show what is done and what is pending, by step and source", "run the first job that has rows to do"),
    "sql": Job("query the manifest with DuckDB", ""),
    "explain": Job("show everything known about one sample", 'pairmill sql "SELECT …" asks about many samples'),
    "calibrate": Job(
        "find the thresholds of a stage that give a retention, without running any job",
        "pairmill stage1, or stage2, with the recipe written by --out",
    ),
    "captions-check": Job("show which caption rules drop your captions", "pairmill stage2 applies these rules to a manifest"),
}
JOBS = CHAIN | WHOLE | SETS | SHARDS | ANNOTATIONS | QUESTIONS
