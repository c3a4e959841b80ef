"""Figures of a stage-3 model on questions about pictures, which all ranks share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from infra.compat.errors import RequestError
from sharding.decode import decode_picture
from sharding.named_files import within
from trainer_bridge.data.instructions.example import SampleFault
from trainer_bridge.data.instructions.pictures import Pictures
from trainer_bridge.evaluation.answering import Answerer
from trainer_bridge.evaluation.answers import METRICS
from trainer_bridge.evaluation.questions import Question
from trainer_bridge.evaluation.shares import gather_rows, share_of

SHOWN = 10  # answers that are told


def question_figures(
    answerer: Answerer, questions: Sequence[Question], metrics: Sequence[str], root: str, batch: int, tokens: int
) -> dict[str, Any]:
    """The metrics by name, how many questions were `answered` and how many pictures `unreadable`, and the first answers.

    root  where paths of pictures are relative to
    """
    share, rows, pictures = share_of(len(questions)), list[dict[str, Any]](), Pictures()
    for numbers in share.batches(batch):
        chosen = [questions[number] for number in numbers]
        shown = [_pictures(each, root, pictures) for each in chosen]
        # Every rank answers as many batches as the others; in place of a picture that cannot be read there is a black one.
        dialogues = [each.dialogue for each in chosen]
        black = Image.new("RGB", (32, 32))
        given = [
            found if found is not None else [black] * len(each.dialogue.pictures)
            for each, found in zip(chosen, shown, strict=True)
        ]
        answers = answerer.answer(dialogues, given, tokens)
        rows += [
            {"answer": answer} if found is not None else {"fault": each.name}
            for each, answer, found in zip(chosen, answers, shown, strict=True)
        ]
    told = gather_rows(rows, answerer.device)[: len(questions)]
    kept = [(each, row["answer"]) for each, row in zip(questions, told, strict=True) if "answer" in row]
    if not kept:
        raise RequestError(f"no picture of {questions[0].name.partition(',')[0]} can be read; set --images to their folder")
    figures: dict[str, Any] = {"answered": len(kept), "unreadable": len(told) - len(kept)}
    for metric in metrics:
        figures |= METRICS[metric]([answer for _, answer in kept], [each.references for each, _ in kept])
    shown_answers = [{"question": each.name, "answer": answer, "references": each.references[:3]} for each, answer in kept]
    return figures | {"answers": shown_answers[:SHOWN]}


def _pictures(question: Question, root: str, pictures: Pictures) -> list[Image.Image] | None:
    """The decoded pictures of a question; None when one cannot be read."""
    try:
        return [decode_picture(pictures.read(within(root, path))) for path in question.dialogue.pictures]
    except (SampleFault, ValueError):
        return None
