"""Blocks are compiled and nothing else, and under autocast they pass bf16 on."""

import torch
from torch import nn

from infra.benchmarks.on_gpu.workload import TINY
from trainer_bridge.models.blocks import compile_blocks, embed_in_bf16
from trainer_bridge.models.contrastive import ContrastiveModel
from trainer_bridge.models.internvit import RMSNorm
from trainer_bridge.models.qllama import GenerativeModel, Tokens


def model() -> GenerativeModel:
    return GenerativeModel(ContrastiveModel(TINY.stage1), TINY.queries)


def test_every_block_is_compiled_and_nothing_else() -> None:
    generative = model()
    compile_blocks(generative)
    compiled = {name for name, module in generative.named_modules() if module._compiled_call_impl is not None}
    names = ("stage1.image_tower.blocks", "stage1.text_tower.layers", "layers")
    assert compiled == {f"{name}.{number}" for name in names for number in range(2)}


def test_blocks_pass_bf16_on_and_weights_keep_float32() -> None:
    generative = model()
    embed_in_bf16(generative)
    dtypes: dict[str, torch.dtype] = {}
    for name, module in generative.named_modules():
        if type(module).__name__ in ("Block", "LlamaDecoderLayer", "QueryLayer", "RMSNorm"):
            module.register_forward_hook(lambda _, inputs, output, name=name: dtypes.update({name: output.dtype}))
    captions = Tokens(torch.randint(2, 300, (3, 6)), torch.full((3,), 6))
    with torch.autocast("cpu", torch.bfloat16):
        outputs = generative(torch.randn(3, 3, 32, 32), captions, captions, 1)
    assert len(dtypes) > 6 and set(dtypes.values()) == {torch.bfloat16}
    assert {outputs.image.dtype, outputs.text.dtype, outputs.scale.dtype} == {torch.float32}
    assert {parameter.dtype for parameter in generative.parameters()} == {torch.float32}


def test_the_norm_is_torchs_in_float32_and_within_rounding_of_it_in_bf16() -> None:
    ours, torchs = RMSNorm(24, eps=1e-6), nn.RMSNorm(24, eps=1e-6)
    nn.init.uniform_(ours.weight, 0.5, 1.5)
    torchs.load_state_dict(ours.state_dict())
    x = torch.randn(7, 24)
    assert torch.equal(ours(x), torchs(x))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(ours(x.bfloat16()).float(), torchs(x), rtol=2**-6, atol=2**-8)
