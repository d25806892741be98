"""Samples of a space as Arrow arrays, and back.

A number is a value, a vector a fixed-size list, an array of more axes Arrow's fixed-shape tensor
(a flat list for readers that do not know it). A Dict is a struct with a field for each key, a Tuple
one with the fields ``0``, ``1`` and so on, a Text a string, a Sequence a list.

Invariant: `columns_of` gives back the values and dtypes of the columns handed to `arrow_of`.
"""

import json
from collections.abc import Mapping
from math import prod
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.arrays import Items
from tupli_repo.codec.samples import (
    OFFSETS,
    Columns,
    Parted,
    column_names,
    columns_from_samples,
    samples_from_columns,
)
from tupli_repo.codec.spaces import LEAVES, UNKNOWN, Tree
from tupli_repo.errors import InvalidInputError
from tupli_repo.optional import require

_NUMBERS = "biuf"
_EXTENSION, _FORM = b"ARROW:extension:name", b"ARROW:extension:metadata"


def arrow(needed_for: str) -> ModuleType:
    """Return pyarrow.

    Raises:
        MissingDependencyError: It is not installed.
    """
    return require("pyarrow", needed_for=needed_for)


def arrow_of(
    pyarrow: ModuleType, tree: Tree, columns: Mapping[str, NDArray[Any]], name: str, length: int
) -> Any:
    """Return samples as an Arrow array.

    Args:
        pyarrow: The package.
        tree: The space's tree.
        columns: The columns of the samples, as `columns_from_samples` gives them.
        name: The name of the first column.
        length: How many samples there are.

    Raises:
        InvalidInputError: Arrow or Parquet has nothing for them; the message says for which.
    """
    match tree["type"]:
        case "Dict" | "Tuple":
            keys = _keys(tree)
            if not keys:
                raise InvalidInputError(f"'{name}' has no parts, and Parquet has no empty structs")
            names = [str(key) for key, _ in keys]
            if len(set(names)) < len(names):
                raise InvalidInputError(f"'{name}' has two keys that read alike")
            firsts = _part_names(tree, name)
            parts = [
                arrow_of(pyarrow, sub, columns, first, length)
                for (_, sub), first in zip(keys, firsts, strict=True)
            ]
            return pyarrow.StructArray.from_arrays(parts, names=names)
        case "Text":
            texts = list(samples_from_columns(tree, columns, name, length))
            try:
                return pyarrow.array(texts, pyarrow.string())
            except UnicodeEncodeError:
                raise InvalidInputError(f"'{name}' has a text that is not Unicode") from None
        case "Sequence":
            ends = columns[name + OFFSETS]
            n = int(ends[-1]) if length else 0
            items = arrow_of(pyarrow, tree["space"], columns, _items_name(tree, name), n)
            offsets = pyarrow.array(np.concatenate([[0], ends]), pyarrow.int32())
            return pyarrow.ListArray.from_arrays(offsets, items)
        case "Graph" | "OneOf":
            raise InvalidInputError(
                f"'{name}' is of a {tree['type']} space, and Arrow has nothing alike"
            )
    return numbers_of(pyarrow, columns[name], name)


def has_numbers_for(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bool:
    """Return whether Parquet has numbers of a dtype, in items of a shape."""
    return dtype.kind in _NUMBERS and dtype.itemsize <= np.dtype("f8").itemsize and 0 not in shape


def numbers_of(pyarrow: ModuleType, values: NDArray[Any], name: str) -> Any:
    """Return an array of numbers with a row per value as an Arrow array of those rows.

    Args:
        pyarrow: The package.
        values: Shape (n, *item), of booleans, integers or floats of at most 64 bits.
        name: What it is called in an error's message.

    Raises:
        InvalidInputError: It is of another dtype, or its items have no numbers in them.
    """
    shape = values.shape[1:]
    if not has_numbers_for(values.dtype, shape):
        raise InvalidInputError(
            f"'{name}' is {values.dtype}{list(shape)}, and Parquet has nothing for that"
        )
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    flat = pyarrow.array(native.reshape(-1))
    if not shape:
        return flat
    rows = pyarrow.FixedSizeListArray.from_arrays(flat, prod(shape))
    if len(shape) == 1:
        return rows
    return pyarrow.ExtensionArray.from_storage(pyarrow.fixed_shape_tensor(flat.type, shape), rows)


def type_of_numbers(pyarrow: ModuleType, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    """Return the Arrow type of `numbers_of`."""
    return numbers_of(pyarrow, np.empty((0, *shape), dtype), "").type


def columns_of(tree: Tree, array: Any, name: str, *, shape: tuple[int, ...] = ()) -> Columns:
    """Return the samples in an Arrow array as columns.

    Args:
        tree: The space's tree.
        array: The array, in one chunk.
        name: The name of the first column.
        shape: The shape of an item, where the type does not tell it; see `shape_of_field`.

    Raises:
        InvalidInputError: A value is missing, or they are not as the tree says.
    """
    if array.null_count:
        raise InvalidInputError(f"a value of '{name}' is missing")
    match tree["type"]:
        case "Dict" | "Tuple":
            found: Columns = {}
            fields = {field.name: i for i, field in enumerate(_fields(array, name))}
            for (key, sub), first in zip(_keys(tree), _part_names(tree, name), strict=True):
                if str(key) not in fields:
                    raise InvalidInputError(f"'{name}' has no part '{key}'")
                found |= columns_of(sub, array.field(fields[str(key)]), first)
            return found
        case "Text":
            return columns_from_samples(tree, array.to_pylist(), name)
        case "Sequence":
            items = array.flatten()
            ends = array.offsets.to_numpy().astype("<i8")
            below = columns_of(tree["space"], items, _items_name(tree, name))
            return below | {name + OFFSETS: ends[1:] - ends[0]}
    return {name: rows_of(array, name, shape=shape)}


def samples_of(tree: Tree, array: Any, name: str, *, shape: tuple[int, ...] = ()) -> Items:
    """Return the samples in an Arrow array, those of a Dict or Tuple by part; see `columns_of`."""
    return _items(tree, columns_of(tree, array, name, shape=shape), name, len(array))


def rows_of(array: Any, name: str, *, shape: tuple[int, ...] = ()) -> NDArray[Any]:
    """Return an Arrow array of numbers, or of lists of them, as an array with a row per value.

    Lists may be of any kind, one in the other, if all have the same length.

    Args:
        array: The array, in one chunk.
        name: What it is called in an error's message.
        shape: The shape of an item, where the type does not tell it.

    Raises:
        InvalidInputError: A value is missing, they are no numbers, or lists differ in length.
    """
    sizes = []
    n = len(array)
    if hasattr(array, "storage"):
        shape, array = tuple(array.type.shape), array.storage
    while "list" in str(array.type).partition("<")[0]:
        if array.null_count:
            break
        flat = array.flatten()
        size = _list_size(array, flat)
        if size is None:
            raise InvalidInputError(
                f"'{name}' has values of different lengths", hint="every step has the same shape"
            )
        sizes.append(size)
        array = flat
    if array.null_count:
        raise InvalidInputError(f"a value of '{name}' is missing")
    try:
        dtype = np.dtype(array.type.to_pandas_dtype())
    except (NotImplementedError, TypeError):
        dtype = np.dtype(object)
    if dtype.kind not in _NUMBERS:
        raise InvalidInputError(f"'{name}' is of type '{array.type}', where numbers are due")
    values: NDArray[Any] = array.to_numpy(zero_copy_only=False).astype(dtype, copy=False)
    return values.reshape(n, *(shape or sizes))


def shape_of_field(field: Any) -> tuple[int, ...]:
    """Return the shape that Ray notes with a column of tensors; nothing where it noted none.

    Source: ray 2.60, ``ray/data/_internal/tensor_extensions/arrow.py``.
    """
    noted = field.metadata or {}
    if not noted.get(_EXTENSION, b"").startswith(b"ray.data.arrow_tensor"):
        return ()
    try:
        return tuple(map(int, json.loads(noted[_FORM])))
    except (KeyError, TypeError, ValueError):
        return ()


def tree_of_type(pyarrow: ModuleType, kind: Any) -> Tree:
    """Return a tree that fits the values of an Arrow type whose space is not known."""
    if pyarrow.types.is_struct(kind):
        return {"type": "Dict", "spaces": [[f.name, tree_of_type(pyarrow, f.type)] for f in kind]}
    is_text = pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)
    return {"type": "Text"} if is_text else UNKNOWN


def may_be_numbers(pyarrow: ModuleType, kind: Any) -> bool:
    """Return whether `rows_of` may make something of the values of an Arrow type."""
    while hasattr(kind, "storage_type") or hasattr(kind, "value_type"):
        kind = kind.storage_type if hasattr(kind, "storage_type") else kind.value_type
    types = pyarrow.types
    return bool(types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind))


def _items(tree: Tree, columns: Columns, name: str, length: int) -> Items:
    if tree["type"] in LEAVES:
        return columns[name]
    if tree["type"] not in ("Dict", "Tuple"):
        return list(samples_from_columns(tree, columns, name, length))
    keys = zip(_keys(tree), _part_names(tree, name), strict=True)
    parts = {key: _items(sub, columns, first, length) for (key, sub), first in keys}
    return Parted(parts if tree["type"] == "Dict" else list(parts.values()))


def _list_size(array: Any, items: Any) -> int | None:
    """How many items each list of an array has, of which none is missing; None where they differ.

    There may be none.
    """
    if not hasattr(array, "offsets"):
        found: int = array.type.list_size
        return found
    size = len(items) // len(array) if len(array) else 0
    return size if np.all(np.diff(array.offsets.to_numpy()) == size) else None


def _fields(array: Any, name: str) -> Any:
    if not hasattr(array, "field"):
        raise InvalidInputError(f"'{name}' is of type '{array.type}', where a struct is due")
    return array.type


def _keys(tree: Tree) -> list[Any]:
    return tree["spaces"] if tree["type"] == "Dict" else list(enumerate(tree["spaces"]))


def _part_names(tree: Tree, name: str) -> list[str]:
    """The name of the columns of each part: that of a tree with one leaf in its place."""
    parts = [[key, UNKNOWN] for key, _ in _keys(tree)]
    spaces = parts if tree["type"] == "Dict" else [UNKNOWN] * len(parts)
    return column_names({"type": tree["type"], "spaces": spaces}, name)


def _items_name(tree: Tree, name: str) -> str:
    """The name of the columns of a sequence's items."""
    below = column_names(tree["space"], "")
    return column_names(tree, name)[0].removesuffix(below[0])
