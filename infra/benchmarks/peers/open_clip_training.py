"""open_clip's own training command, told of a model of other sizes first.

    python -m infra.benchmarks.peers.open_clip_training MODEL.json …

run with the Python of the peer `open_clip`; what follows are the options of `open_clip_train.main`.
"""

from __future__ import annotations

import sys

from infra.compat.torchvision_operators import define_missing_operators


def main(model: str, arguments: list[str]) -> None:
    """Trains the model of the file."""
    define_missing_operators()  # before anything imports torchvision
    import open_clip
    from open_clip_train.main import main as train

    open_clip.add_model_config(model)
    train(arguments)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
