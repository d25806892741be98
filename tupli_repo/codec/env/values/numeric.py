"""numpy arrays, scalars, dtypes and generators, as fields and back.

Invariant: an array comes back with the same dtype, shape, bytes, byte order and writability, and
with the same order of its axes in memory. One that does not fill its memory comes back as numpy
copies it, dense: every second row, rows in reverse, one row that stands for many. A generator comes
back of the same kind, freshly seeded: its state is never stored.
"""

import math
import re
from typing import Any

import numpy as np

from tupli_repo.codec.env.values.value_type import (
    BadFieldsError,
    Fields,
    UnrepresentableError,
    ValueType,
    expect,
    expect_int,
    refused,
)

MAX_ARRAY_BYTES = 1 << 28
"""What one array of a document may unfold to."""

_DTYPE = re.compile(
    r"[<|](?:b1|i[1248]|u[1248]|f[248]|c8|c16|S\d{1,6}|U\d{1,6})|<[mM]8(?:\[[A-Za-z]{1,2}\])?",
    re.ASCII,
)
_BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
_MAX_EDGE = 1 << 40


def _describe_dtype(dtype: np.dtype[Any]) -> str | list[Any]:
    if dtype.hasobject:
        raise UnrepresentableError(
            "an array of Python objects", "store a list, or an array with a numeric dtype"
        )
    if dtype.char in "gG":
        raise UnrepresentableError("a longdouble, whose size depends on the machine", "use float64")
    if dtype.metadata:
        raise UnrepresentableError("a dtype with metadata", "keep the metadata beside the array")
    if dtype.names is None:
        return dtype.newbyteorder("<").str
    plain = np.dtype([(name, dtype.fields[name][0]) for name in dtype.names])  # type: ignore[index]
    if plain != dtype:
        raise UnrepresentableError("a structured dtype with gaps or titles", "use a packed dtype")
    described = []
    for name in dtype.names:
        field = dtype[name]
        described.append([name, _describe_dtype(field.base), list(field.shape)])
    return described


def _dtype_of(described: object, *, depth: int = 0) -> np.dtype[Any]:
    if type(described) is str:
        if _DTYPE.fullmatch(described) is None:
            raise BadFieldsError(f"not a dtype: '{described[:30]}'")
        return np.dtype(described)
    fields = []
    for field in expect(described, list):
        if depth > 3 or type(field) is not list or len(field) != 3:
            raise BadFieldsError("not a structured dtype")
        shape = tuple(expect_int(edge, low=0, high=1 << 20) for edge in expect(field[2], list))
        fields.append((expect(field[0], str), _dtype_of(field[1], depth=depth + 1), shape))
    if not fields:
        raise BadFieldsError("a structured dtype without fields")
    return np.dtype(fields)


def _little_endian(array: np.ndarray[Any, Any]) -> bytes:
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes("C")


def _array_fields(array: np.ndarray[Any, Any]) -> Fields:
    if type(array) is not np.ndarray:
        masked = isinstance(array, np.ma.MaskedArray)
        raise UnrepresentableError(
            f"an array of type '{type(array).__qualname__}'",
            "store its data and its mask" if masked else "use numpy.asarray",
        )
    fields: Fields = {"dtype": _describe_dtype(array.dtype), "shape": list(array.shape)}
    if not array.dtype.isnative:
        fields["swapped"] = True
    order = _order_of(array)
    if order is not None:
        fields["order"] = order  # it decides the order of sums, so it can change bits
    if not array.flags.writeable:
        fields["readonly"] = True
    raw = _little_endian(array)
    item = raw[: array.dtype.itemsize]
    if array.size > 4 and raw == item * array.size:
        fields["fill"] = item  # bounds of images stay tiny
    else:
        fields["data"] = raw
    return fields


def _order_of(array: np.ndarray[Any, Any]) -> str | list[int] | None:
    """Return how an array lies in memory: None is C, ``"F"``, or its axes, the slowest first.

    The strides of an axis of length 1 say nothing. It stands before the first axis that comes after
    it in the shape, or behind the last axis of the shape, as in torch's ``channels_last``.
    """
    dense = array if array.flags.forc else np.empty_like(array)  # as a copy of it would lie
    if dense.flags.c_contiguous:
        return None
    if dense.flags.f_contiguous:
        return "F"
    order = [axis for axis in range(array.ndim) if array.shape[axis] > 1]
    order.sort(key=lambda axis: -dense.strides[axis])
    for axis in range(array.ndim):
        if array.shape[axis] == 1:
            later = [at for at, other in enumerate(order) if other > axis]
            order.insert(later[0] if later else order.index(max(order)) + 1, axis)
    return order


def _laid_out(
    values: np.ndarray[Any, Any], order: object, dtype: np.dtype[Any]
) -> np.ndarray[Any, Any]:
    """Return a copy of ``values`` that lies in memory as ``order`` says."""
    if type(order) is not list:
        return np.array(values, dtype=dtype, order="F" if expect(order, str) == "F" else "C")
    axes = [expect_int(axis, low=0, high=values.ndim - 1) for axis in order]
    if sorted(axes) != list(range(values.ndim)):
        raise BadFieldsError("not an order of the axes")
    array = np.array(values.transpose(axes), dtype=dtype, order="C").transpose(np.argsort(axes))
    if _order_of(array) != axes:
        raise BadFieldsError("an order of the axes that is written otherwise")
    return array


def _array_of(fields: Fields) -> np.ndarray[Any, Any]:
    dtype = _dtype_of(fields["dtype"])
    shape = tuple(expect_int(n, low=0, high=_MAX_EDGE) for n in expect(fields["shape"], list))
    if len(shape) > 32:
        raise BadFieldsError("more than 32 dimensions")
    size = math.prod(shape)
    if size * (dtype.itemsize or 4) > MAX_ARRAY_BYTES:  # of nothing there are not for ever many
        raise BadFieldsError(f"an array of more than {MAX_ARRAY_BYTES} bytes")
    if ("fill" in fields) == ("data" in fields):
        raise BadFieldsError("either data or fill expected")
    if "fill" in fields:
        array = np.full(shape, _items(fields["fill"], dtype, count=1)[0], dtype=dtype)
    else:
        array = _items(fields["data"], dtype, count=size).reshape(shape)
    swapped = "swapped" in fields and expect(fields["swapped"], bool)
    stored_as = dtype.newbyteorder(">" if swapped else "=")
    array = _laid_out(array, fields.get("order", "C"), stored_as)
    if "readonly" in fields:
        array.flags.writeable = not expect(fields["readonly"], bool)
    return array


def _items(raw: object, dtype: np.dtype[Any], *, count: int) -> np.ndarray[Any, Any]:
    data = expect(raw, bytes)
    if len(data) != count * dtype.itemsize:
        raise BadFieldsError("the data does not fill the shape")
    if dtype.kind == "b" and data.strip(b"\x00\x01"):
        raise BadFieldsError("a bool that is neither 0 nor 1")
    if not data:
        return np.zeros(count, dtype=dtype)
    return np.frombuffer(data, dtype=dtype)


def _scalar_fields(scalar: np.generic) -> Fields:
    if type(scalar) is not scalar.dtype.type or isinstance(scalar, np.record):
        raise UnrepresentableError(
            f"a number of type '{type(scalar).__qualname__}'", "use the plain numpy type"
        )
    array = np.asarray(scalar)
    return {"dtype": _describe_dtype(array.dtype), "data": _little_endian(array)}


def _scalar_of(fields: Fields) -> Any:
    dtype = _dtype_of(fields["dtype"])
    return _items(fields["data"], dtype, count=1).astype(dtype.newbyteorder("="))[0]


def _dtype_value(fields: Fields) -> np.dtype[Any]:
    return _dtype_of(fields["descr"]).newbyteorder("=")


def _bit_generator_of(kind: object) -> np.random.BitGenerator:
    if expect(kind, str) not in _BIT_GENERATORS:
        raise BadFieldsError("not a bit generator of numpy")
    fresh: np.random.BitGenerator = getattr(np.random, str(kind))()
    return fresh


def _kind_of(generator: Any) -> str:
    kind = type(generator).__name__
    if getattr(np.random, kind, None) is not type(generator) or kind not in _BIT_GENERATORS:
        raise UnrepresentableError(f"a generator of kind '{kind}'", "use numpy.random.default_rng")
    return kind


def _generator_fields(generator: np.random.Generator) -> Fields:
    if type(generator) is not np.random.Generator:
        raise UnrepresentableError(
            f"a generator of type '{type(generator).__qualname__}'", "use numpy.random.default_rng"
        )
    return {"kind": _kind_of(generator.bit_generator)}


def _random_state_fields(state: Any) -> Fields:
    kind = _kind_of(state._bit_generator)  # noqa: SLF001 - numpy says it nowhere else
    return {} if kind == "MT19937" else {"kind": kind}


def _seed_sequence_fields(seeds: np.random.SeedSequence) -> Fields:
    """Return what seeds say; how many were spawned from them is a generator's state."""
    held: Any = seeds.entropy
    plain = isinstance(held, int | np.integer)
    entropy = int(held) if plain else [int(number) for number in held]
    return {
        "entropy": entropy,
        "pool_size": int(seeds.pool_size),
        "spawn_key": [int(number) for number in seeds.spawn_key],
    }


def _seed_sequence_of(fields: Fields) -> np.random.SeedSequence:
    entropy = fields["entropy"]
    numbers = entropy if type(entropy) is list else [entropy]
    spawn_key = expect(fields["spawn_key"], list)
    if any(type(number) is not int or number < 0 for number in (*numbers, *spawn_key)):
        raise BadFieldsError("natural numbers expected")
    return np.random.SeedSequence(
        entropy,
        spawn_key=tuple(spawn_key),
        pool_size=expect_int(fields["pool_size"], low=4, high=1 << 12),
    )


NUMERIC_TYPES: dict[type, ValueType] = {
    np.ndarray: ValueType(
        "numpy.ndarray",
        ("dtype", "shape", "data?", "fill?", "order?", "readonly?", "swapped?"),
        _array_fields,
        _array_of,
        shared=True,
    ),
    np.generic: ValueType("numpy.generic", ("dtype", "data"), _scalar_fields, _scalar_of),
    np.dtype: ValueType(
        "numpy.dtype", ("descr",), lambda d: {"descr": _describe_dtype(d)}, _dtype_value
    ),
    np.random.Generator: ValueType(
        "numpy.random.Generator",
        ("kind",),
        _generator_fields,
        lambda f: np.random.Generator(_bit_generator_of(f["kind"])),
        shared=True,
    ),
    np.random.BitGenerator: ValueType(
        "numpy.random.BitGenerator",
        ("kind",),
        lambda bits: {"kind": _kind_of(bits)},
        lambda f: _bit_generator_of(f["kind"]),
        shared=True,
    ),
    np.random.RandomState: ValueType(
        "numpy.random.RandomState",
        ("kind?",),
        _random_state_fields,
        lambda f: np.random.RandomState(_bit_generator_of(f.get("kind", "MT19937"))),
        shared=True,
    ),
    np.random.SeedSequence: ValueType(
        "numpy.random.SeedSequence",
        ("entropy", "pool_size", "spawn_key"),
        _seed_sequence_fields,
        _seed_sequence_of,
        shared=True,
    ),
    np.poly1d: refused("numpy.poly1d", "a numpy.poly1d", "store its coefficients: its .coeffs"),
}
"""By the type it is for; scalars, dtypes and generators of any subclass use their base's."""
