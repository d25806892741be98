"""Many values as one array, exactly.

Invariant: each row of what `stack` returns holds its value without loss, or it raises.
"""

from collections.abc import Mapping, Sequence
from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.values import dtype_name, little_endian
from tupli_repo.errors import EncodingError

Items = Sequence[Any] | NDArray[Any]
"""Values in order: a list of them, or an array with a row for each."""


def stack(
    samples: Items,
    name: str,
    *,
    prefer: str | None = None,
    shape: tuple[int, ...] | None = None,
    as_floats: bool = False,
) -> NDArray[Any]:
    """Return arrays or scalars as one array with a row for each, in the dtype they have.

    Args:
        samples: N arrays, numpy scalars, Python numbers, bools, or nested lists of those.
        name: What they are called in an error's message.
        prefer: The dtype for plain Python values, where it holds them exactly; with ``shape``, what
            an empty array has.
        shape: The shape of an item, for N = 0.
        as_floats: Whether a Fraction or the like is the float that Gymnasium takes it for.

    Raises:
        EncodingError: They differ in shape, or cannot be stored; the message says at which step.
    """
    if not len(samples):
        return np.empty((0, *(shape or ())), dtype=prefer or "<f8")
    if isinstance(samples, np.ndarray):
        if type(samples) is not np.ndarray:  # numpy.ma takes long to import
            _refuse_mask(samples, name)
        dtype_name(samples.dtype, name=name)
        return little_endian(samples)
    alike = _stack_alike(samples, prefer)
    if alike is not None:
        return alike
    if as_floats:
        samples = list(map(_as_float, samples))
    arrays = [_as_array(sample, f"{name}[{i}]", prefer) for i, sample in enumerate(samples)]
    first = arrays[0]
    dtype = first.dtype
    for i, array in enumerate(arrays):
        if array.shape != first.shape:
            raise EncodingError(
                f"'{name}' has shape {first.shape} at step 0 and {array.shape} at step {i}",
                hint="every step of an episode has the same shape",
            )
        dtype_name(array.dtype, name=f"{name}[{i}]")
        if array.dtype != dtype:
            dtype = _common(dtype, array.dtype, name)
    with np.errstate(all="ignore"):  # what a cast would lose is found below
        stacked = np.stack(arrays).astype(dtype, copy=False)
    if any(array.dtype != dtype for array in arrays):
        _check_exact(arrays, stacked, name)
    return stacked.astype(dtype.newbyteorder("<"), copy=False)


def are_joinable(one: np.dtype[Any], other: np.dtype[Any]) -> bool:
    """Return whether arrays of both dtypes end to end keep every value exactly."""
    if one == other:
        return True
    if one.kind in "SU" or other.kind in "SU":
        return one.kind == other.kind
    if not {one.kind, other.kind} <= set("biufc"):
        return False
    joined = np.result_type(one, other)
    return all(_holds(joined, dtype) for dtype in (one, other))


def _stack_alike(samples: Sequence[Any], prefer: str | None) -> NDArray[Any] | None:
    """Return the same as `stack` where all samples are plainly alike, many times faster.

    None where it takes a closer look.
    """
    first = samples[0]
    kind = type(first)
    if {*map(type, samples)} != {kind}:
        return None
    if kind is np.ndarray:
        dtype, shape = first.dtype, first.shape
        if dtype.kind not in "biuf" or dtype.char in "gG" or not dtype.isnative or not first.size:
            return None
        if {sample.dtype for sample in samples} != {dtype}:
            return None
        if {sample.shape for sample in samples} != {shape}:
            return None
        try:
            joined = b"".join(samples)
        except (BufferError, TypeError, ValueError):  # one does not lie in C order
            return None
        return np.frombuffer(joined, dtype).reshape(len(samples), *shape)
    dtype = _PLAIN_DTYPES.get(kind)
    if dtype is None or (not issubclass(kind, np.generic) and prefer not in (None, dtype.str)):
        return None
    try:
        return np.array(samples, dtype)
    except OverflowError:  # an integer beyond 64 bits
        return None


_PLAIN_DTYPES: dict[type, np.dtype[Any]] = {
    kind: np.dtype(kind).newbyteorder("<")
    for kind in (bool, float, np.bool_, np.float32, np.float64, np.uint8, np.int32, np.int64)
} | {int: np.dtype("<i8")}
"""Types whose values are exactly those of a dtype."""


def _holds(wide: np.dtype[Any], narrow: np.dtype[Any]) -> bool:
    if narrow.kind in "iu" and wide.kind in "fc":
        return np.iinfo(narrow).bits <= np.finfo(wide).nmant
    return np.can_cast(narrow, wide)


def _common(one: np.dtype[Any], other: np.dtype[Any], name: str) -> np.dtype[Any]:
    try:
        return np.result_type(one, other)
    except TypeError:
        raise EncodingError(
            f"'{name}' has dtypes {one} and {other} in one episode",
            hint="give every step the same dtype",
        ) from None


def _as_array(sample: Any, name: str, prefer: str | None) -> NDArray[Any]:
    _refuse_mask(sample, name)
    if isinstance(sample, (np.ndarray, np.generic)):
        return np.asarray(sample)
    if sample is None or isinstance(sample, (str, bytes, Mapping)):
        kind = "None" if sample is None else f"a '{type(sample).__name__}'"
        raise EncodingError(f"'{name}' is {kind}, where a number or an array is due")
    try:
        array = np.asarray(sample)
    except (ValueError, OverflowError):
        raise EncodingError(f"'{name}' is no array of numbers, and cannot be stored") from None
    if prefer is not None and array.dtype.kind in "biuf" and array.dtype.str != prefer:
        with np.errstate(all="ignore"):
            narrow = array.astype(prefer)
            same = narrow.astype(array.dtype).tobytes() == array.tobytes()
        if same:
            return narrow
    return array


def _as_float(sample: Any) -> Any:
    known = (np.ndarray, np.generic, int, float, str)
    is_other = not isinstance(sample, known) and isinstance(sample, SupportsFloat)
    return float(sample) if is_other else sample


def _refuse_mask(sample: Any, name: str) -> None:
    if isinstance(sample, np.ma.MaskedArray):
        raise EncodingError(
            f"'{name}' is a masked array, whose mask cannot be stored", hint="fill it first"
        )


def _check_exact(arrays: Sequence[NDArray[Any]], stacked: NDArray[Any], name: str) -> None:
    for i, array in enumerate(arrays):
        with np.errstate(all="ignore"):
            back = stacked[i].astype(array.dtype)
        if back.tobytes() != array.tobytes():
            raise EncodingError(
                f"'{name}' has dtype {arrays[0].dtype} at step 0 and {array.dtype} at step {i},"
                f" and {stacked.dtype} does not hold both exactly",
                hint="give every step the same dtype",
            )
