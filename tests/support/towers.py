"""Small random models of others, in folders as others write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn

from infra.compat.torchvision_operators import define_missing_operators
from trainer_bridge.data.tokenizer import train_tokenizer
from trainer_bridge.models.contrastive import ContrastiveConfig, ContrastiveModel
from trainer_bridge.models.internvit import InternViTConfig
from trainer_bridge.models.qllama import GenerativeConfig, GenerativeModel
from trainer_bridge.models.text_tower import TextConfig

VOCABULARY = 300
SIX_B = InternViTConfig(image_size=32, patch=8, width=24, depth=2, heads=3, mlp=48)
SMALL = SIX_B.model_copy(update={"norm": "layer", "qkv_bias": True, "qk_norm": False})  # as InternViT-300M
# Families of language models, with what each has of its own.
LANGUAGE_MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}, "rms_norm_eps": 1e-5}),
    "llama3": (
        "Llama",
        {
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 1e4,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
    ),
    "smollm2": ("Llama", {"num_key_value_heads": 1, "tie_word_embeddings": True, "pad_token_id": 1}),
    "mistral": ("Mistral", {"num_key_value_heads": 2, "head_dim": 12, "rms_norm_eps": 1e-5, "sliding_window": 4096}),
    "qwen2": ("Qwen2", {"num_key_value_heads": 2, "tie_word_embeddings": True}),
    "qwen3": ("Qwen3", {"num_key_value_heads": 2, "head_dim": 12}),
}


def shake(model: nn.Module) -> nn.Module:
    """The model in evaluation mode, its norms, scales, biases and zeros drawn anew: each shows where it went wrong."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim <= 1 or not parameter.any():
                parameter.add_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def tokenizer(begin: str = "") -> Tokenizer:
    """A tokenizer as the trainer makes, which puts `begin` before every text, where it is given."""
    made = train_tokenizer(["a red green blue field"] * 20, VOCABULARY - 1)
    if begin:
        made.add_special_tokens([begin])
        made.post_processor = TemplateProcessing(single=f"{begin} $A", special_tokens=[(begin, made.token_to_id(begin))])
    return made


def language_model(folder: Path, name: str, begin: str = "") -> Any:
    """A causal language model of LANGUAGE_MODELS, written as transformers writes it."""
    define_missing_operators()
    import transformers

    family, extra = LANGUAGE_MODELS[name]
    kind = getattr(transformers, f"{family}Config")
    sizes = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config = kind(**sizes, num_attention_heads=4, bos_token_id=0, eos_token_id=1, **extra)
    model = shake(getattr(transformers, f"{family}ForCausalLM")(config))
    model.save_pretrained(folder)
    tokenizer(begin).save(str(folder / "tokenizer.json"))
    return model


def open_clip_model(folder: Path, quick_gelu: bool = False, **vision: Any) -> Any:
    """An open_clip CLIP, written as open_clip's hub folders are."""
    define_missing_operators()
    from open_clip.model import CLIP

    sizes = {"image_size": 32, "layers": 2, "width": 24, "patch_size": 8, "head_width": 8, "mlp_ratio": 2.0, **vision}
    text = {"context_length": 8, "vocab_size": 50, "width": 16, "heads": 2, "layers": 1}
    model = shake(CLIP(12, sizes, text, quick_gelu=quick_gelu))
    config = {"embed_dim": 12, "quick_gelu": quick_gelu, "vision_cfg": sizes, "text_cfg": text}
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    return model


def generative_model() -> GenerativeModel:
    """A stage-2 model with the settings of InternVL-14B-224px, small."""
    text = TextConfig(
        vocabulary=VOCABULARY,
        width=32,
        depth=3,
        heads=4,
        mlp=48,
        prefix="summarize:",
        begin="<s>",
        output_head=True,
        architecture={"rms_norm_eps": 1e-6},
    )
    stage1 = ContrastiveModel(ContrastiveConfig(image=SIX_B, text=text, embedding=12, pool_heads=4))
    model = GenerativeModel(stage1, GenerativeConfig(queries=5, cross_heads=4, pool_heads=4))
    shake(model)
    with torch.no_grad():
        stage1.logit_scale.copy_(model.logit_scale)
    return model


def pixels(count: int = 2) -> Tensor:
    """Pictures uint8[count, 3, 32, 32]."""
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)


def step(model: nn.Module, loss: Tensor) -> None:
    """One step of AdamW, large enough to be seen."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    loss.backward()
    optimizer.step()
    model.eval()
