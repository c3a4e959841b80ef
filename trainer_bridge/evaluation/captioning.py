"""What a saved chat model says of held-out pictures: its loss on their captions, and how often the noun is right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from infra.compat.torchvision_operators import define_missing_operators
from sharding.decode import decode_picture
from sharding.index import Dataset
from sharding.sample import Sample, metadata_of
from trainer_bridge.checkpoints.hugging_face import load_internvl
from trainer_bridge.data.chat_tokenizer import encode_conversations
from trainer_bridge.data.conversations import DESCRIBE, Conversation, Turn, language_of, pivot_of, question
from trainer_bridge.data.transforms import normalise, whole
from trainer_bridge.evaluation.retrieval import first_samples
from trainer_bridge.models.internvl import ChatLoss
from trainer_bridge.models.losses import IGNORED

LIMIT, BATCH, ANSWER_TOKENS = 512, 32, 32
ROLES = ("user", "assistant")


def evaluate_captioning(folder: Path, dataset: Dataset, split: str) -> dict[str, Any]:
    """Loss per token on the captions of at most 512 samples; of those with a `noun`, the descriptions and how many are right.

    A description is greedy, requested in a pivot language and then in the sample's, and right when the latter holds the noun,
    case aside.
    """
    define_missing_operators()
    from transformers import AutoProcessor

    model, processor = load_internvl(folder).eval(), AutoProcessor.from_pretrained(folder)
    samples = first_samples(dataset, split, LIMIT)
    result: dict[str, Any] = {"pairs": len(samples), "caption_loss": _loss(model, processor, samples)}
    prompts = [(sample, metadata) for sample in samples if "noun" in (metadata := metadata_of(sample.json))]
    if not prompts:
        return result
    images, locales = [sample.image for sample, _ in prompts], [metadata["language"] for _, metadata in prompts]
    rows = [
        {
            "picture": metadata["key"],
            "language": metadata["language"],
            "caption": sample.text,
            "noun": metadata["noun"],
            "pivot_description": pivot_description,
            "description": description,
            "right": metadata["noun"] in description.lower(),
        }
        for (sample, metadata), (pivot_description, description) in zip(
            prompts, describe(model, processor, images, locales), strict=True
        )
    ]
    return result | {"prompts": len(rows), "right_nouns": sum(row["right"] for row in rows), "descriptions": rows}


def describe(model: Any, processor: Any, images: Sequence[bytes], locales: Sequence[str]) -> list[tuple[str, str]]:
    """Two greedy descriptions of each picture: in a pivot language, and then in the language of its locale."""
    processor.tokenizer.padding_side = "left"
    descriptions: list[tuple[str, str]] = []
    for start in range(0, len(images), BATCH):
        pictures = [decode_picture(data) for data in images[start : start + BATCH]]
        languages = [language_of(locale) for locale in locales[start : start + BATCH]]
        histories: list[list[Turn]] = [[] for _ in pictures]
        for answer_languages in ([pivot_of(language) for language in languages], languages):
            questions = [question(DESCRIBE, language) for language in answer_languages]
            answers = _answer(model, processor, pictures, histories, questions)
            for history, turn in zip(histories, zip(questions, answers, strict=True), strict=True):
                history.append(turn)
        descriptions += [(first, last) for (_, first), (_, last) in histories]
    return descriptions


def _answer(
    model: Any, processor: Any, pictures: list[Image.Image], histories: list[list[Turn]], questions: list[str]
) -> list[str]:
    """The greedy answer to each question about its picture, after the turns of its history."""
    messages = [_messages(history, text) for history, text in zip(histories, questions, strict=True)]
    prompts = [processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) for chat in messages]
    inputs = processor(images=[[picture] for picture in pictures], text=prompts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        ids = model.generate(**inputs, max_new_tokens=ANSWER_TOKENS, do_sample=False)
    return [text.strip() for text in processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)]


def _messages(history: Sequence[Turn], next_question: str) -> list[dict[str, Any]]:
    """The turns and the next question in the form of transformers' chat templates; the picture comes with the first question."""
    texts = [*(text for turn in history for text in turn), next_question]
    messages: list[dict[str, Any]] = [{"role": ROLES[i % 2], "content": text} for i, text in enumerate(texts)]
    messages[0]["content"] = [{"type": "image"}, {"type": "text", "text": texts[0]}]
    return messages


def _loss(model: Any, processor: Any, samples: list[Sample]) -> float:
    side, chat_loss = model.config.vision_config.image_size[0], ChatLoss(model)
    total, count = 0.0, 0
    for start in range(0, len(samples), BATCH):
        batch = samples[start : start + BATCH]
        conversations = [_describing(sample) for sample in batch]
        ids, labels = encode_conversations(processor.tokenizer, conversations, model.config.image_seq_length, 1 << 20)
        pixels = normalise(torch.stack([torch.from_numpy(whole(decode_picture(sample.image, side), side)) for sample in batch]))
        with torch.inference_mode():
            total += chat_loss(ids, labels, pixels).item()
        count += int((labels[:, 1:] != IGNORED).sum())
    return total / max(1, count)


def _describing(sample: Sample) -> Conversation:
    """The caption as the last answer: after its translation in the pivot language, given, where there is one."""
    metadata = metadata_of(sample.json)
    language = language_of(metadata.get("language"))
    pivot = pivot_of(language)
    given = [(question(DESCRIBE, pivot), text) for locale, text in metadata.get("also", ()) if language_of(locale) == pivot][:1]
    return Conversation([*given, (question(DESCRIBE, language), sample.text)], given_turns=len(given))
