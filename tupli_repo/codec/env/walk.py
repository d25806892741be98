"""A walk over what an environment holds: names, paths and memory, with nothing encoded.

Invariant: no code of the values runs but a layer's own ``__getstate__``, and no array is copied.
"""

import gc
import sys
import types
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jsonpickle import tags  # type: ignore[import-untyped]

from tupli_repo.codec.env.flattened import ComparingPickler
from tupli_repo.codec.env.values.value_type import ValueType


class Walk(ComparingPickler):
    """Takes note of the attributes, and of the values that lie in memory which others may share."""

    def __init__(self, *, layers: Sequence[object] = (), exclude: Sequence[str] = ()) -> None:
        super().__init__(layers=layers, exclude=exclude)
        self.names: set[tuple[str, str]] = set()
        self.buffers: dict[str, Any] = {}
        self.views: dict[str, types.MappingProxyType[Any, Any]] = {}

    def attributes(self, held: Iterable[tuple[str, Any]], path: str) -> dict[str, Any]:
        """Walk over named attributes."""
        pairs = list(held)
        self.names.update((name, f"{path}/{name}") for name, _ in pairs)
        return super().attributes(pairs, path)

    def objects(self) -> dict[str, Any]:
        """Return what two places may share, by the path at which it stands first."""
        numbered = (part for part in self._alive if id(part) in self._numbers)
        shared = {str(self._numbers[id(part)][tags.ID]): part for part in numbered}
        return {**shared, **self.buffers, **self.views}

    def viewed(self) -> list[tuple[str, str]]:
        """Return the paths of read-only views of dicts, each with that of the dict itself."""
        return [
            (path, str(self._numbers[id(mapping)][tags.ID]))
            for path, proxy in self.views.items()
            for mapping in gc.get_referents(proxy)  # there is no other way to what it shows
            if id(mapping) in self._numbers
        ]

    def _value(self, value: Any, value_type: ValueType, path: str) -> Any:
        if isinstance(value, np.ndarray) or is_tensor(value):
            self.buffers[path] = value
        elif isinstance(value, types.MappingProxyType):
            self.views[path] = value
        if value_type.holds:
            return super()._value(value, value_type, path)
        self._new_number(value if value_type.shared else None, path)
        return self._leaf(path, None)


def is_tensor(value: object) -> bool:
    """Say whether ``value`` is a tensor of torch; torch is not loaded for it."""
    tensor = getattr(sys.modules.get("torch"), "Tensor", None)
    return tensor is not None and isinstance(value, tensor)
