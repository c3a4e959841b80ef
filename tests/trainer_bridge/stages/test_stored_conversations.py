"""Conversations in the json members of shards: in their words and places, and a faulty one costs no other sample."""

import json
import tomllib
from typing import Any

import torch

from infra.compat.torchvision_operators import define_missing_operators
from tests import ROOT
from tests.support.processes import one_process  # noqa: F401
from tests.support.stages import CHAT
from trainer_bridge.data.batch import Batch
from trainer_bridge.data.chat_tokenizer import load_tokenizer
from trainer_bridge.models.losses import IGNORED
from trainer_bridge.stages import captioned
from trainer_bridge.stages.chat_format import ConversationFormat
from trainer_bridge.stages.chat_settings import ChatExperiment

define_missing_operators()
Q, A = {"from": "human", "value": "Left <image> right?"}, {"from": "gpt", "value": "A fox, says <IMG_CONTEXT>."}
STORED: list[tuple[dict[str, Any], str]] = [
    ({}, ""),  # drawn from the caption
    ({"conversations": [Q, A]}, "user\nLeft <img>PICTURE</img> right?"),
    ({"conversations": [{"from": "system", "value": "Be brief."}, Q, A, Q | {"value": "And?"}]}, "system\nBe brief."),
    (
        {"messages": [{"role": "user", "content": "What?"}, {"role": "assistant", "content": "A fox, says <IMG_CONTEXT>."}]},
        "PICTURE",
    ),
    ({"conversations": [Q | {"value": "What?"}, A, Q]}, "user\nWhat?<|im_end|>"),  # its picture goes with the last question
    ({"conversations": []}, "no turns"),
    ({"conversations": [Q, Q]}, "turns go user, user"),
    ({"conversations": [Q | {"value": "<image> <image>"}, A]}, "2 <image> for 1"),
]


def test_each_shape_is_learned_or_named(one_process: torch.device) -> None:  # noqa: F811
    tokenizer, experiment = load_tokenizer(ROOT / "infra/models/internvl"), ChatExperiment.model_validate(tomllib.loads(CHAT))
    count = len(STORED)
    batch = Batch(
        torch.zeros(count, 3, 8, 8, dtype=torch.uint8),
        ["a red fox"] * count,
        [json.dumps(entry).encode() for entry, _ in STORED],
        list(range(count)),
        list(range(count)),
        list(range(count)),
        torch.ones(count, dtype=torch.bool),
        [],
    )
    stored = ConversationFormat(experiment, tokenizer, 8, 4).stored
    rows = captioned.encoded(batch, tokenizer, 4, experiment, one_process, stored)
    faults = iter(batch.faults)
    for number, (row, (entry, told)) in enumerate(zip(rows, STORED, strict=True)):
        if not batch.valid[number]:
            fault = next(faults)
            assert f"sample {number}: " in fault and told in fault and len(row.tiles) == 0
            continue
        text = tokenizer.decode(row.ids).replace("<IMG_CONTEXT>" * 4, "PICTURE")
        assert told in text and len(row.tiles) == text.count("PICTURE")
        if entry:
            learned = tokenizer.decode(row.labels[row.labels != IGNORED])
            assert learned == " A fox, says <IMG_CONTEXT>.<|im_end|>"
    assert batch.valid.tolist() == [True] * 5 + [False] * 3 and next(faults, None) is None
