"""The plan is printed before anything starts, without shards where only a plan is wanted, and says what to change."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from infra.compat.errors import RequestError
from tests import ROOT
from tests.support.stages import CONFIGS
from trainer_bridge.memory.devices import device_bytes, parse_size
from trainer_bridge.memory.heap import has_no_caches
from trainer_bridge.memory_plan import Part, require_fit
from trainer_bridge.memory_report import _heap, plan_ahead
from trainer_bridge.stages import find_stages
from trainer_bridge.stages.settings import load_experiment
from trainer_bridge.train import main

GIB = 2**30
PUBLISHED = ROOT / "trainer_bridge" / "configs"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "stage1.toml"
    path.write_text(CONFIGS["softmax"])
    return path


def sizes(text: str) -> dict[str, float]:
    """GiB of each part in a printed plan."""
    return {name: float(size) for name, size in re.findall(r"^memory     (\w+) +([\d.]+) GiB a rank of \d+", text, re.M)}


def test_a_plan_needs_no_shards_and_starts_nothing(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--stage", "contrastive", "--config", str(config), "--plan", "--ranks", "2"])
    printed = capsys.readouterr().err
    assert list(sizes(printed)) == ["parameters", "gradients", "optimizer", "activations", "features", "loader", "together"]
    assert "a rank of 2" in printed and [path.name for path in tmp_path.iterdir()] == ["stage1.toml"]
    generative = tmp_path / "stage2.toml"
    generative.write_text(CONFIGS["generative"])
    main(["--stage", "generative", "--config", str(generative), "--plan", "--from", str(config)])
    assert sizes(capsys.readouterr().err)["together"] > 0


@pytest.mark.parametrize(
    "options, message",
    [
        (["--plan", "--device-memory", "1MiB"], r"a rank needs \d+\.\d GiB and has 0\.0 GiB; the largest part are the \w+ with"),
        (["--plan", "--device-memory", "80"], r"--device-memory 80 is no size; write it as 80GiB"),
        (["--plan", "--from", "nowhere"], r"nowhere is not there; name a model's folder"),
        ([], r"--out is required, but for --plan"),
    ],
)
def test_a_plan_that_cannot_be_is_one_line_and_exit_2(
    config: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--stage", "contrastive", "--config", str(config), *options])
    printed = capsys.readouterr().err
    assert stopped.value.code == 2 and re.search(message, printed.splitlines()[-1]) and "Traceback" not in printed


def test_a_refusal_names_the_largest_part_and_what_makes_it_smaller() -> None:
    parts = [Part(name, 10 * GIB, f"change {name}") for name in ("parameters", "gradients", "activations")]
    loader = Part("loader", 100 * GIB, "change loader", on_host=True)
    require_fit([*parts, loader], 30 * GIB, on_gpu=True)  # the loader's buffers are in the host's memory
    for part in parts:
        larger = [replace(each, size=11 * GIB) if each is part else each for each in parts]
        with pytest.raises(
            RequestError, match=f"needs 31.0 GiB and has 30.0 GiB; .* {part.name} .*11.0 GiB: change {part.name}$"
        ):
            require_fit([*larger, loader], 30 * GIB, on_gpu=True)
    with pytest.raises(RequestError, match="change loader"):
        require_fit([*parts, loader], 100 * GIB, on_gpu=False)


def test_sizes_are_read_as_people_write_them_and_this_machine_has_memory() -> None:
    assert parse_size("80GiB") == 80 * GIB and parse_size("1.5 MB") == 1_500_000
    for wrong in ("", "GiB", "80G", "-1GiB", "1.2.3GiB", "."):
        with pytest.raises(RequestError):
            parse_size(wrong)
    whole = device_bytes(torch.device("cpu"), 1)
    assert whole > 2**28 and device_bytes(torch.device("cpu"), 4) == whole // 4


def test_a_training_that_srun_starts_is_planned_for_its_tasks(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    step = {"STEP_NUM_TASKS": "4", "STEP_NUM_NODES": "1", "STEP_TASKS_PER_NODE": "4", "PROCID": "0", "LOCALID": "0"}
    for name, value in step.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    stage = find_stages()["contrastive"]
    experiment = load_experiment(str(config), stage.experiment_type)
    plan_ahead(stage, experiment, None)
    assert "a rank of 4" in capsys.readouterr().err
    monkeypatch.setenv("SLURM_PROCID", "1")
    plan_ahead(stage, experiment, None)
    assert not capsys.readouterr().err


@pytest.mark.slow
def test_the_published_configurations_fit_eight_gpus_as_written_and_not_without_checkpointing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stage1 = PUBLISHED / "contrastive-internvl.toml"
    request = ["--plan", "--ranks", "8", "--device-memory", "80GiB"]
    main(["--stage", "contrastive", "--config", str(stage1), *request])
    assert 30 < sizes(capsys.readouterr().err)["together"] < 80
    main(["--stage", "generative", "--config", str(PUBLISHED / "generative-internvl.toml"), "--from", str(stage1), *request])
    capsys.readouterr()
    without = tmp_path / "without.toml"
    without.write_text(stage1.read_text().replace('"blocks"', '"none"'))
    with pytest.raises(SystemExit):
        main(["--stage", "contrastive", "--config", str(without), *request])
    printed = capsys.readouterr().err
    assert sizes(printed)["activations"] > 200  # issue 19: about 247 GiB
    assert 'set run.activation_checkpointing = "blocks" or lower run.micro_batch' in printed


@pytest.mark.parametrize(
    ("tunables", "without"),
    [
        ("", False),
        ("glibc.malloc.tcache_count=0", True),
        ("glibc.malloc.mxfast=0:glibc.malloc.tcache_count=0:glibc.malloc.arena_max=2", True),
        ("glibc.malloc.tcache_count=07", False),
    ],
)
def test_holes_on_the_heap_are_planned_by_how_malloc_was_started(
    tunables: str, without: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", tunables)
    assert has_no_caches(os.environ) is without
    heap = _heap([Part("activations", 640 << 20, "")])
    assert heap.size >> 20 == (400 + 448 if without else 400 + 1280)
    assert heap.on_host and ("tcache_count" in heap.remedy) is not without
