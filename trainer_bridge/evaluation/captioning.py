"""What a saved chat model says of held-out pictures: its loss on their captions, and how often the noun is right."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from infra.compat.torchvision_operators import define_missing_operators
from sharding.index import Dataset
from sharding.sample import Sample
from trainer_bridge.data.chat_tokenizer import encode_chats
from trainer_bridge.data.conversations import Chat, language_of, pivot, question
from trainer_bridge.data.transforms import decode, normalise, whole
from trainer_bridge.evaluation.retrieval import held_out
from trainer_bridge.models.internvl import Answering, load_chat
from trainer_bridge.models.losses import IGNORED

LIMIT, BATCH, ANSWER_TOKENS = 512, 32, 32
ROLES = ("user", "assistant")


def answers(folder: Path, dataset: Dataset, split: str) -> dict[str, Any]:
    """Loss per token of the captions of at most 512 samples; and of those that name a `noun`, in how many descriptions it stands.

    A description is greedy, asked for in a pivot language and then in the sample's, and right when the last answer holds the
    noun, case aside.
    """
    define_missing_operators()
    from transformers import AutoProcessor

    model, processor = load_chat(folder).eval(), AutoProcessor.from_pretrained(folder)
    samples = held_out(dataset, split, LIMIT)
    found: dict[str, Any] = {"pairs": len(samples), "caption_loss": _loss(model, processor, samples)}
    asked = [(sample, about) for sample in samples if "noun" in (about := json.loads(sample.json))]
    if not asked:
        return found
    said = describe(model, processor, [sample.image for sample, _ in asked], [about["language"] for _, about in asked])
    right = [about["noun"] in text.lower() for (_, about), (_, text) in zip(asked, said, strict=True)]
    rows = [
        {
            "picture": about["key"],
            "language": about["language"],
            "caption": sample.text,
            "noun": about["noun"],
            "first_said": first,
            "said": text,
            "right": ok,
        }
        for (sample, about), (first, text), ok in zip(asked, said, right, strict=True)
    ]
    return found | {"prompts": len(asked), "right_nouns": sum(right), "answers": rows}


def describe(model: Any, processor: Any, images: Sequence[bytes], locales: Sequence[str]) -> list[tuple[str, str]]:
    """Two greedy descriptions of each picture: in a pivot language, and then in the language of its locale."""
    processor.tokenizer.padding_side = "left"
    said: list[tuple[str, str]] = []
    for start in range(0, len(images), BATCH):
        pictures = [Image.open(io.BytesIO(data)).convert("RGB") for data in images[start : start + BATCH]]
        languages = [language_of(locale) for locale in locales[start : start + BATCH]]
        chats: list[list[tuple[str, str]]] = [[] for _ in pictures]
        for asked in ([pivot(language) for language in languages], languages):
            questions = [question(0, language) for language in asked]
            answers = _answer(model, processor, pictures, chats, questions)
            for chat, turn in zip(chats, zip(questions, answers, strict=True), strict=True):
                chat.append(turn)
        said += [(first, last) for (_, first), (_, last) in chats]
    return said


def _answer(
    model: Any, processor: Any, pictures: list[Image.Image], chats: list[list[tuple[str, str]]], questions: list[str]
) -> list[str]:
    """What is said to each question, after what each chat has said already."""
    messages = [_messages(chat, asked) for chat, asked in zip(chats, questions, strict=True)]
    prompts = [processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) for chat in messages]
    inputs = processor(images=[[picture] for picture in pictures], text=prompts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        made = model.generate(**inputs, max_new_tokens=ANSWER_TOKENS, do_sample=False)
    return [text.strip() for text in processor.batch_decode(made[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)]


def _messages(chat: Sequence[tuple[str, str]], asked: str) -> list[dict[str, Any]]:
    """What was said and the next question, as a chat template wants it; the picture comes with the first question."""
    said = [*(text for turn in chat for text in turn), asked]
    messages: list[dict[str, Any]] = [{"role": ROLES[place % 2], "content": text} for place, text in enumerate(said)]
    messages[0]["content"] = [{"type": "image"}, {"type": "text", "text": said[0]}]
    return messages


def _loss(model: Any, processor: Any, samples: list[Sample]) -> float:
    side, answering = model.config.vision_config.image_size[0], Answering(model)
    total, count = 0.0, 0
    for start in range(0, len(samples), BATCH):
        piece = samples[start : start + BATCH]
        chats = [_chat(sample) for sample in piece]
        ids, attention, labels = encode_chats(processor.tokenizer, chats, model.config.image_seq_length, 1 << 20)
        pixels = normalise(torch.stack([torch.from_numpy(whole(decode(s.image, side), side)) for s in piece]))
        tokens = int((labels[:, 1:] != IGNORED).sum())
        with torch.inference_mode():
            total += answering(ids, attention, labels, pixels).item() * tokens
        count += tokens
    return total / max(1, count)


def _chat(sample: Sample) -> Chat:
    """The caption as the answer: after its words in the pivot language where they are known."""
    about = json.loads(sample.json)
    language = language_of(about.get("language"))
    first = pivot(language)
    told = [(question(0, first), text) for locale, text in about.get("also", ()) if language_of(locale) == first][:1]
    return Chat([*told, (question(0, language), sample.text)], told=len(told))
