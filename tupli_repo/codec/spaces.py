"""Spaces as JSON: a small tree of names, numbers and arrays, and back.

The tree is all that is needed to turn samples into columns and columns into samples: neither needs
the environment, nor its packages. ``Array`` stands for a leaf whose space is not known.

Invariant: `build_space(describe_space(space)) == space`.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from math import prod
from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from tupli_repo.codec.values import dtype_name, parse_dtype
from tupli_repo.errors import CorruptObjectError, EncodingError

Tree = dict[str, Any]

UNKNOWN: Tree = {"type": "Array"}
MAX_SAMPLE_BYTES = 64 << 20
"""A space whose samples are larger is not described; the bounds take twice as much, and more."""
LEAVES = frozenset({"Array", "Box", "Discrete", "MultiBinary", "MultiDiscrete"})


def describe_space(space: Space[Any]) -> Tree:
    """Return the tree of a space; a subclass is described as the space it derives from.

    Raises:
        EncodingError: It is of a type that cannot be stored, or its samples are too large.
    """
    base = next((cls for cls in type(space).__mro__ if cls in _DESCRIBE), None)
    if base is None:
        kind = f"{type(space).__module__}.{type(space).__qualname__}"
        raise EncodingError(
            f"a space of type '{kind}' cannot be stored",
            hint="use one of Gymnasium's fundamental or composite spaces",
        )
    tree = {"type": base.__name__, **_DESCRIBE[base](space)}
    if _sample_bytes(tree) > MAX_SAMPLE_BYTES:
        raise EncodingError(
            f"a space whose samples take more than {MAX_SAMPLE_BYTES} bytes cannot be stored",
            hint="use smaller observations",
        )
    return tree


def build_space(tree: Tree) -> Space[Any] | None:
    """Return the space of a tree, None where it holds a leaf whose space is not known.

    Raises:
        CorruptObjectError: It is no tree of a space.
    """
    try:
        if _sample_bytes(tree) > MAX_SAMPLE_BYTES:
            raise ValueError("its samples are too large")  # noqa: TRY301 - told as the others are
        with np.errstate(all="ignore"):  # bounds that the dtype cannot hold
            return _build(tree)
    except (
        AssertionError,
        IndexError,  # an array in place of a tree
        KeyError,
        OverflowError,
        TypeError,
        ValueError,
    ) as err:
        reason = (str(err).splitlines() or [type(err).__name__])[0]
        raise CorruptObjectError(f"a space is malformed: {reason}") from None


def infer_tree(sample: Any) -> Tree:
    """Return a tree that fits a sample whose space is not known.

    >>> infer_tree({"speed": [1.0, 2.0]})
    {'type': 'Dict', 'spaces': [['speed', {'type': 'Array'}]]}
    """
    if isinstance(sample, Mapping):
        return {"type": "Dict", "spaces": [[k, infer_tree(v)] for k, v in sample.items()]}
    if isinstance(sample, str):
        return {"type": "Text"}
    if isinstance(sample, tuple):
        return {"type": "Tuple", "spaces": [infer_tree(item) for item in sample]}
    return UNKNOWN


def tree_for(space: Space[Any] | None, sample: Any) -> Tree:
    """Return the tree of a space; one that fits a sample where its type is not Gymnasium's."""
    if space is None:
        return infer_tree(sample)
    try:
        return describe_space(space)
    except EncodingError:
        pass
    if isinstance(space, spaces.Dict) and isinstance(sample, Mapping) and {*space} == {*sample}:
        parts = [[key, tree_for(part, sample[key])] for key, part in space.spaces.items()]
        return {"type": "Dict", "spaces": parts}
    if isinstance(space, spaces.Tuple) and isinstance(sample, tuple) and len(space) == len(sample):
        pairs = zip(space.spaces, sample, strict=True)
        return {"type": "Tuple", "spaces": [tree_for(part, value) for part, value in pairs]}
    return infer_tree(sample)


class Described:
    """A space's tree, and what tells quickly whether two spaces have the same.

    Equal ones have equal trees; where that cannot be told quickly, each is equal to itself only.

    Args:
        tree: The tree.
        key: What decides it; None where that is not known.
    """

    __slots__ = ("_key", "tree")

    def __init__(self, tree: Tree, key: Hashable | None) -> None:
        self.tree = tree
        self._key = key

    @property
    def is_known(self) -> bool:
        """Whether another space may be found to have the same tree."""
        return self._key is not None

    def __eq__(self, other: object) -> bool:
        is_same = isinstance(other, Described) and self._key == other._key
        return self is other or (self.is_known and is_same)

    def __hash__(self) -> int:
        return hash(self._key)


def described(space: Space[Any] | None, sample: Any) -> Described:
    """Return what `tree_for` returns; it is kept for plain spaces, as episodes come in thousands.

    A space that was changed meanwhile is described anew.
    """
    key: Hashable | None = None
    if type(space) is spaces.Box:
        bounds = (space.low.tobytes(), space.high.tobytes())
        key = ("Box", space.dtype, space.shape, *bounds)
    elif type(space) is spaces.Discrete:
        key = ("Discrete", int(space.n), int(space.start), np.dtype(space.dtype))
    if space is None:
        tree = infer_tree(sample)
        return _UNKNOWN if tree is UNKNOWN else Described(tree, None)
    if key is None:
        return Described(tree_for(space, sample), None)
    known = _KNOWN.get(key)
    if known is None:
        try:
            known = Described(describe_space(space), key)
        except EncodingError:  # its tree depends on the sample
            return Described(tree_for(space, sample), None)
        if len(_KNOWN) >= _MAX_KNOWN:
            _KNOWN.clear()
        _KNOWN[key] = known
    return known


_UNKNOWN = Described(UNKNOWN, "Array")
_KNOWN: dict[Hashable, Described] = {}
_MAX_KNOWN = 64


def leaf_shape(tree: Tree) -> tuple[int, ...] | None:
    """Return the shape of a leaf's samples, None where it is not known."""
    match tree["type"]:
        case "Box":
            return tuple(tree["shape"])
        case "Discrete":
            return ()
        case "MultiDiscrete":
            shape: tuple[int, ...] = np.shape(tree["nvec"])
            return shape
        case "MultiBinary":
            return tuple(tree["n"]) if isinstance(tree["n"], list) else (tree["n"],)
    return None


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


def _describe_text(space: Any) -> Tree:
    return {
        "max_length": int(space.max_length),
        "min_length": int(space.min_length),
        "charset": "".join(sorted(space.character_set)),
    }


def _describe_graph(space: Any) -> Tree:
    edges = space.edge_space
    return {
        "node_space": describe_space(space.node_space),
        "edge_space": None if edges is None else describe_space(edges),
    }


_DESCRIBE: dict[type, Callable[[Any], Tree]] = {
    spaces.Box: _describe_box,
    spaces.Discrete: _describe_discrete,
    spaces.MultiDiscrete: _describe_multi_discrete,
    spaces.MultiBinary: _describe_multi_binary,
    spaces.Text: _describe_text,
    spaces.Sequence: lambda s: {"space": describe_space(s.feature_space), "stack": s.stack},
    spaces.Graph: _describe_graph,
    spaces.OneOf: lambda s: {"spaces": [describe_space(v) for v in s.spaces]},
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
        case "Text" if "max_length" in tree:
            return spaces.Text(
                tree["max_length"], min_length=tree["min_length"], charset=tree["charset"]
            )
        case "Text":
            return None
        case "Sequence":
            (feature,) = _built([tree["space"]]) or (None,)
            return None if feature is None else spaces.Sequence(feature, stack=tree["stack"])
        case "Graph":
            nodes = _build(tree["node_space"])
            edges = None if tree["edge_space"] is None else _build(tree["edge_space"])
            return spaces.Graph(nodes, edges)  # type: ignore[arg-type]  # as it was described
        case "OneOf":
            branches = _built(tree["spaces"])
            return None if branches is None else spaces.OneOf(branches)
        case "Dict":
            parts = _built([sub for _, sub in tree["spaces"]])
            if parts is None:
                return None
            keys = [key for key, _ in tree["spaces"]]
            return spaces.Dict(OrderedDict(zip(keys, parts, strict=True)))
        case "Tuple":
            members = _built(tree["spaces"])
            return None if members is None else spaces.Tuple(members)
    raise CorruptObjectError(f"'{tree['type']}' is no type of space")


def _sample_bytes(tree: Tree) -> int:
    """About what one sample of a tree's space takes; of a sequence, what one of its items takes."""
    match tree["type"]:
        case "Box":
            size: int = prod(max(0, length) for length in tree["shape"])
            return size * parse_dtype(tree["dtype"]).itemsize
        case "Dict":
            return sum(_sample_bytes(part) for _, part in tree["spaces"])
        case "Tuple" | "OneOf":
            return sum(map(_sample_bytes, tree["spaces"]))
        case "Sequence":
            return _sample_bytes(tree["space"])
        case "Graph":
            parts = [tree["node_space"], tree["edge_space"]]
            return sum(_sample_bytes(part) for part in parts if part is not None)
    return 0


def _built(trees: list[Tree]) -> list[Space[Any]] | None:
    """The spaces of trees, None where one is not known."""
    found = [_build(tree) for tree in trees]
    known = [space for space in found if space is not None]
    return known if len(known) == len(found) else None


def _with_dtype(make: Callable[..., Space[Any]], tree: Tree, *args: Any, **kw: Any) -> Space[Any]:
    """Older versions of gymnasium know only int64 here."""
    dtype = parse_dtype(tree["dtype"])
    if dtype != np.dtype(np.int64):
        kw["dtype"] = dtype.type
    return make(*args, **kw)
