"""Synthetic captions: the model's own words, each picture once, each sample once, and where they came from beside them."""

import io
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from infra.compat.errors import RequestError
from infra.compat.torchvision_operators import define_missing_operators
from pipelines import caption, export
from pipelines.manifest import connect
from pipelines.manifest.storage import Storage
from sharding.index import read_dataset
from sharding.reader import ShardReader
from tests.support.pictured import COLOURS, PART, jpeg, pictured

define_missing_operators()
CPU = ("--set", "caption.gpus=0", "--set", "caption.precision=fp32", "--set", "caption.max_tokens=6", "--set", "caption.batch=2")
PROMPT = "Describe the picture in one sentence."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small InternVL with random weights, saved as the chat stage saves."""
    from tests.trainer_bridge.models.test_models import tiny_model
    from trainer_bridge.checkpoints.hugging_face import save_internvl
    from trainer_bridge.data.chat_tokenizer import IMAGE, build_processor, new_tokenizer
    from trainer_bridge.models.internvl import LanguageConfig, build_internvl, new_language_model

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model") / "tiny-internvl"
    sizes = LanguageConfig(vocabulary=400, width=16, depth=1, heads=2, mlp=32)
    tokenizer = new_tokenizer(["red green blue black picture"] * 9, sizes.vocabulary)
    language = new_language_model(sizes, 64, tokenizer.pad_token_id, tokenizer.eos_token_id)
    model = build_internvl(tiny_model().image_tower, language, tokenizer.convert_tokens_to_ids(IMAGE), 0.5)
    torch.manual_seed(0)
    with torch.no_grad():  # so that it writes something, and something else for every picture
        for name, parameter in model.named_parameters():
            if "language_model.layers" in name and parameter.ndim == 2:
                parameter.copy_(torch.randn_like(parameter) * 0.75)
            elif "vision_tower" in name and parameter.ndim >= 2:
                parameter.copy_(torch.randn_like(parameter) * 0.2)
    save_internvl(folder, model, build_processor(tokenizer, 32, 4), {})
    return folder


@pytest.fixture
def manifest(tmp_path: Path) -> Storage:
    return pictured(tmp_path / "root")


def run(storage: Storage, model: Path, *more: str) -> dict:
    return caption.main(["--root", storage.root, "--model", str(model), *CPU, *more])


def captions_of(storage: Storage) -> dict[int, tuple]:
    rows = connect(storage.root).sql(
        "select sample_id & 255, synthetic_caption, model, prompt, tokens, finish_reason from captions order by 1"
    )
    return {row[0]: row[1:] for row in rows.fetchall()}


def test_a_caption_is_what_transformers_itself_says(manifest: Storage, model: Path, ray_session: None) -> None:
    from transformers import AutoProcessor, InternVLForConditionalGeneration

    counts = run(manifest, model)
    captions = captions_of(manifest)
    processor = AutoProcessor.from_pretrained(model)
    whole = InternVLForConditionalGeneration.from_pretrained(model, dtype=torch.float32).eval()
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": PROMPT}]}]
    for number, colour in {0: 0, 1: 0, 2: 1, 3: 2, 4: 3}.items():
        text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        picture = Image.open(io.BytesIO(jpeg(COLOURS[colour])))
        inputs = processor(images=[[picture]], text=[text], return_tensors="pt", crop_to_patches=False)
        tokens = whole.generate(**inputs, max_new_tokens=6, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        assert captions[number][0] == " ".join(processor.decode(tokens, skip_special_tokens=True).split())
    assert len({captions[number][0] for number in (0, 2, 3, 4)}) > 1
    assert counts["captioned"] == 5 and counts["reasons"] == {"length": 5, "empty": 0, "unreadable": 1}
    assert captions[5][0] is None and captions[5][4] == "unreadable"  # its bytes are no picture; the others go on
    assert set(captions) == {0, 1, 2, 3, 4, 5}  # 6 was not fetched, 7 was dropped


def test_of_several_questions_the_last_answer_is_the_caption(manifest: Storage, model: Path, ray_session: None) -> None:
    from transformers import AutoProcessor, InternVLForConditionalGeneration

    run(manifest, model, "--set", 'caption.prompt=["red green", "blue black"]')
    assert captions_of(manifest)[0][2] == "red green\nblue black"
    processor = AutoProcessor.from_pretrained(model)
    whole = InternVLForConditionalGeneration.from_pretrained(model, dtype=torch.float32).eval()
    for number, colour in {0: 0, 2: 1, 3: 2, 4: 3}.items():
        picture, answer = Image.open(io.BytesIO(jpeg(COLOURS[colour]))), ""
        messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "red green"}]}]
        for question in ("blue black", ""):
            text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
            inputs = processor(images=[[picture]], text=[text], return_tensors="pt", crop_to_patches=False)
            tokens = whole.generate(**inputs, max_new_tokens=6, do_sample=False)[0, inputs["input_ids"].shape[1] :]
            answer = " ".join(processor.decode(tokens, skip_special_tokens=True).split())
            messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": question}]
        assert captions_of(manifest)[number][0] == answer


def test_where_a_caption_came_from_is_in_the_manifest(manifest: Storage, model: Path, ray_session: None) -> None:
    run(manifest, model, "--set", 'caption.by_source.coyo="What is it?"')
    name, prompt, tokens, finish = captions_of(manifest)[0][1:]
    footer = json.loads(pq.read_schema(manifest.full(PART.path("captions"))).metadata[b"pairmill.caption"])
    assert name == f"tiny-internvl@{footer['sha256'][:12]}" and [prompt] == footer["prompt"] == ["What is it?"]
    assert (tokens, finish) == (6, "length")
    assert footer["max_tokens"] == 6 and footer["temperature"] == 0 and footer["precision"] == "fp32"


def test_only_samples_without_a_caption_are_paid_for(manifest: Storage, model: Path, ray_session: None) -> None:
    first = run(manifest, model)
    before = Path(manifest.full(PART.path("captions"))).read_bytes()
    assert first["ran"] == 1 and run(manifest, model)["ran"] == 0
    receipt = Path(manifest.full(f"receipts/captions/source={PART.source}/{PART.name}.json"))
    receipt.write_text(receipt.read_text().replace('"fingerprint": "', '"fingerprint": "x'))
    Path(manifest.full("images/a.tar")).write_bytes(b"")  # whatever was captioned again would have no picture
    again = run(manifest, model)
    assert again["ran"] == 1 and not again["failed"]
    assert Path(manifest.full(PART.path("captions"))).read_bytes() == before


def test_pictures_whose_tar_was_away_are_captioned_when_it_is_back(manifest: Storage, model: Path, ray_session: None) -> None:
    tar = Path(manifest.full("images/a.tar"))
    tar.rename(away := tar.with_suffix(".away"))
    lost = run(manifest, model)
    assert lost["captioned"] == 0 and lost["reasons"]["missing"] == 6 and not lost["failed"]
    assert [*lost["without_pictures"]] == [str(PART)] and "6 missing" in lost["without_pictures"][str(PART)]
    assert {row[4] for row in captions_of(manifest).values()} == {"missing"}
    away.rename(tar)
    again = run(manifest, model)
    assert again["captioned"] == 5 and "without_pictures" not in again and run(manifest, model)["ran"] == 0


def test_another_prompt_is_refused_unless_it_is_to_be_paid_for(manifest: Storage, model: Path, ray_session: None) -> None:
    run(manifest, model)
    before = captions_of(manifest)
    other = ("--set", 'caption.prompt="red green"')
    with pytest.raises(RequestError, match="or give --redo to replace them"):
        run(manifest, model, *other)
    run(manifest, model, *other, "--redo")
    assert captions_of(manifest)[0][2] == "red green" and captions_of(manifest)[0] != before[0]


def test_a_caption_with_no_tokens_is_counted_and_kept_empty(
    manifest: Storage, model: Path, ray_session: None, tmp_path: Path
) -> None:
    silent = tmp_path / "silent"
    shutil.copytree(model, silent)
    settings = json.loads((silent / "generation_config.json").read_text())
    settings["eos_token_id"] = list(range(400))  # the first token ends the caption
    (silent / "generation_config.json").write_text(json.dumps(settings))
    counts = run(manifest, silent)
    assert counts["captioned"] == 0 and counts["reasons"]["empty"] == 5 and counts["reasons"]["unreadable"] == 1
    assert not counts["failed"] and captions_of(manifest)[0][0] is None


def test_greedy_captions_do_not_depend_on_the_batch(manifest: Storage, model: Path, ray_session: None, tmp_path: Path) -> None:
    run(manifest, model)
    other = pictured(tmp_path / "other")
    run(other, model, "--set", "caption.batch=5", "--set", "caption.chunk=3")
    assert captions_of(other) == captions_of(manifest)


def broken(model: Path, folder: Path, change: str) -> Path:
    from safetensors.torch import load_file, save_file

    shutil.copytree(model, folder)
    weights, config = folder / "model.safetensors", folder / "config.json"
    if change == "no weights":
        weights.unlink()
    elif change == "no config":
        config.unlink()
    elif change == "another model":
        config.write_text(config.read_text().replace('"internvl"', '"llava"'))
    elif change == "cut":
        weights.write_bytes(weights.read_bytes()[:1000])
    else:
        state = load_file(weights)
        name = "model.multi_modal_projector.linear_1.weight"
        key = next(key for key in state if key.endswith("multi_modal_projector.linear_1.weight") or key == name)
        state[key] = state[key][:3].clone()
        if change == "a tensor missing":
            del state[key]
        save_file(state, weights, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(
    "change, message",
    [
        ("no config", "holds no config.json"),
        ("no weights", r"holds no \*\.safetensors"),
        ("another model", "is of type 'llava'"),
        ("cut", "does not load"),
        ("a tensor missing", "no fitting weights for 1 tensors"),
        ("a tensor of the wrong shape", "does not load|no fitting weights"),
    ],
)
def test_a_model_that_is_not_whole_is_refused_in_one_line(
    manifest: Storage, model: Path, tmp_path: Path, change: str, message: str
) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        run(manifest, broken(model, tmp_path / "broken", change))
    assert "\n" not in str(caught.value)
    assert not Path(manifest.full("manifest/captions")).exists()


def test_wrong_requests_are_one_line(manifest: Storage, model: Path, ray_session: None) -> None:
    with pytest.raises(RequestError, match=r"holds no config\.json"):
        run(manifest, Path("nowhere"))
    with pytest.raises(RequestError, match=r"'coio' is no source; did you mean 'coyo'"):
        run(manifest, model, "--set", 'caption.sources=["coio"]')
    with pytest.raises(RequestError, match=r"caption\.captioner = 'intern' is no captioner; did you mean 'internvl'"):
        run(manifest, model, "--set", "caption.captioner=intern")
    if not torch.cuda.is_available():
        with pytest.raises(RequestError, match=r"no GPU that Ray sees; set caption\.gpus=0"):
            run(manifest, model, "--set", "caption.gpus=1")


def exported(storage: Storage, out: Path, kind: str, *more: str) -> dict[int, tuple[str, bool]]:
    chosen = ["--set", f"export.captions={kind}", *more]
    export.main(["--root", storage.root, "--stage", "1", "--out", str(out), "--name", kind, *chosen])
    reader = ShardReader(read_dataset(str(out)), "train")
    samples = [reader.read(shard, row) for shard, size in enumerate(reader.sizes()) for row in range(size)]
    return {sample.sample_id & 255: (sample.text, json.loads(sample.json)["synthetic"]) for sample in samples}


def test_export_takes_original_synthetic_or_a_mixture(manifest: Storage, model: Path, ray_session: None, tmp_path: Path) -> None:
    run(manifest, model)
    synthetic = {number: row[0] for number, row in captions_of(manifest).items()}
    original = exported(manifest, tmp_path / "original", "original")
    assert original[0] == ("red", False) and set(original) == {0, 1, 2, 3, 4}  # what 5 shows is no picture
    assert exported(manifest, tmp_path / "synthetic", "synthetic") == {number: (synthetic[number], True) for number in range(5)}
    mixed = exported(manifest, tmp_path / "mixture", "mixture", "--set", "export.seed=3")
    assert set(mixed) == set(original)
    assert all(mixed[n] in ((original[n][0], False), (synthetic[n], True)) for n in mixed)
    assert exported(manifest, tmp_path / "again", "mixture", "--set", "export.seed=3") == mixed
    every = exported(manifest, tmp_path / "every", "mixture", "--set", "export.synthetic_share=1.0")
    assert [every[number][1] for number in range(5)] == [True] * 5
    assert exported(manifest, tmp_path / "none", "mixture", "--set", "export.synthetic_share=0.0") == original
