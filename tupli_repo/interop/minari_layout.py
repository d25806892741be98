"""How Minari's datasets lie in HDF5: spaces as JSON, samples and infos as groups.

A dataset is a folder with ``metadata.json`` and ``main_data.hdf5``. An episode is a group
``episode_N``: ``observations`` and ``actions`` (a group for a Dict, with ``_index_N`` for a Tuple,
texts for a Text), ``rewards``, ``terminations``, ``truncations``, and ``infos`` where there are
any. Its attributes are its seed, its options as ``options/KEY``, and its metadata.

Source: minari 0.5.4, ``serialization.py`` and ``dataset/_storages/hdf5_storage.py``.
"""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from tupli_repo.codec.arrays import Items
from tupli_repo.codec.samples import Parted, escape, samples_from_columns
from tupli_repo.codec.spaces import Tree
from tupli_repo.errors import CorruptObjectError, InvalidInputError
from tupli_repo.optional import require

METADATA, DATA = "metadata.json", "main_data.hdf5"
ODD = "minari_infos"
"""The metadata of an episode that keep infos with rows for neither T nor T+1."""

_IMAGE_SIDE = 32
_INDEX = "_index_"


def space_of_json(text: str) -> Space[Any]:
    """Return the space that Minari's JSON describes.

    Raises:
        InvalidInputError: It is none.
    """
    try:
        return _space(json.loads(text))
    except (AssertionError, KeyError, TypeError, ValueError) as err:
        raise InvalidInputError(f"a space of the dataset is malformed: {err!r}") from None


def json_of_space(space: Space[Any]) -> str:
    """Return a space as Minari writes it.

    Raises:
        InvalidInputError: Minari has no such space.
    """
    return json.dumps(_described(space))


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


# ---- reading, by HDF5's own ids: h5py's objects take longer than the data


class Reader:
    """Reads what lies in groups.

    Args:
        h5py: The package.
        jpeg: Whether images are JPEG.
    """

    def __init__(self, h5py: Any, *, jpeg: bool) -> None:
        self._h5py = h5py
        self._jpeg = jpeg

    def group(self, parent: Any, name: str) -> Any:
        """Return the id of a group.

        Raises:
            KeyError: There is none.
        """
        return self._h5py.h5g.open(parent, name.encode())

    def has(self, group: Any, name: str) -> bool:
        """Return whether a group has something of that name."""
        return name.encode() in group

    def array(self, group: Any, name: str) -> NDArray[Any]:
        """Return a dataset of a group, whole.

        Raises:
            KeyError: There is none.
        """
        return self._read(self._h5py.h5d.open(group, name.encode()))

    def attributes(self, group: Any, but: Collection[str]) -> dict[str, Any]:
        """Return the attributes of a group, those that are left out excepted."""
        h5a, found = self._h5py.h5a, {}
        for i in range(h5a.get_num_attrs(group)):
            attribute = h5a.open(group, index=i)
            name = attribute.name.decode()
            if name in but:
                continue
            dtype = attribute.dtype
            if dtype.kind in "biuf" and attribute.shape == ():
                value = np.empty((), dtype)
                attribute.read(value)
                found[name] = value[()]
            else:
                found[name] = self._h5py.Group(group).attrs[name]
        return found

    def samples(self, group: Any, name: str, space: Space[Any]) -> Items:
        """Return the samples of a space that lie in a group, or in groups below it.

        Raises:
            KeyError: A part is missing.
        """
        if isinstance(space, spaces.Dict):
            below = self.group(group, name)
            return Parted({key: self.samples(below, key, s) for key, s in space.spaces.items()})
        if isinstance(space, spaces.Tuple):
            below = self.group(group, name)
            parts = enumerate(space.spaces)
            return Parted([self.samples(below, f"{_INDEX}{i}", part) for i, part in parts])
        values = self.array(group, name)
        if isinstance(space, spaces.Text):
            return [value.decode() for value in values.tolist()]
        if self._jpeg and is_image(space):
            image = require("PIL.Image", needed_for="reading images that Minari keeps as JPEG")
            return np.stack([np.array(image.open(BytesIO(v.tobytes())), np.uint8) for v in values])
        return values

    def infos(self, group: Any, parent: str = "") -> dict[str, Any]:
        """Return the infos below a group by path, ``a/b`` for a part of a part.

        Arrays are as they are, texts are lists; other things are as h5py gives them.
        """
        found: dict[str, Any] = {}
        for name in group:
            node = self._h5py.h5o.open(group, name)
            path = parent + name.decode()
            if isinstance(node, self._h5py.h5g.GroupID):
                found |= self.infos(node, f"{path}/")
                continue
            value: Any = self._read(node)
            if value.dtype == object and value.ndim == 1:
                items = value.tolist()
                value = [v.decode() for v in items] if {*map(type, items)} <= {bytes} else items
            found[path] = value if np.ndim(value) else value[()]
        return found

    def _read(self, node: Any) -> NDArray[Any]:
        everything = self._h5py.h5s.ALL
        values = np.empty(node.shape, node.dtype)
        if values.size:
            node.read(everything, everything, values)
        return values


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dictionary whose keys are paths as dictionaries in dictionaries.

    >>> nested({"a/b": 1, "c": 2})
    {'a': {'b': 1}, 'c': 2}
    """
    found: dict[str, Any] = {}
    for path, value in flat.items():
        *above, key = path.split("/")
        into = found
        for part in above:
            into = into.setdefault(part, {})
        into[key] = value
    return found


def flattened(tree: Mapping[str, Any], parent: str = "") -> dict[str, Any]:
    """Return dictionaries in dictionaries as one whose keys are paths; empty ones have none.

    >>> flattened({"a": {"b": 1}, "c": 2})
    {'a/b': 1, 'c': 2}
    """
    found: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{parent}{key}"
        found |= flattened(value, f"{path}/") if isinstance(value, Mapping) else {path: value}
    return found


def without(mapping: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    """Return a mapping but for some keys."""
    return {key: value for key, value in mapping.items() if key not in keys}


# ---- writing


def write_samples(
    group: Any, name: str, tree: Tree, columns: Mapping[str, NDArray[Any]], column: str, length: int
) -> None:
    """Write the samples of columns as a dataset, or a group of datasets.

    Args:
        group: What it becomes a part of.
        name: What it is called there.
        tree: The space's tree, of which `json_of_space` knows every part.
        columns: The columns of the episode.
        column: The name of the samples' column, or what the names of their columns begin with.
        length: How many samples there are.
    """
    match tree["type"]:
        case "Dict":
            part = group.create_group(name, track_order=True)
            for key, sub in tree["spaces"]:
                write_samples(part, key, sub, columns, f"{column}/{escape(key)}", length)
        case "Tuple":
            part = group.create_group(name, track_order=True)
            for i, sub in enumerate(tree["spaces"]):
                write_samples(part, f"{_INDEX}{i}", sub, columns, f"{column}/{i}", length)
        case "Text":
            write_texts(group, name, list(samples_from_columns(tree, columns, column, length)))
        case _:
            write_array(group, name, columns[column])


def write_array(group: Any, name: str, values: NDArray[Any]) -> None:
    """Write an array to which rows may be added, as Minari does."""
    group.create_dataset(name, data=values, chunks=True, maxshape=(None, *values.shape[1:]))


def write_texts(group: Any, name: str, texts: Sequence[str]) -> None:
    """Write texts as UTF-8, to which more may be added."""
    h5py = require("h5py", needed_for="writing HDF5")
    group.create_dataset(
        name, data=list(texts), dtype=h5py.string_dtype(), chunks=True, maxshape=(None,)
    )


# ---- spaces


def _space(tree: Any) -> Space[Any]:
    match tree["type"]:
        case "Box":
            dtype = np.dtype(tree["dtype"])
            with np.errstate(all="ignore"):
                low, high = (np.array(tree[bound], dtype) for bound in ("low", "high"))
            return spaces.Box(low, high, tuple(tree["shape"]), dtype.type)
        case "Discrete":
            return spaces.Discrete(tree["n"], start=tree["start"])
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
    "Discrete": lambda s: {"dtype": "int64", "start": int(s.start), "n": int(s.n)},
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
    return CorruptObjectError(f"'{path}' is no dataset as Minari writes it: {why}")
