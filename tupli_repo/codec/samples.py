"""Samples of a space as named columns, and back; the space's tree is all that is needed.

A leaf (Box, Discrete, MultiBinary, MultiDiscrete; ``Array`` where the space is not known) is one
column with a row per sample, in the dtype that was actually seen. Dict and Tuple have columns for
each of their parts: names are paths, ``observations/camera``, each component percent-escaped. What
is ragged has two columns, the values end to end and ``…#offsets``, where each sample ends: Text
(UTF-8), Sequence (the columns of all elements), Graph (nodes, edges, edge links; ``…#present``
tells where there are any). OneOf has ``…#choice`` and the columns of each branch.

Invariant: `samples_from_columns` gives back the values and dtypes handed to `columns_from_samples`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from gymnasium.spaces import GraphInstance
from numpy.typing import NDArray

from tupli_repo.codec.arrays import Items, stack
from tupli_repo.codec.spaces import LEAVES, Tree, leaf_shape
from tupli_repo.codec.views import View
from tupli_repo.errors import CorruptObjectError, EncodingError

Columns = dict[str, NDArray[Any]]
OFFSETS = "#offsets"
_PRESENT = "#present"
CHOICE = "#choice"
_ESCAPES = {"%": "%25", "/": "%2F", "#": "%23"}
_GRAPH_PARTS = ("nodes", "edges", "edge_links")


class Parted(View[Any]):
    """Samples of a Dict or Tuple by part, so that nobody has to take them apart again.

    Args:
        parts: For each part its N samples: by key, or in order.

    >>> list(Parted({"a": [1, 2], "b": [3, 4]}))
    [{'a': 1, 'b': 3}, {'a': 2, 'b': 4}]
    """

    def __init__(self, parts: Mapping[str, Items] | Sequence[Items]) -> None:
        self.parts: Mapping[Any, Items]
        if isinstance(parts, Mapping):
            self.parts = dict(parts)
            super().__init__(self._dict, min(map(len, parts.values()), default=0))
        else:
            self.parts = dict(enumerate(parts))
            super().__init__(self._tuple, min(map(len, parts), default=0))

    def _dict(self, i: int) -> dict[str, Any]:
        return {key: part[i] for key, part in self.parts.items()}

    def _tuple(self, i: int) -> tuple[Any, ...]:
        return tuple(part[i] for part in self.parts.values())


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


def columns_from_samples(tree: Tree, samples: Items, name: str) -> Columns:
    """Return samples as columns.

    Args:
        tree: The space's tree.
        samples: N samples of it.
        name: The name of the first column, the beginning of all the others' names.

    Returns:
        Arrays by name, in the tree's order; those of leaves have shape (N, *item).

    Raises:
        EncodingError: The samples do not fit the tree, or differ in shape; the message says where.
    """
    if tree["type"] in LEAVES:
        return {name: stack(samples, name, prefer=tree.get("dtype"), shape=leaf_shape(tree))}
    match tree["type"]:
        case "Text":
            texts = [_encoded(sample, f"{name}[{i}]") for i, sample in enumerate(samples)]
            values = np.frombuffer(b"".join(texts), np.uint8)
            return {name: values, name + OFFSETS: _ends(texts)}
        case "Sequence":
            return _columns_of_sequences(tree, samples, name)
        case "Graph":
            return _columns_of_graphs(tree, samples, name)
        case "OneOf":
            return _columns_of_choices(tree, samples, name)
    columns: Columns = {}  # a Dict or a Tuple
    for key, sub, parts in _parts_of_samples(tree, samples, name):
        part = columns_from_samples(sub, parts, f"{name}/{escape(key)}")
        if not columns.keys().isdisjoint(part):
            raise EncodingError(f"'{name}' has two keys that read '{key}'")
        columns |= part
    return columns


def column_names(tree: Tree, name: str) -> list[str]:
    """Return the names of a tree's columns, in order."""
    match tree["type"]:
        case "Text":
            return [name, name + OFFSETS]
        case "Sequence":
            sub = tree["space"]
            return [*column_names(sub, _elements_of(sub, name)), name + OFFSETS]
        case "Graph":
            names = [f"{name}/nodes", f"{name}/nodes{OFFSETS}"]
            for part in _GRAPH_PARTS[1:] if tree["edge_space"] is not None else ():
                names += [f"{name}/{part}{end}" for end in ("", OFFSETS, _PRESENT)]
            return names
        case "OneOf":
            names = [name + CHOICE]
            for i, sub in enumerate(tree["spaces"]):
                names += column_names(sub, f"{name}/{i}")
            return names
        case "Dict" | "Tuple":
            return [
                n for k, sub in _children(tree) for n in column_names(sub, f"{name}/{escape(k)}")
            ]
    return [name]


def samples_from_columns(
    tree: Tree, columns: Mapping[str, NDArray[Any]], name: str, length: int
) -> View[Any]:
    """Return the ``length`` samples of columns, each made when it is asked for.

    A leaf's sample is a row of its column: an array of the item's shape, or a numpy scalar.

    Raises:
        CorruptObjectError: The columns do not belong together; the caller knows the episode.
    """
    try:
        _check_count(tree, columns, name, length)
        return View(_reader(tree, columns, name), length)
    except (KeyError, IndexError, ValueError, TypeError) as err:
        raise CorruptObjectError(f"its columns do not belong together: {err}") from None


def free_columns(tree: Tree, name: str) -> set[str]:
    """Return the names of the columns whose rows do not follow from the number of samples."""
    match tree["type"]:
        case "Text":
            return {name}
        case "Sequence":
            return set(column_names(tree, name)) - {name + OFFSETS}
        case "Graph":
            return {f"{name}/{part}" for part in _GRAPH_PARTS}
        case "OneOf":
            return set(column_names(tree, name)) - {name + CHOICE}
        case "Dict" | "Tuple":
            subs = [free_columns(sub, f"{name}/{escape(key)}") for key, sub in _children(tree)]
            return set().union(*subs)
    return set()


# ---- writing


def _columns_of_sequences(tree: Tree, samples: Items, name: str) -> Columns:
    sub = tree["space"]
    parts = [
        _unstacked(sub, sample, f"{name}[{i}]") if tree["stack"] else _items(sample, f"{name}[{i}]")
        for i, sample in enumerate(samples)
    ]
    elements = [element for part in parts for element in part]
    return {
        **columns_from_samples(sub, elements, _elements_of(sub, name)),
        name + OFFSETS: _ends(parts),
    }


def _columns_of_graphs(tree: Tree, samples: Items, name: str) -> Columns:
    columns: Columns = {}
    for part in _GRAPH_PARTS if tree["edge_space"] is not None else _GRAPH_PARTS[:1]:
        seen = []
        for i, sample in enumerate(samples):
            if not all(hasattr(sample, needed) for needed in _GRAPH_PARTS):
                raise EncodingError(f"'{name}[{i}]' is {_kind(sample)}, where a graph is due")
            seen.append(getattr(sample, part))
        if part == "nodes" and any(nodes is None for nodes in seen):
            raise EncodingError(f"'{name}' has a graph without nodes")
        rows = [row for values in seen if values is not None for row in values]
        shape, dtype = _graph_leaf(tree, part)
        columns[f"{name}/{part}"] = stack(rows, f"{name}/{part}", prefer=dtype, shape=shape)
        columns[f"{name}/{part}{OFFSETS}"] = _ends([() if v is None else v for v in seen])
        if part != "nodes":
            columns[f"{name}/{part}{_PRESENT}"] = np.array([v is not None for v in seen], bool)
    if tree["edge_space"] is None and any(getattr(s, "edges", None) is not None for s in samples):
        raise EncodingError(f"'{name}' has a graph with edges, and its space has none")
    return columns


def _columns_of_choices(tree: Tree, samples: Items, name: str) -> Columns:
    n = len(tree["spaces"])
    for i, sample in enumerate(samples):
        if not isinstance(sample, tuple) or len(sample) != 2 or not 0 <= int(sample[0]) < n:
            raise EncodingError(f"'{name}[{i}]' is no pair of a branch below {n} and its sample")
    columns = {name + CHOICE: stack([s[0] for s in samples], name, prefer="<i8", shape=())}
    for branch, sub in enumerate(tree["spaces"]):
        values = [value for choice, value in samples if int(choice) == branch]
        columns |= columns_from_samples(sub, values, f"{name}/{branch}")
    return columns


def _unstacked(tree: Tree, batch: Any, name: str) -> list[Any]:
    """The elements of a batch as Gymnasium stacks it: arrays in leaves, else tuples of samples."""
    match tree["type"]:
        case "Dict":
            columns = {key: _unstacked(sub, batch[key], name) for key, sub in tree["spaces"]}
            rows = zip(*columns.values(), strict=True)
            return [dict(zip(columns, row, strict=True)) for row in rows]
        case "Tuple":
            subs = [_unstacked(sub, b, name) for sub, b in zip(tree["spaces"], batch, strict=True)]
            return list(zip(*subs, strict=True))
    return _items(batch, name)


def _parts_of_samples(tree: Tree, samples: Items, name: str) -> Iterator[tuple[str, Tree, Items]]:
    """The children of a Dict or Tuple, each with its part of every sample."""
    is_dict, n = tree["type"] == "Dict", len(tree["spaces"])
    keys = [key for key, _ in tree["spaces"]] if is_dict else list(range(n))
    if isinstance(samples, Parted) and samples.parts.keys() == set(keys):
        for key, (text, sub) in zip(keys, _children(tree), strict=True):
            yield text, sub, samples.parts[key]
        return
    for i, sample in enumerate(samples):
        fits = isinstance(sample, Mapping if is_dict else (tuple, list))
        if is_dict and fits and len(sample) > n:
            extra = next(key for key in sample if key not in keys)
            raise EncodingError(
                f"'{name}[{i}]' has the key '{extra}', which its space has not",
                hint="every step has to be a sample of the environment's space",
            )
        if not fits or len(sample) != n:
            raise EncodingError(
                f"'{name}[{i}]' is {_kind(sample)}, where a {tree['type'].lower()} of {n} is due",
                hint="every step has to be a sample of the environment's space",
            )
        if is_dict and any(key not in sample for key in keys):
            missing = next(key for key in keys if key not in sample)
            raise EncodingError(f"'{name}[{i}]' has no key '{missing}'")
    for key, (text, sub) in zip(keys, _children(tree), strict=True):
        yield text, sub, [sample[key] for sample in samples]


def _items(sample: Any, name: str) -> list[Any]:
    if isinstance(sample, (tuple, list)) or (isinstance(sample, np.ndarray) and sample.ndim):
        return list(sample)
    raise EncodingError(f"'{name}' is {_kind(sample)}, where a sequence is due")


def _encoded(sample: Any, name: str) -> bytes:
    if not isinstance(sample, str):
        raise EncodingError(f"'{name}' is {_kind(sample)}, where a text is due")
    return sample.encode("utf-8", "surrogatepass")


def _ends(parts: Sequence[Any]) -> NDArray[Any]:
    return np.array(list(accumulate(len(part) for part in parts)), dtype="<i8")


# ---- reading


def _reader(tree: Tree, columns: Mapping[str, NDArray[Any]], name: str) -> Callable[[int], Any]:
    """A function from a sample's number to the sample."""
    match tree["type"]:
        case "Text":
            cut = _cutter(columns, name)
            return lambda i: _decoded(cut(i).tobytes())
        case "Sequence":
            return _sequence_reader(tree, columns, name)
        case "Graph":
            return _graph_reader(tree, columns, name)
        case "OneOf":
            return _choice_reader(tree, columns, name)
        case "Dict":
            named = [
                (key, _reader(sub, columns, f"{name}/{escape(str(key))}"))
                for key, sub in tree["spaces"]
            ]
            return lambda i: {key: read(i) for key, read in named}
        case "Tuple":
            reads = [_reader(sub, columns, f"{name}/{k}") for k, sub in _children(tree)]
            return lambda i: tuple(read(i) for read in reads)
    return columns[name].__getitem__


def _check_count(tree: Tree, columns: Mapping[str, NDArray[Any]], name: str, count: int) -> None:
    """Check that the columns hold so many samples, and so many of their parts."""
    match tree["type"]:
        case "Text":
            _check_ends(columns[name + OFFSETS], count, len(columns[name]))
        case "Sequence":
            ends = columns[name + OFFSETS]
            sub = tree["space"]
            elements = _elements_of(sub, name)
            _check_count(sub, columns, elements, int(ends[-1]) if count else 0)
            _check_ends(ends, count, int(ends[-1]) if count else 0)
        case "Graph":
            for kind in _GRAPH_PARTS if tree["edge_space"] is not None else _GRAPH_PARTS[:1]:
                path = f"{name}/{kind}"
                _check_ends(columns[path + OFFSETS], count, len(columns[path]))
        case "OneOf":
            choices = columns[name + CHOICE]
            if len(choices) != count or np.any((choices < 0) | (choices >= len(tree["spaces"]))):
                raise ValueError("a choice has no branch")
            for branch, part in enumerate(tree["spaces"]):
                _check_count(part, columns, f"{name}/{branch}", int(np.sum(choices == branch)))
        case "Dict" | "Tuple":
            for key, part in _children(tree):
                _check_count(part, columns, f"{name}/{escape(key)}", count)
        case _:
            if len(columns[name]) != count:
                raise ValueError("a column has another number of rows than samples")


def _check_ends(ends: NDArray[Any], count: int, total: int) -> None:
    last = int(ends[-1]) if len(ends) else 0
    goes_back = len(ends) > 0 and (ends[0] < 0 or bool(np.any(np.diff(ends) < 0)))
    if len(ends) != count or last != total or goes_back:
        raise ValueError("offsets do not fit their values")


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise CorruptObjectError("a text is malformed") from None


def _sequence_reader(
    tree: Tree, columns: Mapping[str, NDArray[Any]], name: str
) -> Callable[[int], Any]:
    span, sub = _spans(columns[name + OFFSETS]), tree["space"]
    if tree["stack"]:
        batch = _batch_reader(sub, columns, _elements_of(sub, name))
        return lambda i: batch(*span(i))
    read = _reader(sub, columns, _elements_of(sub, name))
    return lambda i: tuple(read(j) for j in range(*span(i)))


def _batch_reader(
    tree: Tree, columns: Mapping[str, NDArray[Any]], name: str
) -> Callable[[int, int], Any]:
    """A function from a range of samples to the batch that Gymnasium stacks of them."""
    if tree["type"] in LEAVES:
        column = columns[name]
        return lambda start, stop: column[start:stop]
    if tree["type"] in ("Dict", "Tuple"):
        subs = [
            (k, _batch_reader(sub, columns, f"{name}/{escape(k)}")) for k, sub in _children(tree)
        ]
        if tree["type"] == "Dict":
            return lambda start, stop: {key: read(start, stop) for key, read in subs}
        return lambda start, stop: tuple(read(start, stop) for _, read in subs)
    read_one = _reader(tree, columns, name)
    return lambda start, stop: tuple(read_one(i) for i in range(start, stop))


def _graph_reader(
    tree: Tree, columns: Mapping[str, NDArray[Any]], name: str
) -> Callable[[int], GraphInstance]:
    parts = _GRAPH_PARTS if tree["edge_space"] is not None else _GRAPH_PARTS[:1]
    cuts = [_cutter(columns, f"{name}/{part}") for part in parts]
    present = [columns[f"{name}/{part}{_PRESENT}"] for part in parts[1:]]

    def read(i: int) -> GraphInstance:
        edges = [cut(i) if seen[i] else None for cut, seen in zip(cuts[1:], present, strict=True)]
        return GraphInstance(cuts[0](i), *(edges or (None, None)))

    return read


def _choice_reader(
    tree: Tree, columns: Mapping[str, NDArray[Any]], name: str
) -> Callable[[int], tuple[Any, Any]]:
    choices = columns[name + CHOICE]
    reads = [_reader(sub, columns, f"{name}/{i}") for i, sub in enumerate(tree["spaces"])]
    places = np.zeros(len(choices), dtype=np.int64)
    for branch in range(len(reads)):
        chosen = choices == branch
        places[chosen] = np.arange(int(chosen.sum()))
    return lambda i: (choices[i], reads[int(choices[i])](int(places[i])))


def _cutter(columns: Mapping[str, NDArray[Any]], name: str) -> Callable[[int], NDArray[Any]]:
    values, span = columns[name], _spans(columns[name + OFFSETS])
    return lambda i: values[slice(*span(i))]


def _spans(ends: NDArray[Any]) -> Callable[[int], tuple[int, int]]:
    return lambda i: (int(ends[i - 1]) if i else 0, int(ends[i]))


def _elements_of(tree: Tree, name: str) -> str:
    """Where a sequence's elements lie: leaves under its own name, others below it."""
    return name if tree["type"] in LEAVES else f"{name}/items"


def _children(tree: Tree) -> Iterator[tuple[str, Tree]]:
    if tree["type"] == "Dict":
        yield from ((str(key), sub) for key, sub in tree["spaces"])
    else:
        yield from ((str(i), sub) for i, sub in enumerate(tree["spaces"]))


def _graph_leaf(tree: Tree, part: str) -> tuple[tuple[int, ...] | None, str | None]:
    """Item shape and dtype of a graph's part."""
    if part == "edge_links":
        return (2,), "<i4"
    sub = tree["node_space" if part == "nodes" else "edge_space"]
    return leaf_shape(sub), sub.get("dtype")


def _kind(value: Any) -> str:
    return "None" if value is None else f"a '{type(value).__name__}'"
