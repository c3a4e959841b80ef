"""The trainer's process group in the process of a test."""

import os
from collections.abc import Iterator

import pytest
import torch

from trainer_bridge import deepspeed_engine


@pytest.fixture(scope="module")
def one_process() -> Iterator[torch.device]:
    """The device of the only rank; afterwards environment and threads are as before."""
    environment, threads = dict(os.environ), torch.get_num_threads()
    device = deepspeed_engine.start()
    torch.set_num_threads(1)  # the models are so small that on a busy machine others would only wait for each other
    yield device
    deepspeed_engine.stop()
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(threads)
