"""The closed unpickler: trees become values, and nothing else jsonpickle could do is left.

Invariant: the only names ever looked up go through ``names.resolve``; the only code of a resolved
class that runs is ``__setstate__``, and only where the user vouched for the class. Instances
are made by ``object.__new__`` and written attribute by attribute, never through ``__init__``,
``__setattr__``, a property, ``append`` or ``add``; only scalars and enum members are hashed.

What it cannot promise is what an environment does when it steps: a class that stands in it as a
value may be called then. Where that is certain, in a ``functools.partial`` or as the factory of a
``defaultdict``, its exact name must be granted; elsewhere ``'pkg.*'`` is enough (see ``trust``).
"""

import base64
import binascii
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NoReturn

import jsonpickle  # type: ignore[import-untyped]
import numpy as np
from jsonpickle import tags

from tupli_repo.codec.env.attributes import set_raw_attribute
from tupli_repo.codec.env.audit import ALONE, FROZENSET, is_attribute
from tupli_repo.codec.env.canonical import ENUM, LAYER
from tupli_repo.codec.env.document import MAX_DEPTH, load_json, one_line
from tupli_repo.codec.env.guards import check_arguments
from tupli_repo.codec.env.names import refusal
from tupli_repo.codec.env.values.handlers import VALUE_TYPES
from tupli_repo.codec.env.values.members import member_named
from tupli_repo.codec.env.values.tensors import is_module, with_blanks
from tupli_repo.codec.env.values.value_type import (
    BadFieldsError,
    ValueType,
    expect_key,
    expect_spread,
)
from tupli_repo.codec.trust import NameKind
from tupli_repo.errors import CorruptObjectError, TupliError

Resolve = Callable[[str, NameKind], Any]

MAX_CHAIN = 1000
"""How many values may hold one another in a row: CPython frees some types recursively."""

MAX_UNFOLDED_BYTES = 1 << 30
"""What the arrays of one document may unfold to, all together."""

_UNFINISHED = object()
_NOT_PLAIN = (type, dict, list, set, frozenset, tuple, str, bytes, int, float, Enum)


@dataclass(slots=True)
class Unfolded:
    """How much the arrays of one document unfolded to."""

    n_bytes: int = 0


class _NoClasses(dict[str, Any]):
    """Stands where jsonpickle keeps classes it may load by name: there are none."""

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, name: str) -> NoReturn:
        _refuse(f"'{name}' was looked up behind the policy's back")

    def update(self, *_: Any, **__: Any) -> NoReturn:
        _refuse("classes cannot be registered")


class ClosedUnpickler(jsonpickle.Unpickler):  # type: ignore[misc]
    """Restores values from audited trees; one instance holds one table of references.

    Args:
        resolve: From a name and its kind to the object, through the policy.
        may_set_state: Whether the user vouched for a class, so that its ``__setstate__`` may run.
        layers: The environment's layers built so far, innermost first.
        unfolded: What the arrays of its document took so far, where it is not the only one.
    """

    def __init__(
        self,
        resolve: Resolve,
        may_set_state: Callable[[str], bool],
        layers: list[Any],
        unfolded: Unfolded | None = None,
    ) -> None:
        self._resolve = resolve
        self._unfolded = unfolded or Unfolded()
        self._may_set_state = may_set_state
        self._layers = layers
        super().__init__(keys=True, safe=True, on_missing="error")

    def reset(self) -> None:
        """Forget every reference."""
        super().reset()
        self._classes = _NoClasses()
        self._table: list[Any] = []
        self._level = 0
        self._chain = 0
        self._chains: dict[int, int] = {}
        self._is_called = False
        self._lowest = 0

    def restore(self, obj: Any, reset: bool = True, classes: Any = None) -> Any:  # noqa: FBT001, FBT002
        """Return the value of a tree; jsonpickle's own entry.

        Raises:
            CorruptObjectError: The tree is not one of ours.
        """
        if classes:
            _refuse("classes cannot be registered")
        if reset:
            self.reset()
        return self.value(obj)

    def value(self, node: Any) -> Any:
        """Return the value of a tree, references reaching into what was restored before."""
        if node is None or type(node) in (bool, int, float, str):
            return node
        if type(node) not in (list, dict):
            _refuse("an unexpected node")
        self._level += 1
        if self._level > MAX_DEPTH + 10:
            _refuse("nested too deep")
        number, beside, self._chain = len(self._table), self._chain, 0
        value = self._list(node) if type(node) is list else self._tagged(node)
        self._chains[number] = self._chain + 1
        if self._chain >= MAX_CHAIN:
            _refuse(f"more than {MAX_CHAIN} values that hold one another in a row")
        self._chain = max(beside, self._chain + 1)
        self._level -= 1
        return value

    def attributes(self, named: dict[str, Any]) -> dict[str, Any]:
        """Return the values of named attributes."""
        return {name: self.value(node) for name, node in named.items()}

    # ---- nodes -----------------------------------------------------------------------------------

    def _list(self, node: list[Any]) -> list[Any]:
        found: list[Any] = []
        self._table.append(found)
        for part in node:
            found.append(self.value(part))  # noqa: PERF401 - parts may refer to the list
        return found

    def _tagged(self, node: dict[str, Any]) -> Any:
        if tags.OBJECT in node:
            if any(tag in node for tag in ALONE):
                _refuse("tags that exclude each other")
            return self._object(node[tags.OBJECT], node)
        found = [tag for tag in ALONE if tag in node]
        if not found:
            return self._dict(node)
        if len(node) != 1:
            _refuse("tags that exclude each other")
        tag, content = found[0], node[found[0]]
        if tag == tags.TUPLE:
            return tuple([self.value(part) for part in _checked_list(content)])
        if tag == tags.SET:
            elements: set[Hashable] = set()
            self._table.append(elements)
            elements.update(self._elements(content))
            return elements
        if tag == tags.B64:
            return _bytes(content)
        if tag == tags.ID:
            return self._reference(content)
        if tag == tags.FUNCTION:
            return self._resolve(content, NameKind.FUNCTION)
        return self._resolve(content, NameKind.CALLED if self._is_called else NameKind.TYPE)

    def _reference(self, number: Any) -> Any:
        if type(number) is not int or not 0 <= number < len(self._table):
            _refuse("a reference to nothing")
        if number < self._lowest:
            _refuse("a reference out of a value that shares nothing")
        if self._table[number] is _UNFINISHED:
            _refuse("a reference to a value that is not complete")
        self._chain = self._chains.get(number, 0)
        return self._table[number]

    def _dict(self, node: dict[str, Any]) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        self._table.append(found)
        plain_first = sorted(node, key=lambda text: (text.startswith(tags.JSON_KEY), text))
        keys = _spread([self._key(text) for text in plain_first])
        for text, key in zip(plain_first, keys, strict=True):
            if key in found:
                _refuse("two keys are equal")
            found[key] = self.value(node[text])
        return found

    def _key(self, text: str) -> Hashable:
        if text.startswith("py/"):
            _refuse("a tag where a key is due")
        if not text.startswith(tags.JSON_KEY):
            return text
        return self._hashable(load_json(text[len(tags.JSON_KEY) :]))

    def _elements(self, nodes: Any) -> list[Hashable]:
        return _spread([self._hashable(node) for node in _checked_list(nodes)])

    def _hashable(self, node: Any) -> Hashable:
        inside = ClosedUnpickler(self._resolve, self._may_set_state, [], self._unfolded)
        inside._level = self._level
        try:
            return expect_key(inside.value(node))
        except BadFieldsError as err:
            _refuse(str(err))

    # ---- objects ---------------------------------------------------------------------------------

    def _object(self, name: Any, node: dict[str, Any]) -> Any:
        fields = {key: part for key, part in node.items() if key != tags.OBJECT}
        if name == LAYER:
            self._table.append(_UNFINISHED)
            index = fields.get("index")
            if type(index) is not int or not 0 <= index < len(self._layers):
                _refuse("a layer that is not there yet")
            return self._layers[index]
        if name == FROZENSET:
            self._table.append(_UNFINISHED)
            return frozenset(self._elements(fields.get("items")))
        if type(name) is str and name in VALUE_TYPES:
            return self._value_type(name, fields)
        cls = self._resolve(name, NameKind.OBJECT)
        if ENUM in fields:
            self._table.append(_UNFINISHED)
            return _member(cls, fields[ENUM])
        if tags.NEWARGS in fields:
            self._table.append(_UNFINISHED)
            return self._named_tuple(cls, fields[tags.NEWARGS])
        return self._instance(name, cls, fields)

    def _value_type(self, name: str, fields: dict[str, Any]) -> Any:
        value_type = VALUE_TYPES[name]
        if not value_type.accepts(set(fields)):
            _refuse(f"not the fields of '{name}'")
        number = len(self._table)
        self._table.append(_UNFINISHED)
        restored = self._fields(value_type, fields)
        try:
            value = value_type.from_fields(restored)
        except BadFieldsError as err:
            _refuse(f"not a '{name}': {err}")
        except TupliError:
            raise
        except Exception as err:
            raise CorruptObjectError(
                f"the document is damaged: not a '{name}': {type(err).__name__}: {one_line(err)}"
            ) from err
        self._check(value, name)
        if value_type.shared:
            self._table[number] = value
        return value

    def _fields(self, value_type: ValueType, fields: dict[str, Any]) -> dict[str, Any]:
        """Restore the fields of a value: only a container shares its parts with the outside."""
        restored = {}
        outside = self._is_called, self._lowest
        self._lowest = self._lowest if value_type.holds else len(self._table)
        for field in sorted(fields):
            self._is_called = outside[0] or field in value_type.calls
            restored[field] = self.value(fields[field])
        self._is_called, self._lowest = outside
        return restored

    def _check(self, value: Any, name: str) -> None:
        """Check a value whose type knows nothing of the rest of the document."""
        if isinstance(value, np.ndarray):
            self._unfolded.n_bytes += value.nbytes
            if self._unfolded.n_bytes > MAX_UNFOLDED_BYTES:
                _refuse(f"its arrays unfold to more than {MAX_UNFOLDED_BYTES} bytes")
        for attribute in getattr(value, "__dict__", ()) if VALUE_TYPES[name].fields else ():
            if attribute.startswith("__"):  # numpy goes where '__array_interface__' points
                _refuse(f"'{attribute[:80]}' of '{name}' does not hold data")

    def _named_tuple(self, cls: Any, node: Any) -> Any:
        if not issubclass(cls, tuple) or type(getattr(cls, "_fields", None)) is not tuple:
            _refuse(f"'{cls.__qualname__}' is not a named tuple")
        parts = self.value(node)
        if type(parts) is not tuple or len(parts) != len(cls._fields):
            _refuse(f"not the parts of a '{cls.__qualname__}'")
        return tuple.__new__(cls, parts)

    def _instance(self, name: str, cls: type, fields: dict[str, Any]) -> Any:
        if issubclass(cls, _NOT_PLAIN):
            _refuse(f"'{name}' is not a plain class")
        try:
            instance = object.__new__(cls)
        except TypeError as err:
            _refuse(f"'{name}' cannot be made empty: {err}")
        self._table.append(instance)
        if tags.STATE in fields:
            self.set_state(name, instance, self.value(fields[tags.STATE]))
            return instance
        held = self.attributes(fields)
        check_arguments(name, held)
        set_attributes(instance, with_blanks(held) if is_module(instance) else held)
        return instance

    def set_state(self, name: str, instance: object, state: Any) -> None:
        """Hand ``state`` to the class's own ``__setstate__``, or write it as attributes.

        Raises:
            UntrustedCodeError: Nobody vouched for the class.
        """
        if not self._may_set_state(name):
            raise refusal([name])
        check_arguments(name, state)
        if is_module(instance) and type(state) is dict:
            state = with_blanks(state)
        setter = getattr(type(instance), "__setstate__", None)
        if setter is None:
            if type(state) is not dict:
                _refuse(f"not the state of a '{name}'")
            set_attributes(instance, state)
            return
        try:
            setter(instance, state)
        except (Exception, SystemExit) as err:
            raise CorruptObjectError(
                f"'{name}' does not accept its stored state: {type(err).__name__}: {one_line(err)}"
            ) from err

    # ---- every other way jsonpickle has is closed ------------------------------------------------

    def _closed(self, *_: Any, **__: Any) -> NoReturn:
        _refuse("a node that this package does not write")

    _restore = _restore_tags = _restore_object = _restore_object_instance = _closed
    _restore_object_instance_variables = _restore_from_dict = _restore_state = _closed
    _restore_reduce = _restore_module = _restore_repr = _restore_repr_safe = _closed
    _restore_iterator = _restore_type = _restore_function = _restore_id = _restore_list = _closed
    _restore_dict = _restore_tuple = _restore_set = _restore_base64 = _restore_base85 = _closed
    _restore_key_fn = _restore_pickled_key = _loadfactory = _closed
    _mkref = _swapref = _swap_proxies = _refname = _process_missing = register_classes = _closed


def set_attributes(instance: object, held: dict[str, Any]) -> None:
    """Write attributes straight into an instance.

    Raises:
        CorruptObjectError: A name is not that of an attribute which holds data.
    """
    for name, value in held.items():
        if type(name) is not str or not is_attribute(name):
            _refuse(f"'{one_line(name, limit=80)}' is not the name of an attribute")
        try:
            set_raw_attribute(instance, name, value)
        except BadFieldsError as err:
            _refuse(str(err))


def _member(cls: Any, name: Any) -> Any:
    if not issubclass(cls, Enum):
        _refuse(f"'{cls.__qualname__}' is not an enum")
    try:
        return member_named(cls, name)
    except BadFieldsError as err:
        _refuse(str(err))


def _checked_list(nodes: Any) -> list[Any]:
    if type(nodes) is not list:
        _refuse("a list expected")
    return nodes


def _bytes(text: Any) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError, AttributeError):
        _refuse("not base64")


def _spread(keys: list[Hashable]) -> list[Hashable]:
    try:
        return expect_spread(keys)
    except BadFieldsError as err:
        _refuse(str(err))


def _refuse(why: str) -> NoReturn:
    raise CorruptObjectError(f"the document is damaged: {one_line(why)}")
