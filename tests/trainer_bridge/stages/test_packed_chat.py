"""Packed conversations see nothing of each other, and a conversation with nothing to learn is counted and not trained."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.compat.errors import RequestError
from infra.compat.torchvision_operators import define_missing_operators
from tests.support.processes import one_process  # noqa: F401
from tests.support.stages import CONFIGS, experiment_of, global_batch, stage_of, write_start
from tests.support.towers import LANGUAGE_MODELS, language_model
from tests.trainer_bridge.models.test_models import tiny_model
from trainer_bridge.data.sequences import Encoded, nothing, packed, padded, weights_of
from trainer_bridge.data.transforms import normalise
from trainer_bridge.models.internvl import ChatLoss, build_internvl
from trainer_bridge.models.losses import IGNORED
from trainer_bridge.models.packed_attention import use_packed_attention
from trainer_bridge.stages.chat_settings import ChatExperiment
from trainer_bridge.stages.settings import load_experiment

define_missing_operators()
CPU = torch.device("cpu")
IMAGE, VISUAL = 299, 4  # the id of the picture's tokens, and how many a tile has
SIZES = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 3)), min_size=2, max_size=5)  # words before and tiles


def conversation(words: int, tiles: int, seed: int) -> Encoded:
    draws = torch.Generator().manual_seed(seed)
    text = torch.randint(3, 290, (words + 3,), generator=draws)
    ids = torch.cat([text[:1], torch.full((VISUAL * tiles,), IMAGE), text[1:]]).int()
    labels = torch.where(torch.arange(len(ids)) >= len(ids) - 3, ids, IGNORED)
    return Encoded(ids, labels, torch.randint(0, 256, (tiles, 3, 32, 32), dtype=torch.uint8, generator=draws))


@pytest.fixture(scope="module", params=["llama", "qwen2", "qwen3", "llama3"])
def chat(request, tmp_path_factory: pytest.TempPathFactory):
    """An InternVL around each family of language models, with and without grouped keys."""
    torch.manual_seed(0)
    language = language_model(tmp_path_factory.mktemp(request.param), request.param)
    model = build_internvl(tiny_model().image_tower, language, IMAGE, 0.5).eval()
    use_packed_attention(model.model.language_model, 64)
    return model


def logits(chat, conversations: list[Encoded]) -> list[torch.Tensor]:
    """The logits of each conversation, packed."""
    row = packed(conversations, [1.0] * len(conversations))
    mask = torch.ones(1, 1, 1, 1, dtype=torch.bool)
    options = {"position_ids": row.positions, "cu_seq_lens_q": row.ends, "max_length_q": row.longest, "attention_mask": mask}
    with torch.no_grad():
        states = chat(input_ids=row.ids, pixel_values=normalise(row.tiles) if len(row.tiles) else None, **options).logits[0]
    return list(states.split([len(each.ids) for each in conversations]))


@settings(max_examples=15, deadline=None)
@given(SIZES, st.data())
def test_no_conversation_of_a_pack_sees_another(chat, sizes: list[tuple[int, int]], data: st.DataObject) -> None:
    conversations = [conversation(*size, seed) for seed, size in enumerate(sizes)]
    before = logits(chat, conversations)
    changed = data.draw(st.integers(0, len(sizes) - 1))
    conversations[changed] = conversation(*sizes[changed], 100)
    for number, (old, new) in enumerate(zip(before, logits(chat, conversations), strict=True)):
        assert torch.equal(old, new) == (number != changed)


@settings(max_examples=15, deadline=None)
@given(SIZES)
def test_the_loss_of_a_pack_is_that_of_its_conversations_alone(chat, sizes: list[tuple[int, int]]) -> None:
    conversations, weights = (
        [conversation(*size, seed) for seed, size in enumerate(sizes)],
        [0.5, 2.0, 1.0, 3.0, 0.25][: len(sizes)],
    )
    loss = ChatLoss(chat)

    def of(row) -> float:
        with torch.no_grad():
            return float(loss(*row._replace(tiles=normalise(row.tiles))))

    whole, table = of(packed(conversations, weights)), of(padded(conversations, weights, 0))
    alone = sum(of(packed([each], [weight])) for each, weight in zip(conversations, weights, strict=True))
    assert whole == pytest.approx(alone, rel=1e-5) and whole == pytest.approx(table, rel=1e-5)
    assert of(packed([*conversations, nothing(32, CPU)], [*weights, 1.0])) == pytest.approx(whole, rel=1e-5)


def step_loss(stage, batch) -> float:
    with torch.no_grad():
        return sum(float(part["answers"]) for part in stage.losses(stage.model, batch, 8, CPU))


def test_a_sliding_window_shorter_than_a_conversation_cannot_be_packed(tmp_path: Path) -> None:
    family, extra = LANGUAGE_MODELS["mistral"]
    language = language_model(tmp_path, "mistral").model
    assert family == "Mistral"
    use_packed_attention(language, extra["sliding_window"])
    language.config.sliding_window = 16
    with pytest.raises(ValueError, match="sliding window of 16 tokens cannot be packed; lower"):
        use_packed_attention(language, 32)


def test_weights_of_conversations() -> None:
    learned = torch.tensor([1, 4, 16, 0])
    assert weights_of(learned, "token").tolist() == [1, 1, 1, 1]
    assert weights_of(learned, "sample").tolist() == [1, 0.25, 0.0625, 1]
    assert weights_of(learned, "square").tolist() == [1, 0.5, 0.25, 1]


@pytest.mark.parametrize("name", ["chat", "packed"])
def test_what_has_nothing_to_learn_is_named_and_not_trained(name: str, tmp_path: Path, one_process: torch.device) -> None:  # noqa: F811
    write_start(tmp_path)
    stage, batch = stage_of(name, tmp_path), global_batch()
    expected = step_loss(stage, batch)
    assert batch.faults == [] and stage.measures["padding"] >= 0
    by_root = stage_of(name, tmp_path, loss={"weight": "square"})
    assert step_loss(by_root, global_batch()) != pytest.approx(expected, abs=1e-6)
    batch, without = global_batch(), global_batch()
    turns = [{"from": "human", "value": "long " * 99}, {"from": "gpt", "value": "x"}]
    batch.json[3], without.valid[3] = json.dumps({"conversations": turns}).encode(), False
    assert step_loss(stage, batch) == pytest.approx(step_loss(stage, without), rel=1e-5)
    assert batch.faults == ["sample 3: its first answer begins after 96 tokens"]


@pytest.mark.parametrize("name", ["chat", "packed"])
def test_a_training_of_which_nothing_is_learned_ends(name: str, tmp_path: Path, one_process: torch.device) -> None:  # noqa: F811
    write_start(tmp_path)
    stage = stage_of(name, tmp_path, model={"length": 12})
    for _ in range(2):
        batch = global_batch()
        assert step_loss(stage, batch) == 0
        assert len(batch.faults) == 7 and "sample 0: its first answer begins after 12 tokens" in batch.faults
    with pytest.raises(RequestError, match=r"3 global batches in a row have no token to learn; raise model\.length = 12"):
        list(stage.losses(stage.model, global_batch(), 4, CPU))


def test_a_pack_holds_the_longest_conversation(tmp_path: Path) -> None:
    path = tmp_path / "experiment.toml"
    path.write_text(CONFIGS["packed"].replace("tokens = 128", "tokens = 64"))
    with pytest.raises(RequestError, match=r"experiment.toml: packing\.tokens = 64 is less than model\.length = 96"):
        load_experiment(str(path), ChatExperiment)
    with pytest.raises(ValueError, match=r"packing\.tokens = 64 is less than model\.length = 96"):
        experiment_of("packed", packing={"tokens": 64})
