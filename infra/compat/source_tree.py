"""The source of a function or class, normalised: its syntax tree as text, and the names that it reads.

Neither its text, which changes with a comment or a line break, nor its bytecode, which changes with the version of Python.
Comments and layout are not in a tree; docstrings, annotations of functions and empty fields (each version of Python adds some)
are left out. Nothing in the result depends on line numbers.
"""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from types import CodeType
from typing import Any

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
LAYOUT = ("kind", "type_comment")  # fields of nodes: how a string or a comment was written


@dataclass(frozen=True)
class Source:
    """The source of one definition.

    text     the normalised tree; the content of the code object where no source file can be read
    names    what it reads from outside itself, sorted; attributes follow after dots: `RULES`, `words.STOP_WORDS`
    imports  (module, name in it or "", name bound here) of each import inside it; a relative module begins with dots
    """

    text: str
    names: tuple[str, ...]
    imports: tuple[tuple[str, str, str], ...] = ()


def source_of_function(code: CodeType) -> Source:
    """The source of the function or lambda that was compiled to `code`."""
    return _source_of_code(code, code.co_filename)


@cache
def _source_of_code(code: CodeType, file: str) -> Source:  # code objects of different files may be equal
    nodes = [node for node in _functions(_read(file)) if _is_node_of(node, code)]
    if len(nodes) > 1:  # lambdas on one line: only the code of a lambda itself has an instruction for its whole body
        positions = set(code.co_positions())
        nodes = [node for node in nodes if isinstance(node, ast.Lambda) and _position(node.body) in positions]
    if len(nodes) != 1:
        names = sorted(_names_of_code(code))
        return Source(_text_of_code(code), (*names, *(".".join(pair) for pair in permutations(names, 2))))
    source = _source(nodes)
    outside = _names_of_code(code) | {bound for _, _, bound in source.imports}  # the others are local variables
    return Source(source.text, tuple(name for name in source.names if name.partition(".")[0] in outside), source.imports)


@cache
def source_of_class(cls: type) -> Source:
    """The source of a class; an empty one where there is none to read."""
    nodes: list[ast.AST] = [_parse(_read(getattr(sys.modules.get(cls.__module__), "__file__", None) or ""))]
    for name in cls.__qualname__.replace(".<locals>", "").split("."):
        # One of an if and its else may be meant: then both count.
        nodes = [node for parent in nodes for node in ast.walk(parent) if getattr(node, "name", None) == name]
    return _source([node for node in nodes if isinstance(node, ast.ClassDef)])


def _read(file: str) -> str:
    linecache.checkcache(file)
    return "".join(linecache.getlines(file))


@cache
def _functions(text: str) -> list[ast.AST]:
    return [node for node in ast.walk(_parse(text)) if isinstance(node, FUNCTIONS)]


@cache
def _parse(text: str) -> ast.Module:
    try:
        return _Strip().visit(ast.parse(text))  # type: ignore[no-any-return]
    except (SyntaxError, ValueError):  # no file of Python
        return ast.Module(body=[], type_ignores=[])


class _Strip(ast.NodeTransformer):
    """Takes out what does nothing at run time; a field's annotation stays, as a dataclass is made of it."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        plain = ast.Assign(targets=[node.target], value=node.value)
        return self.generic_visit(ast.copy_location(plain, node))

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        body = [statement if isinstance(statement, ast.AnnAssign) else self.visit(statement) for statement in node.body]
        node.body = [statement for statement in body if statement is not None]
        return node


def _is_node_of(node: ast.AST, code: CodeType) -> bool:
    if isinstance(node, ast.Lambda):
        return code.co_name == "<lambda>" and node.lineno == code.co_firstlineno
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        return node.name == code.co_name and first == code.co_firstlineno
    return False


def _position(node: ast.expr) -> tuple[int, int | None, int, int | None]:
    return node.lineno, node.end_lineno, node.col_offset, node.end_col_offset


def _source(nodes: list[Any]) -> Source:
    inner = [node for outer in nodes for node in ast.walk(outer)]
    names = {name for node in inner if isinstance(node, ast.Name | ast.Attribute) for name in [_dotted(node)] if name}
    imports = sorted(binding for node in inner for binding in _imports(node))
    return Source("".join(map(_text_of_definition, nodes)), tuple(sorted(names)), tuple(imports))


def _dotted(node: ast.expr) -> str:
    """`a.b.c` of the node that reads it; empty where it begins with something else than a name."""
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return before and f"{before}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _imports(node: ast.AST) -> Iterator[tuple[str, str, str]]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name, "", alias.asname or alias.name.partition(".")[0]
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            yield "." * node.level + (node.module or ""), alias.name, alias.asname or alias.name


def _text_of_definition(node: Any) -> str:
    """The tree of a class, or of a function without its own decorators: what they make of it is another value."""
    return _text(node) if isinstance(node, ast.ClassDef) else _text(node.args) + _text(node.body)


def _text(node: Any) -> str:
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, []) and name not in LAYOUT]
        return f"{type(node).__name__}({','.join(f'{name}={_text(value)}' for name, value in fields)})"
    return f"[{','.join(map(_text, node))}]" if isinstance(node, list) else repr(node)


def _names_of_code(code: CodeType) -> set[str]:
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*map(_names_of_code, inner))


def _text_of_code(value: Any) -> str:
    """A code object or a constant of one, the members of a set in a fixed order."""
    if isinstance(value, CodeType):
        constants = _text_of_code(value.co_consts)
        return f"code({value.co_code.hex()},{value.co_names},{value.co_varnames},{value.co_freevars},{constants})"
    if isinstance(value, tuple | frozenset):
        texts = map(_text_of_code, value)
        return f"{type(value).__name__}({','.join(sorted(texts) if isinstance(value, frozenset) else texts)})"
    return repr(value)
