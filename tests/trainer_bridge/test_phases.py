"""One experiment goes from small masked pictures to larger whole ones, and is resumed on either side of the border."""

import json
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from infra.compat.errors import RequestError
from sharding import read_dataset
from tests import ROOT
from tests.support.processes import one_process  # noqa: F401
from tests.trainer_bridge.test_train import CONFIG, arguments, shards  # noqa: F401
from trainer_bridge.data.loader import Loader
from trainer_bridge.models.contrastive import ContrastiveModel
from trainer_bridge.models.internvit import resize_positions
from trainer_bridge.phases import batches, require_divisible
from trainer_bridge.run_folder import RunFolder
from trainer_bridge.schedule import Phase, samples_before
from trainer_bridge.stages.contrastive import ContrastiveExperiment, ContrastiveStage
from trainer_bridge.stages.settings import load_experiment
from trainer_bridge.train import main, train

# 16² with half of four tokens left out, then 32² whole; the table of positions is that of 32².
PHASES = """
[[phase]]
share = 0.5
image_size = 16
drop_tokens = 0.5
[[phase]]
share = 0.5
batch = 4
micro_batch = 1
rate = 0.5
"""
TWO = CONFIG.replace("image_size = 16", "image_size = 32").replace("steps = 60", "steps = 6\nema = 0.9") + PHASES
SMALL, LARGE = Phase(0, 3, 0, 8, 2, 1.0, 16, 0.5), Phase(3, 6, 24, 4, 1, 0.5, 0, 0.0)


class Stopped(Exception):
    """The training was stopped."""


def experiment(text: str = TWO, **run: Any) -> ContrastiveExperiment:
    document = tomllib.loads(text)
    document["run"] |= run
    return ContrastiveExperiment.model_validate(document)


def test_shares_become_steps_and_samples() -> None:
    assert experiment().phases() == [SMALL, LARGE]
    assert [samples_before([SMALL, LARGE], step) for step in (0, 1, 3, 4, 6)] == [0, 8, 24, 28, 36]
    assert experiment(CONFIG).phases() == [Phase(0, 60, 0, 8, 2)]


def test_the_published_experiment_ends_with_half_a_billion_whole_pictures() -> None:
    path = ROOT / "trainer_bridge" / "configs" / "contrastive-internvl.toml"
    small, large = load_experiment(str(path), ContrastiveExperiment).phases()
    assert (small.image_size, small.drop_tokens, large.drop_tokens) == (196, 0.5, 0.0)
    assert load_experiment(str(path), ContrastiveExperiment).model.image.image_size == 224 and large.image_size == 0
    assert samples_before([small, large], 175000) == pytest.approx(28.7e9, rel=0.002)
    assert (large.last - large.first) * large.batch == pytest.approx(0.5e9, rel=0.01)


def test_batches_follow_each_other_over_the_border_whatever_step_they_start_at(
    shards: Path,  # noqa: F811
    one_process: torch.device,  # noqa: F811
) -> None:
    dataset = read_dataset(str(shards))
    stage = ContrastiveStage(experiment(), dataset, None, shards)

    def loader_of(phase: Phase) -> Loader:
        return Loader(dataset, "train", phase.batch, stage.transform, 0, start=phase.start)

    def from_step(done: int) -> list[tuple[Phase, int, list[int], torch.Tensor]]:
        found = batches(stage, experiment().phases(), loader_of, done)
        return [(phase, step, batch.positions, batch.pixels) for phase, step, batch in found]

    straight = from_step(0)
    assert [position for _, _, positions, _ in straight for position in positions] == list(range(36))
    assert [(phase, step, tuple(pixels.shape)) for phase, step, _, pixels in straight] == [
        *[(SMALL, step, (8, 3, 16, 16)) for step in range(3)],
        *[(LARGE, step, (4, 3, 32, 32)) for step in range(3, 6)],
    ]
    for done in range(7):
        for one, other in zip(from_step(done), straight[done:], strict=True):
            assert one[:3] == other[:3] and torch.equal(one[3], other[3])


def run_to(step: int, out: Path, shards: Path, device: torch.device, **run: int) -> tuple[list[dict[str, Any]], torch.Tensor]:  # noqa: F811
    """Trains, from the last saved state on, until before a step; the rows of metrics so far, and some weights as trained."""
    dataset = read_dataset(str(shards))
    torch.manual_seed(0)
    out.mkdir(exist_ok=True)
    stage = ContrastiveStage(experiment(**run), dataset, None, out)
    losses = stage.losses

    def stopped(engine: Any, batch: Any, *arguments: Any) -> Any:
        if batch.positions[0] >= samples_before([SMALL, LARGE], step):
            raise Stopped
        return losses(engine, batch, *arguments)

    stage.losses = stopped  # type: ignore[method-assign]
    with suppress(Stopped):
        train(stage, experiment(**run), [(dataset, 1.0)], RunFolder(str(out)), 0.0, device)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return rows, stage.model.text_projection.weight.detach()


@pytest.mark.parametrize(
    "zero, stops, save_every",
    [(1, (3, 6), 3), *(pytest.param(zero, (2, 3, 4, 6), 1, marks=pytest.mark.slow) for zero in range(4))],
)
def test_a_run_stopped_on_either_side_of_the_border_goes_on_as_if_it_had_not(
    shards: Path,  # noqa: F811
    tmp_path: Path,
    one_process: torch.device,  # noqa: F811
    zero: int,
    stops: tuple[int, ...],
    save_every: int,
) -> None:
    straight, _ = run_to(6, tmp_path / "straight", shards, one_process, zero=zero, save_every=6)
    # Two steps of warm-up, and one cosine over both phases, times the rate of each.
    assert [row["lr"] for row in straight] == pytest.approx([0.5e-3, 1e-3, 1e-3, 0.426777e-3, 0.25e-3, 0.073223e-3], rel=1e-4)
    for step in stops:
        rows, trained = run_to(step, tmp_path / "stopped", shards, one_process, zero=zero, save_every=save_every)
    for name in ("step", "loss", "lr", "samples", "grad_norm"):
        assert [row[name] for row in rows] == [row[name] for row in straight], name
    assert [row["samples"] for row in rows] == [8, 16, 24, 28, 32, 36]
    one, other = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("straight", "stopped"))
    assert not [name for name, tensor in one.items() if not torch.equal(tensor, other[name])]
    if zero < 3:  # where the model holds all weights: what is saved is their average
        assert not torch.allclose(one["text_projection.weight"], trained, atol=1e-5)
    config = json.loads((tmp_path / "stopped" / "model" / "config.json").read_text())
    assert config["image"]["image_size"] == 32 and one["image_tower.positions"].shape[1] == 17


def test_positions_of_another_size_are_the_table_resized() -> None:
    torch.manual_seed(0)
    model = ContrastiveModel(experiment().model).eval()
    small = ContrastiveModel(experiment(TWO.replace("image_size = 32", "image_size = 16")).model).eval()
    table = resize_positions(model.image_tower.positions.detach(), 2, 2)
    small.load_state_dict(model.state_dict() | {"image_tower.positions": table})
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(model.encode_image(images), small.encode_image(images))


@pytest.mark.parametrize(
    "change, message",
    [
        (("share = 0.5\nbatch", "share = 0.4\nbatch"), r"the shares of \[\[phase\]\] add up to 0\.9, not to 1"),
        (("rate = 0.5", "rat = 0.5"), r"phase\.1\.rat is no setting; did you mean 'rate'\?"),
        (("drop_tokens = 0.5", "drop_tokens = 1.0"), r"phase\.0\.drop_tokens: input should be less than 1"),
    ],
)
def test_a_wrong_phase_is_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(TWO.replace(*change))
    with pytest.raises(RequestError, match=message) as caught:
        load_experiment(str(path), ContrastiveExperiment)
    assert "\n" not in str(caught.value)


def test_a_batch_of_any_phase_must_divide() -> None:
    require_divisible([SMALL, LARGE], 4)
    with pytest.raises(ValueError, match="the global batch of 4 does not divide among 8 ranks"):
        require_divisible([SMALL, LARGE], 8)


def test_seconds_fit_no_phases(shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    request = arguments(shards, tmp_path / "out")
    request[request.index("--config") + 1] = str(tmp_path / "two.toml")
    (tmp_path / "two.toml").write_text(TWO)
    with pytest.raises(SystemExit) as ended:
        main([*request, "--seconds", "60"])
    assert ended.value.code == 2 and "--seconds fits no experiment with several [[phase]]" in capsys.readouterr().err
