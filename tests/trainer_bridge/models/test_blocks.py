"""Blocks are compiled and nothing else, and under autocast they pass bf16 on."""

import pytest
import torch
from torch import nn

from infra.benchmarks.on_gpu.workload import TINY
from trainer_bridge.models.blocks import compile_blocks, embed_in_bf16
from trainer_bridge.models.contrastive import ContrastiveConfig, ContrastiveModel
from trainer_bridge.models.internvit import LayerNorm, RMSNorm
from trainer_bridge.models.qllama import Examples, GenerativeModel, Pictures, Tokens
from trainer_bridge.models.text_tower import Architecture

# Towers of others: LayerNorm, one before the first block too, and a language model with norms of queries and keys.
OTHER = TINY.stage1.model_copy(
    update={
        "image": TINY.image.model_copy(update={"norm": "layer", "qkv_bias": True, "qk_norm": False, "pre_norm": True}),
        "text": TINY.text.model_copy(update={"architecture": Architecture(model_type="qwen3", head_dim=16), "output_head": True}),
    }
)


def model(stage1: ContrastiveConfig = TINY.stage1) -> GenerativeModel:
    return GenerativeModel(ContrastiveModel(stage1), TINY.queries)


def test_every_block_is_compiled_and_nothing_else() -> None:
    generative = model()
    compile_blocks(generative)
    compiled = {name for name, module in generative.named_modules() if module._compiled_call_impl is not None}
    names = ("stage1.image_tower.blocks", "stage1.text_tower.layers", "layers")
    assert compiled == {f"{name}.{number}" for name in names for number in range(2)}


@pytest.mark.parametrize("stage1", [TINY.stage1, OTHER], ids=["InternVL", "others"])
def test_blocks_pass_bf16_on_and_weights_keep_float32(stage1: ContrastiveConfig) -> None:
    generative = model(stage1)
    embed_in_bf16(generative)
    dtypes: dict[str, torch.dtype] = {}
    for name, module in generative.named_modules():
        if type(module).__name__ in ("Block", "LlamaDecoderLayer", "Qwen3DecoderLayer", "QueryLayer", "RMSNorm"):
            module.register_forward_hook(lambda _, inputs, output, name=name: dtypes.update({name: output.dtype}))
    captions = Tokens(torch.randint(2, 300, (3, 6)), torch.full((3,), 6))
    with torch.autocast("cpu", torch.bfloat16):
        encoded = generative(Pictures(torch.randn(3, 3, 32, 32), captions))
        outputs = generative(Examples(encoded.picture, captions, encoded.picture, captions, 1))
    assert len(dtypes) > 6 and set(dtypes.values()) == {torch.bfloat16}
    features = (encoded.image, encoded.text, encoded.scale, outputs.image, outputs.scale)
    assert {feature.dtype for feature in features} == {torch.float32} and encoded.picture.dtype == torch.bfloat16
    assert {parameter.dtype for parameter in generative.parameters()} == {torch.float32}


@pytest.mark.parametrize("ours, torchs", [(RMSNorm(24, eps=1e-6), nn.RMSNorm(24, eps=1e-6)), (LayerNorm(24), nn.LayerNorm(24))])
def test_the_norm_is_torchs_in_float32_and_within_rounding_of_it_in_bf16(ours: nn.Module, torchs: nn.Module) -> None:
    for parameter in ours.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5)
    torchs.load_state_dict(ours.state_dict())
    x = torch.randn(7, 24)
    assert torch.equal(ours(x), torchs(x))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(ours(x.bfloat16()).float(), torchs(x), rtol=2**-6, atol=2**-6)
