"""Conversations → token ids with labels on the answers alone, and the processor that asks a saved model in the same words.

<|im_start|>user⏎<img>…</img>⏎QUESTION<|im_end|>⏎<|im_start|>assistant⏎ ANSWER<|im_end|>⏎

An answer begins with a space, so that its first word is the token that it is anywhere else.
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
from trainer_bridge.data.conversations import ASKED, Chat
from trainer_bridge.data.transforms import MEAN, STD
from trainer_bridge.models.losses import IGNORED

PAD, START, END = "<pad>", "<|im_start|>", "<|im_end|>"
IMAGE_START, IMAGE_END, IMAGE, VIDEO = "<img>", "</img>", "<IMG_CONTEXT>", "<video>"
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
SPECIAL = (PAD, START, END, IMAGE_START, IMAGE_END, IMAGE, VIDEO)
NAMED = {
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
    """A BPE of `vocabulary` tokens made from captions and our questions, as transformers wants it.

    Every character of theirs is a token, as in LLaMA's: a rare Chinese one in bytes would be three to learn. Others are bytes.
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
    asked = [f"user\nassistant\n{text}" for texts in ASKED.values() for text in texts] * 50  # often enough to become few tokens
    texts = [*asked, *(f" {caption}" for caption in captions)]
    # The trainer would take characters that are as frequent in another order every time.
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
    return prepared(PreTrainedTokenizerFast(tokenizer_object=bpe))


def _most_frequent(text: str, most: int) -> list[str]:
    """So many of its characters; of those as frequent, the first by code point."""
    counts = Counter(text)
    return sorted(counts, key=lambda character: (-counts[character], character))[:most]


def prepared(tokenizer: Any) -> Any:
    """A fast tokenizer of transformers with the special tokens InternVL's processor asks for and the chat template."""
    define_missing_operators()
    from transformers import PreTrainedTokenizerFast

    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer,
        pad_token=tokenizer.pad_token or PAD,
        eos_token=END,
        extra_special_tokens=NAMED,
        chat_template=TEMPLATE,
    )
    made.add_tokens([START], special_tokens=True)
    return made


def processor_of(tokenizer: Any, side: int, image_tokens: int) -> Any:
    """InternVL's processor: pictures squeezed to one tile of side x side as in training, and the tokenizer."""
    define_missing_operators()
    from transformers import GotOcr2ImageProcessor, InternVLProcessor, InternVLVideoProcessor

    size = {"height": side, "width": side}
    look = {"size": size, "image_mean": list(MEAN), "image_std": list(STD), "resample": 2}
    return InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(min_patches=1, max_patches=1, **look),
        tokenizer=tokenizer,
        video_processor=InternVLVideoProcessor(**look),
        image_seq_length=image_tokens,
        chat_template=TEMPLATE,
    )


def encode_chats(tokenizer: Any, chats: Sequence[Chat], image_tokens: int, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """(ids, attention, labels) int64[B, T], padded at the end; labels are ids on learned answers and IGNORED elsewhere.

    The picture comes with the first question. What goes beyond `length` tokens is cut.
    """
    picture = f"{IMAGE_START}{IMAGE * image_tokens}{IMAGE_END}\n"
    rows = []
    for chat in chats:
        row: list[tuple[int, int]] = []
        for number, (asked, answer) in enumerate(chat.turns):
            question = f"{START}user\n{picture if number == 0 else ''}{asked}{END}\n{START}assistant\n"
            row += [(token, IGNORED) for token in tokenizer(question, add_special_tokens=False)["input_ids"]]
            said = tokenizer(f" {answer}{END}", add_special_tokens=False)["input_ids"]
            row += [(token, token if number >= chat.told else IGNORED) for token in said]
            row += [(token, IGNORED) for token in tokenizer("\n", add_special_tokens=False)["input_ids"]]
        rows.append(row[:length])
    longest = max(len(row) for row in rows)
    table = torch.tensor([[*row, *[(tokenizer.pad_token_id, IGNORED)] * (longest - len(row))] for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    attention = (torch.arange(longest) < lengths[:, None]).long()
    return table[:, :, 0], attention, table[:, :, 1]


def save_chat(folder: Path, model: Any, processor: Any, about: dict[str, Any]) -> None:
    """The model, its processor and generation settings in the Hugging Face layout."""
    model.generation_config.eos_token_id = processor.tokenizer.convert_tokens_to_ids(END)
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "training.json").write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")
