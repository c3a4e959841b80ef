"""Small tokenizers with InternVL's special tokens, made of a few texts."""

from functools import cache
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from infra.compat.torchvision_operators import define_missing_operators
from trainer_bridge.data.chat_tokenizer import add_chat_tokens, new_tokenizer
from trainer_bridge.data.instructions.encoding import GROUNDING

TEXTS = [
    "What is in the picture? A dog and a cat, side by side.\n\nThe dog is brown.\n",
    "assistant\n\nuser\n\nsystem\n\n\nanswer: 1234 两只狗 été",
] * 3
WORDS = Regex(r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")  # as Qwen2 splits


@cache
def small() -> Any:
    """As the repository's small models have one."""
    return new_tokenizer(TEXTS, 400)


@cache
def byte_level() -> Any:
    """Of the kind of Qwen's and LLaMA 3's: bytes, runs of line feeds that are one token, and the tags of grounding."""
    define_missing_operators()
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(WORDS, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<|endoftext|>", bos_token="<|endoftext|>")
    extended = add_chat_tokens(tokenizer)
    extended.add_tokens([AddedToken(tag, special=True) for tag in sorted(GROUNDING)], special_tokens=True)
    extended.bos_token = "<|endoftext|>"
    return extended


TOKENIZERS = {"small": small, "byte_level": byte_level}
