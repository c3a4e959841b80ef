"""Plugins: modules of one's own that add rules, sources, scores and captioners without a fork.

A recipe names them, `plugins = ["my_lab.rules"]`, and each defines one or more of the lists in `KINDS`, of the same objects that
ours are. A plugin lies in the folder where the job is started, or on PYTHONPATH.

Ray's workers know neither that folder nor what the driver has imported. So the pickle of a task carries the plugins themselves,
a zip of their files and of what they import from beside them: unpickling it on a worker imports them there, before any function
of theirs is looked up. Pickling their functions by value was not enough: it fails on cached functions, and the worker's own lists
of sources and scores would lack them. A plugin in site-packages is not carried; it has to be installed on the workers too.
"""

from __future__ import annotations

import atexit
import importlib
import io
import pkgutil
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from infra.compat.errors import RequestError

KINDS = ("STAGE1_RULES", "STAGE2_RULES", "SOURCES", "SCORES", "CAPTIONERS")
T = TypeVar("T")

_loaded: dict[str, ModuleType] = {}  # the plugins of this process, in the order of recipes
_carried: set[str] = set()  # the top-level modules and packages that workers need for them


def load_plugins(names: Sequence[str]) -> None:
    """Imports the modules; RequestError in one line for one that is not found, breaks, or defines none of `KINDS`."""
    for name in names:
        if name not in _loaded:
            _loaded[name] = _import(name)


def _import(name: str) -> ModuleType:
    here = str(Path.cwd())
    if not {"", here} & set(sys.path):
        sys.path.append(here)  # last: nothing that lies there shadows what is installed
    before = set(sys.modules)
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):
            raise RequestError(f"plugins: {name!r} imports {error.name!r}, which is not installed; install it") from None
        raise RequestError(
            f"plugins: there is no module {name!r}; start the job in the folder that holds it, or set PYTHONPATH"
        ) from None
    except (Exception, SystemExit) as error:  # whatever the module raises
        cause = " ".join(str(error).split())[:200]
        raise RequestError(f"plugins: {name!r} cannot be imported ({type(error).__name__}: {cause}); fix it") from None
    if not any(hasattr(module, kind) for kind in KINDS):
        raise RequestError(f"plugins: {name!r} ({_location(name)}) defines nothing; it may define {', '.join(KINDS)}")
    top = name.partition(".")[0]
    beside = {other.partition(".")[0] for other in sys.modules.keys() - before}
    _carried.update({top} | {other for other in beside if _location(other).parent == _location(top).parent})
    return module


def any_defines(kind: str) -> bool:
    """Whether a plugin of this process defines objects under `kind`."""
    return any(hasattr(module, kind) for module in _loaded.values())


def defined_in(package: str, kind: str) -> list[Any]:
    """The objects that the modules of one of our packages define under `kind`, module by module in alphabetical order."""
    names = sorted(module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__))
    return [member for name in names for member in getattr(importlib.import_module(f"{package}.{name}"), kind, ())]


def with_plugins(ours: Sequence[T], kind: str, interface: type[T], *keys: str, plugins: Sequence[str] | None = None) -> list[T]:
    """`ours`, then the objects that the plugins (default: all that are loaded) define under `kind`.

    RequestError for one that is no `interface`, and for one that repeats another's attribute in `keys`.
    """
    members = list(ours)
    taken = {(key, getattr(member, key)) for member in members for key in keys}
    for plugin in _loaded if plugins is None else plugins:
        added = getattr(_loaded[plugin], kind, ())
        if not isinstance(added, Sequence):
            raise RequestError(f"plugins: {plugin}.{kind} is {type(added).__name__}; make it a list of {interface.__name__}")
        for member in added:
            if not isinstance(member, interface):
                raise RequestError(f"plugins: {plugin}.{kind} holds {member!r:.80}, which is no {interface.__name__}")
            for key in keys:
                if (key, value := getattr(member, key)) in taken:
                    raise RequestError(f"plugins: {plugin}.{kind} has {key} {value!r}, which is taken; choose another")
                taken.add((key, value))
            members.append(member)
    return members


def carrying_plugins(call: Callable[..., T]) -> Callable[..., T]:
    """The function as one whose pickle imports this process's plugins where it is unpickled."""
    return _Carrier(call) if _loaded else call


class _Carrier:
    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call

    def __call__(self, *arguments: Any) -> Any:
        return self.call(*arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        from ray import cloudpickle

        return _unpickle, (tuple(_loaded), _archive(), cloudpickle.dumps(self.call))


def _unpickle(names: Sequence[str], archive: bytes, call: bytes) -> Callable[..., Any]:
    from ray import cloudpickle

    if not set(names) <= set(_loaded):
        folder = tempfile.mkdtemp(prefix="pairmill-plugins-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        with zipfile.ZipFile(io.BytesIO(archive)) as files:
            files.extractall(folder)
        sys.path.insert(0, folder)  # first: the driver's own version, not another that a worker may have
        load_plugins(names)
    return _Carrier(cloudpickle.loads(call))


def _archive() -> bytes:
    """The files of the modules and packages to carry, but those that are installed, as a zip."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for top in map(_location, sorted(_carried)):
            if "site-packages" not in top.parts:
                files = [top] if top.is_file() else [file for file in sorted(top.rglob("*")) if file.is_file()]
                for file in files:
                    if "__pycache__" not in file.parts:
                        archive.write(file, file.relative_to(top.parent))
    return data.getvalue()


def _location(name: str) -> Path:
    """The file of an imported module, or its folder where it is a package."""
    module = sys.modules[name]
    return Path(next(iter(module.__path__), "") if hasattr(module, "__path__") else getattr(module, "__file__", None) or "")
