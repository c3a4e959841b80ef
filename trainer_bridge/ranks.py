"""How processes are numbered: as torchrun and deepspeed do it, by srun's tasks, or one alone.

`infra/launch/README.md` has the commands that start them.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from typing import NoReturn

from infra.compat.errors import RequestError
from infra.compat.failures import failure_line

SINGLE_PROCESS = {  # port 0 is any free one
    "RANK": "0",
    "WORLD_SIZE": "1",
    "LOCAL_RANK": "0",
    "LOCAL_WORLD_SIZE": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "0",
}
PATIENCE = 20.0  # seconds in which rank 0 writes the error that it has in common with others
FIRST_PORT, PORTS = 20_000, 12_000  # below those that Linux gives to outgoing connections


def rank_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that number this process (RANK, WORLD_SIZE, LOCAL_RANK …) and name the address where all meet.

    As torchrun and deepspeed set them; without these as srun numbers the tasks of its step; else those of a process alone.
    RequestError when srun runs tasks on several nodes and nobody names the address.
    """
    if "RANK" in environment or "WORLD_SIZE" in environment:
        local = {"LOCAL_WORLD_SIZE": environment.get("LOCAL_SIZE", "1")}  # deepspeed's name for it
        return {name: environment.get(name, value) for name, value in (SINGLE_PROCESS | local).items()}
    # sbatch sets SLURM_NTASKS in its script too, where there is one process; these are set within a step alone.
    if int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1 and "SLURM_PROCID" in environment:
        return _slurm(environment)
    return dict(SINGLE_PROCESS)


def is_first(environment: Mapping[str, str]) -> bool:
    """Whether this is rank 0, which speaks for all, in the process group or before there is one."""
    in_step = "SLURM_STEP_NUM_TASKS" in environment
    return environment.get("RANK", environment.get("SLURM_PROCID", "0") if in_step else "0") == "0"


def fail(program: str, error: Exception, status: int = 2) -> NoReturn:
    """Ends with the exit status and the error in one line, written by rank 0 if it meets the error too.

    The first process that ends makes a launcher end all others. So those wait, for rank 0 to write; one that is still there after
    that met an error of its own, and writes it.
    """
    if not is_first(os.environ):
        time.sleep(PATIENCE)
    sys.stderr.write(f"{program}: {failure_line(error) or error}\n")
    sys.exit(status)


def _slurm(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of a task that srun started."""
    several_nodes = int(environment.get("SLURM_STEP_NUM_NODES", "1")) > 1
    if several_nodes and "MASTER_ADDR" not in environment:
        raise RequestError(
            "srun runs tasks on several nodes and MASTER_ADDR is unset; before srun, "
            'export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)'
        )
    port = FIRST_PORT + int(environment.get("SLURM_JOB_ID", "0")) % PORTS
    bound_to_one_gpu = "," not in environment.get("CUDA_VISIBLE_DEVICES", ",")  # as --gpus-per-task does: it is number 0
    return {
        "RANK": environment["SLURM_PROCID"],
        "WORLD_SIZE": environment["SLURM_STEP_NUM_TASKS"],
        "LOCAL_RANK": "0" if bound_to_one_gpu else environment.get("SLURM_LOCALID", "0"),
        "LOCAL_WORLD_SIZE": environment.get("SLURM_STEP_TASKS_PER_NODE", "1").partition("(")[0].partition(",")[0],
        "MASTER_ADDR": environment.get("MASTER_ADDR", "127.0.0.1"),
        "MASTER_PORT": environment.get("MASTER_PORT", str(port)),
    }
