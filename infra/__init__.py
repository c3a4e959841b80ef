"""What stands below and above the other rooms.

compat/          the lowest layer: what every room may import
launch/          commands that start the trainer on one machine, several, Slurm and Kubernetes
recipes/         recipes to start from
models/          small models of our own, with their cards
train_models/    trains them again, from the pictures on
benchmarks/      ours, the peer and the bare loop, in one run
"""

from infra.compat.errors import RequestError

__all__ = ["RequestError"]
