"""The GPU benchmark runs where there is no GPU, its FLOPs are those that torch counts, and a section that fails is named."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from infra.benchmarks import gpu
from infra.benchmarks.on_gpu import flops
from infra.benchmarks.on_gpu.workload import TINY
from tests.support.processes import one_process  # noqa: F401
from trainer_bridge.models.contrastive import ContrastiveModel
from trainer_bridge.models.internvit import InternViT
from trainer_bridge.models.internvl import ChatLoss, build_internvl, is_trained, new_language_model
from trainer_bridge.models.losses import IGNORED
from trainer_bridge.models.qllama import Examples, GenerativeModel, Pictures, Tokens

TOKENS, BATCH = 12, 3
CPU = torch.device("cpu")


def counted(compute: Callable[[], torch.Tensor]) -> float:
    """FLOPs a sample that torch counts in the forward and backward pass of a scalar."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        compute().backward()
    return counter.get_total_flops() / BATCH


def captions() -> Tokens:
    return Tokens(torch.randint(2, TINY.text.vocabulary, (BATCH, TOKENS)), torch.full((BATCH,), TOKENS))


def test_the_flops_of_stage_1_are_those_that_torch_counts() -> None:
    model, text = ContrastiveModel(TINY.stage1), captions()

    def compute() -> torch.Tensor:
        features = model(torch.randn(BATCH, 3, 32, 32), text.ids, text.lengths)
        return features.image.sum() + features.text.sum()

    assert counted(compute) == pytest.approx(flops.contrastive_step(TINY.stage1, TOKENS), rel=0.01)


def test_the_flops_of_stage_2_are_those_that_torch_counts() -> None:
    model, text = GenerativeModel(ContrastiveModel(TINY.stage1), TINY.queries), captions()

    def compute() -> torch.Tensor:
        encoded = model(Pictures(torch.randn(BATCH, 3, 32, 32), text))
        outputs = model(Examples(encoded.picture, text, encoded.picture, text, 1))
        return outputs.image.sum() + outputs.match_logits.sum() + outputs.token_logits.sum()

    assert counted(compute) == pytest.approx(flops.generative_step(TINY.stage1, TINY.queries, TOKENS), rel=0.01)


def test_the_flops_of_stage_3_are_those_that_torch_counts() -> None:
    language = new_language_model(TINY.language, 64, 0, 1)
    model = ChatLoss(build_internvl(InternViT(TINY.image), language, 2, 0.5))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_trained(name, "projector+language"))
    ids = torch.randint(3, 400, (BATCH, TOKENS))
    ids[:, 1:5] = 2  # the picture's four tokens
    labels = torch.where(torch.arange(TOKENS) < 7, IGNORED, ids)
    tower = flops.Transformer(TINY.language.width, TINY.language.depth, TINY.language.mlp, gated=True)
    expected = flops.chat_step(TINY.image, tower, TINY.language.vocabulary, TOKENS, TOKENS - 7)
    found = counted(lambda: model(ids, labels, torch.randn(BATCH, 3, 32, 32)))
    assert found == pytest.approx(expected, rel=0.01)


def test_sections_are_measured_without_a_gpu(
    one_process: torch.device,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    every = gpu.sections
    chosen = ("stage1", "bare", "loader")
    monkeypatch.setattr(gpu, "sections", lambda *arguments: {name: every(*arguments)[name] for name in chosen})
    figures = gpu.run_sections(TINY, 0, tmp_path, one_process)
    assert all(section.get("samples_per_s", 0) > 0 for section in figures.values()) and "vs_bare_step" in gpu.ratios(figures)


@pytest.mark.slow
def test_every_section_runs_without_a_gpu(one_process: torch.device, tmp_path: Path) -> None:  # noqa: F811
    figures = gpu.run_sections(TINY, 4, tmp_path, one_process)
    assert {name: section["not_measured"] for name, section in figures.items() if "not_measured" in section} == {}
    assert all(
        figures[name]["samples_per_s"] > 0 and figures[name]["mfu"] is None for name in ("stage1", "stage2", "stage3", "bare")
    )
    assert 0 <= figures["loader"]["data_wait"] < 1 and figures["score"]["pictures"] == 4
    assert figures["caption"]["captions_per_s"] > 0 and set(gpu.ratios(figures)) == set(gpu.RATIOS)


def test_a_section_that_fails_or_takes_too_long_is_named_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(figures: dict) -> None:
        figures["half"] = 1
        raise RuntimeError("out of memory\nand more")

    parts = {
        "failing": (60, fails),
        "slow": (1, lambda figures: time.sleep(60)),
        "sound": (60, lambda figures: figures.update(samples_per_s=2.0)),
    }
    monkeypatch.setattr(gpu, "sections", lambda *_: parts)
    figures = gpu.run_sections(TINY, 0, tmp_path, CPU)
    assert figures["failing"]["not_measured"] == "RuntimeError: out of memory" and figures["failing"]["half"] == 1
    assert figures["slow"]["not_measured"] == "TimeoutError: took longer than 1 s" and figures["sound"]["samples_per_s"] == 2
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_a_device_that_a_section_breaks_does_not_lose_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(bench: gpu.Bench) -> None:
        raise torch.AcceleratorError("misaligned address")

    monkeypatch.setattr(gpu.Bench, "release", broken)
    monkeypatch.setattr(gpu, "sections", lambda *_: {name: (60, lambda figures: figures.update(rate=1)) for name in "ab"})
    figures = gpu.run_sections(TINY, 0, tmp_path, CPU)
    assert [section["rate"] for section in figures.values()] == [1, 1]


def test_a_section_after_the_time_of_all_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "LIMIT", 0)
    monkeypatch.setattr(gpu, "sections", lambda *_: {"late": (60, lambda figures: figures.update(begun=1))})
    figures = gpu.run_sections(TINY, 0, tmp_path, CPU)
    assert "are over" in figures["late"]["not_measured"] and "begun" not in figures["late"]


def test_ratios_are_of_sections_that_were_measured() -> None:
    assert gpu.ratios({"stage1": {"samples_per_s": 3.0}, "bare": {"samples_per_s": 2.0}, "open_clip": {"not_measured": "…"}}) == {
        "vs_bare_step": 1.5
    }
