"""Figures of stage 3: the loss on captions, and how often the noun is right in descriptions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from infra.compat.errors import RequestError
from sharding.decode import decode_picture
from trainer_bridge.data.chat_tokenizer import encode_conversations
from trainer_bridge.data.conversations import DESCRIBE, Conversation, Turn, language_of, pivot_of, question
from trainer_bridge.data.transforms import normalise, whole
from trainer_bridge.evaluation.evaluation_set import EvaluationSet
from trainer_bridge.evaluation.evaluator import Evaluator
from trainer_bridge.evaluation.pictures import Decoded
from trainer_bridge.evaluation.shares import gather_rows, share_of
from trainer_bridge.models.internvl import ChatLoss
from trainer_bridge.models.losses import IGNORED, total, world_size

ANSWER_TOKENS = 32
ROLES = ("user", "assistant")


class ChatEvaluator(Evaluator):
    """Loss per token on captions; of those with a `noun`, the descriptions and how many are right.

    A description is greedy, requested in a pivot language and then in the sample's, and right when the latter holds the noun,
    case aside. Pictures are resized as in training.
    """

    kinds, heldout, samples = ("captions",), ("captions",), 512
    model: ChatLoss

    def __init__(self, model: ChatLoss, processor: Any, device: torch.device, batch: int) -> None:
        super().__init__(device)
        self.model, self.processor, self.batch = model, processor, batch
        self.side = model.chat.config.vision_config.image_size[0]

    def figures(self, kind: str, data: EvaluationSet) -> dict[str, Any]:
        """The loss over all texts, and the descriptions of pictures whose noun is known."""
        if not data.texts:
            raise RequestError("captions need texts about the pictures, and this set has none; choose another set")
        result = self._losses(data)
        rows = self._described(data, [row for row, metadata in enumerate(data.metadata) if "noun" in metadata])
        if rows:
            result |= {"prompts": len(rows), "right_nouns": sum(row["right"] for row in rows), "descriptions": rows}
        return result

    def _losses(self, data: EvaluationSet) -> dict[str, Any]:
        share, sums = share_of(len(data.texts)), torch.zeros(4, device=self.device, dtype=torch.float64)
        batches, counted = share.batches(self.batch), torch.from_numpy(share.counted).split(self.batch)
        decoded = Decoded(data, whole, self.side).batches([data.image_index[rows] for rows in batches])
        for numbers, own, (pixels, readable) in zip(batches, counted, decoded, strict=True):
            conversations = [_describing(data, number) for number in numbers.tolist()]
            image_tokens = self.model.chat.config.image_seq_length
            ids, labels = encode_conversations(self.processor.tokenizer, conversations, image_tokens, 1 << 20)
            labels[~(own & readable)] = IGNORED
            inputs = ids.to(self.device), labels.to(self.device), normalise(pixels.to(self.device))
            loss = self.run(self.model.forward, *inputs)
            counts = [(labels[:, 1:] != IGNORED).sum(), (own & readable).sum(), (own & ~readable).sum()]
            sums += torch.stack([loss.double(), *(count.to(self.device).double() for count in counts)])
        loss, tokens, pairs, unreadable = total(sums).tolist()
        loss /= max(1.0, tokens)
        figures = {"caption_loss": loss, "perplexity": math.exp(min(loss, 700.0)), "caption_tokens": int(tokens)}
        return {"pairs": int(pairs), "unreadable": int(unreadable) + data.unread, **figures}

    def _described(self, data: EvaluationSet, prompts: Sequence[int]) -> list[dict[str, Any]]:
        """What the model says of the pictures of some texts, on every rank; a picture that cannot be decoded is left out."""
        share, rows = share_of(len(prompts)), []
        for numbers in share.batches(self.batch) if prompts else []:
            texts = [prompts[number] for number in numbers]
            contents = [_decoded(content) for content in data.read(data.image_index[texts].tolist())]
            pictures = [picture or Image.new("RGB", (self.side, self.side)) for picture in contents]
            answers = self.describe(pictures, [data.metadata[text]["language"] for text in texts])
            rows += [
                _row(data, text, answer) if picture else {}
                for text, picture, answer in zip(texts, contents, answers, strict=True)
            ]
        return [row for row in gather_rows(rows, self.device)[: len(prompts)] if row]

    def describe(self, pictures: Sequence[Image.Image], locales: Sequence[str]) -> list[tuple[str, str]]:
        """Two greedy descriptions of each picture: in a pivot language, and then in the language of its locale."""
        self.processor.tokenizer.padding_side = "left"
        languages = [language_of(locale) for locale in locales]
        histories: list[list[Turn]] = [[] for _ in pictures]
        for answer_languages in ([pivot_of(language) for language in languages], languages):
            questions = [question(DESCRIBE, language) for language in answer_languages]
            answers = self._answer(pictures, histories, questions)
            for history, turn in zip(histories, zip(questions, answers, strict=True), strict=True):
                history.append(turn)
        return [(first, last) for (_, first), (_, last) in histories]

    def _answer(self, pictures: Sequence[Image.Image], histories: list[list[Turn]], questions: list[str]) -> list[str]:
        """The greedy answer to each question about its picture, after the turns of its history."""
        processor, chat = self.processor, self.model.chat
        messages = [_messages(history, text) for history, text in zip(histories, questions, strict=True)]
        prompts = [processor.apply_chat_template(message, add_generation_prompt=True, tokenize=False) for message in messages]
        images = [[picture] for picture in pictures]
        inputs = processor(images=images, text=prompts, padding=True, return_tensors="pt").to(self.device)
        # Under ZeRO-3 a rank that is done must go on for as long as another is not.
        options = {"max_new_tokens": ANSWER_TOKENS, "do_sample": False, "synced_gpus": world_size() > 1}
        ids: Tensor = self.run(chat.generate, **inputs, **options)
        texts = processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return [text.strip() for text in texts]


def _messages(history: Sequence[Turn], next_question: str) -> list[dict[str, Any]]:
    """The turns and the next question in the form of transformers' chat templates; the picture comes with the first question."""
    texts = [*(text for turn in history for text in turn), next_question]
    messages: list[dict[str, Any]] = [{"role": ROLES[i % 2], "content": text} for i, text in enumerate(texts)]
    messages[0]["content"] = [{"type": "image"}, {"type": "text", "text": texts[0]}]
    return messages


def _describing(data: EvaluationSet, text: int) -> Conversation:
    """The caption as the last answer: after its translation in the pivot language, given, where there is one."""
    metadata = data.metadata[text]
    language = language_of(metadata.get("language"))
    pivot = pivot_of(language)
    given = [(question(DESCRIBE, pivot), also) for locale, also in metadata.get("also", ()) if language_of(locale) == pivot][:1]
    return Conversation([*given, (question(DESCRIBE, language), data.texts[text])], given_turns=len(given))


def _decoded(content: bytes | Exception) -> Image.Image | None:
    try:
        return None if isinstance(content, Exception) else decode_picture(content)
    except ValueError:
        return None  # it was named when the loss was computed


def _row(data: EvaluationSet, text: int, answer: tuple[str, str]) -> dict[str, Any]:
    """What is told of a description."""
    metadata, (pivot_description, description) = data.metadata[text], answer
    return {
        "picture": metadata["key"],
        "language": metadata["language"],
        "caption": data.texts[text],
        "noun": metadata["noun"],
        "pivot_description": pivot_description,
        "description": description,
        "right": metadata["noun"] in description.lower(),
    }
