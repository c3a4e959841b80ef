"""Scores from pixels: the libraries' own numbers, each picture once, each sample once, provenance beside them."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import load_file, save_file

from infra.compat.errors import RequestError
from pipelines import score, stage1, status
from pipelines.images.square import upright_pixels
from pipelines.manifest import connect, read_embeddings
from pipelines.manifest.ids import sample_ids
from pipelines.manifest.receipts import Receipt, write_receipt
from pipelines.manifest.removal import remove_outdated_results
from pipelines.manifest.storage import Storage
from pipelines.manifest.tables import conform
from pipelines.runtime.cache import commit_once
from pipelines.scoring import provenance
from pipelines.scoring.clip import load_clip
from pipelines.scoring.settings import ScoreSettings
from pipelines.scoring.unsafe import open_nsfw
from tests.support.pictured import COLOURS, PART, jpeg, pictured

CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Randomly initialised small models, saved as their users would."""
    from infra.compat.torchvision_operators import define_missing_operators

    define_missing_operators()
    import open_clip
    import timm

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    (folder / "tiny-clip.json").write_text(json.dumps(CLIP))
    open_clip.add_model_config(folder / "tiny-clip.json")
    save_file(open_clip.create_model("tiny-clip", load_weights=False).state_dict(), folder / "clip.safetensors")
    save_numpy({"weight": np.ones((1, 16), np.float32), "bias": np.array([5.0], np.float32)}, folder / "head.safetensors")
    save_file(timm.create_model("resnet10t", num_classes=2).state_dict(), folder / "mark.safetensors")
    return {
        "clip_model": str(folder / "tiny-clip.json"),
        "clip_checkpoint": str(folder / "clip.safetensors"),
        "aesthetic_checkpoint": str(folder / "head.safetensors"),
        "watermark_model": "resnet10t",
        "watermark_checkpoint": str(folder / "mark.safetensors"),
    }


@pytest.fixture
def manifest(tmp_path: Path) -> Storage:
    return pictured(tmp_path / "root")


def run(storage: Storage, weights: dict[str, str], *more: str) -> dict:
    chosen = [f"score.{name}={value}" for name, value in weights.items()]
    return score.main(["--root", storage.root, *(word for setting in chosen for word in ("--set", setting)), *more])


def test_scores_are_those_of_the_libraries_themselves(manifest: Storage, weights: dict[str, str], ray_session: None) -> None:
    import open_clip
    import timm

    counts = run(manifest, weights)
    assert counts["scored"] == 6 and not counts["failed"]
    table = manifest.read_parquet(PART.path("scores"))
    ids = sample_ids(4, 0, 0, 8).tolist()
    assert table["sample_id"].to_pylist() == ids[:6]
    clip, _, preprocess = open_clip.create_model_and_transforms("tiny-clip", load_weights=False)
    clip.load_state_dict(load_file(weights["clip_checkpoint"]))
    clip.eval()
    model = timm.create_model("resnet10t", num_classes=2)
    model.load_state_dict(load_file(weights["watermark_checkpoint"]))
    transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model), is_training=False)
    captions = {0: ("red", "red"), 1: ("red", "a red square"), 2: ("green", "green"), 3: ("blue", "blue")}
    for row, (colour, caption) in captions.items():
        picture = Image.open(io.BytesIO(jpeg(colour))).convert("RGB")
        with torch.inference_mode():
            image = clip.encode_image(preprocess(picture)[None], normalize=True)[0]
            text = clip.encode_text(open_clip.get_tokenizer("tiny-clip")([caption]), normalize=True)[0]
            mark = model.eval()(transform(picture)[None]).softmax(-1)[0, 0]
        scored = table.slice(row, 1).to_pylist()[0]
        assert scored["clip_similarity"] == pytest.approx(float(image @ text), abs=1e-3)
        assert scored["aesthetic"] == pytest.approx(float(image.sum()) + 5, abs=2e-3)
        assert scored["watermark"] == pytest.approx(float(mark), abs=1e-5)
        assert 0 <= scored["unsafe"] <= 0.2
    silent, broken = table.slice(4, 2).to_pylist()
    assert silent["clip_similarity"] is None and silent["unsafe"] is not None
    assert [broken[name] for name in ("clip_similarity", "aesthetic", "watermark", "unsafe")] == [None] * 4
    assert counts["reasons"] == {"undecodable": 1, "no_clip_similarity": 2, "no_aesthetic": 1, "no_watermark": 1, "no_unsafe": 1}


def test_stage1_judges_by_our_scores_and_the_footer_names_the_models(
    manifest: Storage, weights: dict[str, str], ray_session: None
) -> None:
    run(manifest, weights)
    with pytest.raises(RequestError, match=r"model = 'ViT-B-32', but 1 parts .* were scored by .*tiny-clip\.json .*--redo"):
        stage1.main(["--root", manifest.root, "--set", "stage1.clip_similarity.model=ViT-B-32"])
    with pytest.raises(RequestError, match="this rule reads no score"):
        stage1.main(["--root", manifest.root, "--set", "stage1.caption_length.short.model=tiny-clip"])
    digest = provenance(ScoreSettings(**weights))["watermark"]["sha256"]
    named = ["--set", "stage1.clip_similarity.model=tiny-clip", "--set", f"stage1.watermark.model={digest[:12]}"]
    stage1.main(["--root", manifest.root, *named])
    rows = connect(manifest.root).sql("select clip_similarity, stage1_reasons from manifest order by sample_id").fetchall()
    assert rows[0][0] != pytest.approx(0.3) and "clip_similarity" in rows[0][1]  # ours, of a random model
    assert rows[6][0] == pytest.approx(0.3)  # never scored: the publisher's
    footer = json.loads(pq.read_schema(manifest.full(PART.path("scores"))).metadata[b"pairmill.score_models"])
    assert footer == provenance(ScoreSettings(**weights))
    about = json.loads(pq.read_schema(manifest.full(PART.path("scores"))).metadata[b"pairmill.score_run"])
    assert about["dtype"] == "float32" and "bicubic" in about["preprocessing"]["clip"] and about["libraries"]["torch"]
    assert set(footer) == {"clip_similarity", "aesthetic", "watermark", "unsafe"} and len(footer["unsafe"]["sha256"]) == 64


def test_pictures_whose_tar_was_away_are_scored_when_it_is_back(
    manifest: Storage, weights: dict[str, str], ray_session: None
) -> None:
    whole = pictured(Path(manifest.root).parent / "whole")
    run(whole, weights)
    tar = Path(manifest.full("images/a.tar"))
    tar.rename(away := tar.with_suffix(".away"))
    lost = run(manifest, weights)
    assert lost["reasons"]["missing"] == 6 and not lost["failed"] and "6 missing" in lost["without_pictures"][str(PART)]
    assert run(manifest, weights)["without_pictures"] == lost["without_pictures"]  # as long as it is away
    away.rename(tar)
    again = run(manifest, weights)
    assert "without_pictures" not in again and again["reasons"]["undecodable"] == 1 and run(manifest, weights)["ran"] == 0
    assert manifest.read(PART.path("scores")) == whole.read(PART.path("scores"))


def test_a_sample_once_scored_is_not_scored_again_and_other_models_need_redo(
    manifest: Storage, weights: dict[str, str], ray_session: None
) -> None:
    run(manifest, weights)
    before = manifest.read(PART.path("scores"))
    # Of the pictures only that of sample 7 is left: whatever was scored again would have no scores.
    offset = manifest.read_parquet(PART.path("fetch"))["offset"][7].as_py()
    tar = Path(manifest.full("images/a.tar"))
    tar.write_bytes(bytes(offset) + tar.read_bytes()[offset:])
    kept = pa.table({"sample_id": sample_ids(4, 0, 0, 8), "keep": [True] * 8, "reasons": [[]] * 8})
    manifest.write_parquet(PART.path("stage1"), conform(kept, "stage1"))
    write_receipt(manifest, PART, Receipt("stage1", "coyo", PART.name, "f", "other", 8, 8))
    counts = run(manifest, weights, "--set", "score.chunk=1")
    table = manifest.read_parquet(PART.path("scores"))
    assert counts["ran"] == 1 and counts["scored"] == 7
    old = pq.read_table(io.BytesIO(before))
    assert table.filter(pa.compute.is_in(table["sample_id"], old["sample_id"].combine_chunks())).equals(old)
    with pytest.raises(RequestError, match="--redo"):
        run(manifest, {})
    assert run(manifest, {}, "--redo")["scored"] == 7
    assert manifest.read_parquet(PART.path("scores"))["clip_similarity"].null_count == 7


def test_a_run_made_again_gives_the_same_bytes_and_a_committed_chunk_is_not_made_again(
    manifest: Storage, weights: dict[str, str], ray_session: None
) -> None:
    run(manifest, weights, "--set", "score.chunk=2")
    whole = manifest.read(PART.path("scores"))
    manifest.remove([PART.path("scores"), PART.receipt_path("scores")])
    run(manifest, weights, "--set", "score.chunk=2")
    assert manifest.read(PART.path("scores")) == whole
    assert not manifest.glob("partial/scores/*/*/*")
    calls = []

    def make(name: str) -> pa.Table:
        calls.append(name)
        return pa.table({"a": [1]})

    first, again, other = (commit_once(manifest, PART, "scores", request, make) for request in ([1], [1], [2]))
    assert first == (again[0], True) and not again[1] and other[0] != first[0] and len(calls) == 2


@pytest.mark.parametrize(
    "change, message",
    [
        ({"clip_checkpoint": "NOWHERE.safetensors"}, "cannot be read"),
        ({"clip_checkpoint": "model.pt"}, "pickles are not loaded"),
        ({"clip_checkpoint": "MARK"}, "does not fit"),
        ({"sha256.clip_checkpoint": "abc"}, r"has the sha256 \w{64}, not abc"),
        ({"unsafe_checkpoint": "HEAD"}, "one of LAION's heads"),
        ({"clip_model": "hugging_face", "clip_checkpoint": "/tmp"}, r"holds no config\.json"),
        ({"clip_checkpoint": ""}, "go together"),
        ({"clip_model": "ViT-B-23"}, "no open_clip model, nor onnx or hugging_face; did you mean 'ViT-B-32'"),
        ({"aesthetic_checkpoint": "MARK"}, r"must hold weight\[1, 16\] and bias\[1\]"),
        ({"watermark_model": "resnet10x"}, "did you mean 'resnet10t'"),
        ({"watermark_checkpoint": "HEAD"}, "holds no fc.weight"),
        ({"watermark_class": "7"}, "has 2 classes"),
        ({"by_score.unsaf.floor": "1"}, r"score\.by_score\.unsaf is no score; did you mean 'unsafe'"),
        ({"by_score.unsafe.floor": "1"}, r"score\.by_score\.unsafe: this score has no settings of its own"),
    ],
)
def test_a_wrong_model_is_one_line_and_nothing_is_written(
    manifest: Storage, weights: dict[str, str], change: dict[str, str], message: str
) -> None:
    names = {"MARK": weights["watermark_checkpoint"], "HEAD": weights["aesthetic_checkpoint"]}
    with pytest.raises(RequestError, match=message) as caught:
        run(manifest, {**weights, **{name: names.get(value, value) for name, value in change.items()}})
    assert "\n" not in str(caught.value)
    assert not manifest.glob("manifest/scores/*/*") and not manifest.glob("receipts/scores/*/*")


def test_open_nsfw_finds_plain_colours_harmless() -> None:
    import onnxruntime

    from filters.scores.unsafe import unsafe

    session = onnxruntime.InferenceSession(str(open_nsfw()))
    scores = unsafe(session, [Image.new("RGB", (300, 200), colour) for colour in COLOURS])
    assert scores.shape == (5,) and scores.dtype == np.float32 and (scores < 0.2).all()


def test_a_clip_in_onnx_scores_as_the_model_it_was_made_from(manifest: Storage, tmp_path: Path, ray_session: None) -> None:
    from tests.support.towers import tokenizer as new_tokenizer
    from tests.trainer_bridge.models.test_models import tiny_model
    from trainer_bridge.checkpoints.model_folders import save_contrastive
    from trainer_bridge.data.tokenizer import encode
    from trainer_bridge.data.transforms import normalise, whole
    from trainer_bridge.export_onnx import main as export_onnx

    model, tokenizer = tiny_model(begin="<s>").eval(), new_tokenizer("<s>")
    save_contrastive(tmp_path / "model", model.config, model.state_dict(), tokenizer)
    export_onnx(["--checkpoint", str(tmp_path / "model"), "--out", str(tmp_path / "onnx")])
    chosen = {"clip_model": "onnx", "clip_checkpoint": str(tmp_path / "onnx"), "unsafe": "false"}
    assert run(manifest, chosen)["scored"] == 6
    scores = connect(manifest.root).sql("select sample_id, clip_similarity from scores order by 1").fetchall()
    colours = {0: "red", 1: "red", 2: "green", 3: "blue"}
    captions = {0: "red", 1: "a red square", 2: "green", 3: "blue"}
    for number, colour in colours.items():
        picture = Image.open(io.BytesIO(jpeg(colour))).convert("RGB")
        with torch.inference_mode():
            image = model.encode_image(normalise(torch.from_numpy(whole(picture, 32))[None]))
            text = model.encode_text(*encode(tokenizer, [captions[number]], model.config.text))
        assert scores[number][1] == pytest.approx((image @ text.T).item(), abs=1e-4)
    again, _ = provenance(ScoreSettings.model_validate(chosen)), (tmp_path / "onnx" / "text.onnx").unlink()
    assert again["clip_similarity"]["model"] == "onnx"
    with pytest.raises(RequestError, match=r"holds no readable text\.onnx"):
        provenance(ScoreSettings.model_validate(chosen))


def test_embeddings_are_kept_of_what_is_scored_now_and_of_what_was_scored_before(
    manifest: Storage, weights: dict[str, str], ray_session: None
) -> None:
    run(manifest, weights, "--set", "score.chunk=2")
    scored = manifest.read(PART.path("scores"))
    assert read_embeddings(manifest, PART) is None and embeddings_to_do(manifest) == []
    keep = ("--set", "score.embeddings=float16", "--set", "score.chunk=2")
    counts = run(manifest, weights, *keep)
    assert counts["ran"] == 1 and counts["scored"] == 6 and manifest.read(PART.path("scores")) == scored
    found = read_embeddings(manifest, PART)
    assert found is not None and found.sample_ids.tolist() == sample_ids(4, 0, 0, 5).tolist()  # the broken picture has none
    clip = load_clip(ScoreSettings(**weights), "cpu")
    colours = ["red", "red", "green", "blue", "white"]
    expected = clip.embed_pixels([clip.prepare(upright_pixels(jpeg(colour), 0)) for colour in colours])
    assert found.floats() == pytest.approx(expected, abs=3e-3) and found.about["dtype"] == "float16"
    assert found.about["clip"] == provenance(ScoreSettings(**weights))["clip_similarity"]
    assert embeddings_to_do(manifest) == [0] and run(manifest, weights, *keep)["ran"] == 0
    kept = manifest.read(PART.path("embeddings"))
    manifest.remove([PART.path("scores"), PART.receipt_path("scores"), PART.path("embeddings"), PART.receipt_path("embeddings")])
    run(manifest, weights, *keep)  # both in one pass
    assert manifest.read(PART.path("embeddings")) == kept and manifest.read(PART.path("scores")) == scored
    manifest.remove([PART.path("scores"), PART.receipt_path("scores")])  # as where a run was killed between the two
    run(manifest, weights, *keep)
    assert manifest.read(PART.path("embeddings")) == kept and manifest.read(PART.path("scores")) == scored
    manifest.remove([PART.path("embeddings")])
    assert run(manifest, weights, *keep)["ran"] == 1
    assert manifest.read(PART.path("embeddings")) == kept and manifest.read(PART.path("scores")) == scored
    assert not manifest.glob("partial/*/*/*/*")
    with pytest.raises(RequestError, match=r"results of embeddings made with .*--redo"):
        run(manifest, weights, "--set", "score.embeddings=int8")


def embeddings_to_do(storage: Storage) -> list[int]:
    """What `status` says of the family, where it shows it."""
    rows = status.main(["--root", storage.root])["status"]
    return [row["to_do"] for row in rows if row["family"] == "embeddings"]


def test_errors_of_pictures_scored_by_an_earlier_version_are_found_once(
    manifest: Storage, weights: dict[str, str], ray_session: None
) -> None:
    run(manifest, weights)
    table = manifest.read_parquet(PART.path("scores")).drop_columns("error")
    manifest.write_parquet(PART.path("scores"), table)
    counts = run(manifest, weights, "--set", "score.embeddings=float16")
    errors = connect(manifest.root).sql("select score_error from manifest order by sample_id").fetchall()
    assert counts["reasons"]["undecodable"] == 1 and [error for (error,) in errors] == [None] * 5 + ["undecodable"] + [None] * 2
    assert embeddings_to_do(manifest) == [0]


def test_a_replaced_row_loses_its_embedding(manifest: Storage, weights: dict[str, str], ray_session: None) -> None:
    run(manifest, weights, "--set", "score.embeddings=float16")
    before = read_embeddings(manifest, PART)
    samples = manifest.read_parquet(PART.path("samples"))
    urls = samples["url"].to_pylist()
    other = samples.set_column(samples.column_names.index("url"), "url", pa.array(["http://b/", *urls[1:]]))
    remove_outdated_results(manifest, PART, other)
    after = read_embeddings(manifest, PART)
    assert before is not None and after is not None and after.about == before.about
    assert (after.vectors == before.vectors[1:]).all() and (after.sample_ids == before.sample_ids[1:]).all()
