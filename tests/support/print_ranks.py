"""Takes the place of the trainer in a command: processes join the group as the trainer does, and rank 0 prints their numbers."""

import json
import os
import sys

import torch
from torch import distributed as dist

from trainer_bridge.models.losses import gather
from trainer_bridge.ranks import rank_environment


def main() -> None:
    """One line of JSON: [rank, world, local rank] of each rank, and the arguments that were passed on."""
    os.environ.update(rank_environment(os.environ))
    if os.environ["MASTER_PORT"] == "0":
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    else:
        dist.init_process_group("gloo")
    numbers = gather(torch.tensor([[int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")]]))
    if dist.get_rank() == 0:
        sys.stdout.write(json.dumps({"ranks": numbers.tolist(), "arguments": sys.argv[1:]}) + "\n")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
