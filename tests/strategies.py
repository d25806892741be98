"""Generated values: spaces, their samples, infos and whole episodes.

Arrays are made of arbitrary bytes, so NaN payloads, infinities and -0.0 are among them. `same`
compares bit for bit, dtypes included.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from gymnasium import spaces
from hypothesis import strategies as st
from numpy.typing import NDArray

from tupli_repo.codec.episode import Steps

BOX_DTYPES = [
    np.dtype(code)
    for code in ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]
]
INT64 = st.integers(-(2**63), 2**63 - 1)


class Generated(NamedTuple):
    """An episode and the spaces it is of."""

    steps: Steps
    observation_space: Any
    action_space: Any


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are equal in type, dtype and every bit."""
    if isinstance(one, (np.ndarray, np.generic)) or isinstance(other, (np.ndarray, np.generic)):
        return (
            isinstance(one, np.ndarray) is isinstance(other, np.ndarray)
            and isinstance(other, (np.ndarray, np.generic))
            and (one.dtype, one.shape) == (other.dtype, other.shape)
            and one.tobytes() == other.tobytes()
        )
    if isinstance(one, Mapping):
        return (
            isinstance(other, Mapping)
            and one.keys() == other.keys()
            and all(same(value, other[key]) for key, value in one.items())
        )
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        nan = math.isnan(one) and math.isnan(other)
        return nan or (one == other and math.copysign(1, one) == math.copysign(1, other))
    return type(one) is type(other) and bool(one == other)


def arrays(dtype: np.dtype[Any], shape: tuple[int, ...]) -> st.SearchStrategy[NDArray[Any]]:
    """Arrays of any bits; of bool, of any truth."""
    size = math.prod(shape) * dtype.itemsize
    made = st.binary(min_size=size, max_size=size)
    if dtype.kind == "b":
        made = made.map(lambda data: bytes(byte & 1 for byte in data))
    return made.map(lambda data: np.frombuffer(data, dtype).reshape(shape))


def shapes() -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes of one item, scalars and empty ones among them."""
    return st.lists(st.integers(0, 3), max_size=3).map(tuple)


@st.composite
def boxes(draw: st.DrawFn) -> Any:
    """Boxes of every dtype, as wide as the dtype."""
    dtype, shape = draw(st.sampled_from(BOX_DTYPES)), draw(shapes())
    if dtype.kind == "f":
        return spaces.Box(-np.inf, np.inf, shape, dtype.type)
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return spaces.Box(low, high, shape, dtype.type)


def discretes() -> st.SearchStrategy[Any]:
    """Discrete spaces with a start and any integer dtype that holds them."""
    return st.builds(
        lambda n, start, dtype: spaces.Discrete(n, start=start, dtype=dtype),
        st.integers(1, 50),
        st.integers(-50, 50),
        st.sampled_from([np.int8, np.int16, np.int32, np.int64]),
    )


def multi_discretes() -> st.SearchStrategy[Any]:
    """MultiDiscrete spaces, of one row or two."""
    rows = st.integers(1, 4).flatmap(
        lambda n: st.lists(
            st.lists(st.integers(1, 9), min_size=n, max_size=n), min_size=1, max_size=2
        )
    )
    return st.builds(
        lambda nvec, dtype, start: spaces.MultiDiscrete(
            np.array(nvec), dtype=dtype, start=np.full(np.shape(nvec), start)
        ),
        st.one_of(rows, rows.map(lambda found: found[0])),
        st.sampled_from([np.int64, np.int32, np.int16]),
        st.integers(0, 5),
    )


def multi_binaries() -> st.SearchStrategy[Any]:
    """MultiBinary spaces of one dimension or two."""
    n = st.one_of(st.integers(1, 9), st.tuples(st.integers(1, 3), st.integers(1, 3)))
    return n.map(lambda n: spaces.MultiBinary(n if isinstance(n, int) else list(n)))


def leaf_spaces() -> st.SearchStrategy[Any]:
    """Spaces that are one column."""
    return st.one_of(boxes(), discretes(), multi_discretes(), multi_binaries())


def all_spaces() -> st.SearchStrategy[Any]:
    """Leaves, and Dict and Tuple nests of them; keys hold what column names escape."""
    keys = st.text("ab/#%é.", min_size=1, max_size=3)
    return st.recursive(
        leaf_spaces(),
        lambda inner: st.one_of(
            st.dictionaries(keys, inner, min_size=1, max_size=3).map(spaces.Dict),
            st.lists(inner, min_size=1, max_size=3).map(spaces.Tuple),
        ),
        max_leaves=4,
    )


def samples(space: Any) -> st.SearchStrategy[Any]:
    """Samples of a space as environments give them."""
    match space:
        case spaces.Box():
            return arrays(space.dtype, space.shape).map(lambda array: array[()])
        case spaces.Discrete():
            first = int(space.start)
            return st.integers(first, first + int(space.n) - 1).map(space.dtype.type)
        case spaces.MultiDiscrete() | spaces.MultiBinary():
            return st.integers(0, 2**32 - 1).map(lambda seed: _seeded(space, seed))
        case spaces.Dict():
            return st.fixed_dictionaries({key: samples(sub) for key, sub in space.items()})
        case spaces.Tuple():
            return st.tuples(*map(samples, space.spaces))
    raise AssertionError(f"no samples of {space}")


def _seeded(space: Any, seed: int) -> Any:
    space.seed(seed)
    return space.sample()


def json_values() -> st.SearchStrategy[Any]:
    """Everything a value of infos and metadata can be."""
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        INT64,
        st.integers(-(2**200), 2**200),
        st.floats(),
        st.text(max_size=6),
        st.text("#\ud800x", max_size=3),
        st.binary(max_size=6),
        np_values(),
    )
    keys = st.one_of(
        st.text(max_size=4),
        st.sampled_from(["#f", "#np", "#d", "#"]),
        INT64,
        st.booleans(),
        st.none(),
        st.binary(max_size=3),
        st.tuples(st.integers(0, 3), st.text(max_size=2)),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.dictionaries(keys, inner, max_size=3),
        ),
        max_leaves=6,
    )


def np_values() -> st.SearchStrategy[Any]:
    """Arrays of at least one dimension, and scalars, of any plain dtype."""
    dtypes = st.sampled_from([*BOX_DTYPES, *map(np.dtype, ("c8", "c16", "M8[ns]", "m8[s]"))])
    filled = st.tuples(dtypes, st.lists(st.integers(0, 3), min_size=1, max_size=2).map(tuple))
    return st.one_of(
        filled.flatmap(lambda found: arrays(*found)),
        dtypes.flatmap(lambda dtype: arrays(dtype, ())).map(lambda array: array[()]),
    )


def infos(n_steps: int) -> st.SearchStrategy[list[dict[Any, Any]]]:
    """Infos with keys that are there in every step, with one type or several, and in some."""
    keys = st.one_of(st.text("ab/#%é", max_size=3), st.integers(0, 2))
    steady = st.sampled_from([st.floats(), INT64, st.booleans(), st.text(max_size=3)])
    steady_arrays = st.tuples(st.sampled_from(BOX_DTYPES), shapes().filter(bool)).map(
        lambda found: arrays(*found)
    )
    column = st.one_of(
        st.one_of(steady, steady_arrays).flatmap(lambda s: _lists(s, n_steps)),
        _lists(json_values(), n_steps),
    )
    full = st.dictionaries(keys, column, max_size=3).map(
        lambda found: [{key: values[i] for key, values in found.items()} for i in range(n_steps)]
    )
    some = _lists(st.dictionaries(st.text(max_size=2), json_values(), max_size=2), n_steps)
    return st.tuples(full, some).map(
        lambda both: [{**one, **other} for one, other in zip(*both, strict=True)]
    )


def words() -> st.SearchStrategy[dict[str, Any]]:
    """Metadata, options, or what ``reset`` returned beside the observation."""
    return st.dictionaries(st.text(max_size=4), json_values(), max_size=2)


@st.composite
def episodes(draw: st.DrawFn, *, max_steps: int = 4) -> Generated:
    """Episodes of generated spaces that end in every way there is."""
    n = draw(st.integers(1, max_steps))
    observation_space, action_space = draw(all_spaces()), draw(all_spaces())
    terminated, truncated = draw(st.booleans()), draw(st.booleans())
    rewards = st.sampled_from([st.floats(), INT64, arrays(np.dtype("f4"), (2,))])
    steps = Steps(
        observations=draw(_lists(samples(observation_space), n + draw(st.integers(0, 1)))),
        actions=draw(_lists(samples(action_space), n)),
        rewards=draw(rewards.flatmap(lambda reward: _lists(reward, n))),
        terminated=[False] * (n - 1) + [terminated],
        truncated=[False] * (n - 1) + [truncated],
        infos=draw(infos(n)),
        reset_info=draw(words()),
        metadata=draw(words()),
        seed=draw(st.none() | st.integers(0, 2**70)),
        options=draw(st.none() | words()),
    )
    return Generated(steps, observation_space, action_space)


def _lists(values: st.SearchStrategy[Any], n: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(values, min_size=n, max_size=n)
