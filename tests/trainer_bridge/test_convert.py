"""`convert`: weights that do not fit, pickles and layouts that cannot hold a model are one line, and nothing is written."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.support.towers import SIX_B, generative_model, language_model, open_clip_model, shake, tokenizer
from trainer_bridge.checkpoints.checkpoint import Checkpoint
from trainer_bridge.checkpoints.layouts import find_layouts
from trainer_bridge.checkpoints.model_folders import save_generative
from trainer_bridge.convert import main
from trainer_bridge.models.internvit import InternViT

WEIGHTS = {"open_clip": "open_clip_model.safetensors"}
READ = ["intern_vit", "internvl", "language_model", "open_clip", "pairmill"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of each layout, in a folder of its name."""
    folder = tmp_path_factory.mktemp("folders")
    torch.manual_seed(0)
    language_model(folder / "language_model", "smollm2")
    open_clip_model(folder / "open_clip")
    state = {f"image_tower.{name}": tensor for name, tensor in shake(InternViT(SIX_B)).state_dict().items()}
    write = find_layouts()["intern_vit"].write
    assert write is not None
    write(Checkpoint({"image": SIX_B}, state), folder / "intern_vit")
    model = generative_model()
    save_generative(folder / "pairmill", model, model.state_dict(), tokenizer("<s>"))
    main(["--from", str(folder / "pairmill"), "--to", "internvl", "--out", str(folder / "internvl")])
    return folder


def fault(capsys: pytest.CaptureFixture[str], source: Path, out: Path, to: str = "pairmill") -> str:
    """The one line in which a conversion ends with exit status 2."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main(["--from", str(source), "--to", to, "--out", str(out)])
    captured = capsys.readouterr()
    assert caught.value.code == 2 and captured.out == "" and not out.exists()
    (line,) = captured.err.splitlines()
    return line


def without_a_tensor(path: Path) -> str:
    tensors = load_file(path)
    name = sorted(tensors)[-1]
    save_file({key: value for key, value in tensors.items() if key != name}, path)
    return f"missing: {name}"


def with_another_tensor(path: Path) -> str:
    name = {"open_clip": "visual.another"}.get(path.parent.name, "another")
    save_file(load_file(path) | {name: torch.ones(2)}, path)
    return f"unexpected: {name}"


def with_a_smaller_tensor(path: Path) -> str:
    tensors = load_file(path)
    name = next(name for name in sorted(tensors, reverse=True) if tensors[name].ndim == 2 and "token" not in name)
    name = name if not name.startswith("trans") else "visual.proj"
    save_file(tensors | {name: tensors[name][:-1].clone()}, path)
    return f"misshapen: {name} is "


def cut_short(path: Path) -> str:
    path.write_bytes(path.read_bytes()[:100])
    return "is no safetensors file that can be read"


def pickled(path: Path) -> str:
    path.rename(path.with_name("pytorch_model.bin"))
    return "holds its weights as a pickle (pytorch_model.bin)" if path.parent.name != "pairmill" else "holds no model.safetensors"


@pytest.mark.parametrize("layout", READ)
@pytest.mark.parametrize("damage", [without_a_tensor, with_another_tensor, with_a_smaller_tensor, cut_short, pickled])
def test_weights_that_do_not_fit_are_named(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str, damage: Callable[[Path], str]
) -> None:
    shutil.copytree(folders / layout, tmp_path / layout)
    message = damage(tmp_path / layout / WEIGHTS.get(layout, "model.safetensors"))
    assert message in fault(capsys, tmp_path / layout, tmp_path / "out")


@pytest.mark.parametrize(
    "layout, file, change, message",
    [
        (
            "language_model",
            "config.json",
            {"model_type": "gemma2"},
            "is no language model that can be a text tower; known",
        ),
        ("language_model", "config.json", {"model_type": "qwen4"}, "did you mean 'qwen"),
        ("language_model", "config.json", {"eos_token_id": 9999}, "names no eos_token_id that the tokenizer has"),
        ("language_model", "tokenizer.json", None, "holds no tokenizer that loads"),
        ("intern_vit", "config.json", {"norm_type": "batch_norm"}, "norm: input should be 'rms' or 'layer'"),
        ("intern_vit", "config.json", {"hidden_size": None}, "names no hidden_size"),
        ("intern_vit", "config.json", {"num_hidden_layers": 3}, "missing: encoder.layers.2."),
        ("internvl", "config.json", {"clip_embed_dim": 13}, "text_projection is [32, 12], not [32, 13]"),
        ("pairmill", "config.json", {"generatve": {}}, "generatve is no setting; did you mean 'generative'?"),
        ("pairmill", "tokenizer.json", None, "is no tokenizer that loads"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_named(
    folders: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    layout: str,
    file: str,
    change: dict[str, object] | None,
    message: str,
) -> None:
    shutil.copytree(folders / layout, tmp_path / layout)
    path = tmp_path / layout / file
    path.write_text("{}" if change is None else json.dumps(json.loads(path.read_text()) | change))
    assert message in fault(capsys, tmp_path / layout, tmp_path / "out")


@pytest.mark.parametrize(
    "layout, to, message",
    [
        ("intern_vit", "open_clip", "there is no image tower with a projection"),
        ("pairmill", "open_clip", "have no image.norm = rms, image.norm_eps = 1e-06, image.qkv_bias = False"),
        ("open_clip", "intern_vit", "a norm before its first block (pre_norm) is no InternViT"),
        ("language_model", "intern_vit", "there is no image tower to write"),
        ("intern_vit", "internvl", "holds both towers and their heads"),
    ],
)
def test_a_layout_that_cannot_hold_the_model_says_why(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str, to: str, message: str
) -> None:
    assert message in fault(capsys, folders / layout, tmp_path / "out", to)


def test_a_folder_without_a_model_and_one_that_is_not_empty_are_named(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no config.json of a layout that is known" in fault(capsys, tmp_path / "empty", tmp_path / "out")
    assert "is not there; name a model's folder" in fault(capsys, tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(SystemExit):
        main(["--from", str(folders / "intern_vit"), "--out", str(folders / "intern_vit")])
    assert "holds files already; name a new folder" in capsys.readouterr().err
    assert json.loads((folders / "intern_vit" / "config.json").read_text())["model_type"] == "intern_vit_6b"


def test_a_tokenizer_without_the_tokens_around_a_caption_is_named(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for layout in ("internvl", "pairmill"):
        shutil.copytree(folders / layout, tmp_path / layout)
        tokenizer().save(str(tmp_path / layout / "tokenizer.json"))
        assert "tokenizer.json has no token <s>, which every caption gets" in fault(capsys, tmp_path / layout, tmp_path / "out")


def test_help_names_every_layout(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    for name in find_layouts():
        assert f"  {name:<14} {(sys.modules[f'trainer_bridge.checkpoints.layouts.{name}'].__doc__ or '').splitlines()[0]}" in text
    assert list(find_layouts()) == READ


def test_every_layout_is_converted_and_says_what_it_holds(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for layout in READ:
        main(["--from", str(folders / layout), "--out", str(tmp_path / layout)])
        result = json.loads(capsys.readouterr().out)
        written = load_file(tmp_path / layout / "model.safetensors")
        assert result["parameters"] == sum(tensor.numel() for tensor in written.values())
        assert set(result["settings"]) & {"image", "text"}
