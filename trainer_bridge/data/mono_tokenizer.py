"""InternVL's nine tokens in a tokenizer, and where a language model finds their rows."""

from __future__ import annotations

from typing import Any

from infra.compat.torchvision_operators import define_missing_operators
from trainer_bridge.data.chat_tokenizer import END, EXTRA_TOKENS, IMAGE, IMAGE_END, IMAGE_START, PAD, START
from trainer_bridge.data.instructions.template import TEMPLATES

GROUNDING = tuple(f"<{slash}{tag}>" for tag in ("quad", "ref", "box") for slash in ("", "/"))
NEW = (IMAGE_START, IMAGE_END, IMAGE, *GROUNDING)
TEMPLATE = "mono"


def add_mono_tokens(tokenizer: Any) -> Any:
    """A PreTrainedTokenizerFast with the vocabulary of `tokenizer`, InternVL's tokens and Mono-InternVL's chat template."""
    define_missing_operators()
    from transformers import PreTrainedTokenizerFast

    extended = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer,
        pad_token=tokenizer.pad_token or PAD,
        bos_token=tokenizer.bos_token,
        eos_token=END,
        extra_special_tokens=EXTRA_TOKENS,
        chat_template=TEMPLATES[TEMPLATE],
    )
    extended.add_tokens([START, *NEW], special_tokens=True)
    return extended


def new_token_ids(tokenizer: Any) -> list[int]:
    """The ids of InternVL's nine tokens."""
    return [int(number) for number in tokenizer.convert_tokens_to_ids(list(NEW))]
