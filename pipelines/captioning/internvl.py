"""InternVL: a folder in the Hugging Face layout → captions, by transformers' native classes. Never pickles."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.compat.errors import RequestError
from infra.compat.files import file_system
from infra.compat.torchvision_operators import define_missing_operators
from pipelines.captioning.captioner import Caption, Captioner, Describe
from pipelines.captioning.settings import CaptionSettings

if TYPE_CHECKING:
    from PIL import Image

WEIGHTS = "*.safetensors"


@dataclass(frozen=True)
class InternVL:
    """A loaded InternVL with its processor."""

    model: Any
    processor: Any
    device: str
    settings: CaptionSettings

    def describe(self, pictures: Sequence[Image.Image], questions: Sequence[str]) -> list[Caption]:
        """RGB pictures, all asked the same questions one after the other → the answer to the last, each.

        A picture whose answer to a question is empty is not asked the next.
        """
        answers: list[list[Caption]] = [[] for _ in pictures]
        for turn in range(len(questions)):
            open_chats = [i for i, chat in enumerate(answers) if all(caption.text for caption in chat)]
            messages = [_messages(questions[: turn + 1], [caption.text for caption in answers[i]]) for i in open_chats]
            for i, caption in zip(open_chats, self._generate([pictures[i] for i in open_chats], messages), strict=True):
                answers[i].append(caption)
        return [chat[-1] for chat in answers]

    def _generate(self, pictures: list[Image.Image], chats: list[list[dict[str, Any]]]) -> list[Caption]:
        """The next turn of each chat, which is about the picture at the same index."""
        import torch

        if not pictures:
            return []
        inputs = self.processor(
            images=[[picture] for picture in pictures],
            text=[self.processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False) for chat in chats],
            padding=True,
            return_tensors="pt",
            crop_to_patches=self.settings.tiles > 1,
            max_patches=self.settings.tiles,
        ).to(self.device, dtype=self.model.dtype)
        sampling = (
            {"do_sample": True, "temperature": self.settings.temperature} if self.settings.temperature else {"do_sample": False}
        )
        with torch.inference_mode():
            tokens = self.model.generate(**inputs, max_new_tokens=self.settings.max_tokens, **sampling)
        return [self._caption(row) for row in tokens[:, inputs["input_ids"].shape[1] :].tolist()]

    def _caption(self, tokens: list[int]) -> Caption:
        ends = self.model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        length = next((index for index, token in enumerate(tokens) if token in ends), None)
        text = " ".join(self.processor.decode(tokens[:length], skip_special_tokens=True).split())
        if not text:
            return Caption(None, 0, "empty")
        return Caption(text, len(tokens) if length is None else length, "length" if length is None else "stop")


def _messages(questions: Sequence[str], answers: Sequence[str | None]) -> list[dict[str, Any]]:
    """A chat up to the last question; the picture comes with the first."""
    turns = [
        {"role": role, "content": text}
        for question, answer in zip_longest(questions, answers)
        for role, text in (("user", question), ("assistant", answer))
        if text is not None
    ]
    return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": questions[0]}]}, *turns[1:]]


@lru_cache(4)
def local_folder(uri: str) -> Path:
    """The checkpoint folder on this machine, copied here where it lies elsewhere; RequestError when there is none."""
    if "://" not in uri:
        folder = Path(uri)
    else:
        fs, path = file_system(uri)
        folder = Path(tempfile.mkdtemp(prefix="pairmill-model-"))
        try:
            for file in fs.ls(path, detail=False):
                if file.endswith((".json", ".safetensors", ".jinja", ".txt", ".model")):
                    fs.get_file(file, str(folder / Path(file).name))
        except OSError as error:
            raise RequestError(f"--model {uri} cannot be read ({error}); name a folder that is there") from None
    if not (folder / "config.json").exists():
        raise RequestError(f"--model {uri} holds no config.json; name an InternVL folder in the Hugging Face layout")
    try:
        kind = json.loads((folder / "config.json").read_text()).get("model_type")
    except (OSError, ValueError) as error:
        raise RequestError(f"--model {uri} has a config.json that cannot be read ({error}); fetch it again") from None
    if kind != "internvl":
        raise RequestError(f"--model {uri} is of type {kind!r}; name an InternVL folder converted to transformers' layout (…-hf)")
    if not sorted(folder.glob(WEIGHTS)):
        raise RequestError(f"--model {uri} holds no {WEIGHTS}; convert the weights (pickles are not loaded)")
    return folder


def provenance(uri: str) -> dict[str, str]:
    """The model's name and the sha256 of its weights, configuration and tokenizer."""
    folder = local_folder(uri)
    digest = hashlib.sha256()
    for path in sorted([*folder.glob(WEIGHTS), *folder.glob("*.json"), *folder.glob("*.jinja")]):
        with path.open("rb") as handle:
            digest.update(f"{path.name} {hashlib.file_digest(handle, 'sha256').hexdigest()}\n".encode())
    return {"model": Path(uri.rstrip("/")).name, "sha256": digest.hexdigest()}


def load(uri: str, settings: CaptionSettings) -> Describe:
    """The model of a folder, on the worker's GPU where it has one; RequestError when it is not whole."""
    define_missing_operators()
    import torch
    from transformers import AutoProcessor, InternVLForConditionalGeneration
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    folder = local_folder(uri)
    device = "cuda" if settings.gpus and torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(1)  # a worker is a core; there are as many workers as cores
    precision = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[settings.precision]
    try:
        model, report = InternVLForConditionalGeneration.from_pretrained(
            folder, dtype=precision, use_safetensors=True, output_loading_info=True
        )
        processor = AutoProcessor.from_pretrained(folder)
    except Exception as error:  # whatever transformers raises of a broken folder
        raise RequestError(f"--model {uri} does not load ({str(error).splitlines()[0][:200]}); fetch it again") from None
    unfit = [*report["missing_keys"], *report["mismatched_keys"]]
    if unfit:
        raise RequestError(f"--model {uri} has no fitting weights for {len(unfit)} tensors ({unfit[0]} …); fetch it again")
    processor.tokenizer.padding_side = "left"
    return InternVL(model.eval().to(device), processor, device, settings).describe


CAPTIONERS = [Captioner("internvl", provenance, load)]
