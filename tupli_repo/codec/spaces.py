"""Spaces as JSON, and samples of a space as named columns.

A space becomes a small tree of JSON (`describe_space`), which is all that is needed to turn samples
into columns and columns into samples: neither needs the environment, nor its packages.

A leaf (Box, Discrete, MultiBinary, MultiDiscrete) is one column with a row per sample, in the dtype
that was actually seen. Names are paths: ``observations/camera``, each component percent-escaped.
``Array`` stands for a leaf whose space is not known.

Invariant: `samples_from_columns` gives back the values and dtypes handed to `columns_from_samples`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from tupli_repo.codec.values import dtype_name, parse_dtype
from tupli_repo.errors import CorruptObjectError, EncodingError

Tree = dict[str, Any]
Columns = dict[str, NDArray[Any]]

UNKNOWN: Tree = {"type": "Array"}
_LEAVES = frozenset({"Array", "Box", "Discrete", "MultiBinary", "MultiDiscrete"})
_ESCAPES = {"%": "%25", "/": "%2F", "#": "%23"}


def describe_space(space: Space[Any]) -> Tree:
    """Return the tree of a space.

    Raises:
        EncodingError: It is of a type that cannot be stored.
    """
    describe = _DESCRIBE.get(type(space))
    if describe is None:
        kind = f"{type(space).__module__}.{type(space).__qualname__}"
        raise EncodingError(
            f"a space of type '{kind}' cannot be stored",
            hint="use Box, Discrete, MultiBinary, MultiDiscrete, or Dict and Tuple of them",
        )
    return {"type": type(space).__name__, **describe(space)}


def build_space(tree: Tree) -> Space[Any] | None:
    """Return the space of a tree, None where it holds a leaf whose space is not known.

    Raises:
        CorruptObjectError: It is no tree of a space.
    """
    try:
        return _build(tree)
    except (KeyError, TypeError, ValueError, AssertionError, OverflowError) as err:
        raise CorruptObjectError(f"a space is malformed: {err}") from None


def infer_tree(sample: Any) -> Tree:
    """Return a tree that fits a sample whose space is not known.

    >>> infer_tree({"speed": [1.0, 2.0]})
    {'type': 'Dict', 'spaces': [['speed', {'type': 'Array'}]]}
    """
    if isinstance(sample, Mapping):
        return {"type": "Dict", "spaces": [[k, infer_tree(v)] for k, v in sample.items()]}
    if isinstance(sample, tuple):
        return {"type": "Tuple", "spaces": [infer_tree(item) for item in sample]}
    return UNKNOWN


def columns_from_samples(tree: Tree, samples: Sequence[Any], name: str) -> Columns:
    """Return samples as columns.

    Args:
        tree: The space's tree.
        samples: N samples of it.
        name: The name of the first column, the beginning of all the others' names.

    Returns:
        Arrays of shape (N, *item), by name, in the tree's order.

    Raises:
        EncodingError: The samples do not fit the tree, or differ in shape; the message says where.
    """
    kind = tree["type"]
    if kind in _LEAVES:
        return {name: stack(samples, name, prefer=tree.get("dtype"))}
    columns: Columns = {}
    for key, sub, values in _branches(tree, samples, name):
        columns |= columns_from_samples(sub, values, f"{name}/{escape(key)}")
    return columns


def samples_from_columns(tree: Tree, columns: Mapping[str, NDArray[Any]], name: str) -> "Samples":
    """Return the samples of columns as `Samples`.

    Raises:
        CorruptObjectError: A column that the tree names is missing.
    """
    return Samples(_reader(tree, columns, name), len(columns[column_names(tree, name)[0]]))


def column_names(tree: Tree, name: str) -> list[str]:
    """Return the names of a tree's columns, in order."""
    if tree["type"] in _LEAVES:
        return [name]
    names: list[str] = []
    for key, sub in _children(tree):
        names += column_names(sub, f"{name}/{escape(key)}")
    return names


class Samples(Sequence[Any]):
    """The samples of one episode, made from its columns when they are asked for.

    A leaf's sample is a row of its column: an array of the item's shape, or a numpy scalar.
    """

    def __init__(self, read: Callable[[int], Any], length: int) -> None:
        self._read = read
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._read(i) for i in range(*index.indices(self._length))]
        position = range(self._length)[index]
        return self._read(position)


def stack(samples: Sequence[Any], name: str, *, prefer: str | None = None) -> NDArray[Any]:
    """Return arrays or scalars as one array with a row for each, in the dtype they have.

    Args:
        samples: N arrays, numpy scalars, Python numbers, bools, or nested lists of those.
        name: What they are called in an error's message.
        prefer: The dtype for plain Python values, where it holds them exactly.

    Raises:
        EncodingError: They differ in shape, or cannot be stored; the message says at which step.
    """
    arrays = [_as_array(sample, f"{name}[{i}]", prefer) for i, sample in enumerate(samples)]
    first = arrays[0]
    dtype, shape = first.dtype, first.shape
    for i, array in enumerate(arrays):
        if array.shape != shape:
            raise EncodingError(
                f"'{name}' has shape {shape} at step 0 and {array.shape} at step {i}",
                hint="every step of an episode has the same shape",
            )
        if array.dtype != dtype:
            dtype = np.result_type(dtype, array.dtype)
    dtype_name(dtype, name=name)
    stacked = np.stack(arrays).astype(dtype, copy=False)
    if dtype != first.dtype:
        _check_exact(arrays, stacked, name)
    return stacked.astype(dtype.newbyteorder("<"), copy=False)


def escape(component: str) -> str:
    """Return a key as it stands in a column's name.

    >>> escape("a/b")
    'a%2Fb'
    """
    return "".join(_ESCAPES.get(char, char) for char in component)


def unescape(component: str) -> str:
    """Return the key of an escaped component."""
    for char, escaped in reversed(_ESCAPES.items()):
        component = component.replace(escaped, char)
    return component


def _as_array(sample: Any, name: str, prefer: str | None) -> NDArray[Any]:
    if isinstance(sample, (np.ndarray, np.generic)):
        return np.asarray(sample)
    if sample is None or isinstance(sample, (str, bytes, Mapping)):
        raise EncodingError(f"'{name}' is {_kind(sample)}, where a number or an array is due")
    try:
        array = np.asarray(sample)
    except ValueError:
        raise EncodingError(f"'{name}' is a list of uneven shape, which cannot be stored") from None
    if prefer is not None and array.dtype.kind in "biuf" and array.dtype.str != prefer:
        with np.errstate(all="ignore"):
            narrow = array.astype(prefer)
        if np.array_equal(narrow, array, equal_nan=array.dtype.kind == "f"):
            return narrow
    return array


def _check_exact(arrays: Sequence[NDArray[Any]], stacked: NDArray[Any], name: str) -> None:
    for i, array in enumerate(arrays):
        back = stacked[i].astype(array.dtype)
        if back.tobytes() != array.tobytes():
            raise EncodingError(
                f"'{name}' has dtype {arrays[0].dtype} at step 0 and {array.dtype} at step {i},"
                f" and {stacked.dtype} does not hold both exactly",
                hint="give every step the same dtype",
            )


def _children(tree: Tree) -> Iterator[tuple[str, Tree]]:
    if tree["type"] == "Dict":
        yield from ((str(key), sub) for key, sub in tree["spaces"])
    else:
        yield from ((str(i), sub) for i, sub in enumerate(tree["spaces"]))


def _branches(
    tree: Tree, samples: Sequence[Any], name: str
) -> Iterator[tuple[str, Tree, list[Any]]]:
    """The children of a Dict or Tuple, each with its part of every sample."""
    is_dict, n = tree["type"] == "Dict", len(tree["spaces"])
    keys = [key for key, _ in tree["spaces"]] if is_dict else list(range(n))
    for i, sample in enumerate(samples):
        if isinstance(sample, Mapping) is not is_dict or len(sample) != n:
            raise EncodingError(
                f"'{name}[{i}]' is {_kind(sample)}, where a {tree['type'].lower()} of {n} is due",
                hint="every step has to be a sample of the environment's space",
            )
        if is_dict and any(key not in sample for key in keys):
            missing = next(key for key in keys if key not in sample)
            raise EncodingError(f"'{name}[{i}]' has no key '{missing}'")
    for key, (text, sub) in zip(keys, _children(tree), strict=True):
        yield text, sub, [sample[key] for sample in samples]


def _reader(tree: Tree, columns: Mapping[str, NDArray[Any]], name: str) -> Callable[[int], Any]:
    """A function from a row's number to the sample."""
    if tree["type"] in _LEAVES:
        column = columns[name]
        return column.__getitem__
    readers = [(k, _reader(sub, columns, f"{name}/{escape(k)}")) for k, sub in _children(tree)]
    if tree["type"] == "Tuple":
        return lambda row: tuple(read(row) for _, read in readers)
    keys = [key for key, _ in tree["spaces"]]
    named = [(key, read) for key, (_, read) in zip(keys, readers, strict=True)]
    return lambda row: {key: read(row) for key, read in named}


def _kind(value: Any) -> str:
    return "None" if value is None else f"a '{type(value).__name__}'"


# ---- the types of spaces, both ways


def _bound(bound: NDArray[Any]) -> Any:
    """A Box's bound, as one number where it is the same everywhere."""
    flat = bound.reshape(-1)
    if flat.size and np.all(flat == flat[0]):
        return flat[0]
    return bound


def _describe_box(space: Any) -> Tree:
    return {
        "dtype": dtype_name(space.dtype, name="space"),
        "shape": list(space.shape),
        "low": _bound(space.low),
        "high": _bound(space.high),
    }


def _describe_discrete(space: Any) -> Tree:
    dtype = dtype_name(np.dtype(space.dtype), name="space")
    return {"dtype": dtype, "n": int(space.n), "start": int(space.start)}


def _describe_multi_discrete(space: Any) -> Tree:
    dtype = dtype_name(space.dtype, name="space")
    return {"dtype": dtype, "nvec": space.nvec, "start": space.start}


def _describe_multi_binary(space: Any) -> Tree:
    n = space.n
    return {
        "dtype": dtype_name(space.dtype, name="space"),
        "n": list(map(int, n)) if isinstance(n, (tuple, list, np.ndarray)) else int(n),
    }


_DESCRIBE: dict[type, Callable[[Any], Tree]] = {
    spaces.Box: _describe_box,
    spaces.Discrete: _describe_discrete,
    spaces.MultiDiscrete: _describe_multi_discrete,
    spaces.MultiBinary: _describe_multi_binary,
    spaces.Dict: lambda s: {"spaces": [[k, describe_space(v)] for k, v in s.spaces.items()]},
    spaces.Tuple: lambda s: {"spaces": [describe_space(v) for v in s.spaces]},
}


def _build(tree: Tree) -> Space[Any] | None:
    match tree["type"]:
        case "Array":
            return None
        case "Box":
            dtype, shape = parse_dtype(tree["dtype"]), tuple(tree["shape"])
            low, high = (np.broadcast_to(tree[k], shape).astype(dtype) for k in ("low", "high"))
            return spaces.Box(low, high, shape, dtype.type)
        case "Discrete":
            return _with_dtype(spaces.Discrete, tree, tree["n"], start=tree["start"])
        case "MultiDiscrete":
            dtype = parse_dtype(tree["dtype"])
            return spaces.MultiDiscrete(tree["nvec"], dtype=dtype.type, start=tree["start"])
        case "MultiBinary":
            return spaces.MultiBinary(tree["n"])
        case "Dict":
            subs = [(key, _build(sub)) for key, sub in tree["spaces"]]
            known = {key: sub for key, sub in subs if sub is not None}
            return spaces.Dict(known) if len(known) == len(subs) else None
        case "Tuple":
            parts = [_build(sub) for sub in tree["spaces"]]
            kept = [part for part in parts if part is not None]
            return spaces.Tuple(kept) if len(kept) == len(parts) else None
    raise CorruptObjectError(f"'{tree['type']}' is no type of space")


def _with_dtype(make: Callable[..., Space[Any]], tree: Tree, *args: Any, **kw: Any) -> Space[Any]:
    """Older versions of gymnasium know only int64 here."""
    dtype = parse_dtype(tree["dtype"])
    if dtype != np.dtype(np.int64):
        kw["dtype"] = dtype.type
    return make(*args, **kw)
