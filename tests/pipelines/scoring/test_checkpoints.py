"""Weights that cannot be loaded are refused in a line, before a model is made."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from infra.compat.errors import RequestError
from pipelines.scoring.checkpoints import checkpoint


def test_weights_that_are_cut_or_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"weight": np.arange(8.0)}, path)
    whole = path.read_bytes()
    assert checkpoint("score.clip_checkpoint", str(path)).path == path
    for data in (b"", b"no weights", whole[:4], whole[:-1]):
        path.write_bytes(data)
        with pytest.raises(RequestError, match=r"score.clip_checkpoint = .* is no safetensors file, or a cut one"):
            checkpoint("score.clip_checkpoint", str(path))
