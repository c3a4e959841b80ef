"""Trains Mono-InternVL where one rank has a picture and another text alone: `-m tests.trainer_bridge.text_alone FOLDER OUT`.

Started by torchrun, with ZeRO-3. FOLDER is that of `test_mono`.
"""

import sys
from pathlib import Path

import torch

from tests.trainer_bridge.stages.test_mono import experiment
from trainer_bridge import deepspeed_engine
from trainer_bridge.run_folder import RunFolder
from trainer_bridge.stages.mono import MonoStage
from trainer_bridge.train import train

RUN = {"zero": 3, "micro_batch": 1, "precision": "fp32"}


def main(folder: Path, out: Path) -> None:
    """Leaves the model in OUT/model."""
    device = deepspeed_engine.start()
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    settings = experiment(folder, "instruction", data={"batch": 2}, run=RUN)
    torch.manual_seed(0)
    assert train(MonoStage(settings, None, None, out), settings, [], RunFolder(str(out)), 0.0, device)
    deepspeed_engine.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
