"""Tensors of safetensors files, renamed from another's names to ours and back, and checked by name and shape. Never a pickle."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

MODEL = "model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
FLOATS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}  # as safetensors and as torch names them
SHOWN = 3  # names in an error


class Place(NamedTuple):
    """Where another layout holds a tensor of ours: its name, and whether transposed, or without dimensions of size 1."""

    name: str
    transposed: bool = False
    squeezed: bool = False

    def theirs(self, tensor: Tensor) -> Tensor:
        """Our tensor in their shape."""
        return tensor.T if self.transposed else tensor.squeeze() if self.squeezed else tensor


Places = Mapping[str, Place]


def module_place(name: str, modules: Mapping[str, str], blocks: str = "") -> Place:
    """The place of a tensor by that of its module: `blocks.3.mlp.0.bias` → `{blocks}.3.{modules["mlp.0"]}.bias`.

    The name in `modules` is the tensor's whole where it has no weight and bias; KeyError when it is not there.
    """
    number, rest = re.fullmatch(r"(?:blocks\.(\d+)\.)?(.+)", name).groups()  # type: ignore[union-attr]
    module, kind = (rest, "") if rest in modules else (rest.rpartition(".")[0], "." + rest.rpartition(".")[2])
    prefix = f"{blocks}.{number}." if number else ""
    return Place(prefix + (modules[module] + kind).replace("_.", "_"))


def stored_type(folder: Path) -> str:
    """The floating type of most tensors of a folder, as torch names it, by the headers of its files; empty without any."""
    kinds: Counter[str] = Counter()
    for path in _files(folder):
        with safe_open(path, "pt") as file:
            kinds.update(file.get_slice(name).get_dtype() for name in file.keys())  # noqa: SIM118
    floats = [FLOATS[kind] for kind, _ in kinds.most_common() if kind in FLOATS]
    return floats[0] if floats else ""


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder, in the precision they are stored in; ValueError in one line: none, only pickles, or a NaN.

    They are mapped from the files, and read when they are used.
    """
    tensors: dict[str, Tensor] = {}
    for path in _files(folder):
        try:
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118
                    tensors[name] = file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is no safetensors file that can be read ({error}); fetch it again") from None
    require_finite(folder, tensors)
    return tensors


def require_finite(where: Path, tensors: Mapping[str, Tensor]) -> None:
    """ValueError in one line that names tensors with a NaN or an infinity among their numbers."""
    names = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if names:
        raise ValueError(f"weights in {where} are not finite: {_first(names)}; its training diverged, or the file is broken")


def _files(folder: Path) -> list[Path]:
    """The files of one model: those of its index, model.safetensors, or the only safetensors file there is."""
    index = folder / f"{MODEL}.index.json"
    if index.exists():
        try:
            names = sorted({Path(name).name for name in json.loads(index.read_text())["weight_map"].values()})
        except (ValueError, KeyError, AttributeError, TypeError):
            raise ValueError(f"{index} is no index of safetensors files; fetch it again") from None
        return [folder / name for name in names]
    files = [folder / MODEL] if (folder / MODEL).exists() else sorted(folder.glob("*.safetensors"))
    if len(files) > 1:
        raise ValueError(f"{folder} holds {len(files)} safetensors files and no index of them; name one of them {MODEL}")
    if not files:
        raise ValueError(_no_weights(folder))
    return files


def _no_weights(folder: Path) -> str:
    pickle = next((path for path in sorted(folder.glob("*")) if path.suffix in PICKLES), None)
    if pickle is None:
        return f"{folder} holds no {MODEL}; name a folder with the weights"
    return (
        f"{folder} holds its weights as a pickle ({pickle.name}), which can run code and is never read; convert it to "
        "safetensors, with transformers by from_pretrained(…).save_pretrained(…)"
    )


def check_tensors(where: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """ValueError in one line that names missing, unexpected and misshapen tensors."""
    shapes, expected_shapes = ({name: list(tensor.shape) for name, tensor in each.items()} for each in (tensors, expected))
    if listed := misfits(shapes, expected_shapes):
        raise ValueError(f"the weights in {where} do not fit its configuration: {listed}; fetch it again, or mend that")


def misfits(shapes: Mapping[str, list[int]], expected: Mapping[str, list[int]]) -> str:
    """Missing, unexpected and misshapen tensors by name, in one line; "" where all shapes are as expected."""
    kinds = {
        "missing": [name for name in expected if name not in shapes],
        "unexpected": [name for name in shapes if name not in expected],
        "misshapen": [
            f"{name} is {shapes[name]}, not {shape}" for name, shape in expected.items() if shapes.get(name, shape) != shape
        ],
    }
    return "; ".join(f"{kind}: {_first(names)}" for kind, names in kinds.items() if names)


def _first(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def read_renamed(
    folder: Path, places: Places, expected: Mapping[str, Tensor], ignored: Callable[[str], bool] = lambda name: False
) -> dict[str, Tensor]:
    """The tensors of a folder under our names and in the shapes of `expected`; ValueError as `check_tensors` says."""
    tensors = {name: tensor for name, tensor in read_tensors(folder).items() if not ignored(name)}
    check_tensors(folder, tensors, {place.name: place.theirs(expected[name]) for name, place in places.items()})
    return {
        name: (tensors[place.name].T if place.transposed else tensors[place.name]).reshape(expected[name].shape).contiguous()
        for name, place in places.items()
    }


def write_renamed(path: Path, places: Places, state: Mapping[str, Tensor]) -> None:
    """Writes the tensors that `places` names to a safetensors file, float32, in their names and shapes."""
    save_tensors(path, ((place.name, place.theirs(state[name])) for name, place in places.items()))


def save_tensors(path: Path, tensors: Iterable[tuple[str, Tensor]]) -> None:
    """Writes tensors to a safetensors file, float32."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().float().cpu().contiguous() for name, tensor in tensors}, path, {"format": "pt"})
