"""AdamW's groups: which parameters decay, and the peak learning rate of each.

Sources: CLIP and InternVL's released fine-tuning code, which let decay neither vectors nor tokens and position embeddings; BEiT's
layer-wise rates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from infra.compat.errors import nearest
from trainer_bridge.stages.settings import OptimizerSettings

NOT_DECAYED = {"positions", "class_token", "queries", "logit_scale", "logit_bias", "position_embeddings", "cls_token"}
BEFORE_BLOCKS = {"positions", "class_token", "patches", "pre_norm", "embed_tokens", "embeddings"}


def parameter_groups(model: nn.Module, rates: Mapping[str, float], optimizer: OptimizerSettings) -> list[dict[str, Any]]:
    """AdamW's groups of all parameters that need a gradient, one for each learning rate and weight decay.

    The rate is that of the first prefix in `rates` that a name begins with, or of the part of the model that `optimizer.rates`
    names, times `optimizer.layer_decay` for each layer above. ValueError in one line when these settings fit no parameter.
    """
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    layers = {name: layers_above(name, block_lists(model)) for name, _ in trained}
    _require_use(optimizer, layers)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in trained:
        rate = next(rate for prefix, rate in rates.items() if name.startswith(prefix))
        rate = next((own for part, own in optimizer.rates.items() if part in name.split(".")), rate)
        decay = optimizer.weight_decay if decays(name, parameter) else 0.0
        groups.setdefault((rate * optimizer.layer_decay ** layers[name], decay), []).append(parameter)
    return [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in groups.items()]


def decays(name: str, parameter: nn.Parameter) -> bool:
    """Whether weight decay acts on it: on matrices and kernels, not on biases, norms, scales, tokens and position embeddings."""
    shape = getattr(parameter, "ds_shape", parameter.shape)  # under ZeRO-3 a rank may hold but a piece
    return len(shape) >= 2 and name.rpartition(".")[2] not in NOT_DECAYED


def block_lists(model: nn.Module) -> dict[str, int]:
    """The lists of blocks in a model: name → number of blocks."""
    return {name: len(module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList)}


def layers_above(name: str, lists: Mapping[str, int]) -> int:
    """The layers above a parameter: 0 for heads, 1 for the last block, and so on down to a tower's embeddings."""
    parts = name.split(".")
    for path, depth in lists.items():
        if name.startswith(path + "."):
            return depth - int(parts[path.count(".") + 1])
        below = next((i for i, part in enumerate(parts) if part in BEFORE_BLOCKS), None)
        if below is not None and path.startswith("".join(f"{part}." for part in parts[:below])):
            return depth + 1
    return 0


def _require_use(optimizer: OptimizerSettings, trained: Mapping[str, int]) -> None:
    """ValueError when a part of `optimizer.rates` is not trained, or `layer_decay` is set and no block is."""
    parts = {part for name in trained for part in _modules(name)}
    for part in optimizer.rates:
        if part not in parts:
            raise ValueError(f"optimizer.rates.{part} is no part of the model that is trained; {nearest(part, parts)}")
    if optimizer.layer_decay < 1 and not any(trained.values()):
        raise ValueError("optimizer.layer_decay is set, but this stage trains no blocks of a tower; leave it out")


def _modules(name: str) -> Iterable[str]:
    """The names in a parameter's path but for block numbers."""
    return (part for part in name.split(".") if not part.isdigit())
