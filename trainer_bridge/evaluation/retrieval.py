"""Retrieval in both directions: does a caption find its picture, and a picture one of its captions?"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from trainer_bridge.evaluation.evaluation_set import EvaluationSet
from trainer_bridge.evaluation.ranking import ranks, share_within

RECALLS = (1, 5, 10)


def retrieval_figures(images: Mapping[str, Tensor], texts: Tensor, valid: Tensor, data: EvaluationSet) -> dict[str, float]:
    """Recall@1, @5 and @10 (0 … 1), and by chance: k over the pictures.

    images  features float32[P, D] by their name, "" those that the model is judged by
    texts   features float32[T, D]
    valid   bool[P], whether a picture could be read; those that could not are no candidates, nor are their texts

    `recall@k` is text → image, `image_to_text_recall@k` image → text, where any text of the picture is right. `de/…` are those of
    the texts in one language, `queries/…` those of other features than "".
    """
    image_index = torch.from_numpy(data.image_index).to(texts.device)
    rows = torch.arange(len(texts), device=texts.device)[valid[image_index]]
    result: dict[str, float] = {"unreadable": int((~valid).sum()) + data.unread}
    for name, features in images.items():
        prefix = f"{name}/" if name else ""
        recalls = _recalls(features, texts, image_index, rows)
        result |= {f"{prefix}{key}": value for key, value in recalls.items() if not name or "recall" in key}
    if data.by_language:
        for language, of_language in data.languages().items():
            chosen = rows[torch.isin(rows, torch.from_numpy(of_language).to(rows.device))]
            recalls = _recalls(images[""], texts, image_index, chosen)
            result |= {f"{language}/{key}": value for key, value in recalls.items()}
    return result


def _recalls(images: Tensor, texts: Tensor, image_index: Tensor, rows: Tensor) -> dict[str, float]:
    """The figures of the texts at some rows and the pictures that they are about."""
    pictures, groups = image_index[rows].unique(return_inverse=True)
    own_images, own_texts = images[pictures], texts[rows]
    numbers = torch.arange(len(pictures), device=rows.device)
    to_image = ranks(own_texts, groups, own_images, numbers)
    to_text = ranks(own_images, numbers, own_texts, groups)
    return {
        "pairs": len(rows),
        "pictures": len(pictures),
        **{f"recall@{k}": share_within(to_image, k) for k in RECALLS},
        **{f"image_to_text_recall@{k}": share_within(to_text, k) for k in RECALLS},
        **{f"chance@{k}": min(1.0, k / max(1, len(pictures))) for k in RECALLS},
    }
