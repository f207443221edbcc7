"""What a program's graph may say: tensor operators on named tensors, and nothing that is evaluated.

Torch reads the graph from JSON (`torch/_export/serde/schema.py`, 2.13). Every text in it is looked
at by the key that it stands under; a key that our own export does not write is refused. Where a
tensor came from in the source (`metadata`), and guards, which are Python, are left out: the scorer
checks its inputs itself.
"""

import ast
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

_OPERATOR = re.compile(
    r"torch\.ops\.aten\.\w+\.\w+|_operator\.(add|sub|mul|floordiv|getitem|ge|le|eq)"
)
# Of the same names those that are no arithmetic: they read or write files, speak, or change what
# else this process does.
_NO_ARITHMETIC = {
    "from_file", "save", "warn", "_print", "manual_seed", "seed", "set_grad_enabled",
    "_cufft_set_plan_cache_max_size", "_cufft_clear_plan_cache", "wait", "to_here",
}  # fmt: skip
# Options of operators, such as a rounding mode. No operator is given another word, such as a name.
_OPTIONS = {
    "", "none", "tanh", "floor", "trunc", "valid", "same",
    "constant", "reflect", "replicate", "circular", "zeros", "border", "reflection",
    "sum", "prod", "mean", "amax", "amin", "min", "max", "add", "multiply",
    "linear", "lower", "higher", "midpoint", "nearest", "left", "right", "ij", "xy",
    "fro", "nuc", "reduced", "complete", "forward", "backward", "ortho", "relu", "silu",
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_PATH = re.compile(r"([A-Za-z_]\w*(\.\w+)*)?", re.ASCII)
_FILE = re.compile(r"(weight|tensor)_\d+")
_LEFT_OUT: dict[str, Any] = {"metadata": {}, "guards_code": []}

# Sizes that depend on the number of rows, as sympy writes them.
_SIZES = {"Symbol", "Integer", "Add", "Mul", "Pow", "Mod", "PythonMod", "FloorDiv", "CleanDiv",
          "Max", "Min"}  # fmt: skip
_SYMBOL = re.compile(r"[su]\d+")
_ASSUMED = {"positive", "integer", "nonnegative"}


class SuspectError(Exception):
    """Why an archive must not be loaded."""


def checked_graph(graph: Any) -> Any:
    """The graph without what is left out. Raises SuspectError."""
    return _checked(graph, "")


def checked_config(name: str, config: Any) -> Any:
    """Where weights or constants lie, and their shapes. Raises SuspectError."""
    if any(asks for key, asks in _pairs(config) if key == "use_pickle"):
        raise SuspectError(f"{name!r} asks for pickle")
    return _checked(config, "")


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, at any depth."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield key, one
            yield from _pairs(one)
    elif isinstance(value, list):
        for one in value:
            yield from _pairs(one)


def _checked(value: Any, key: str) -> Any:
    """A value of the graph that stands under `key`, checked and copied."""
    if isinstance(value, dict):
        for name in value:
            _require(_PATH.fullmatch(name) is not None, "a key", name)
        return {
            name: _LEFT_OUT[name] if name in _LEFT_OUT else _checked(one, name)
            for name, one in value.items()
        }
    if isinstance(value, list):
        return [_checked(one, key) for one in value]
    if isinstance(value, str):
        if key == "target":
            if not _is_arithmetic_operator(value):
                raise SuspectError(f"it calls {value!r}, which is not a tensor operator")
        elif key not in _TEXTS:
            raise SuspectError(f"it says {key!r}: {value[:80]!r}, which no export of ours writes")
        else:
            _require(_TEXTS[key](value), key, value)
    return value


def _is_arithmetic_operator(target: str) -> bool:
    return _OPERATOR.fullmatch(target) is not None and target.split(".")[-2] not in _NO_ARITHMETIC


def _require(allowed: bool, key: str, value: str) -> None:
    if not allowed:
        raise SuspectError(f"{key} = {value[:80]!r} is not of the form that our export writes")


def _form(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


def _is_size(text: str) -> bool:
    """Whether it is arithmetic on whole numbers and symbols alone: it is evaluated."""
    try:
        parsed = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return _is_arithmetic(parsed)


def _is_arithmetic(node: ast.expr) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return False
    if node.func.id == "Symbol":
        assumed = all(
            one.arg in _ASSUMED and isinstance(one.value, ast.Constant) and one.value.value is True
            for one in node.keywords
        )
        return assumed and len(node.args) == 1 and _is_constant(node.args[0], str)
    if node.func.id not in _SIZES or node.keywords:
        return False
    if node.func.id == "Integer":
        return _integer(node) is not None
    if node.func.id == "Pow":  # a tower of powers would take for ever
        power = _integer(node.args[1]) if len(node.args) == 2 else None
        return power is not None and abs(power) <= 4 and _is_arithmetic(node.args[0])
    return all(map(_is_arithmetic, node.args))


def _integer(node: ast.expr) -> int | None:
    """The number of `Integer(number)`."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        return None
    if node.func.id != "Integer" or len(node.args) != 1 or node.keywords:
        return None
    number, sign = node.args[0], 1
    if isinstance(number, ast.UnaryOp) and isinstance(number.op, ast.USub):
        number, sign = number.operand, -1
    return sign * int(ast.unparse(number)) if _is_constant(number, int) else None


def _is_constant(node: ast.expr, kind: type) -> bool:
    if not isinstance(node, ast.Constant) or type(node.value) is not kind:
        return False
    return kind is int or _SYMBOL.fullmatch(str(node.value)) is not None


def _is_tree(text: str) -> bool:
    """Whether it is the shape of arguments or results, in tuples, lists and dictionaries."""
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return False
    allowed: dict[str, Callable[[Any], bool]] = {
        "type": lambda one: one in (None, "builtins.tuple", "builtins.list", "builtins.dict"),
        "context": lambda one: one in (None, "null", "[]"),
        "children_spec": lambda one: isinstance(one, list),
    }
    return all(key in allowed and allowed[key](one) for key, one in _pairs(read))


_TEXTS: dict[str, Callable[[str], bool]] = {
    "name": _form(_NAME),
    "as_name": _form(_NAME),
    "forward_arg_names": _form(_NAME),
    "parameter_name": _form(_PATH),
    "buffer_name": _form(_PATH),
    "tensor_constant_name": _form(_PATH),
    "fqn": _form(_PATH),
    "path_name": _form(_FILE),
    "as_string": lambda text: text in _OPTIONS,
    "expr_str": _is_size,
    "in_spec": _is_tree,
    "out_spec": _is_tree,
    "type": lambda text: text == "cpu",
    "verifiers": _form(re.compile(r"[A-Z]+")),
    "torch_version": _form(re.compile(r"[\w.+]+")),
}
