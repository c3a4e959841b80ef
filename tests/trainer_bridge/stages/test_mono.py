"""Stages of Mono-InternVL: what each trains and nothing else, text that stays itself, and folders that the next stage takes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from infra.compat.torchvision_operators import define_missing_operators
from tests import ROOT
from tests.support.processes import one_process  # noqa: F401
from trainer_bridge import deepspeed_engine
from trainer_bridge.checkpoints.building import fill
from trainer_bridge.data.chat_tokenizer import new_tokenizer
from trainer_bridge.data.instructions.loader import ExampleLoader
from trainer_bridge.data.mono_tokenizer import new_token_ids
from trainer_bridge.memory_plan import memory_plan
from trainer_bridge.run_folder import RunFolder
from trainer_bridge.stages.mono import MonoStage
from trainer_bridge.stages.mono_settings import MonoExperiment, part_of
from trainer_bridge.stages.mono_start import prepare_mono, start_mono
from trainer_bridge.train import train

define_missing_operators()
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM  # noqa: E402

STAGES = {
    "concept": ["pictures", "experts"],
    "alignment": ["pictures", "experts", "attention"],
    "instruction": ["pictures", "experts", "attention", "language"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model, pictures, and conversations about them: with one picture, with two, and with none."""
    folder = tmp_path_factory.mktemp("mono")
    tokenizer = new_tokenizer(["A red fox.", "Two blue birds over water."] * 20, 420)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    pad = tokenizer.pad_token_id
    LlamaForCausalLM(
        LlamaConfig(vocab_size=len(tokenizer), initializer_range=0.2, pad_token_id=pad, bos_token_id=None, **sizes)
    ).save_pretrained(folder / "language")
    tokenizer.save_pretrained(folder / "language")
    for name, size, colour in (("a.png", (40, 30), "red"), ("b.png", (30, 70), "blue")):
        Image.new("RGB", size, colour).save(folder / name)

    def line(question: str, answer: str, *images: str) -> str:
        turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
        return json.dumps({"image": [*images], "conversations": turns} if images else {"conversations": turns})

    lines = [
        line("<image>\nWhat is it?", "A red fox.", "a.png"),
        line("Say something.", "Two birds."),
        line("<image> and <image>: which?", "The <ref>fox</ref><box>[[1, 2, 3, 4]]</box>", "a.png", "b.png"),
        line("<image>\nAnd this?", "Blue water.", "b.png"),
    ]
    (folder / "lines.jsonl").write_text("\n".join(lines))
    return folder


def experiment(folder: Path, stage: str, **sections: Any) -> MonoExperiment:
    document: dict[str, Any] = {
        "model": {
            "train": STAGES[stage],
            "length": 200,
            "language_checkpoint": str(folder / "language"),
            "picture": {"image_size": 28, "patch": 7, "width": 8},
        },
        "conversations": {"data": str(folder / "lines.jsonl"), "template": "mono", "max_dynamic_patch": 3},
        "data": {"batch": 4},
        "optimizer": {"lr": 0.02, "warmup": 0, "steps": 3, "schedule": "constant"},
        "run": {"micro_batch": 2, "precision": "fp32"},
        "log": {"every": 100},
    }
    for section, changes in sections.items():
        document[section] = document.get(section, {}) | changes
    return MonoExperiment.model_validate(document)


def trained(
    folder: Path, out: Path, stage: str, start: Path | None, device: torch.device, **sections: Any
) -> tuple[MonoStage, dict[str, Tensor], dict[str, Tensor]]:
    """The stage after three steps, and its parameters before and after."""
    settings = experiment(folder, stage, **sections)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    made, before = MonoStage(settings, None, start, out), dict[str, Tensor]()
    initialise = deepspeed_engine.initialise

    def remembered(model: torch.nn.Module, *rest: Any) -> Any:
        engine = initialise(model, *rest)
        before.update({name: parameter.detach().clone() for name, parameter in made.mono.named_parameters()})
        return engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deepspeed_engine, "initialise", remembered)
        assert train(made, settings, [], RunFolder(str(out)), 0.0, device)
    return made, before, {name: parameter.detach().clone() for name, parameter in made.mono.named_parameters()}


def text_logits(model: Any) -> Tensor:
    ids = torch.arange(5, 60).view(5, 11)
    with torch.inference_mode():
        return model.eval()(ids).logits


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_trains_what_it_names_and_nothing_else(
    stage: str,
    folder: Path,
    tmp_path: Path,
    one_process: torch.device,  # noqa: F811
) -> None:
    made, before, after = trained(folder, tmp_path / "out", stage, None, one_process)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if part_of(name) in STAGES[stage]}
    base = AutoModelForCausalLM.from_pretrained(folder / "language")
    made.mono.routing.route(None)
    ours, theirs = text_logits(made.mono.language)[..., : base.config.vocab_size], text_logits(base)
    assert torch.equal(ours, theirs) == (stage == "concept"), "text alone stays as it was to the bit, until attention moves"


def test_stages_follow_each_other_and_the_saved_model_is_the_trained_one(
    folder: Path,
    tmp_path: Path,
    one_process: torch.device,  # noqa: F811
) -> None:
    _, _, after = trained(folder, tmp_path / "one", "concept", None, one_process)
    packing = {"tokens": 200, "tiles": 8}
    second, before, _ = trained(folder, tmp_path / "two", "alignment", tmp_path / "one" / "model", one_process, packing=packing)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    loaded = MonoStage.load(tmp_path / "two" / "model", one_process, 2).model.eval()
    (batch,) = ExampleLoader(second.examples, 4, 0, 1, second.experiment.data).batches(0, 1)
    second.model.eval()
    for example in batch.examples:
        ids, labels = (torch.from_numpy(array).long()[None] for array in (example.ids, example.labels))
        pixels = torch.from_numpy(example.tiles).float() / 255
        torch.testing.assert_close(loaded(ids, labels, pixels), second.model(ids, labels, pixels))
    config = json.loads((tmp_path / "two" / "model" / "config.json").read_text())
    assert (config["min_dynamic_patch"], config["max_dynamic_patch"], config["dynamic_image_size"]) == (1, 3, True)
    assert "<ref>" in (tmp_path / "two" / "model" / "tokenizer.json").read_text()


@pytest.mark.parametrize(
    ("train", "told"), [(["experts"], "trains nothing, as the model has no experts"), ([], "name what is trained")]
)
def test_a_stage_that_would_train_nothing_is_told(train: list[str], told: str, folder: Path, tmp_path: Path) -> None:
    own = {"train": train, "length": 200, "language_checkpoint": str(folder / "language")}
    own["picture"] = {"image_size": 28, "patch": 7, "width": 8, "experts": False}
    with pytest.raises(ValueError, match=told):
        MonoStage(experiment(folder, "concept", model=own), None, None, tmp_path)


@pytest.mark.parametrize("zero", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_of_embeddings_the_rows_of_new_tokens_alone_are_learned(
    zero: int,
    folder: Path,
    tmp_path: Path,
    one_process: torch.device,  # noqa: F811
) -> None:
    own = {"train": STAGES["concept"], "length": 200, "new_tokens": True, "language_checkpoint": str(folder / "language")}
    own["picture"] = {"image_size": 28, "patch": 7, "width": 8}
    run = {"micro_batch": 2, "precision": "fp32", "zero": zero}
    made, _, _ = trained(folder, tmp_path / "out", "concept", None, one_process, model=own, run=run)
    after = MonoStage.load(tmp_path / "out" / "model", one_process, 2).model.mono.state_dict()
    base = AutoModelForCausalLM.from_pretrained(folder / "language").state_dict()
    rows = set(new_token_ids(made.tokenizer))
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        old = after[f"language.{name}"][: len(base[name])]
        changed = {int(row) for row in (old != base[name]).any(dim=1).nonzero()}
        assert changed and changed <= rows, name
    untouched = "model.norm.weight"
    assert torch.equal(after[f"language.{untouched}"], base[untouched])


@pytest.mark.slow
def test_a_rank_with_text_alone_gathers_what_the_others_gather(folder: Path, tmp_path: Path) -> None:
    for ranks in (1, 2):
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks)]
        command += ["-m", "tests.trainer_bridge.text_alone", str(folder), str(tmp_path / str(ranks))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
        assert done.returncode == 0, done.stderr[-3000:]
    one, two = (load_file(tmp_path / str(ranks) / "model" / "model.safetensors") for ranks in (1, 2))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=1e-4, msg=name)


def test_packed_conversations_have_the_gradient_of_padded_ones(
    folder: Path,
    tmp_path: Path,
    one_process: torch.device,  # noqa: F811
) -> None:
    found: list[dict[str, Tensor]] = []
    for sections in ({}, {"packing": {"tokens": 300, "tiles": 20}}):
        settings = experiment(folder, "instruction", **sections)
        torch.manual_seed(0)
        made = MonoStage(settings, None, None, tmp_path)
        fill(made.model, made.tensors or {}, one_process)
        (batch,) = ExampleLoader(made.examples, 4, 0, 1, settings.data).batches(0, 1)
        totals = torch.zeros(())
        for parts in made.losses(made.model, batch, 2, one_process):
            parts["answers"].backward()
            totals = totals + parts["answers"].detach()
        found.append({name: p.grad for name, p in made.model.named_parameters() if p.grad is not None} | {"loss": totals})
    padded, packed = found
    assert padded.keys() == packed.keys() and padded["loss"] > 1
    for name, gradient in padded.items():
        torch.testing.assert_close(packed[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_drop_path_leaves_out_in_training_alone(folder: Path, tmp_path: Path) -> None:
    config = experiment(folder, "concept", model={**experiment(folder, "concept").model.model_dump(), "drop_path": 0.9}).model
    begun, _ = start_mono(config, None)
    model = begun.filled()
    ids = torch.arange(10, 65).view(5, 11)
    plain = model.eval()(ids, torch.zeros(0, 3, 28, 28))
    prepare_mono(model, config)
    assert torch.equal(model.eval()(ids, torch.zeros(0, 3, 28, 28)), plain)
    assert not torch.allclose(model.train()(ids, torch.zeros(0, 3, 28, 28)), plain)


@pytest.mark.parametrize(
    ("model", "start", "fault"),
    [
        ({"language_checkpoint": ""}, None, "name the language model to start from"),
        ({"language_checkpoint": "nowhere"}, None, "is not there"),
        ({}, "language", "holds no Mono-InternVL"),
    ],
)
def test_a_start_that_is_none_is_one_line(model: dict, start: str | None, fault: str, folder: Path, tmp_path: Path) -> None:
    settings = experiment(folder, "concept", model={**experiment(folder, "concept").model.model_dump(), **model})
    with pytest.raises(ValueError, match=fault) as caught:
        MonoStage(settings, None, folder / start if start else None, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("experts", [True, False])
def test_the_memory_of_a_stage_is_planned(experts: bool, folder: Path) -> None:
    model = experiment(folder, "concept").model.model_dump()
    settings = experiment(folder, "concept", model={**model, "picture": {**model["picture"], "experts": experts}})
    parts = memory_plan(MonoStage.outline(settings, None), settings, 1)
    assert {part.name for part in parts if part.size > 0} >= {"parameters", "gradients", "optimizer", "activations"}
