"""The GPU benchmark runs where there is no GPU, and a section that fails is named."""

import time
from pathlib import Path

import pytest
import torch

from infra.benchmarks import gpu
from infra.benchmarks.on_gpu.workload import TINY
from tests.support.processes import one_process  # noqa: F401

CPU = torch.device("cpu")


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
