"""Figures are what they are called: recall in both directions, accuracy by the names of classes, and the loss on captions."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from infra.compat.errors import RequestError
from sharding import Sample, sample_json
from sharding.index import Dataset
from tests.support.images import encoded
from tests.support.shards import write_dataset
from tests.support.stages import CAPTIONS, global_batch, stage_of, write_start
from trainer_bridge.data.tokenizer import encode as encode_texts
from trainer_bridge.data.transforms import normalise
from trainer_bridge.evaluation.classes import PromptSet
from trainer_bridge.evaluation.classification import class_features, classification_figures
from trainer_bridge.evaluation.evaluation_set import EvaluationSet
from trainer_bridge.evaluation.generative_evaluator import GenerativeEvaluator
from trainer_bridge.evaluation.pair_evaluator import ContrastiveEvaluator
from trainer_bridge.evaluation.pictures import Decoded, center, whole
from trainer_bridge.evaluation.retrieval import retrieval_figures
from trainer_bridge.evaluation.shards import shard_set
from trainer_bridge.models.qllama import Examples, Tokens

CPU = torch.device("cpu")
ANGLES = {"red": 0.0, "green": 1.0, "blue": 2.0, "yellow": 3.0}


def at(*angles: float) -> Tensor:
    """Unit vectors at these angles: the nearer two are, the more similar."""
    return torch.tensor([[math.cos(angle), math.sin(angle)] for angle in angles])


def png(colour: object, size: tuple[int, int] = (16, 16)) -> bytes:
    return encoded(Image.new("RGB", size, colour), "PNG")


def set_of(pictures: list[bytes | Exception], **fields: object) -> EvaluationSet:
    return EvaluationSet(len(pictures), lambda numbers: [pictures[number] for number in numbers], **fields)


def test_a_text_finds_its_picture_and_a_picture_any_of_its_texts() -> None:
    images = at(0.0, 1.0, 2.0)
    texts = at(0.1, 0.9, 1.9, 0.6)  # the second is about the first picture and nearer to another
    data = set_of([b""] * 3, texts=["a", "b", "c", "d"], image_index=np.array([0, 0, 2, 1]), metadata=[{}] * 4)
    figures = retrieval_figures({"": images}, texts, torch.ones(3, dtype=torch.bool), data)
    assert figures["recall@1"] == 0.75 and figures["recall@5"] == 1.0
    assert figures["image_to_text_recall@1"] == pytest.approx(2 / 3)  # the second picture's nearest is "b"
    assert figures["pairs"] == 4 and figures["pictures"] == 3 and figures["unreadable"] == 0
    assert figures["chance@1"] == pytest.approx(1 / 3) and figures["chance@5"] == 1.0


def test_a_picture_that_cannot_be_read_is_no_candidate_and_neither_are_its_texts() -> None:
    texts, image_index = at(0.0, 1.0, 2.0), np.array([0, 1, 2])
    data = set_of([b""] * 3, texts=["a", "b", "c"], image_index=image_index, metadata=[{}] * 3, unread=2)
    figures = retrieval_figures({"": at(0.0, 0.1, 2.0)}, texts, torch.tensor([True, False, True]), data)
    assert figures["pairs"] == 2 and figures["pictures"] == 2 and figures["unreadable"] == 3
    assert figures["recall@1"] == 1.0 and figures["image_to_text_recall@1"] == 1.0


def test_each_language_is_compared_by_itself() -> None:
    metadata = [{"language": language} for language in ("en", "en", "de", "de")]
    data = set_of([b""] * 2, texts=list("abcd"), image_index=np.array([0, 1, 0, 1]), metadata=metadata, by_language=True)
    figures = retrieval_figures({"": at(0.0, 1.0)}, at(0.0, 1.0, 1.0, 0.0), torch.ones(2, dtype=torch.bool), data)
    assert figures["recall@1"] == 0.5 and figures["en/recall@1"] == 1.0 and figures["de/recall@1"] == 0.0
    assert figures["de/image_to_text_recall@1"] == 0.0 and figures["en/pairs"] == 2


def prompts(**names: list[str]) -> PromptSet:
    return PromptSet(names)


def encode(texts: list[str]) -> Tensor:
    return at(*(ANGLES[text] for text in texts))


def test_a_picture_is_of_the_class_whose_sentences_are_nearest_on_average() -> None:
    features = class_features(prompts(a=["red", "green"], b=["blue"]), encode)
    assert torch.allclose(features, at(0.5, 2.0), atol=1e-6)
    assert torch.allclose(features.norm(dim=1), torch.ones(2))


def test_accuracy_is_over_pictures_and_over_classes() -> None:
    data = set_of([b""] * 6, labels=["a", "a", "a", "b", "b", "z"])
    images, valid = at(0.0, 0.1, 1.9, 2.0, 0.0, 0.0), torch.tensor([True] * 4 + [False, True])
    sets = {"en": prompts(a=["red"], b=["blue"], c=["yellow"]), "zh": prompts(a=["blue"], b=["red"], c=["yellow"])}
    figures = classification_figures({"": images}, valid, data, sets, encode)
    assert figures["accuracy@1"] == 0.75 and figures["accuracy@5"] == 1.0
    assert figures["mean_class_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert figures["zh/accuracy@1"] == 0.25
    assert (
        figures["pictures"] == 4 and figures["unreadable"] == 1 and figures["classes"] == 3 and figures["of_other_classes"] == 1
    )
    assert figures["chance@1"] == pytest.approx(1 / 3)


def test_pictures_are_resized_as_the_released_evaluation_does() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 60, 3), np.uint8))
    expected = noise.resize((32, 32), Image.Resampling.BICUBIC)
    assert np.array_equal(whole(noise, 32).transpose(1, 2, 0), np.asarray(expected))
    # torchvision's Resize of the shorter side, then CenterCrop.
    square = noise.resize((32, 48), Image.Resampling.BICUBIC).crop((0, 8, 32, 40))
    assert np.array_equal(center(noise, 32).transpose(1, 2, 0), np.asarray(square))


def test_pictures_come_in_order_and_faults_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    contents: list[bytes | Exception] = [png((number, 0, 0)) for number in range(7)]
    contents[2], contents[4] = b"\x89PNG broken", FileNotFoundError(2, "No such file", "lost.png")
    decoded = Decoded(set_of(contents), whole, 4)
    batches = list(decoded.batches([np.array([6, 2, 1]), np.array([4, 5])]))
    assert [pixels[:, 0, 0, 0].tolist() for pixels, _ in batches] == [[6, 0, 1], [0, 5]]
    assert [valid.tolist() for _, valid in batches] == [[True, False, True], [False, True]]
    assert decoded.faults == 2 and "lost.png" in (told := capsys.readouterr().err) and "not a picture" in told


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    write_start(folder)
    return folder


def pictures_of_the_batch() -> list[bytes | Exception]:
    """The pictures of `global_batch`, whose pixels any resize to their own size leaves as they are."""
    return [encoded(Image.fromarray(pixels.permute(1, 2, 0).numpy()), "PNG") for pixels in global_batch().pixels]


def test_the_loss_on_captions_is_that_of_training(start: Path) -> None:
    stage, batch = stage_of("generative", start), global_batch(drawn=True)
    (parts,) = stage.losses(stage.model, batch, 8, CPU)
    rows = [row for row, text in enumerate(CAPTIONS) if text]
    data = set_of(
        pictures_of_the_batch(), texts=[CAPTIONS[row] for row in rows], image_index=np.array(rows), metadata=[{}] * len(rows)
    )
    figures = stage.evaluator(CPU, 3).figures("captions", data)
    assert figures["caption_loss"] == pytest.approx(parts["itg"].item(), rel=1e-5)
    assert figures["perplexity"] == pytest.approx(math.exp(figures["caption_loss"]))
    tokens = [token for row in rows for token in [*stage.tokenizer.encode(CAPTIONS[row]).ids, 1]]
    shares = np.unique(tokens, return_counts=True)[1] / len(tokens)
    assert figures["unigram_entropy"] == pytest.approx(-(shares * np.log(shares)).sum(), rel=1e-5)
    assert figures["caption_tokens"] == len(tokens)
    assert figures["pairs"] == len(rows) and figures["unreadable"] == 0


def test_matching_is_asked_about_the_own_picture_and_another(start: Path) -> None:
    stage = stage_of("generative", start)
    evaluator = stage.evaluator(CPU, 3)
    data = set_of(pictures_of_the_batch(), texts=["blue", "a red fox"], image_index=np.array([7, 5]), metadata=[{}] * 2)
    pixels = normalise(global_batch().pixels[[7, 0, 5, 6]])
    caption = Tokens(*encode_texts(stage.tokenizer, ["blue", "blue", "a red fox", "a red fox"], stage.model.stage1.config.text))
    examples = Examples(stage.model.stage1.image_tower(pixels), caption, stage.model.stage1.image_tower(pixels), caption, 1)
    no, yes = stage.model.learn(examples).match_logits.unbind(dim=1)
    right = (yes - no > math.log(1 / 2)) == torch.tensor([True, False, True, False])  # one in three matches in training
    figures = evaluator.figures("matching", data)
    assert figures["itm_accuracy_next"] == pytest.approx(right.double().mean().item())
    for bias in (torch.tensor([-9.0, 9.0]), torch.tensor([9.0, -9.0])):  # one answer to everything is right half of the time
        stage.model.itm_head.bias.data = bias
        assert evaluator.figures("matching", data) == {"itm_accuracy": 0.5, "itm_accuracy_next": 0.5}
    two = set_of([png("blue"), png("red")], texts=["blue", "a red fox"], image_index=np.array([0, 1]), metadata=[{}] * 2)
    figures = evaluator.figures("matching", two)  # the next picture is the only other one
    assert figures["itm_accuracy"] == figures["itm_accuracy_next"]
    alone = set_of([png("blue")], texts=["blue"], image_index=np.array([0]), metadata=[{}])
    assert evaluator.figures("matching", alone) == {}


def test_internvl_g_is_judged_by_the_sum_of_both_features(start: Path) -> None:
    stage = stage_of("generative", start)
    evaluator = stage.evaluator(CPU, 3)
    assert isinstance(evaluator, GenerativeEvaluator)
    pixels = torch.randn(4, 3, 16, 16)
    features = evaluator.encode_images(pixels)
    contrastive, queries = stage.model.stage1.encode_image(pixels), stage.model.encode_image(pixels)
    assert torch.allclose(features["contrastive"], contrastive) and torch.allclose(features["queries"], queries)
    assert torch.allclose(features[""], F.normalize(contrastive + queries, dim=1), atol=1e-6)
    data = set_of(pictures_of_the_batch(), texts=["blue", "a red fox"], image_index=np.array([0, 5]), metadata=[{}] * 2)
    figures = evaluator.figures("retrieval", data)
    assert {"recall@1", "queries/recall@1", "contrastive/image_to_text_recall@10"} <= figures.keys()


def test_figures_do_not_depend_on_the_batch(start: Path) -> None:
    data = set_of(
        pictures_of_the_batch(), texts=["blue", "a red fox", "", "snow"], image_index=np.array([0, 5, 3, 0]), metadata=[{}] * 4
    )
    results = []
    for batch in (1, 3, 64):
        stage = stage_of("softmax", start)
        evaluator = stage.evaluator(CPU, batch)
        assert isinstance(evaluator, ContrastiveEvaluator)
        images, valid = evaluator.image_features(data, whole)
        assert valid.all()
        results.append((images[""], evaluator.text_features(data.texts)))
    for images, texts in results[1:]:
        assert torch.allclose(images, results[0][0], atol=1e-5) and torch.allclose(texts, results[0][1], atol=1e-5)


@pytest.mark.parametrize(
    "name, kind", [("softmax", "retrieval"), ("generative", "captions"), ("generative", "matching"), ("chat", "captions")]
)
def test_a_set_without_texts_is_refused(start: Path, name: str, kind: str) -> None:
    if name == "chat":
        from trainer_bridge.evaluation.captioning import ChatEvaluator

        evaluator = ChatEvaluator.__new__(ChatEvaluator)
    else:
        evaluator = stage_of(name, start).evaluator(CPU, 8)
    with pytest.raises(RequestError, match=r"needs? texts about the pictures, and this set has none"):
        evaluator.figures(kind, set_of([png("red")]))


def labelled_shards(folder: Path) -> Dataset:
    """Five samples in two shards: the first two of one picture, the last without a caption."""
    pictures = [png("red"), png("red"), png("green"), png("blue"), png("black")]
    texts = ["a red field", "rot", "green", "blue", " "]
    samples = [
        Sample(number, picture, text, sample_json(number, {"language": "de" if number == 1 else "en", "label": number % 2}))
        for number, (picture, text) in enumerate(zip(pictures, texts, strict=True))
    ]
    return write_dataset(folder, {"heldout": [samples[:3], samples[3:]]})


def test_samples_of_one_picture_are_one_picture_with_several_texts(tmp_path: Path) -> None:
    dataset = labelled_shards(tmp_path)
    data = shard_set(dataset, "heldout", 0, CPU)
    assert data.pictures == 4 and data.texts == ["a red field", "rot", "green", "blue"]
    assert data.image_index.tolist() == [0, 0, 1, 2] and data.labels == ["0", "0", "1", "0"]
    assert {language: rows.tolist() for language, rows in data.languages().items()} == {"de": [1], "en": [0, 2, 3]}
    assert data.read([3, 0]) == [png("black"), png("red")]
    assert shard_set(dataset, "heldout", 3, CPU).pictures == 2


def test_a_sample_with_several_captions_has_several_texts(tmp_path: Path) -> None:
    captions = [{"caption": "rot", "language": "de", "sample_id": 5}, {"caption": "red", "language": "en", "sample_id": 0}]
    sample = Sample(0, png("red"), "red", sample_json(0, {"captions": captions}))
    dataset = write_dataset(tmp_path, {"heldout": [[sample, Sample(1, png("blue"), "blue", b"{}")]]})
    data = shard_set(dataset, "heldout", 0, CPU)
    assert data.texts == ["rot", "red", "blue"] and data.image_index.tolist() == [0, 0, 1]
    assert [row.get("language") for row in data.metadata] == ["de", "en", None]


def test_a_shard_that_is_cut_off_costs_its_samples_and_they_are_counted(tmp_path: Path) -> None:
    dataset = labelled_shards(tmp_path)
    tar = next(tmp_path.glob("*1.tar"))
    tar.write_bytes(tar.read_bytes()[:600])
    data = shard_set(dataset, "heldout", 0, CPU)
    assert data.unread == 2 and data.pictures == 2 and len(data.texts) == 3
