"""Copies of a layer that can only be told by its attributes.

Invariant: a copy shares nothing mutable with the live layer, holds what the document will hold (no
rendering handles, nothing excluded), and has run no ``__init__`` and no EzPickle reconstruction.
"""

import copy
import types
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from tupli_repo.codec.env.attributes import (
    LAYER_BOOKKEEPING,
    has_own_state,
    is_data_name,
    is_excluded,
    raw_attributes,
    set_raw_attribute,
)
from tupli_repo.codec.env.canonical import CanonicalPickler
from tupli_repo.codec.env.flattened import ComparingPickler
from tupli_repo.codec.env.values.value_type import ValueType
from tupli_repo.errors import EncodingError

AnyEnv = gymnasium.Env[Any, Any]

_NOT_COPIED = (LAYER_BOOKKEEPING - {"_saved_kwargs"}) | {"spec"}


def copy_layer(
    live: AnyEnv,
    inner: AnyEnv | None,
    memo: dict[int, Any],
    *,
    exclude: Sequence[str],
    path: str,
    by_state: bool = True,
) -> AnyEnv:
    """Return a private copy of one layer around ``inner``.

    Args:
        live: The layer to copy; only read.
        inner: The private copy of what it wraps, None for the environment itself.
        memo: Live object -> private copy, as ``copy.deepcopy`` keeps it.
        exclude: Globs of attributes to leave out.
        path: Where the layer stands, for the message.
        by_state: Whether its class's ``__getstate__`` says what to copy. Otherwise its attributes
            are copied, unless one is a function or a handle, which might reach the live layer.

    Raises:
        EncodingError: An attribute cannot be copied; the message names it.
    """
    if has_own_state(type(live)) and (by_state or not _is_plain(live)):
        return copied(live, memo, path)  # type: ignore[no-any-return]
    twin = object.__new__(type(live))
    memo[id(live)] = twin
    for name, value in raw_attributes(live).items():
        here = f"{path}/{name}"
        if name in _NOT_COPIED or is_excluded(name, here, exclude):
            continue
        if not is_data_name(type(live), name):
            raise hides_method(here)
        set_raw_attribute(twin, name, copied(value, memo, here))
    if isinstance(live, gymnasium.Wrapper):
        set_raw_attribute(twin, "env", inner)
    return twin


def _is_plain(live: AnyEnv) -> bool:
    held = {name: v for name, v in raw_attributes(live).items() if name not in _NOT_COPIED}
    try:
        CanonicalPickler(layers=[live]).attributes(sorted(held.items()), "")
    except EncodingError:
        return False
    return True


def hides_method(path: str) -> EncodingError:
    """Return the error for an attribute under the name of a method."""
    return EncodingError(
        f"'{path}' cannot be stored: it hides a method of its class",
        hint="give the attribute another name, or exclude it",
    )


class _Looking(ComparingPickler):
    """Looks for what a deep copy would lose; the contents of arrays are not read."""

    def _leaf(self, path: str, node: Any) -> Any:
        return node

    def _value(self, value: Any, value_type: ValueType, path: str) -> Any:
        if type(value) is not np.ndarray or value.dtype.hasobject:
            return super()._value(value, value_type, path)
        if not value.flags.writeable:
            self.read_only.append(value)
        self._new_number(value, path)
        return None


def copied(value: Any, memo: dict[int, Any], path: str) -> Any:
    """Return a deep copy of ``value``, None where it renders.

    Raises:
        EncodingError: It cannot be copied; the message names the part, where it is known.
    """
    look = _Looking()
    look.node(value, "")
    if look.rendering:
        return None
    for array in look.read_only:  # a deep copy would be writeable
        twin = array.copy(order="K")
        twin.flags.writeable = False
        memo[id(array)] = twin
    for proxy in reversed(look.proxies):  # the innermost first; a deep copy knows none
        memo[id(proxy)] = types.MappingProxyType(copied(dict(proxy), memo, path))
    try:
        twin = copy.deepcopy(value, memo)
    except (Exception, SystemExit) as err:
        CanonicalPickler().node(value, path)  # says which part of it, where the pickler knows
        raise EncodingError(
            f"'{path}' cannot be copied: {type(err).__name__}: {err}",
            hint="exclude the attribute, or give its class a __deepcopy__",
        ) from err
    for where, part in look.refused:  # a copy may be of the plain class, or without what is in it
        copy_of_part = memo.get(id(part), part)
        if type(copy_of_part) is not type(part) or _is_told(copy_of_part):
            CanonicalPickler().node(part, f"{path}{where}")
    return twin


def _is_told(value: Any) -> bool:
    try:
        CanonicalPickler().node(value, "")
    except EncodingError:
        return False
    return True
