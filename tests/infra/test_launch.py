"""Every command of the page on launching is run as far as one machine can: with local processes, and names of machines replaced.

The trainer is replaced by tests/support/print_ranks.py, which joins the process group in the same way; that torchrun and a
process alone start the trainer itself is tested in tests/trainer_bridge.
"""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from infra.compat.errors import RequestError
from tests import ROOT
from trainer_bridge.ranks import PORTS, rank_environment

FOLDER = ROOT / "infra" / "launch"
TRAINER, PRINTER = "trainer_bridge.train", "tests.support.print_ranks"
LIMIT = 600
ARGUMENTS = ["--stage", "contrastive", "--config", "c.toml", "--shards", "shards", "--out", "out"]
VALUES = {"CONFIG": "c.toml", "SHARDS": "shards", "OUT": "out", "RUN": "a-run"}
SINGLE = {
    "RANK": "0",
    "WORLD_SIZE": "1",
    "LOCAL_RANK": "0",
    "LOCAL_WORLD_SIZE": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "0",
}


def commands() -> list[str]:
    """The shell blocks of the page."""
    return re.findall(r"^```sh\n(.*?)^```", (FOLDER / "README.md").read_text(), re.M | re.S)


def command_with(*words: str) -> str:
    """The one command with all of these words, its trainer replaced, two processes a machine."""
    (command,) = [command for command in commands() if all(word in command for word in words)]
    for option in ("--nproc_per_node", "--num_gpus"):
        command = command.replace(f"{option} 8", f"{option} 2")
    return command.replace(TRAINER, PRINTER)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def environment(**values: str) -> dict[str, str]:
    """That of a person at a shell, with the programs of this Python first, and no launcher's variables."""
    kept = {name: value for name, value in os.environ.items() if name not in {*SINGLE, "LOCAL_SIZE"} and "SLURM" not in name}
    path = f"{Path(sys.executable).parent}:{kept['PATH']}"
    return kept | VALUES | {"PATH": path, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | values


def start(command: str | list[str], **values: str) -> subprocess.Popen[str]:
    arguments = ["bash", "-c", command] if isinstance(command, str) else command
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(arguments, env=environment(**values), cwd=ROOT, text=True, **pipes)


def ranks_of(*processes: subprocess.Popen[str]) -> tuple[list[list[int]], list[str]]:
    """What rank 0 printed: [rank, world, local rank] of each rank, and the trainer's arguments."""
    outputs = [process.communicate(timeout=LIMIT) for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors[-3000:]
    (line,) = [line for output, _ in outputs for line in output.splitlines() if line.startswith('{"ranks"')]
    printed = json.loads(line)
    return printed["ranks"], printed["arguments"]


TWO = [[0, 2, 0], [1, 2, 1]]
TWO_MACHINES = [[0, 4, 0], [1, 4, 1], [2, 4, 0], [3, 4, 1]]


def test_a_process_alone_needs_no_launcher() -> None:
    assert ranks_of(start(command_with("python -m"))) == ([[0, 1, 0]], ARGUMENTS)


@pytest.mark.slow
@pytest.mark.parametrize("words", [("--standalone",), ("--num_gpus",)], ids=["torchrun", "deepspeed"])
def test_one_machine(words: tuple[str, ...]) -> None:
    port = f"--master_port {free_port()} --no_local_rank"
    assert ranks_of(start(command_with(*words).replace("--no_local_rank", port))) == (TWO, ARGUMENTS)


@pytest.mark.slow
def test_torchrun_on_several_machines() -> None:
    command = command_with("--rdzv_backend").replace("node-0:29400", f"127.0.0.1:{free_port()}")
    ranks, arguments = ranks_of(start(command), start(command))
    assert ranks == TWO_MACHINES and arguments == ARGUMENTS


@pytest.mark.slow
def test_deepspeed_on_several_machines_without_ssh(tmp_path: Path) -> None:
    hosts = tmp_path / "hostfile"
    hosts.write_text((FOLDER / "hostfile").read_text().replace("slots=8", "slots=2"))
    command = command_with("--no_ssh").replace("infra/launch/hostfile", str(hosts))
    command = command.replace("--master_addr node-0", f"--master_addr 127.0.0.1 --master_port {free_port()}")
    ranks, arguments = ranks_of(start(command, NODE="0"), start(command, NODE="1"))
    assert ranks == TWO_MACHINES and arguments == ARGUMENTS


def test_deepspeed_reads_the_hostfile() -> None:
    from deepspeed.launcher.runner import fetch_hostfile, parse_args

    assert dict(fetch_hostfile(str(FOLDER / "hostfile"))) == {"node-0": 8, "node-1": 8}
    for words in (("--hostfile", "reaches"), ("--no_ssh",)):
        (command,) = [c for c in commands() if ("--no_ssh" in c) == ("--no_ssh" in words) and "--hostfile" in c]
        options = parse_args(command.replace("\\\n", " ").replace("$NODE", "1").split()[1:])
        assert options.module and options.no_local_rank and options.user_script == TRAINER
        assert options.hostfile == "infra/launch/hostfile" and options.user_args[0] == "--stage"


@pytest.mark.slow
def test_srun_of_the_batch_script_numbers_the_ranks(tmp_path: Path) -> None:
    """srun and scontrol are two small scripts here: four tasks on two nodes, with the variables that Slurm sets for each."""
    programs = {
        "scontrol": '#!/bin/bash\n[ "$*" = "show hostnames node-[0-1]" ] && printf "127.0.0.1\\nnode-1\\n"\n',
        "srun": "#!/bin/bash\n"
        'while [[ "$1" == --* ]]; do shift; done\n'
        "export SLURM_STEP_NUM_TASKS=4 SLURM_STEP_NUM_NODES=2 'SLURM_STEP_TASKS_PER_NODE=2(x2)'\n"
        'for task in 0 1 2 3; do SLURM_PROCID=$task SLURM_LOCALID=$((task % 2)) "$@" & pids+=($!); done\n'
        'for pid in "${pids[@]}"; do wait "$pid" || exit 1; done\n',
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    script = tmp_path / "train.sbatch"
    script.write_text((FOLDER / "train.sbatch").read_text().replace(TRAINER, PRINTER))
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    variables = {"SLURM_JOB_ID": str(free_port() % PORTS), "SLURM_JOB_NODELIST": "node-[0-1]", "SLURM_NTASKS": "4"}
    ranks, arguments = ranks_of(start(["bash", str(script)], PATH=path, **variables))
    assert ranks == TWO_MACHINES and arguments[-4:] == ["--shards", "shards", "--out", "out"]


STEP = {"SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": "16", "SLURM_PROCID": "11", "SLURM_LOCALID": "3"}
STEP |= {"SLURM_STEP_TASKS_PER_NODE": "8(x2)", "SLURM_STEP_NUM_NODES": "2"}
OF_STEP = {"RANK": "11", "WORLD_SIZE": "16", "LOCAL_RANK": "3", "LOCAL_WORLD_SIZE": "8"}


@pytest.mark.parametrize(
    "variables, expected",
    [
        ({}, SINGLE),
        # A batch script and a shell within an allocation are one process, whatever was allocated.
        ({"SLURM_NTASKS": "16", "SLURM_PROCID": "0", "SLURM_JOB_ID": "7"}, SINGLE),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, SINGLE),
        (STEP | {"MASTER_ADDR": "node-0"}, OF_STEP | {"MASTER_ADDR": "node-0", "MASTER_PORT": "20007"}),
        (STEP | {"SLURM_STEP_NUM_NODES": "1"}, OF_STEP | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "20007"}),
        (STEP | {"MASTER_ADDR": "node-0", "MASTER_PORT": "29500"}, OF_STEP | {"MASTER_ADDR": "node-0", "MASTER_PORT": "29500"}),
        # --gpus-per-task shows each task its own GPU alone.
        (
            STEP | {"MASTER_ADDR": "a", "CUDA_VISIBLE_DEVICES": "3"},
            OF_STEP | {"LOCAL_RANK": "0", "MASTER_ADDR": "a", "MASTER_PORT": "20007"},
        ),
        # torchrun's and deepspeed's variables come first, under srun too.
        (STEP | SINGLE | {"RANK": "1", "WORLD_SIZE": "2"}, SINGLE | {"RANK": "1", "WORLD_SIZE": "2"}),
        ({"RANK": "1", "WORLD_SIZE": "2", "LOCAL_SIZE": "2"}, SINGLE | {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}),
    ],
)
def test_ranks_are_those_of_the_launcher(variables: dict[str, str], expected: dict[str, str]) -> None:
    assert rank_environment(variables) == expected


def test_tasks_on_several_nodes_need_an_address() -> None:
    with pytest.raises(RequestError, match=r"export MASTER_ADDR=\$\(scontrol show hostnames"):
        rank_environment(STEP)


@pytest.mark.slow
def test_the_pods_of_the_job_are_the_machines() -> None:
    pod, _, job = pod_service_and_job()
    container = pod["containers"][0]
    port, processes = free_port(), []
    for index in range(job["spec"]["completions"]):
        command = [*container["command"], *container["args"]]
        words = {"$(JOB_COMPLETION_INDEX)": str(index), "pairmill-train-0.pairmill-train": "127.0.0.1", "29500": str(port)}
        words |= {TRAINER: PRINTER, "nproc_per_node=8": "nproc_per_node=2"}
        for word, value in words.items():
            command = [argument.replace(word, value) for argument in command]
        processes.append(start(command))
    ranks, arguments = ranks_of(*processes)
    assert ranks == TWO_MACHINES and arguments[0] == "--stage=contrastive"


def pod_service_and_job() -> tuple[dict, dict, dict]:
    service, job = yaml.safe_load_all((FOLDER / "train_job.yaml").read_text())
    return job["spec"]["template"]["spec"], service, job


def test_the_job_gives_each_pod_its_number_and_the_first_one_a_name() -> None:
    pod, service, job = pod_service_and_job()
    name = job["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["selector"] == {"job-name": name}
    assert job["spec"]["completionMode"] == "Indexed" and job["spec"]["completions"] == job["spec"]["parallelism"]
    assert pod["subdomain"] == service["metadata"]["name"] and pod["restartPolicy"] == "Never"
    container = pod["containers"][0]
    assert f"--master_addr={name}-0.{pod['subdomain']}" in container["args"]
    assert f"--nnodes={job['spec']['completions']}" in container["args"]
    gpus = container["resources"]["limits"]["nvidia.com/gpu"]
    assert f"--nproc_per_node={gpus}" in container["args"] and container["resources"]["requests"]["nvidia.com/gpu"] == gpus
    (index,) = [each for each in container["env"] if each["name"] == "JOB_COMPLETION_INDEX"]
    assert "job-completion-index" in index["valueFrom"]["fieldRef"]["fieldPath"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_the_page_names_files_and_settings_that_exist() -> None:
    text = "\n".join([*commands(), *(path.read_text() for path in FOLDER.iterdir() if path.is_file())])
    for path in set(re.findall(r"(?:infra/launch|trainer_bridge/configs)/[\w./-]+\w", text)):
        assert (ROOT / path).exists(), path
    assert len(commands()) == 8
