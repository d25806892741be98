"""What all of Minari's storages share: spaces as JSON, names, and an episode between two formats.

A dataset is a folder ``data`` with ``metadata.json`` and the episodes. An episode has
``observations`` (T+1 rows; a part for each key of a Dict and each place of a Tuple), ``actions``,
``rewards``, ``terminations``, ``truncations``, and ``infos`` where there are any; and its metadata,
with its seed and options.

Invariant: a space is the same after `json_of_space` and `space_of_json`.

Source: minari 0.5.4, ``serialization.py`` and ``dataset/_storages``.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Protocol

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from tupli_repo.codec.arrays import Items
from tupli_repo.codec.env.document import one_line
from tupli_repo.codec.episode import EpisodeData
from tupli_repo.errors import CorruptObjectError, InvalidInputError
from tupli_repo.optional import require

METADATA = "metadata.json"
FORMATS = ("hdf5", "arrow", "parquet")
ODD = "minari_infos"
"""The metadata of an episode that keep infos with rows for neither T nor T+1, or odd values."""
FLAGS = {"rewards": "rewards", "terminations": "terminated", "truncations": "truncated"}
"""Minari's names of what every episode has, and ours."""

_IMAGE_SIDE = 32
_SPACE_FAULTS = (
    ArithmeticError, AssertionError, AttributeError, KeyError, RecursionError, TypeError,
    ValueError,
)  # fmt: skip
"""What Gymnasium and NumPy say of a space that cannot be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """An episode of T steps as it was read.

    Args:
        observations: T+1 samples, or T.
        actions: T samples.
        flags: Arrays of T rows, by Minari's names of `FLAGS`.
        infos: By path, ``a/b`` for a part of a part: arrays of T or T+1 rows, lists of texts, or
            other things.
        about: Its metadata, dictionaries in dictionaries, with ``seed`` and ``options`` where it
            has them.
    """

    observations: Items
    actions: Items
    flags: Mapping[str, NDArray[Any]]
    infos: Mapping[str, Any]
    about: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """An episode of T steps as it is to be written.

    Args:
        number: Its place in the dataset.
        data: Its observations, actions and flags.
        infos: As in `Incoming`.
        about: Its metadata as in `Incoming`, with ``id`` and ``total_steps``.
    """

    number: int
    data: EpisodeData
    infos: Mapping[str, Any]
    about: Mapping[str, Any]


Lose = Callable[[str], None]
"""Told what of an episode cannot be written."""


class Writer(Protocol):
    """Writes episodes into the folder of a dataset."""

    def write(self, episode: Outgoing, lose: Lose) -> None:
        """Write one; what there is no place for is told."""

    def close(self) -> None:
        """Finish the files."""


def space_of_json(text: str) -> Space[Any]:
    """Return the space that Minari's JSON describes.

    Raises:
        InvalidInputError: It is none.
    """
    try:
        return _space(json.loads(text))
    except _SPACE_FAULTS as err:
        why = one_line(repr(err))
        raise InvalidInputError(f"a space of the dataset is malformed: {why}") from None


def json_of_space(space: Space[Any]) -> str:
    """Return a space as Minari writes it.

    The dtype of a Discrete space is told too, which Minari takes for int64 whatever stands there.

    Raises:
        InvalidInputError: Minari has no such space, or would not read it.
    """
    text = json.dumps(_described(space))
    with suppress(InvalidInputError):
        if space_of_json(text) == space:
            return text
    raise InvalidInputError(f"Minari would not read the space {space!r:.80} as it is")


def is_image(space: Space[Any]) -> bool:
    """Return whether Minari takes the samples of a space for images, which it may keep as JPEG."""
    return (
        isinstance(space, spaces.Box)
        and len(space.shape) in (2, 3)
        and min(space.shape[:2]) >= _IMAGE_SIDE
        and space.dtype == np.uint8
        and bool(np.all(space.low == 0) and np.all(space.high == 255))
    )


def has_images(space: Space[Any]) -> bool:
    """Return whether a space is of images, or a part of it is."""
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        parts = space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces
        return any(map(has_images, parts))
    return is_image(space)


def decoded(images: Iterable[bytes]) -> NDArray[np.uint8]:
    """Return images that Minari keeps as JPEG, shape (n, height, width, ...).

    Raises:
        MissingDependencyError: Pillow is not installed.
    """
    image = require("PIL.Image", needed_for="reading images that Minari keeps as JPEG")
    return np.stack([np.array(image.open(BytesIO(one)), np.uint8) for one in images])


def is_name(path: str) -> bool:
    """Return whether each part of a path can be a name in every storage.

    >>> is_name("speed/x"), is_name("speed//x"), is_name(".")
    (True, False, False)
    """
    parts = path.split("/")
    is_unicode = not any("\ud800" <= char <= "\udfff" for char in path)
    return is_unicode and "\0" not in path and not {"", "."} & {*parts}


def hidden(paths: Collection[str]) -> list[str]:
    """Return the paths that cannot be there, as others go on from them.

    >>> hidden(["a", "a/b", "ab"])
    ['a']
    """
    above = {path[:i] for path in paths for i, char in enumerate(path) if char == "/"}
    return [path for path in paths if path in above]


def without(mapping: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    """Return a mapping but for some keys."""
    return {key: value for key, value in mapping.items() if key not in keys}


def _space(tree: Any) -> Space[Any]:
    match tree["type"]:
        case "Box":
            dtype = np.dtype(tree["dtype"])
            with np.errstate(all="ignore"):
                low, high = (np.array(tree[bound], dtype) for bound in ("low", "high"))
            return spaces.Box(low, high, tuple(tree["shape"]), dtype.type)
        case "Discrete":
            numbered = {"n": tree["n"], "start": tree["start"]}
            dtype = np.dtype(tree.get("dtype", np.int64))
            return spaces.Discrete(**numbered, **({} if dtype == np.int64 else {"dtype": dtype}))
        case "MultiDiscrete":
            dtype = np.dtype(tree["dtype"])
            start = np.array(tree["start"], dtype)
            return spaces.MultiDiscrete(np.array(tree["nvec"], dtype), dtype.type, start=start)
        case "MultiBinary":
            return spaces.MultiBinary(tree["n"])
        case "Text":
            return spaces.Text(
                tree["max_length"], min_length=tree["min_length"], charset=tree["charset"]
            )
        case "Dict":
            return spaces.Dict({key: _space(sub) for key, sub in tree["subspaces"].items()})
        case "Tuple":
            return spaces.Tuple([_space(sub) for sub in tree["subspaces"]])
    raise ValueError(f"unknown space '{tree['type']}'")


def _described(space: Space[Any]) -> dict[str, Any]:
    kind = next((cls.__name__ for cls in type(space).__mro__ if cls.__name__ in _DESCRIBE), None)
    if kind is None:
        raise InvalidInputError(
            f"Minari has no space of type '{type(space).__name__}'",
            hint="it has Box, Discrete, MultiDiscrete, MultiBinary, Text, Dict and Tuple",
        )
    return {"type": kind, **_DESCRIBE[kind](space)}


_DESCRIBE: dict[str, Callable[[Any], dict[str, Any]]] = {
    "Box": lambda s: {
        "dtype": str(s.dtype),
        "shape": list(s.shape),
        "low": s.low.tolist(),
        "high": s.high.tolist(),
    },
    "Discrete": lambda s: {"dtype": str(s.dtype), "start": int(s.start), "n": int(s.n)},
    "MultiDiscrete": lambda s: {
        "dtype": str(s.dtype),
        "nvec": s.nvec.tolist(),
        "start": s.start.tolist(),
    },
    "MultiBinary": lambda s: {"n": np.asarray(s.n).tolist()},
    "Text": lambda s: {
        "max_length": int(s.max_length),
        "min_length": int(s.min_length),
        "charset": s.characters,
    },
    "Dict": lambda s: {"subspaces": {key: _described(sub) for key, sub in s.spaces.items()}},
    "Tuple": lambda s: {"subspaces": [_described(sub) for sub in s.spaces]},
}


def malformed(path: object, why: object) -> CorruptObjectError:
    """Return the error for a file that is not as Minari writes it."""
    return CorruptObjectError(f"'{path}' is no dataset as Minari writes it: {one_line(why)}")
