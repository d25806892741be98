"""The canonical pickler: a value becomes one JSON tree, or an error with a path.

Invariant: equal values give equal trees, whatever the order their attributes, keys or set elements
were made in; nothing is dropped in silence. Every list, dict, set and ``py/object`` node takes
the next number in the order the sorted document shows them, and a ``py/id`` refers to that
number.

The global registry of jsonpickle's handlers is never read: it is the user's to change.
"""

import base64
import io
import json
import math
import types
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

import jsonpickle  # type: ignore[import-untyped]
import numpy as np
from jsonpickle import tags

from tupli_repo.codec.env.attributes import (
    has_own_state,
    is_data_name,
    is_render_handle,
    stored_attributes,
)
from tupli_repo.codec.env.document import MAX_DEPTH, MAX_INT_DIGITS, dump_json
from tupli_repo.codec.env.names import name_of
from tupli_repo.codec.env.values.handlers import neutral_like, value_type_of
from tupli_repo.codec.env.values.members import member_name
from tupli_repo.codec.env.values.tensors import is_module, is_plain_module, module_attributes
from tupli_repo.codec.env.values.value_type import UnrepresentableError, ValueType, checked_key
from tupli_repo.codec.trust import NameKind
from tupli_repo.errors import EncodingError

ENUM = "py/enum"
LAYER = "tupli.layer"
"""The ``py/object`` that stands for a layer: ``index`` counts from the innermost outward."""

_HANDLE_MODULES = {
    "_thread": "a lock or another handle of a thread",
    "threading": "a thread or one of its locks",
    "socket": "a socket",
    "subprocess": "a running process",
    "multiprocessing": "a handle of another process",
    "_asyncio": "an asyncio handle",
    "ctypes": "a pointer",
    "_ctypes": "a pointer",
    "sqlite3": "a database connection",
}
_WAY_OUT = "exclude the attribute, make it anew in reset(), or take it out in _serialize"

_SMALL = 1 << 60

Node = Any


class CanonicalPickler(jsonpickle.Pickler):  # type: ignore[misc]
    """Flattens values to canonical trees; one instance numbers the parts of one table.

    Args:
        layers: The environment's layers, innermost first: mentioned, they become a reference.
        neutral: Paths of leaves that each episode sets anew; written as zero of their kind.
        exclude: Globs of attributes to leave out.
    """

    def __init__(
        self,
        *,
        layers: Sequence[object] = (),
        neutral: frozenset[str] = frozenset(),
        exclude: Sequence[str] = (),
    ) -> None:
        super().__init__(unpicklable=True, make_refs=True, keys=True)
        self._layers = {id(layer): index for index, layer in enumerate(layers)}
        self._neutral = neutral
        self._exclude = tuple(exclude)
        self._numbers: dict[int, Node] = {}
        self._open: set[int] = set()
        self._alive: list[object] = []
        self._plain: dict[type, str] = {}
        self._data_names: set[tuple[type, str]] = set()
        self.count = 0
        self._level = 0

    def flatten(self, obj: Any, reset: bool = True) -> Node:  # noqa: FBT001, FBT002
        """Return the tree of ``obj``; jsonpickle's own entry."""
        if reset:
            self._numbers, self._alive, self.count, self._level = {}, [], 0, 0
        return self.node(obj, "")

    def node(self, value: Any, path: str) -> Node:
        """Return the tree of ``value``, which stands at ``path``.

        Raises:
            EncodingError: It, or something in it, has no canonical form; the message names the
                path.
        """
        if not self._neutral and _is_simple(value):
            return self._leaf(path, value)
        self._level += 1
        try:
            return self._dispatch(value, path)
        except UnrepresentableError as err:
            return self._refuse(value, path, err)
        finally:
            self._level -= 1

    def attributes(self, held: Iterable[tuple[str, Any]], path: str) -> dict[str, Node]:
        """Return the trees of named attributes, in the order of their names."""
        return {name: self.node(value, f"{path}/{name}") for name, value in held}

    # ---- what the comparing pickler does otherwise -----------------------------------------------

    def _refuse(self, value: Any, path: str, err: UnrepresentableError) -> Node:
        raise EncodingError(
            f"'{path or '/'}' cannot be stored: {err.why}", hint=err.hint or _WAY_OUT
        ) from None

    def _leaf(self, path: str, node: Node) -> Node:
        return node

    def _container(self, path: str, kind: str) -> None:
        """Take note that a container of this kind stands at ``path``."""

    def _number_of(self, number: int, path: str) -> Node:
        return {tags.ID: number}

    # ---- dispatch --------------------------------------------------------------------------------

    def _dispatch(self, value: Any, path: str) -> Node:
        if self._level > MAX_DEPTH:
            raise UnrepresentableError(f"nested deeper than {MAX_DEPTH} levels", _WAY_OUT)
        if self._neutral and (path in self._neutral or f"{path}/@" in self._neutral):
            value = neutral_like(value)
        kind = type(value)
        if value is None or kind is bool or kind is str:
            return self._leaf(path, value)
        if kind is int:
            if abs(value) >= 10**MAX_INT_DIGITS:
                raise UnrepresentableError(f"an integer of more than {MAX_INT_DIGITS} digits")
            return self._leaf(path, value)
        if kind is float and math.isfinite(value):
            return self._leaf(path, value)
        if kind is bytes:
            return self._leaf(path, {tags.B64: base64.b64encode(value).decode("ascii")})
        if kind is tuple:
            self._container(path, "tuple")
            return {tags.TUPLE: [self.node(part, f"{path}/{i}") for i, part in enumerate(value)]}
        if id(value) in self._layers:
            self._new_number(None, path)
            return self._leaf(path, {tags.OBJECT: LAYER, "index": self._layers[id(value)]})
        if id(value) in self._numbers:
            if id(value) in self._open:
                raise UnrepresentableError(f"a '{kind.__qualname__}' that contains itself")
            return self._leaf(path, self._numbers[id(value)])
        if kind is list:
            self._new_number(value, path)
            self._container(path, "list")
            return [self.node(part, f"{path}/{i}") for i, part in enumerate(value)]
        if kind is dict:
            self._new_number(value, path)
            self._container(path, "dict")
            return self._dict(value, path)
        if kind is set:
            self._new_number(value, path)
            return self._leaf(path, {tags.SET: self._sorted_elements(value, path)})
        if kind is frozenset:
            self._new_number(None, path)
            elements = self._sorted_elements(value, path)
            return self._leaf(path, {tags.OBJECT: "builtins.frozenset", "items": elements})
        return self._dispatch_object(value, path)

    def _dispatch_object(self, value: Any, path: str) -> Node:
        if type(value) in self._plain:  # one of its class came this far before
            return self._instance(value, path)
        if is_render_handle(value):
            return self._render_handle(path)
        value_type = value_type_of(value)
        if value_type is not None:
            return self._value(value, value_type, path)
        if isinstance(value, Enum):
            return self._enum(value, path)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            self._container(path, "namedtuple")
            name = name_of(type(value), NameKind.OBJECT)
            self._new_number(None, path)
            parts = [self.node(part, f"{path}/{i}") for i, part in enumerate(value)]
            return {tags.OBJECT: name, tags.NEWARGS: {tags.TUPLE: parts}}
        if isinstance(value, type):
            return self._leaf(path, {tags.TYPE: name_of(value, NameKind.TYPE)})
        if isinstance(value, np.ufunc | types.FunctionType) or (
            isinstance(value, types.BuiltinFunctionType)
            and isinstance(value.__self__, types.ModuleType)
        ):
            return self._leaf(path, {tags.FUNCTION: name_of(value, NameKind.FUNCTION)})
        return self._instance(value, path)

    def _render_handle(self, path: str) -> Node:
        return self._leaf(path, None)

    # ---- numbering -------------------------------------------------------------------------------

    def _new_number(self, value: object, path: str) -> None:
        if value is not None:
            self._numbers[id(value)] = self._number_of(self.count, path)
            self._alive.append(value)  # an id is only good while its object lives
        self.count += 1

    # ---- pieces ----------------------------------------------------------------------------------

    def _value(self, value: Any, value_type: ValueType, path: str) -> Node:
        fields = value_type.to_fields(value)
        self._alive.append(fields)
        self._new_number(value if value_type.shared else None, path)
        self._open.add(id(value))
        try:
            if value_type.holds:
                self._container(path, value_type.name)
                return {tags.OBJECT: value_type.name, **self._fields(self, fields, path)}
            inner = self._inside()
            inner.count = self.count
            node = {tags.OBJECT: value_type.name, **self._fields(inner, fields, path)}
            self.count = inner.count
        finally:
            self._open.discard(id(value))
        return self._leaf(path, node)

    @staticmethod
    def _fields(pickler: "CanonicalPickler", fields: Mapping[str, Any], path: str) -> Node:
        return {name: pickler.node(fields[name], f"{path}/{name}") for name in sorted(fields)}

    def _inside(self) -> "CanonicalPickler":
        """Return a pickler for the inside of a value: it shares nothing with the outside."""
        return CanonicalPickler(exclude=self._exclude)

    def _dict(self, mapping: Mapping[Any, Any], path: str) -> Node:
        texts: dict[str, Any] = {}
        for key, value in mapping.items():
            text = self._key(key, path)
            if text in texts:
                raise UnrepresentableError(f"a dict in which two keys read '{text[:60]}'")
            texts[text] = value
        plain_first = sorted(texts, key=lambda text: (text.startswith(tags.JSON_KEY), text))
        return {text: self.node(texts[text], f"{path}/{text}") for text in plain_first}

    def _key(self, key: Any, path: str) -> str:
        if type(key) is str and not key.startswith(("py/", tags.JSON_KEY)):
            return key
        if type(key) is int and abs(key) < _SMALL:
            return f"{tags.JSON_KEY}{key}"
        checked_key(key)
        return f"{tags.JSON_KEY}{dump_json(CanonicalPickler().node(key, path))}"

    def _sorted_elements(self, elements: Iterable[Any], path: str) -> list[Node]:
        for element in elements:
            checked_key(element)
        trees = (CanonicalPickler().node(element, path) for element in elements)
        return [json.loads(text) for text in sorted(map(dump_json, trees))]

    def _enum(self, member: Enum, path: str) -> Node:
        name = name_of(type(member), NameKind.OBJECT)
        self._new_number(None, path)
        return self._leaf(path, {tags.OBJECT: name, ENUM: member_name(member)})

    def _instance(self, value: Any, path: str) -> Node:
        cls = type(value)
        name = self._plain.get(cls)
        if name is None:
            check_instance(value)
            name = self._plain[cls] = name_of(cls, NameKind.OBJECT)
        self._container(path, name)
        self._new_number(value, path)
        if has_own_state(cls) and not is_plain_module(value):
            return {
                tags.OBJECT: name,
                tags.STATE: self.node(_own_state(value), f"{path}/py/state"),
            }
        return {tags.OBJECT: name, **self.attributes(self._held(value, path), path)}

    def _held(self, value: Any, path: str) -> Iterator[tuple[str, Any]]:
        attributes = stored_attributes(value, path, exclude=self._exclude)
        if is_module(value):
            attributes = module_attributes(attributes)
        for name, held in attributes:
            if (type(value), name) not in self._data_names:
                if not is_data_name(type(value), name):
                    raise UnrepresentableError(
                        f"an object whose attribute '{name}' hides a method of its class",
                        "give the attribute another name",
                    )
                self._data_names.add((type(value), name))
            yield name, held


def _own_state(value: Any) -> Any:
    state = value.__getstate__()
    if is_module(value) and type(state) is dict:
        return dict(module_attributes(state.items()))
    return state


def _is_simple(value: object) -> bool:
    """Say whether a value stands in the tree as it is: what most parts of large tables are."""
    kind = type(value)
    if kind is float:
        return math.isfinite(value)  # type: ignore[arg-type]
    if kind is int:
        return -_SMALL < value < _SMALL  # type: ignore[operator]
    return kind is str or kind is bool or value is None


def check_instance(value: object) -> None:
    """Check that ``value`` is a plain instance: its attributes are all it is.

    Raises:
        UnrepresentableError: It is a handle of the system, or a type that keeps state elsewhere.
    """
    if isinstance(value, types.FunctionType):
        raise UnrepresentableError("a function that cannot be imported", _WAY_OUT)
    if isinstance(value, types.MethodType | types.BuiltinMethodType):
        raise UnrepresentableError(
            "a bound method", "store the object, and call its method by name"
        )
    if isinstance(value, types.ModuleType):
        raise UnrepresentableError("a module", "import it where it is used")
    if isinstance(value, io.IOBase):
        raise UnrepresentableError("an open file", _WAY_OUT)
    if isinstance(value, weakref.ReferenceType | weakref.ProxyType | weakref.CallableProxyType):
        raise UnrepresentableError("a weak reference", _WAY_OUT)
    if hasattr(type(value), "__next__"):
        raise UnrepresentableError("an iterator or generator", "store what it was made from")
    cls = type(value)
    module = str(getattr(cls, "__module__", "?"))
    handle = _HANDLE_MODULES.get(module) or _HANDLE_MODULES.get(module.partition(".")[0])
    if handle is not None:
        raise UnrepresentableError(handle, _WAY_OUT)
    if isinstance(value, dict | list | set | frozenset | tuple | str | int | float | bytes):
        raise UnrepresentableError(
            f"a '{cls.__qualname__}', which is its own kind of a builtin type", "use the plain type"
        )
    own_reduce = cls.__reduce__ is not object.__reduce__
    if own_reduce or cls.__reduce_ex__ is not object.__reduce_ex__:
        raise UnrepresentableError(
            f"a '{module}.{cls.__qualname__}', which keeps state outside its attributes", _WAY_OUT
        )
    made_by_c = isinstance(cls.__new__, types.BuiltinFunctionType)
    if cls.__flags__ & _HEAP_TYPE == 0 or (made_by_c and cls.__new__ is not object.__new__):
        raise UnrepresentableError(f"a '{module}.{cls.__qualname__}' of an extension", _WAY_OUT)


_HEAP_TYPE = 1 << 9
"""Py_TPFLAGS_HEAPTYPE: the class was made by a class statement, or as one."""
