"""Evaluation in training: on every rank, every few steps and at the end, and the training goes on as if there had been none."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import deepspeed
import pytest
import torch

from infra.compat.errors import RequestError
from sharding import read_dataset
from tests import ROOT
from tests.support.evaluation_folders import write_imagenet, write_karpathy, write_xtd
from tests.support.processes import one_process  # noqa: F401
from tests.support.shards import numbered_dataset
from tests.trainer_bridge.test_train import CONFIGS, LIMIT, shards  # noqa: F401
from trainer_bridge.evaluate import evaluate_model
from trainer_bridge.evaluation.plan import plan_evaluations
from trainer_bridge.evaluation.settings import EvaluationSettings
from trainer_bridge.run_folder import RunFolder
from trainer_bridge.stages import find_stages
from trainer_bridge.train import train

pytestmark = pytest.mark.timeout(LIMIT)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("folders")
    for name, write in (("flickr", write_karpathy), ("xtd", write_xtd), ("imagenet", write_imagenet)):
        (folder / name).mkdir()
        write(folder / name)
    return folder


def run(stage: str, document: dict[str, Any], shards: Path, out: Path, device: torch.device) -> tuple[list[dict], dict]:  # noqa: F811
    """Trains in this process: the rows of metrics.jsonl, and the summary."""
    kind, start = find_stages()[stage], None if stage == "contrastive" else shards / "stage1"
    experiment, dataset = kind.experiment_type.model_validate(document), read_dataset(str(shards))
    out.mkdir()
    torch.manual_seed(0)
    evaluations = plan_evaluations(experiment.evaluation, kind.evaluator_type, dataset)
    stage = kind(experiment, dataset, start, out)
    train(stage, experiment, [(dataset, 1.0)], RunFolder(str(out)), 0.0, device, evaluations=evaluations)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return rows, json.loads((out / "summary.json").read_text())


@pytest.mark.parametrize(
    "stage, zero",
    [
        ("contrastive", 1),
        pytest.param("generative", 3, marks=pytest.mark.slow),
        pytest.param("contrastive", 3, marks=pytest.mark.slow),
        pytest.param("chat", 3, marks=pytest.mark.slow),
    ],
)
def test_a_training_goes_on_as_if_it_had_not_been_evaluated(
    shards: Path,  # noqa: F811
    folders: Path,
    tmp_path: Path,
    one_process: torch.device,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stage: str,
    zero: int,
) -> None:
    initialise = deepspeed.initialize

    def divided(config: dict[str, Any], **arguments: Any) -> Any:
        # Small weights would stay whole on every rank.
        config["zero_optimization"] |= {"stage3_param_persistence_threshold": 0}
        return initialise(config=config, **arguments)

    monkeypatch.setattr(deepspeed, "initialize", divided)
    document = tomllib.loads(CONFIGS[stage])
    document["run"] |= {"zero": zero, "precision": "fp32"}
    document["optimizer"] |= {"steps": 4, "ema": 0.5}  # what is saved and evaluated is the moving average
    plain, plain_summary = run(stage, document, shards, tmp_path / "plain", one_process)
    captioned = {"data": str(folders / "flickr")}
    document["evaluation"] = [captioned, {"data": str(folders / "xtd"), "split": "de"}]
    if stage != "chat":
        document["evaluation"].append({"data": str(folders / "imagenet"), "name": "classes"})
    document["run"]["evaluate_every"] = 2
    rows, summary = run(stage, document, shards, tmp_path / "evaluated", one_process)
    assert [row["loss"] for row in rows] == [row["loss"] for row in plain]
    names = {"heldout", "flickr", "xtd"} | ({"classes"} if stage != "chat" else set())
    assert [set(row.get("evaluation", ())) for row in rows] == [set(), names, set(), names]
    assert summary["faults"] == plain_summary["faults"] == sum(row["faults"] for row in rows) == 1  # those of the training
    own = evaluate_model(tmp_path / "plain" / "model", str(shards), "heldout")
    for key, value in own.items():
        assert plain_summary[key] == pytest.approx(value) and summary[key] == plain_summary[key]
    latest, lines = rows[-1]["evaluation"], capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith("evaluation flickr  ")]) == 2
    assert latest.pop("heldout") == {key: round(summary[key], 5) for key in own if not isinstance(own[key], list)}
    of_others = {name: {key: round(value, 5) for key, value in each.items()} for name, each in summary["evaluation"].items()}
    assert latest == of_others and latest["flickr"]["pairs"] == 6
    if stage != "chat":
        assert latest["classes"]["classes"] == 3 and latest["xtd"]["de/pairs"] == 3
    if stage != "contrastive":
        assert latest["flickr"]["caption_loss"] > 0


RANKS = """
import json, os, sys
from pathlib import Path
import torch
from torch import distributed as dist
from trainer_bridge.evaluate import stage_of
from trainer_bridge.evaluation.plan import plan_evaluations
from trainer_bridge.evaluation.settings import EvaluationSettings

dist.init_process_group("gloo")
torch.set_num_threads(1)
results = []
for folder, tables in json.loads(sys.argv[1]):
    stage = stage_of(Path(folder))
    evaluator = stage.load(Path(folder), torch.device("cpu"), 3)
    evaluator.model.eval()
    with torch.no_grad():
        for evaluation in plan_evaluations([EvaluationSettings(**table) for table in tables], stage.evaluator_type):
            results.append(evaluation.figures(evaluator))
shapes = [None] * dist.get_world_size()
dist.all_gather_object(shapes, results)
assert all(other == results for other in shapes), "ranks disagree"
if dist.get_rank() == 0:
    print(json.dumps(results))
dist.destroy_process_group()
threads = [Path(f"/proc/self/task/{task}/comm").read_text() for task in os.listdir("/proc/self/task")]
assert not [name for name in threads if "gloo" in name], "a process that ends while gloo's threads run may abort"
"""


@pytest.mark.slow
def test_figures_do_not_depend_on_the_number_of_ranks(
    shards: Path,  # noqa: F811
    folders: Path,
    tmp_path: Path,
    one_process: torch.device,  # noqa: F811
) -> None:
    models = {}
    for stage in CONFIGS:
        document = tomllib.loads(CONFIGS[stage])
        document["optimizer"]["steps"] = 2
        run(stage, document, shards, tmp_path / stage, one_process)
        models[stage] = str(tmp_path / stage / "model")
    sets = [{"shards": str(shards), "split": split, "samples": 0, "name": split} for split in ("train", "heldout")]
    sets += [{"data": str(folders / "xtd")}, {"data": str(folders / "flickr")}]
    named = {"kind": "classification", "data": str(folders / "imagenet")}
    plan = [(models["contrastive"], [*sets, named]), (models["generative"], [*sets, named]), (models["chat"], sets)]
    results = {}
    for ranks in (1, 2, 3):
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)]
        (tmp_path / "ranks.py").write_text(RANKS)
        command = [*launcher, str(tmp_path / "ranks.py"), json.dumps(plan)]
        finished = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, cwd=ROOT)
        assert finished.returncode == 0, finished.stderr[-3000:]
        results[ranks] = json.loads(finished.stdout)
    assert results[1][0]["unreadable"] == 1 and results[1][0]["pairs"] == 31  # one picture is broken
    for ranks in (2, 3):
        for found, expected in zip(results[ranks], results[1], strict=True):
            assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    "table, message",
    [
        ({"shards": "nowhere"}, "nowhere holds no dataset.json"),
        ({"shards": "SHARDS", "split": "hedlout"}, "has no split 'hedlout'; it has heldout, train"),
        ({"shards": "SHARDS", "data": "x"}, r"set one of shards \(a URI\) and data \(a folder\)"),
        ({}, r"set one of shards"),
        ({"shards": "SHARDS", "kind": "captions"}, "this stage computes retrieval, classification, not captions"),
        ({"shards": "SHARDS", "kind": "classification"}, "shards do not name their classes"),
        ({"shards": "BARE", "split": "train", "kind": "retrieval"}, r"has a caption \(.txt\), which evaluation bare needs"),
        ({"shards": "EMPTY", "split": "train"}, "has no samples in its split train"),
        ({"data": "nowhere"}, "nowhere is no folder"),
        ({"data": "IMAGENET", "kind": "retrieval"}, "has no texts about its pictures; its kind can be classification"),
        ({"data": "FLICKR", "kind": "classification"}, "needs the class of each picture, and this set has none"),
        ({"shards": "SHARDS", "name": "heldout"}, "two evaluations are called 'heldout'"),
    ],
)
def test_a_wrong_evaluation_is_told_before_the_training(
    shards: Path,  # noqa: F811
    folders: Path,
    tmp_path: Path,
    table: dict[str, str],
    message: str,
) -> None:
    from sharding import Sample
    from tests.support.shards import IMAGE, write_dataset

    write_dataset(tmp_path / "bare", {"train": [[Sample(0, IMAGE % 0, "", b"{}")]]})
    numbered_dataset(tmp_path / "empty", [0])
    places = {"SHARDS": shards, "BARE": tmp_path / "bare", "EMPTY": tmp_path / "empty"}
    places |= {"IMAGENET": folders / "imagenet", "FLICKR": folders / "flickr"}
    settings = EvaluationSettings(**{key: str(places.get(value, value)) for key, value in table.items()})
    contrastive = find_stages()["contrastive"]
    with pytest.raises((RequestError, ValueError, OSError), match=message) as caught:
        plan_evaluations([settings], contrastive.evaluator_type, read_dataset(str(shards)))
    assert "\n" not in str(caught.value)
