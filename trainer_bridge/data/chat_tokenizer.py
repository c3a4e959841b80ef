"""Conversations → token ids with labels on the answers alone, and the processor that gives a saved model the same format.

<|im_start|>user⏎<img>…</img>⏎QUESTION<|im_end|>⏎<|im_start|>assistant⏎ ANSWER<|im_end|>⏎

An answer begins with a space, so that its first word is the same token as in the middle of a sentence.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from infra.compat.torchvision_operators import define_missing_operators
from trainer_bridge.data.conversations import PHRASES, Conversation
from trainer_bridge.data.transforms import MEAN, STD
from trainer_bridge.models.losses import IGNORED

PAD, START, END = "<pad>", "<|im_start|>", "<|im_end|>"
IMAGE_START, IMAGE_END, IMAGE, VIDEO = "<img>", "</img>", "<IMG_CONTEXT>", "<video>"
BILINEAR, BICUBIC = 2, 3  # as Pillow numbers them
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
SPECIAL = (PAD, START, END, IMAGE_START, IMAGE_END, IMAGE, VIDEO)
EXTRA_TOKENS = {  # as InternVLProcessor calls them
    "start_image_token": IMAGE_START,
    "end_image_token": IMAGE_END,
    "context_image_token": IMAGE,
    "video_token": VIDEO,
}
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% if message['role'] == 'assistant' %} {% endif %}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<IMG_CONTEXT>\n{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def new_tokenizer(captions: Iterable[str], vocabulary: int) -> Any:
    """A PreTrainedTokenizerFast: a BPE of `vocabulary` tokens trained on captions and our questions.

    Their most frequent characters are tokens, as in LLaMA's: a Chinese one in bytes would be three tokens. All others fall back
    to bytes.
    """
    define_missing_operators()
    from transformers import PreTrainedTokenizerFast

    splits = [
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.Punctuation(),
        pre_tokenizers.Split("\n", "isolated"),
        pre_tokenizers.Metaspace(prepend_scheme="never"),
    ]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(splits)
    learnable = vocabulary - len(BYTES)
    phrases = [f"user\nassistant\n{text}" for texts in PHRASES.values() for text in texts] * 50  # so that each becomes few tokens
    texts = [*phrases, *(f" {caption}" for caption in captions)]
    # Left to itself the trainer orders characters of equal frequency differently at every run.
    alphabet = _most_frequent("".join(texts).replace(" ", "▁"), (learnable - len(SPECIAL)) // 2)
    trainer = trainers.BpeTrainer(
        vocab_size=learnable,
        special_tokens=list(SPECIAL),
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    learned = json.loads(bpe.to_str())["model"]
    tokens = dict.fromkeys([*SPECIAL, *BYTES, *sorted(learned["vocab"], key=learned["vocab"].__getitem__)])
    merges = [tuple(merge) for merge in learned["merges"]]
    bpe.model = models.BPE({token: number for number, token in enumerate(tokens)}, merges, byte_fallback=True)
    bpe.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return add_chat_tokens(PreTrainedTokenizerFast(tokenizer_object=bpe))


def _most_frequent(text: str, most: int) -> list[str]:
    """At most `most` characters of the text, by falling frequency and then by code point."""
    counts = Counter(text)
    return sorted(counts, key=lambda character: (-counts[character], character))[:most]


def add_chat_tokens(tokenizer: Any) -> Any:
    """A PreTrainedTokenizerFast: `tokenizer` with InternVL's special tokens, and with our chat template where it has none."""
    define_missing_operators()
    from transformers import PreTrainedTokenizerFast

    extended = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer,
        pad_token=tokenizer.pad_token or PAD,
        eos_token=END,
        bos_token=tokenizer.bos_token,
        extra_special_tokens=EXTRA_TOKENS,
        chat_template=tokenizer.chat_template or TEMPLATE,
    )
    extended.add_tokens([START], special_tokens=True)
    return extended


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in a folder; ValueError in one line when there is none."""
    define_missing_operators()
    from transformers import AutoTokenizer

    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder; name one with a tokenizer")
    try:
        return AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} holds no tokenizer that loads ({str(error).splitlines()[0]})") from None


def build_processor(
    tokenizer: Any, side: int, image_tokens: int, tiles: tuple[int, int] | None = None, template: str = TEMPLATE
) -> Any:
    """InternVLProcessor: the tokenizer, and pictures as (least, most) tiles of side x side and a thumbnail, bicubic.

    Without `tiles` the whole picture is resized bilinearly, as captioned shards are trained on.
    """
    define_missing_operators()
    from transformers import GotOcr2ImageProcessor, InternVLProcessor, InternVLVideoProcessor

    size, (least, most) = {"height": side, "width": side}, tiles or (1, 1)
    resample = BICUBIC if tiles else BILINEAR
    settings = {"size": size, "image_mean": list(MEAN), "image_std": list(STD), "resample": resample}
    return InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(min_patches=least, max_patches=most, crop_to_patches=most > 1, **settings),
        tokenizer=tokenizer,
        video_processor=InternVLVideoProcessor(**settings),
        image_seq_length=image_tokens,
        chat_template=template,
    )


def encode_conversations(
    tokenizer: Any, conversations: Sequence[Conversation], image_tokens: int, length: int
) -> tuple[Tensor, Tensor]:
    """(ids, labels) int64[B, T], padded at the end; labels are ids on learned answers and IGNORED elsewhere.

    The picture's `image_tokens` tokens stand before the first question. A conversation is cut after `length` tokens.
    """
    picture = f"{IMAGE_START}{IMAGE * image_tokens}{IMAGE_END}\n"
    rows = []
    for conversation in conversations:
        row: list[tuple[int, int]] = []
        for number, (question, answer) in enumerate(conversation.turns):
            prompt = f"{START}user\n{picture if number == 0 else ''}{question}{END}\n{START}assistant\n"
            row += [(token, IGNORED) for token in tokenizer(prompt, add_special_tokens=False)["input_ids"]]
            learned = number >= conversation.given_turns
            for token in tokenizer(f" {answer}{END}", add_special_tokens=False)["input_ids"]:
                row.append((token, token if learned else IGNORED))
            row += [(token, IGNORED) for token in tokenizer("\n", add_special_tokens=False)["input_ids"]]
        rows.append(row[:length])
    longest = max(len(row) for row in rows)
    table = torch.tensor([[*row, *[(tokenizer.pad_token_id, IGNORED)] * (longest - len(row))] for row in rows])
    return table[:, :, 0], table[:, :, 1]
