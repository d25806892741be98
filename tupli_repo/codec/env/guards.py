"""Arguments that would turn a trusted class into a way to files or imports.

Invariant: what passes holds, for a class of gymnasium's, no text that reads like a path, and for
highway-env's no dotted name outside its vehicles. Looks at decoded values, so no spelling hides
one.
"""

import collections
import functools
import pathlib
import re
import types
from collections.abc import Iterator
from typing import Any

import numpy as np

from tupli_repo.codec.env.attributes import raw_attributes
from tupli_repo.errors import CorruptObjectError

_ASSET = re.compile(r"[A-Za-z0-9_]+\.xml", re.ASCII)
_DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+", re.ASCII)
_MODEL_ARGUMENTS = ("xml_file", "model_path", "fullpath")


def check_arguments(name: str, values: object) -> None:
    """Check what the class ``name`` is about to be given.

    Raises:
        CorruptObjectError: Something in ``values`` reads like a file or a module to load.
    """
    root = name.partition(".")[0]
    if root not in ("gymnasium", "highway_env"):
        return
    for argument, text in _texts(values, "", set()):
        if root == "gymnasium" and _reads_like_path(argument, text):
            raise CorruptObjectError(
                f"'{name}' would be given '{text[:60]}', which reads like a path",
                hint="wrap it in a class of your own, and trust that one",
            )
        if (
            root == "highway_env"
            and _DOTTED.fullmatch(text)
            and not text.startswith("highway_env.vehicle.")
        ):
            raise CorruptObjectError(f"'{name}' would import '{text[:60]}'")


def _reads_like_path(argument: str, text: str) -> bool:
    if "/" in text or "\\" in text or text.startswith((".", "~")):
        return True
    is_model = argument in _MODEL_ARGUMENTS or text.endswith((".xml", ".mjb"))
    return is_model and _ASSET.fullmatch(text) is None


def _texts(value: Any, argument: str, seen: set[int]) -> Iterator[tuple[str, str]]:
    """Yield every text that code given ``value`` could see, with the name it stands under."""
    if isinstance(value, str):
        yield argument, str(value)
    elif isinstance(value, bytes | bytearray):
        yield argument, bytes(value[:4096]).decode("latin-1")
    elif isinstance(value, pathlib.PurePath):
        yield argument, f"/{value}"
    elif id(value) in seen:
        return
    elif isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind in "SU":
            for part in np.asarray(value).ravel().tolist():
                yield from _texts(part, argument, seen)
    elif isinstance(value, list | tuple | set | frozenset | collections.deque):
        seen.add(id(value))
        for part in value:
            yield from _texts(part, argument, seen)
    elif isinstance(value, dict | types.MappingProxyType):
        seen.add(id(value))
        for key, part in value.items():
            yield from _texts(key, argument, seen)
            yield from _texts(part, key if isinstance(key, str) else argument, seen)
    elif isinstance(value, functools.partial):
        yield from _texts([list(value.args), value.keywords], argument, seen)
    elif not isinstance(value, type | types.FunctionType | types.ModuleType):
        seen.add(id(value))
        yield from _texts(raw_attributes(value), argument, seen)
