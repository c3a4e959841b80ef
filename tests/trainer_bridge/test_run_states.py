"""A run that goes on from a saved state is the run that never stopped: to the bit, at other numbers of ranks to rounding."""

import json
import subprocess
import sys
import tomllib
from itertools import product
from pathlib import Path

import pytest
import torch

from infra.compat.errors import RequestError
from tests import ROOT
from tests.support.processes import one_process  # noqa: F401
from tests.support.shards import numbered_dataset
from tests.support.stages import COMMON, CONFIGS, stage_of, write_start
from tests.trainer_bridge.resumes import SAVED, STEPS, run_case, run_steps
from trainer_bridge import deepspeed_engine
from trainer_bridge.data.tokenizer import train_tokenizer
from trainer_bridge.run_folder import RunFolder
from trainer_bridge.run_states import RunStates, what_decides
from trainer_bridge.stages import Stage
from trainer_bridge.stages.settings import Experiment

EXACT = 1e-5
LIMIT = 1200  # seconds, for processes that take a minute on a quiet machine
pytestmark = pytest.mark.timeout(2 * LIMIT)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    write_start(folder)
    return folder


def on_ranks(world: int, start: Path, cases: list[str]) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(world)]
    command += ["-m", "tests.trainer_bridge.resumes", str(start), *cases]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]


def assert_resumes(start: Path, case: str, world: int) -> None:
    """Of a case that ran at this number of ranks: straight, resumed, and resumed from other numbers of ranks.

    Weights are compared to the bit or not at all: of those that no loss depends on AdamW makes steps out of rounding errors.
    """
    results = json.loads((start / f"{case}-{world}.json").read_text())
    straight = results.pop("straight")
    assert len(straight) == STEPS + 1
    _, before, after = case.split(":")
    for name, resumed in results.items():
        if name == "resumed" and before == after:
            assert resumed == straight[SAVED:]
        else:
            assert resumed[:-1] == [pytest.approx(losses, rel=0, abs=EXACT) for losses in straight[SAVED:-1]], name


def test_a_run_is_of_its_shards_and_its_tokenizer(tmp_path: Path) -> None:
    class Named(Stage):
        def __init__(self, words: list[str]) -> None:
            self.tokenizer = train_tokenizer(words, 300)

    Named.__abstractmethods__ = frozenset()
    experiment = Experiment.model_validate(tomllib.loads(COMMON.replace("image_lr = 1e-3\ntext_lr = 1e-3\n", "")))
    first, again, other = (numbered_dataset(tmp_path / name, sizes) for name, sizes in (("a", [4]), ("b", [4]), ("c", [2, 2])))
    runs = [
        what_decides(Named(words), experiment, [(dataset, 1.0)])
        for words, dataset in ((["a fox"], first), (["a fox"], again), (["a fox"], other), (["ein Fuchs"], first))
    ]
    assert runs[0] == runs[1] and [runs[0] == run for run in runs[2:]] == [False, False]


def test_one_process_goes_on_under_another_zero_stage(start: Path, one_process: torch.device) -> None:  # noqa: F811
    run_case(start, "generative:3:0")
    assert_resumes(start, "generative:3:0", 1)


def test_another_number_of_processes_goes_on_where_the_first_stopped(
    start: Path,
    one_process: torch.device,  # noqa: F811
) -> None:
    case = "softmax:2:2"
    run_case(start, case)
    on_ranks(2, start, [case])
    assert_resumes(start, case, 2)
    run_case(start, case)
    assert_resumes(start, case, 1)


@pytest.mark.slow
def test_every_stage_under_every_zero_stage_goes_on_at_any_number_of_processes(
    start: Path,
    one_process: torch.device,  # noqa: F811
) -> None:
    cases = [f"{name}:{before}:{(before + i) % 4}" for (i, name), before in product(enumerate(CONFIGS), range(4))]
    on_ranks(4, start, cases[::3])
    for case in cases:
        run_case(start, case)
    on_ranks(2, start, cases)
    for world, resumed in ((1, cases), (2, cases), (4, cases[::3])):
        for case in resumed:
            assert_resumes(start, case, world)


def test_a_state_of_another_model_is_refused_before_deepspeed_takes_it(
    start: Path,
    tmp_path: Path,
    one_process: torch.device,  # noqa: F811
) -> None:
    run_steps("softmax", start, 0, tmp_path / "state", 1, saved=1)
    folder, run = RunFolder(str(tmp_path / "state")), {"name": "softmax"}
    for name, changed, message in (
        ("generative", run, r"another model: missing: queries, .*; unexpected: image_tower\.class_token"),
        ("softmax", {"name": "softmax", "data.batch": 16}, r"another run: data\.batch was None, and is 16"),
    ):
        with pytest.raises(RequestError, match=message):
            RunStates(folder, stage_of(name, start).model, changed, keep=2)


def test_other_weights_that_are_not_trained_are_refused(start: Path, tmp_path: Path, one_process: torch.device) -> None:  # noqa: F811
    run_steps("generative", start, 3, tmp_path / "state", 1, saved=1)
    other = stage_of("generative", start, run={"zero": 3})
    with torch.no_grad():
        other.model.stage1.image_tower.class_token.add_(1e-6)
    states = RunStates(RunFolder(str(tmp_path / "state")), other.model, {"name": "generative"}, keep=2)
    engine = deepspeed_engine.initialise(other.model, other.parameters(), other.experiment, 1)
    with pytest.raises(RequestError, match="not trained are others; name the same --from"):
        states.restore(engine)
    engine.destroy()
