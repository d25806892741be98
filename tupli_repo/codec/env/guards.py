"""Arguments that would turn a trusted class into a way to files or imports.

Invariant: what passes holds, for a class of gymnasium's, no text that reads like a path and no
window, and for highway-env's no dotted name outside its vehicles. Looks at decoded values, so no
spelling hides one.
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
from tupli_repo.codec.env.document import one_line
from tupli_repo.codec.env.values.frames import value_type_of_pandas
from tupli_repo.errors import CorruptObjectError

_ASSET = re.compile(r"[A-Za-z0-9_]+\.xml", re.ASCII)
_MODEL_ARGUMENTS = ("xml_file", "model_path", "fullpath")
_MOST_TEXTS = 1_000_000
_WITHOUT_TEXT = (type, types.FunctionType, types.ModuleType, bool, int, float, type(None))


def check_arguments(name: str, values: object) -> None:
    """Check what the class ``name`` is about to be given.

    Raises:
        CorruptObjectError: Something in ``values`` reads like a file or a module to load, or would
            open a window.
    """
    root = name.partition(".")[0]
    if root not in ("gymnasium", "highway_env"):
        return
    for argument, text in _texts(values):
        if root == "gymnasium" and _reads_like_path(argument, text):
            raise CorruptObjectError(
                f"'{name}' would be given '{one_line(text, limit=60)}', which reads like a path",
                hint="wrap it in a class of your own, and trust that one",
            )
        if root == "gymnasium" and argument == "render_mode" and text == "human":
            raise CorruptObjectError(
                f"'{name}' would open a window", hint="a document has no 'human' render mode"
            )
        if root == "highway_env" and "." in text and not text.startswith("highway_env.vehicle."):
            raise CorruptObjectError(f"'{name}' would import '{one_line(text, limit=60)}'")


def _reads_like_path(argument: str, text: str) -> bool:
    if "/" in text or "\\" in text or text.startswith((".", "~")):
        return True
    is_model = argument in _MODEL_ARGUMENTS or text.endswith((".xml", ".mjb"))
    return is_model and _ASSET.fullmatch(text) is None


def _texts(values: object) -> Iterator[tuple[str, str]]:
    """Yield every text that code given ``values`` could see, with the name it stands under."""
    to_do: list[tuple[str, Any]] = [("", values)]
    seen: dict[int, Any] = {}  # keeps what it has seen alive: a freed id would be used again
    while to_do:
        argument, value = to_do.pop()
        if isinstance(value, str):
            yield argument, str.__str__(value)
        elif isinstance(value, bytes | bytearray):
            yield argument, bytes(value[:4096]).decode("latin-1")  # no path is longer
        elif isinstance(value, pathlib.PurePath):
            yield argument, f"/{value}"
        elif id(value) not in seen and not isinstance(value, _WITHOUT_TEXT):
            seen[id(value)] = value
            to_do.extend(_parts(value, argument))


def _parts(value: Any, argument: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind in "SUV":
            yield from ((argument, part) for part in _elements(np.asarray(value)))
    elif isinstance(value, dict | types.MappingProxyType):
        for key, part in value.items():
            yield argument, key
            yield key if isinstance(key, str) else argument, part
    elif isinstance(value, tuple):
        yield from ((argument, part) for part in tuple.__iter__(value))
    elif isinstance(value, list | set | frozenset | collections.deque):
        yield from ((argument, part) for part in value)
    elif isinstance(value, functools.partial):
        yield from ((argument, part) for part in value.args)
        yield argument, value.keywords
    else:
        of_pandas = value_type_of_pandas(value)  # their attributes do not show what they hold
        yield argument, of_pandas.to_fields(value) if of_pandas else raw_attributes(value)


def _elements(array: np.ndarray[Any, Any]) -> list[Any]:
    if array.size > _MOST_TEXTS:
        raise CorruptObjectError(f"an array of more than {_MOST_TEXTS} texts")
    try:
        return array.ravel().tolist()
    except (SystemError, ValueError):
        raise CorruptObjectError("an array of texts holds what is no text") from None
