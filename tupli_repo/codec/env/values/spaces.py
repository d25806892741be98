"""gymnasium's spaces as fields and back.

Invariant: a space comes back equal, freshly seeded. One that holds more than its fields tell is
refused.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from gymnasium import spaces

from tupli_repo.codec.env.values.value_type import (
    BadFieldsError,
    Fields,
    UnrepresentableError,
    ValueType,
    expect,
    expect_int,
    guarded,
)

_MAX_EDGE = 1 << 40


def _bounds(array: Any) -> np.ndarray[Any, Any]:
    """Return a plain copy: how a space holds its bounds in memory says nothing about it."""
    return np.array(array, order="C")


def _box_fields(space: spaces.Box) -> Fields:
    if np.dtype(space.dtype) != space.low.dtype:
        raise UnrepresentableError("a Box whose dtype is not that of its bounds", "make a new one")
    return {"low": _bounds(space.low), "high": _bounds(space.high)}


def _box_of(fields: Fields) -> spaces.Box:
    low, high = expect(fields["low"], np.ndarray), expect(fields["high"], np.ndarray)
    if low.dtype != high.dtype or low.shape != high.shape or low.dtype.kind not in "biuf":
        raise BadFieldsError("the bounds of a Box do not agree")
    if np.isnan(low).any() or np.isnan(high).any():
        raise BadFieldsError("the bounds of a Box are not numbers")
    return spaces.Box(low, high, low.shape, low.dtype.type)


def _discrete_fields(space: spaces.Discrete) -> Fields:
    fields: Fields = {"n": int(space.n), "start": int(space.start)}
    if np.dtype(space.dtype) != np.dtype(np.int64):
        fields["dtype"] = np.dtype(space.dtype)
    return fields


def _discrete_of(fields: Fields) -> spaces.Discrete:
    n = expect_int(fields["n"], low=1, high=2**63 - 1)
    start = expect_int(fields["start"], low=-(2**63), high=2**63 - 1)
    if "dtype" in fields:
        return spaces.Discrete(n, start=start, dtype=_integer_type(fields["dtype"]))
    return spaces.Discrete(n, start=start)


def _integer_type(dtype: object) -> Any:
    if not isinstance(dtype, np.dtype) or dtype.kind not in "iu":
        raise BadFieldsError("an integer dtype expected")
    return dtype.type


def _multi_binary_fields(space: spaces.MultiBinary) -> Fields:
    return {"shape": int(space.n) if isinstance(space.n, int | np.integer) else list(space.shape)}


def _multi_binary_of(fields: Fields) -> spaces.MultiBinary:
    if type(fields["shape"]) is int:
        return spaces.MultiBinary(expect_int(fields["shape"], low=1, high=_MAX_EDGE))
    return spaces.MultiBinary(
        [expect_int(edge, low=1, high=_MAX_EDGE) for edge in expect(fields["shape"], list)]
    )


def _multi_discrete_fields(space: spaces.MultiDiscrete) -> Fields:
    return {
        "nvec": _bounds(space.nvec),
        "start": _bounds(space.start),
        "dtype": np.dtype(space.dtype),
    }


def _multi_discrete_of(fields: Fields) -> spaces.MultiDiscrete:
    nvec, start = expect(fields["nvec"], np.ndarray), expect(fields["start"], np.ndarray)
    if nvec.dtype.kind not in "iu" or start.dtype.kind not in "iu" or nvec.shape != start.shape:
        raise BadFieldsError("nvec and start of a MultiDiscrete do not agree")
    return spaces.MultiDiscrete(nvec, dtype=_integer_type(fields["dtype"]), start=start)


def _space(value: object) -> spaces.Space[Any]:
    if not isinstance(value, spaces.Space):
        raise BadFieldsError("a space expected")
    return value


def _spaces(value: object) -> list[spaces.Space[Any]]:
    return [_space(part) for part in expect(value, list)]


def _dict_space_of(fields: Fields) -> spaces.Dict:
    named: dict[str, spaces.Space[Any]] = {}
    for pair in expect(fields["items"], list):
        if type(pair) is not list or len(pair) != 2 or type(pair[0]) not in (str, int):
            raise BadFieldsError("a named space expected")
        named[pair[0]] = _space(pair[1])
    space = spaces.Dict()
    space.spaces = named  # the constructor would sort, and differs in that between versions
    return space


def _text_fields(space: spaces.Text) -> Fields:
    return {
        "min_length": int(space.min_length),
        "max_length": int(space.max_length),
        "charset": "".join(sorted(space.character_set)),
    }


def _text_of(fields: Fields) -> spaces.Text:
    return spaces.Text(
        expect_int(fields["max_length"], low=0, high=1 << 31),
        min_length=expect_int(fields["min_length"], low=0, high=1 << 31),
        charset=expect(fields["charset"], str),
    )


def _graph_of(fields: Fields) -> spaces.Graph:
    edge = fields["edge_space"]
    return spaces.Graph(_space(fields["node_space"]), None if edge is None else _space(edge))


def _whole(space_type: ValueType) -> ValueType:
    """Return the type of a space, which refuses one that its fields do not tell whole."""
    made_anew = guarded(space_type).from_fields
    known: set[str] = set()

    def to_fields(space: Any) -> Fields:
        fields = space_type.to_fields(space)
        try:
            if not known.issuperset(vars(space)):
                known.update(vars(made_anew(fields)))
        except BadFieldsError as err:
            why = f"a space that could not be made again: {err}"
            raise UnrepresentableError(why, "make another one") from None
        own = vars(space).keys() - known
        if own:
            raise UnrepresentableError(
                f"a space with an attribute of its own, '{min(own)}'", "keep it beside the space"
            )
        return fields

    return replace(space_type, to_fields=to_fields)


_SPACES: dict[type, ValueType] = {
    spaces.Box: ValueType("gymnasium.spaces.Box", ("low", "high"), _box_fields, _box_of),
    spaces.Discrete: ValueType(
        "gymnasium.spaces.Discrete", ("n", "start", "dtype?"), _discrete_fields, _discrete_of
    ),
    spaces.MultiBinary: ValueType(
        "gymnasium.spaces.MultiBinary", ("shape",), _multi_binary_fields, _multi_binary_of
    ),
    spaces.MultiDiscrete: ValueType(
        "gymnasium.spaces.MultiDiscrete",
        ("nvec", "start", "dtype"),
        _multi_discrete_fields,
        _multi_discrete_of,
    ),
    spaces.Text: ValueType(
        "gymnasium.spaces.Text", ("charset", "max_length", "min_length"), _text_fields, _text_of
    ),
    spaces.Tuple: ValueType(
        "gymnasium.spaces.Tuple",
        ("spaces",),
        lambda s: {"spaces": list(s.spaces)},
        lambda f: spaces.Tuple(_spaces(f["spaces"])),
    ),
    spaces.Dict: ValueType(
        "gymnasium.spaces.Dict",
        ("items",),
        lambda s: {"items": [[name, part] for name, part in s.spaces.items()]},
        _dict_space_of,
    ),
    spaces.Sequence: ValueType(
        "gymnasium.spaces.Sequence",
        ("space", "stack"),
        lambda s: {"space": s.feature_space, "stack": bool(s.stack)},
        lambda f: spaces.Sequence(_space(f["space"]), stack=expect(f["stack"], bool)),
    ),
    spaces.Graph: ValueType(
        "gymnasium.spaces.Graph",
        ("edge_space", "node_space"),
        lambda s: {"edge_space": s.edge_space, "node_space": s.node_space},
        _graph_of,
    ),
    spaces.OneOf: ValueType(
        "gymnasium.spaces.OneOf",
        ("spaces",),
        lambda s: {"spaces": list(s.spaces)},
        lambda f: spaces.OneOf(_spaces(f["spaces"])),
    ),
}

SPACE_TYPES: dict[type, ValueType] = {kind: _whole(space) for kind, space in _SPACES.items()}
"""By the type it is for."""
