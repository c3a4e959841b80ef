"""A released InternVL is trained on and saved as it was: the same keys, types and settings; adapters merge, or stay apart."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from infra.compat.torchvision_operators import define_missing_operators
from tests.support.processes import one_process  # noqa: F401
from tests.support.stages import experiment_of
from tests.support.towers import LANGUAGE_MODELS, language_model
from tests.trainer_bridge.models.test_models import tiny_model
from tests.trainer_bridge.stages.test_chat_variants import batch
from trainer_bridge.checkpoints.hugging_face import load_internvl
from trainer_bridge.data.chat_tokenizer import IMAGE, add_chat_tokens, build_processor, new_tokenizer
from trainer_bridge.models.internvl import build_internvl
from trainer_bridge.stages.chat import ChatStage

define_missing_operators()
CPU = torch.device("cpu")
FAMILIES = ["qwen2", "qwen3", "llama", "mistral"]


def released(folder: Path, family: str, dtype: torch.dtype = torch.bfloat16) -> Path:
    """An InternVL as transformers writes it, in half precision, with settings of its own."""
    torch.manual_seed(0)
    language = language_model(folder / "language", family)
    tokenizer = add_chat_tokens(new_tokenizer(["a red fox", "blue"] * 20, 300))
    language.resize_token_embeddings(len(tokenizer))
    model = build_internvl(tiny_model().image_tower, language, tokenizer.convert_tokens_to_ids(IMAGE), 0.5).to(dtype)
    for config in (model.config, model.config.text_config, model.config.vision_config):
        config.dtype = dtype
    model.save_pretrained(folder / "released")
    build_processor(tokenizer, 32, 4).save_pretrained(folder / "released")
    return folder / "released"


def trained(start: Path, out: Path, **settings: dict[str, object]) -> ChatStage:
    """A stage after one step, and its model saved in `out`."""
    torch.manual_seed(0)
    stage = ChatStage(experiment_of("packed", **settings), None, start, out)
    for part in stage.losses(stage.model, batch(), 2, CPU):
        part["answers"].backward()
    torch.optim.AdamW([p for p in stage.model.parameters() if p.requires_grad], lr=1e-2).step()
    stage.model.eval()
    stage.save(out, stage.model.state_dict())
    return stage


def tensors(folder: Path) -> dict[str, tuple[list[int], str]]:
    """Shape and type of each tensor of a folder, by name."""
    with safe_open(folder / "model.safetensors", "pt") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        return {name: (each.get_shape(), each.get_dtype()) for name, each in slices.items()}


def settings_of(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text())


def logits(model) -> torch.Tensor:
    image = model.config.image_token_id
    with torch.no_grad():
        pixels = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        return model(input_ids=torch.tensor([[7, image, image, image, image, 8, 9]]), pixel_values=pixels).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_a_released_model_is_saved_as_it_was(family: str, tmp_path: Path, one_process: torch.device) -> None:  # noqa: F811
    assert set(FAMILIES) <= set(LANGUAGE_MODELS)
    start, out = released(tmp_path, family), tmp_path / "out"
    trained(start, out)
    assert tensors(out) == tensors(start) and {kind for _, kind in tensors(out).values()} == {"BF16"}
    assert settings_of(out) == settings_of(start)
    assert not torch.equal(logits(load_internvl(out)), logits(load_internvl(start)))
    planned = ChatStage.outline(experiment_of("packed"), start).model  # trained in float32, whatever it is stored as
    assert {parameter.dtype for parameter in planned.parameters()} == {torch.float32}


def test_weights_keep_their_type_whatever_the_configuration_names(tmp_path: Path, one_process: torch.device) -> None:  # noqa: F811
    start, out = released(tmp_path, "qwen2"), tmp_path / "out"
    (start / "config.json").write_text((start / "config.json").read_text().replace("bfloat16", "float16"))
    trained(start, out)
    assert tensors(out) == tensors(start) and settings_of(out)["dtype"] == "bfloat16"


@pytest.mark.parametrize("modules", [["language"], ["vision"], ["language", "vision"]])
def test_a_merged_adapter_is_the_model_that_was_trained(modules: list[str], tmp_path: Path, one_process: torch.device) -> None:  # noqa: F811
    pytest.importorskip("peft")
    start, out = released(tmp_path, "qwen2", torch.float32), tmp_path / "out"
    before = load_internvl(start).eval()
    stage = trained(start, out, model={"train": ["projector"]}, lora={"modules": modules, "rank": 4})
    assert tensors(out) == tensors(start) and settings_of(out) == settings_of(start)
    assert torch.allclose(logits(load_internvl(out).eval()), logits(stage.chat), atol=1e-5)
    changed = [
        name for name, tensor in load_internvl(out).state_dict().items() if not torch.equal(tensor, before.state_dict()[name])
    ]
    kinds = {"projector": "projector", "language_model.layers": "language", "vision_tower.encoder": "vision"}
    assert {next(kind for part, kind in kinds.items() if part in name) for name in changed} == {"projector", *modules}
    outlined = ChatStage.outline(stage.experiment, start).model
    assert {n: p.requires_grad for n, p in outlined.named_parameters()} == {
        n: p.requires_grad for n, p in stage.model.named_parameters()
    }


def test_an_adapter_by_itself_is_read_by_peft_and_gone_on_from(tmp_path: Path, one_process: torch.device) -> None:  # noqa: F811
    peft = pytest.importorskip("peft")
    start, out = released(tmp_path, "qwen2", torch.float32), tmp_path / "out"
    stage = trained(start, out, model={"train": ["projector"]}, lora={"rank": 4, "save": "adapter"})
    assert not (out / "model.safetensors").exists()
    read = peft.PeftModel.from_pretrained(load_internvl(start), out).eval()
    assert torch.allclose(logits(read), logits(stage.chat), atol=1e-5)
    assert torch.allclose(logits(load_internvl(out).eval()), logits(stage.chat), atol=1e-5)
    trained(out, tmp_path / "further")
    assert tensors(tmp_path / "further") == tensors(start)
    (start / "config.json").unlink()
    with pytest.raises(ValueError, match=r"is an adapter of .*released, which is not there"):
        load_internvl(out)


def test_what_is_adapted_is_not_trained_otherwise() -> None:
    for settings, message in (
        ({"lora": {}}, "both name 'language'"),
        ({"model": {"train": ["vision"]}, "lora": {"save": "adapter"}}, "keeps an adapter and the projector alone"),
        ({"model": {"train": []}}, "names nothing to train"),
    ):
        with pytest.raises(ValueError, match=message):
            experiment_of("packed", **settings)


def test_an_adapter_starts_as_no_change_of_a_model_in_parts(tmp_path: Path, one_process: torch.device) -> None:  # noqa: F811
    pytest.importorskip("peft")
    start = released(tmp_path, "qwen2", torch.float32)
    plain = ChatStage(experiment_of("packed"), None, start, tmp_path)
    adapted = ChatStage(experiment_of("packed", model={"train": []}, lora={}), None, start, tmp_path)
    assert torch.equal(logits(plain.chat.eval()), logits(adapted.chat.eval()))
