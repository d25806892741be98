"""The comparing pickler: a value becomes leaves by their paths, to tell whether two hold the same.

Invariant: it refuses nothing; what cannot be stored is a mark that says what it is.
"""

import hashlib
import types
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jsonpickle import tags  # type: ignore[import-untyped]

from tupli_repo.codec.env.attributes import has_own_state
from tupli_repo.codec.env.canonical import CanonicalPickler, Node
from tupli_repo.codec.env.document import MAX_DEPTH, dump_json
from tupli_repo.codec.env.values.value_type import UnrepresentableError, ValueType

_LONG = 256


class ComparingPickler(CanonicalPickler):
    """Flattens values to ``leaves``: path -> text, to tell whether two things hold the same.

    It never refuses: what cannot be stored leaves a mark that says what it is.
    """

    def __init__(self, *, layers: Sequence[object] = (), exclude: Sequence[str] = ()) -> None:
        super().__init__(layers=layers, exclude=exclude)
        self.leaves: dict[str, str] = {}
        self.rendering: set[str] = set()
        self.read_only: list[np.ndarray[Any, Any]] = []
        self.proxies: list[types.MappingProxyType[Any, Any]] = []
        self.refused: list[tuple[str, Any]] = []

    def _refuse(self, value: Any, path: str, err: UnrepresentableError) -> Node:
        cls = type(value)
        self.refused.append((path, value))
        if id(value) not in self._numbers:
            self._new_number(value, path)  # met again, it is the same one
        mark = [getattr(cls, "__module__", "?"), cls.__qualname__, err.why]
        if isinstance(value, types.FunctionType) and self._level <= MAX_DEPTH:
            mark += [
                value.__qualname__,
                value.__code__.co_code.hex(),
                repr(value.__code__.co_consts),
            ]
            cells = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
            self.node(cells, f"{path}/<closure>")
            self.node([value.__defaults__, value.__kwdefaults__], f"{path}/<defaults>")
        elif has_own_state(cls) and isinstance(cls.__new__, types.BuiltinFunctionType):
            self.node(_state_of_extension(value), f"{path}/<state>")  # as mujoco's models have
        return self._leaf(path, {"!": mark})

    def _leaf(self, path: str, node: Node) -> Node:
        self.leaves[path] = dump_json(node) if isinstance(node, dict | list) else repr(node)
        return node

    def _container(self, path: str, kind: str) -> None:
        self.leaves[f"{path}/@"] = kind

    def _number_of(self, number: int, path: str) -> Node:
        return {tags.ID: path}

    def _inside(self) -> CanonicalPickler:
        inner = ComparingPickler(exclude=self._exclude)
        inner.leaves, inner.rendering = self.leaves, self.rendering
        inner.refused, inner.proxies = self.refused, self.proxies
        return inner

    def _value(self, value: Any, value_type: ValueType, path: str) -> Node:
        if type(value) is np.ndarray and not value.flags.writeable:
            self.read_only.append(value)
        if type(value) is types.MappingProxyType:
            self.proxies.append(value)
        return super()._value(value, value_type, path)

    @staticmethod
    def _fields(pickler: "CanonicalPickler", fields: Mapping[str, Any], path: str) -> Node:
        return CanonicalPickler._fields(pickler, {k: _digest(v) for k, v in fields.items()}, path)

    def _render_handle(self, path: str) -> Node:
        self.rendering.add(path)
        return self._leaf(path, None)


def _digest(field: Any) -> Any:
    """Return a long field of bytes as its hash, as it is only compared."""
    if type(field) is bytes and len(field) > _LONG:
        return f"sha256:{hashlib.sha256(field).hexdigest()}"
    return field


def _state_of_extension(value: Any) -> Any:
    try:
        return value.__getstate__()
    except Exception as err:  # noqa: BLE001 - it may raise anything; then there is nothing to see
        return type(err).__name__


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False
