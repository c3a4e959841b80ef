"""Two ranks build a model under ZeRO-3: `python -m tests.trainer_bridge.building FOLDER` under torchrun.

At random, saved as FOLDER/wide; then from there, saved as FOLDER/again. Each rank writes how far its own memory grew in either.
"""

import gc
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from torch import distributed as dist

from infra.compat.memory import return_freed_memory
from sharding import read_dataset
from tests.support.stages import CONTRASTIVE
from trainer_bridge import deepspeed_engine
from trainer_bridge.stages.contrastive import ContrastiveExperiment, ContrastiveStage


def own_bytes() -> int:
    """Memory of this process that is not mapped from a file."""
    (found,) = re.findall(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found) * 1024


def build(folder: Path, document: dict[str, Any], start: Path | None, out: Path) -> int:
    """Peak growth of this rank's own memory while the model is built."""
    document["run"]["zero"] = 3
    experiment = ContrastiveExperiment.model_validate(document)
    stage = ContrastiveStage(experiment, read_dataset(str(folder)), start, folder)
    gc.collect()
    return_freed_memory()
    before, peak = own_bytes(), 0
    keep_shares = deepspeed_engine.keep_shares

    def measured(settings: object) -> object:
        keep = keep_shares(settings)

        def keep_and_measure(parameters: list) -> None:
            nonlocal peak
            peak = max(peak, own_bytes())
            keep(parameters)
            peak = max(peak, own_bytes())

        return keep_and_measure

    deepspeed_engine.keep_shares = measured
    engine = deepspeed_engine.initialise(stage.model, stage.parameters(), experiment, 2, stage.tensors)
    deepspeed_engine.keep_shares = keep_shares
    state = deepspeed_engine.full_state(engine)
    if dist.get_rank() == 0:
        stage.save(out, state)
    dist.barrier()
    engine.destroy()
    return peak - before


def main(folder: Path) -> None:
    """Builds a small model, to import all that is needed, and then the wide one twice."""
    deepspeed_engine.start()
    build(folder, tomllib.loads(CONTRASTIVE), None, folder / "small")
    wide, model = json.loads((folder / "wide.json").read_text()), folder / "wide"
    growth = {"random": build(folder, wide, None, model), "start": build(folder, wide, model, folder / "again")}
    (folder / f"growth-{dist.get_rank()}.json").write_text(json.dumps(growth))
    deepspeed_engine.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
