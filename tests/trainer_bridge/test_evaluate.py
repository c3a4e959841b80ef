"""The command that evaluates a saved model: on shards and on folders of others, by one process or several."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.support.evaluation_folders import write_coco, write_imagenet, write_xtd
from tests.trainer_bridge.test_train import LIMIT, shards  # noqa: F401
from trainer_bridge import evaluate

CLASSES = """
[en]
names = {n01440764 = "red", n01443537 = ["green", "a green field"], n01484850 = "blue"}
[zh]
names = {n01440764 = "红", n01443537 = "绿", n01484850 = "蓝"}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name, write in (("coco", write_coco), ("xtd", write_xtd), ("imagenet", write_imagenet)):
        (folder / name).mkdir()
        write(folder / name)
    (folder / "classes.toml").write_text(CLASSES)
    return folder


def figures(capsys: pytest.CaptureFixture[str], model: Path, *arguments: object) -> dict:
    evaluate.main(["--checkpoint", str(model), *map(str, arguments)])
    return json.loads(capsys.readouterr().out)


def test_a_model_is_evaluated_on_shards_and_on_folders_of_others(
    shards: Path,  # noqa: F811
    data: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = shards / "stage1"
    on_shards = figures(capsys, model, "--shards", shards)
    assert on_shards["pairs"] == 8 and on_shards["recall@10"] == on_shards["image_to_text_recall@10"] == 1.0
    assert figures(capsys, model, "--shards", shards, "--samples", 3, "--by-language")["de/pairs"] == 1
    coco = figures(capsys, model, "--data", data / "coco", "--samples", 2, "--precision", "bf16")
    assert coco["pairs"] == 4 and coco["pictures"] == 2
    assert {"en/recall@1", "de/recall@1"} <= figures(capsys, model, "--data", data / "xtd").keys()
    classes = figures(capsys, model, "--data", data / "imagenet", "--classes", data / "classes.toml")
    assert classes["classes"] == 3 and 0 <= classes["zh/accuracy@1"] <= 1 and classes["accuracy@5"] == 1.0


@pytest.mark.parametrize(("option", "value"), [("--batch", "0"), ("--tokens", "0"), ("--samples", "-1")])
def test_a_number_that_is_too_small_is_exit_2(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        evaluate.main(["--checkpoint", "x", "--questions", "x", option, value])
    told = capsys.readouterr().err
    assert caught.value.code == 2 and f"{option} {value} is less than" in told and told.count("\n") == 1


def test_a_picture_that_cannot_be_read_is_exit_1_after_the_figures_of_the_others(
    shards: Path,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        evaluate.main(["--checkpoint", str(shards / "stage1"), "--shards", str(shards), "--split", "train"])
    printed = capsys.readouterr()
    assert caught.value.code == 1 and json.loads(printed.out)["pairs"] == 31
    assert "evaluation skipped a picture: not a picture" in printed.err and "1 could not be read" in printed.err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--shards", "SHARDS", "--split", "hedlout"), "has no split 'hedlout'; it has heldout, train"),
        (("--data", "DATA"), "is of no layout that is recognised"),
        (("--data", "DATA/coco", "--split", "val2018"), "has no split 'val2018'"),
        (("--data", "DATA/coco", "--kind", "captions"), "this stage computes retrieval, classification, not captions"),
        (("--data", "DATA/imagenet", "--classes", "nowhere.toml"), "classes nowhere.toml cannot be read"),
        (("--data", "DATA/coco", "--stage", "generative"), "holds no stage-2 model"),
    ],
)
def test_a_wrong_request_is_exit_2(
    shards: Path,  # noqa: F811
    data: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    places = [argument.replace("SHARDS", str(shards)).replace("DATA", str(data)) for argument in arguments]
    with pytest.raises(SystemExit) as caught:
        evaluate.main(["--checkpoint", str(shards / "stage1"), *places])
    error = capsys.readouterr().err
    assert caught.value.code == 2 and message in error and error.count("\n") == 1


@pytest.mark.slow
def test_several_processes_share_the_work(shards: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    expected = figures(capsys, shards / "stage1", "--data", data / "xtd")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    request = ["-m", "trainer_bridge.evaluate", "--checkpoint", str(shards / "stage1"), "--data", str(data / "xtd")]
    finished = subprocess.run([*launcher, *request], capture_output=True, text=True, timeout=LIMIT, cwd=ROOT)
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert json.loads(finished.stdout) == pytest.approx(expected)
