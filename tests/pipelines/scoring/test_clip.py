"""A CLIP gives what its own library gives of the same pictures, in any batch."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from infra.benchmarks.tools.photographs import photograph
from infra.compat.torchvision_operators import define_missing_operators
from pipelines.images.square import Square, upright_pixels
from pipelines.scoring.clip import load_clip
from pipelines.scoring.settings import ScoreSettings

SIZES = ((512, 512), (640, 480), (300, 900), (224, 224), (150, 100), (1301, 997))
CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 224, "layers": 2, "width": 64, "patch_size": 32, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def pictures(count: int = len(SIZES)) -> list[bytes]:
    """JPEGs of photographs' entropy, of different shapes."""
    bodies = []
    for seed, size in enumerate(SIZES[:count]):
        data = io.BytesIO()
        Image.open(io.BytesIO(photograph(seed))).resize(size, Image.Resampling.LANCZOS).save(data, "JPEG", quality=90)
        bodies.append(data.getvalue())
    return bodies


@pytest.fixture(scope="module")
def open_clip_settings(tmp_path_factory: pytest.TempPathFactory) -> ScoreSettings:
    define_missing_operators()
    import open_clip

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    (folder / "small-clip.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder / "small-clip.json")
    save_file(open_clip.create_model("small-clip", load_weights=False).state_dict(), folder / "clip.safetensors")
    return ScoreSettings(clip_model=str(folder / "small-clip.json"), clip_checkpoint=str(folder / "clip.safetensors"))


def test_scores_are_those_of_open_clip_called_directly_alone_and_in_any_batch(open_clip_settings: ScoreSettings) -> None:
    import open_clip
    from safetensors.torch import load_file

    clip = load_clip(open_clip_settings, "cpu")
    model, _, preprocess = open_clip.create_model_and_transforms("small-clip", pretrained=None, load_weights=False)
    model.load_state_dict(load_file(open_clip_settings.clip_checkpoint))
    bodies, captions = pictures(), [f"a picture of {word}" for word in "a cat, a dog, the sea, snow, bread, rust".split(", ")]
    with torch.inference_mode():
        images = torch.stack([preprocess(Image.open(io.BytesIO(body))) for body in bodies])
        image = model.eval().encode_image(images, normalize=True).numpy()
        text = model.encode_text(open_clip.get_tokenizer("small-clip")(captions), normalize=True).numpy()
    ready = [clip.prepare(upright_pixels(body, clip.needed)) for body in bodies]
    tokens = [clip.tokenise(caption) for caption in captions]
    for size in (1, 2, len(bodies)):
        parts = range(0, len(bodies), size)
        ours = np.concatenate([clip.embed_pixels(ready[first : first + size]) for first in parts])
        words = np.concatenate([clip.embed_tokens(tokens[first : first + size]) for first in parts])
        assert np.abs((ours * words).sum(axis=1) - (image * text).sum(axis=1)).max() < 1e-3
        assert (ours * image).sum(axis=1).min() > 1 - 1e-3


def test_bfloat16_is_near_float32(open_clip_settings: ScoreSettings) -> None:
    ready = [load_clip(open_clip_settings, "cpu").prepare(upright_pixels(body, 0)) for body in pictures(2)]
    whole = load_clip(open_clip_settings, "cpu").embed_pixels(ready)
    half = load_clip(open_clip_settings.model_copy(update={"dtype": "bfloat16"}), "cpu").embed_pixels(ready)
    assert 0 < np.abs(whole - half).max() < 0.02


@pytest.mark.parametrize("size", SIZES)
def test_a_square_is_torchvisions_but_for_one_level(size: tuple[int, int]) -> None:
    define_missing_operators()
    from torchvision import transforms

    picture = Image.open(io.BytesIO(photograph(1))).resize(size, Image.Resampling.LANCZOS)
    bicubic, bilinear = transforms.InterpolationMode.BICUBIC, transforms.InterpolationMode.BILINEAR
    for square, steps in (
        (Square(96, 96), [transforms.Resize(96, bicubic), transforms.CenterCrop(96)]),
        (Square(96, 110), [transforms.Resize(110, bicubic), transforms.CenterCrop(96)]),
        (Square(96, 0), [transforms.Resize((96, 96), bicubic)]),
        (Square(96, 0, "bilinear"), [transforms.Resize((96, 96), bilinear)]),
    ):
        expected = np.asarray(transforms.Compose(steps)(picture), dtype=int)
        assert np.abs(square.of(np.asarray(picture)) - expected).max() <= 1, square


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_folder_of_transformers_gives_its_own_embeddings(tmp_path: Path, kind: str) -> None:
    define_missing_operators()
    from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast, SiglipConfig, SiglipModel

    from tests.support.towers import tokenizer as new_tokenizer

    torch.manual_seed(0)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    length, side = 16, 64
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=new_tokenizer("<s>"), pad_token="<s>", eos_token="<s>")
    text = tower | {"vocab_size": len(tokenizer), "max_position_embeddings": length, "projection_size": 32}
    parts = {"text_config": text, "vision_config": tower | {"image_size": side, "patch_size": 16}}
    model = CLIPModel(CLIPConfig(**parts)) if kind == "clip" else SiglipModel(SiglipConfig(**parts))
    model.eval().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    size = {"shortest_edge": side} if kind == "clip" else {"height": side, "width": side}
    about = {"size": size, "resample": 3, "do_center_crop": kind == "clip", "crop_size": {"height": side, "width": side}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(about | {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}))
    clip = load_clip(ScoreSettings(clip_model="hugging_face", clip_checkpoint=str(tmp_path)), "cpu")
    pixels = [clip.prepare(upright_pixels(body, clip.needed)) for body in pictures(3)]
    tokens = [clip.tokenise(caption) for caption in ("a", "a cat in the snow", "")]
    assert {len(row) for row in tokens} == {length} and {picture.shape for picture in pixels} == {(side, side, 3)}
    with torch.inference_mode():
        floats = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 255 * 2 - 1
        expected = model(pixel_values=floats, input_ids=torch.from_numpy(np.stack(tokens)))
    assert clip.embed_pixels(pixels) == pytest.approx(expected.image_embeds.numpy(), abs=1e-5)
    assert clip.embed_tokens(tokens) == pytest.approx(expected.text_embeds.numpy(), abs=1e-5)
