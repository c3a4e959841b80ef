"""A wrong request for a training is told in one line, with exit status 2, before a process group or a device is touched."""

import tomllib
from pathlib import Path

import pytest

from sharding import Sample
from tests.support.shards import IMAGE, numbered_dataset, write_dataset
from tests.trainer_bridge.test_train import CONFIGS
from trainer_bridge import deepspeed_engine, train
from trainer_bridge.request import check_request
from trainer_bridge.stages import find_stages

SETS = {"bare": "", "captioned": "a red fox"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Shards with captions, without, and without samples; configurations; and no process group may be started."""

    def start() -> None:
        pytest.fail("a device was taken")

    monkeypatch.setattr(deepspeed_engine, "start", start)
    for name, text in SETS.items():
        write_dataset(tmp_path / name, {"train": [[Sample(n, IMAGE % n, text, b"") for n in range(4)]]})
    numbered_dataset(tmp_path / "empty", [0])
    (tmp_path / "file").write_text("not a folder")
    return tmp_path


def refusal(folder: Path, capsys: pytest.CaptureFixture[str], stage: str, config: str, **changes: str) -> str:
    """The line that a request is refused with."""
    (folder / "config.toml").write_text(config)
    options = {
        "stage": stage,
        "config": str(folder / "config.toml"),
        "shards": str(folder / "captioned"),
        "out": str(folder / "out"),
    }
    arguments = [word for name, value in (options | changes).items() for word in (f"--{name}", value)]
    with pytest.raises(SystemExit) as caught:
        train.main(arguments)
    error = capsys.readouterr().err
    assert caught.value.code == 2 and error.count("\n") == 1 and error.startswith("trainer_bridge.train: "), error
    assert not (folder / "out").exists()
    return error


@pytest.mark.parametrize("stage", CONFIGS)
@pytest.mark.parametrize("batch, world, message", [(8, 3, "6 or 9"), (8, 16, "set it to 16"), (640, 639, "639 or 1278")])
def test_a_batch_that_does_not_divide_is_told_with_those_that_do(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    batch: int,
    world: int,
    message: str,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(world))
    error = refusal(folder, capsys, stage, CONFIGS[stage].replace("batch = 8", f"batch = {batch}", 1))
    assert f"data.batch = {batch} does not divide among {world} processes" in error and message in error


@pytest.mark.parametrize("stage", CONFIGS)
def test_shards_without_captions_are_refused(folder: Path, capsys: pytest.CaptureFixture[str], stage: str) -> None:
    for changes in ({"shards": str(folder / "bare")}, {"mix": f"{folder / 'bare'}=0.5"}):
        assert "bare/train-000000.tar has a caption (.txt)" in refusal(folder, capsys, stage, CONFIGS[stage], **changes)


def test_conversations_stand_for_captions_in_the_chat_stage(folder: Path) -> None:
    dataset = write_dataset(folder / "talks", {"train": [[Sample(0, IMAGE % 0, "", b'{"conversations": []}')]]})
    chat = find_stages()["chat"]
    check_request(chat, chat.experiment_type.model_validate(tomllib.loads(CONFIGS["chat"])), [dataset], 1)


@pytest.mark.parametrize(
    "change, changes, message",
    [
        (("micro_batch", "microbatch"), {}, "run.microbatch is no setting; did you mean 'micro_batch'?"),
        (("save_every", "evaluate_evry"), {}, "run.evaluate_evry is no setting; did you mean 'evaluate_every'?"),
        (("[run]", "[[evaluation]]\ndta = 'x'\n[run]"), {}, "evaluation.0.dta is no setting; did you mean 'data'?"),
        (("[run]", "[[evaluation]]\ndata = 'x'\nkind = 'recall'\n[run]"), {}, "evaluation.0.kind: input should be"),
        (("[run]", "[[evaluations]]\ndata = 'x'\n[run]"), {}, "evaluations is no setting; did you mean 'evaluation'?"),
        (("[run]", "[[evaluation]]\ndata = 'nowhere'\n[run]"), {}, "nowhere is no folder"),
        (("zero = 1", "zero = 4"), {}, "run.zero: input should be"),
        (("", ""), {"shards": "nowhere"}, "nowhere holds no dataset.json; name shards that `pairmill export`"),
        (("", ""), {"mix": "nowhere=1"}, "nowhere holds no dataset.json; name shards that `pairmill export`"),
        (("", ""), {"shards": "FOLDER/empty"}, "has no samples in its split train"),
        *(
            (("", ""), {"mix": f"FOLDER/captioned{weight}"}, "names no weight above 0")
            for weight in ("", "=", "=x", "=0", "=-1", "=nan")
        ),
        (
            ("\nheads = 2", "\nheads = 3"),
            {},
            "heads (model.image.heads, pool_heads or cross_heads) = 3 does not divide the width, 16",
        ),
        (("pool_heads = 2", "pool_heads = 3"), {}, "pool_heads or cross_heads) = 3 does not divide the width, 16"),
        (
            ("heads = 2\nmlp = 32\n[data]", "heads = 5\nmlp = 32\n[data]"),
            {},
            "model.text.heads = 5 does not divide the width, 16",
        ),
        (("", ""), {"seconds": "-5"}, "--seconds -5 is no time; give a number above 0"),
        (("", ""), {"seconds": "nan"}, "--seconds nan is no time"),
        (("", ""), {"out": "FOLDER/file"}, "is a file; name a folder for the run"),
        (("", ""), {"out": "FOLDER/file/run"}, "is a file; name a folder for the run"),
        (("", ""), {"from": "FOLDER/nowhere"}, "nowhere is not there; name a model's folder"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    folder: Path, capsys: pytest.CaptureFixture[str], change: tuple[str, str], changes: dict[str, str], message: str
) -> None:
    changes = {name: value.replace("FOLDER", str(folder)) for name, value in changes.items()}
    assert message in refusal(folder, capsys, "contrastive", CONFIGS["contrastive"].replace(*change, 1), **changes)
