"""Zero-shot classification: is the name of its class, put into sentences, the text that is nearest to a picture?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from trainer_bridge.evaluation.classes import PromptSet
from trainer_bridge.evaluation.evaluation_set import EvaluationSet
from trainer_bridge.evaluation.ranking import ranks, share_within
from trainer_bridge.models.contrastive import unit

ACCURACIES = (1, 5)


def classification_figures(
    images: Mapping[str, Tensor],
    valid: Tensor,
    data: EvaluationSet,
    prompt_sets: Mapping[str, PromptSet],
    encode_texts: Callable[[Sequence[str]], Tensor],
) -> dict[str, float]:
    """Accuracy@1 and @5 (0 … 1) over the pictures of classes with a name, and the mean of accuracy@1 over classes.

    images        features float32[P, D] by their name, "" those that the model is judged by
    valid         bool[P], whether a picture could be read
    prompt_sets   language → its sentences; figures of all but the first are named `zh/…`
    encode_texts  texts → features float32[N, D], L2-normalised
    """
    result: dict[str, float] = {}
    for number, (language, prompts) in enumerate(prompt_sets.items()):
        classes = class_features(prompts, encode_texts)
        places = {key: place for place, key in enumerate(prompts.sentences)}
        labels = torch.tensor([places.get(label, -1) for label in data.labels], device=valid.device)
        judged = valid & (labels >= 0)
        for name, features in images.items():
            if number and name:
                continue
            prefix = f"{language}/" if number else f"{name}/" if name else ""
            figures = _accuracies(features[judged], labels[judged], classes)
            result |= {f"{prefix}{key}": value for key, value in figures.items()}
        if not number:
            result |= {"pictures": int(judged.sum()), "unreadable": int((~valid).sum()) + data.unread}
            result |= {
                "of_other_classes": int((valid & (labels < 0)).sum()),
                "classes": len(classes),
                "chance@1": 1 / len(classes),
            }
    return result


def class_features(prompts: PromptSet, encode_texts: Callable[[Sequence[str]], Tensor]) -> Tensor:
    """float32[C, D]: of each class the mean of the features of its sentences, normalised before and after. Source: CLIP."""
    sentences = [sentence for of_class in prompts.sentences.values() for sentence in of_class]
    features = encode_texts(sentences)
    counts = torch.tensor([len(of_class) for of_class in prompts.sentences.values()], device=features.device)
    owners = torch.arange(len(counts), device=features.device).repeat_interleave(counts)
    sums = torch.zeros(len(counts), features.shape[1], device=features.device).index_add_(0, owners, features.float())
    return unit(sums / counts[:, None])


def _accuracies(images: Tensor, labels: Tensor, classes: Tensor) -> dict[str, float]:
    ranking = ranks(images, labels, classes, torch.arange(len(classes), device=labels.device))
    present, owners = labels.unique(return_inverse=True)
    right = torch.zeros(len(present), device=labels.device).index_add_(0, owners, (ranking < 1).float())
    per_class = right / owners.bincount(minlength=len(present)).clamp(min=1)
    return {
        **{f"accuracy@{k}": share_within(ranking, k) for k in ACCURACIES},
        "mean_class_accuracy": per_class.mean().item() if len(present) else 0.0,
    }
