"""InternVL's nine tokens in a tokenizer, and where a language model finds their rows."""

from __future__ import annotations

from pathlib import Path
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


def load_mono_tokenizer(folder: Path) -> Any:
    """The tokenizer of a Mono-InternVL's folder; ValueError in one line where there is none that needs no code of others."""
    define_missing_operators()
    from transformers import PreTrainedTokenizerFast

    if not (folder / "tokenizer.json").exists():
        raise ValueError(f"{folder} has no tokenizer.json; put the one there that transformers makes of its tokenizer.model")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    missing = [token for token in NEW if token not in tokenizer.get_vocab()]
    if missing:
        raise ValueError(f"the tokenizer in {folder} has no {missing[0]}, which pictures need; fetch it again")
    return tokenizer


def new_token_ids(tokenizer: Any) -> list[int]:
    """The ids of InternVL's nine tokens."""
    return [int(number) for number in tokenizer.convert_tokens_to_ids(list(NEW))]
