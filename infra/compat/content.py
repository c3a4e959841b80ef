"""A digest of what decides: functions with all that they read, and values. An edit that may change a result changes it.

A function's content is its source as a syntax tree (`source_tree.py` says why) and, recursively, the content of what it reads:
globals, functions, classes, closure cells, defaults. A value's content is the value; a path's is that of the file, wherever it
lies. The same content gives the same digest in every process and on every machine.

Code of libraries counts by its name. State, such as a cache or a registry, is no content: keep it in a `State`.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePath
from types import BuiltinFunctionType, EllipsisType, FunctionType, MappingProxyType, MethodType, ModuleType, NoneType
from typing import Any, TypeVar

import numpy as np

from infra.compat.errors import RequestError
from infra.compat.source_tree import Source, source_of_class, source_of_function

Key = TypeVar("Key")
Value = TypeVar("Value")

PLAIN = (NoneType, EllipsisType, bool, int, float, complex, str, bytes)
# Rooms of ours that judge nothing: their code counts by name, installed or not.
BY_NAME = frozenset({"pipelines", "sharding", "trainer_bridge", "infra"})
INSTALLED = {"site-packages", "dist-packages"}


class State(dict[Key, Value]):
    """A dict that changes while the program runs and decides nothing, such as a cache: never part of a content."""


def content_digest(*values: Any, packages: Collection[str] = ()) -> str:
    """The content of values and functions: 32 hex digits.

    The code of `packages` (or modules, by dotted name) is followed wherever it is installed, and any that is neither of ours, of
    the standard library nor in site-packages. RequestError names a value whose content cannot be read, such as a lock or an open
    file.
    """
    walk = _Walk(packages)
    walk.visit(values)
    return walk.hash.hexdigest()


def package_of(function: Any) -> str:
    """The top-level package that a function, or the class of a callable, is defined in; of a partial, its function's."""
    function = function.func if isinstance(function, functools.partial) else function
    return str(getattr(function, "__module__", None) or type(function).__module__).partition(".")[0]


class _Walk:
    """One walk over all that values consist of, in an order that depends on them alone, written to a hash."""

    def __init__(self, packages: Collection[str]) -> None:
        self.packages = packages
        self.hash = hashlib.blake2b(digest_size=16)
        self.definitions: dict[FunctionType | type, int] = {}
        self.open: list[int] = []  # ids of the values that the walk is inside of
        self.names: list[str] = []  # the names that lead to where the walk is, for errors

    def write(self, kind: str, data: str | bytes = b"") -> None:
        data = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
        self.hash.update(f"{kind} {len(data)} ".encode() + data)

    def visit(self, value: Any) -> None:
        if type(value) in PLAIN:
            self.write(type(value).__name__, repr(value))
        elif isinstance(value, State):
            self.write("state")
        elif isinstance(value, ModuleType):
            self.write("module", value.__name__)
        elif isinstance(value, FunctionType | type):
            self.visit_definition(value)
        elif id(value) in self.open:
            self.write("cycle", str(len(self.open) - self.open.index(id(value))))
        else:
            self.open.append(id(value))
            self.visit_parts(value)
            self.open.pop()

    def visit_parts(self, value: Any) -> None:
        """Writes the type of a value and visits its parts."""
        parts = [*self.parts_of(value)]
        self.write(type(value).__qualname__, str(len(parts)))
        for part in parts:
            self.visit(part)

    def parts_of(self, value: Any) -> Iterable[Any]:
        """What decides of a value that has parts."""
        if isinstance(value, PurePath):
            return [_files(Path(value))]
        if isinstance(value, np.ndarray):
            plain = value.tolist() if value.dtype.hasobject else value.tobytes()
            return [value.dtype.str, value.shape, plain]
        if isinstance(value, re.Pattern):
            return [value.pattern, value.flags]
        if isinstance(value, functools.partial):
            return [value.func, value.args, value.keywords]
        if isinstance(value, functools._lru_cache_wrapper):
            return [value.__wrapped__]
        if isinstance(value, MethodType):
            return [value.__func__, value.__self__]
        if isinstance(value, BuiltinFunctionType):
            return [value.__qualname__, value.__self__]
        if type(value) in (tuple, list):
            return value  # type: ignore[no-any-return]
        if type(value) in (dict, MappingProxyType):
            return [part for item in value.items() for part in item]  # in their order, in which a rule may go through them
        if type(value) in (set, frozenset):
            return sorted(map(self.member_digest, value))
        return self.reduced(value)

    def member_digest(self, member: Any) -> str:
        """The digest of a member of a set: from here on, but as if no other member had been visited."""
        walk = _Walk(self.packages)
        walk.definitions, walk.open, walk.names = dict(self.definitions), [*self.open], [*self.names]
        walk.visit(member)
        return walk.hash.hexdigest()

    def reduced(self, value: Any) -> Iterable[Any]:
        """How any other object would be made again: its class and its state."""
        try:
            reduced = value.__reduce_ex__(2)
            return [reduced] if isinstance(reduced, str) else [*map(_listed, reduced)]
        except Exception as error:  # a class may raise anything
            fix = "use plain values, functions, arrays or paths, or keep what decides nothing in an infra.compat.content.State"
            where = " → ".join(self.names) or "the value itself"
            raise RequestError(f"{where}: the content of a {type(value).__name__} cannot be read ({error}); {fix}") from None

    def visit_definition(self, value: FunctionType | type) -> None:
        """A function or class: by its name where it is a library's, else its source and what that reads; once."""
        if value in self.definitions:
            self.write("again", str(self.definitions[value]))
            return
        self.definitions[value] = len(self.definitions)
        self.names.append(value.__qualname__)
        if isinstance(value, type):
            self.visit_class(value)
        else:
            self.visit_function(value)
        self.names.pop()

    def visit_class(self, cls: type) -> None:
        if not self.follows(cls.__module__):
            self.write("name", f"{cls.__module__}.{cls.__qualname__}")
            return
        source = source_of_class(cls)
        self.write("class", source.text)
        self.visit(cls.__bases__)
        functions = [value for _, value in sorted(vars(cls).items()) if isinstance(value, FunctionType)]
        for function in functions:
            if source.text:
                self.visit_cells(function)
            else:
                self.visit(function)
        self.visit_names(source, vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {})

    def visit_function(self, function: FunctionType) -> None:
        home = function.__globals__.get("__name__", "")
        if not self.follows(home):
            self.write("name", f"{home}.{function.__code__.co_qualname}")
            self.visit(getattr(function, "__wrapped__", None))
            return
        source = source_of_function(function.__code__)
        self.write("function", source.text)
        self.visit((function.__defaults__, function.__kwdefaults__))
        self.visit_cells(function)
        self.visit_names(source, function.__globals__)

    def visit_cells(self, function: FunctionType) -> None:
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self.write("cell", name)
            try:
                value = cell.cell_contents
            except ValueError:  # not assigned yet
                continue
            self.visit(value)

    def visit_names(self, source: Source, namespace: Mapping[str, Any]) -> None:
        """The values of the names that a source reads; those of a module that is followed, by attribute."""
        namespace = {**namespace, **self.imported(source, namespace)}
        values = {}
        for dotted in source.names:
            name, *attributes = dotted.split(".")
            if name not in namespace or name.startswith("__"):  # a builtin, or `__file__`, which differs by machine
                continue
            value = namespace[name]
            while attributes and isinstance(value, ModuleType) and self.follows(value.__name__):
                name += f".{attributes[0]}"
                value = getattr(value, attributes.pop(0), None)
            values[name] = value
        for name, value in values.items():
            self.write("read", name)
            self.names.append(name)
            self.visit(value)
            self.names.pop()

    def imported(self, source: Source, namespace: Mapping[str, Any]) -> dict[str, Any]:
        """What the imports inside a definition bind, those of libraries left out."""
        bound = {}
        for name, attribute, alias in source.imports:
            module = importlib.util.resolve_name(name, namespace.get("__package__") or "") if name[0] == "." else name
            if not self.follows(module):
                continue
            value = importlib.import_module(module)
            if attribute and not hasattr(value, attribute):
                value = importlib.import_module(f"{module}.{attribute}")
            elif attribute:
                value = getattr(value, attribute)
            elif alias == module.partition(".")[0]:
                value = sys.modules[alias]
            bound[alias] = value
        return bound

    def follows(self, module: str) -> bool:
        """Whether the code of a module counts, rather than its name."""
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names:
            return False
        if any(module == package or module.startswith(f"{package}.") for package in self.packages):
            return True
        return top not in BY_NAME and not any(INSTALLED & {*Path(place).parts} for place in _places(top))


def _places(package: str) -> list[str]:
    """The file and the folders of a top-level module or package; none where it is not to be found."""
    module = sys.modules.get(package)
    if module is not None:
        return [getattr(module, "__file__", None) or "", *getattr(module, "__path__", ())]
    spec = importlib.util.find_spec(package) if package else None  # finds it without importing it
    return [spec.origin or "", *(spec.submodule_search_locations or ())] if spec else []


def _listed(part: Any) -> Any:
    """A part of a reduced object; the items of a list or dict come as iterators."""
    return list(part) if hasattr(part, "__next__") else part


def _files(path: Path) -> list[tuple[str, bytes]]:
    """(name within the folder, bytes) of each file below a path; of a file alone, without its name."""
    if path.is_file():
        return [("", path.read_bytes())]
    files = [file for file in sorted(path.rglob("*")) if file.is_file() and "__pycache__" not in file.parts]
    return [(str(file.relative_to(path)), file.read_bytes()) for file in files]
