"""Where two runs of one episode differ: column by column, bit by bit.

Invariant: no difference is found only where every value is the same, bit for bit, or NaN in both.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.samples import OFFSETS, column_names, escape
from tupli_repo.codec.spaces import LEAVES, Tree

TOLERANCE = 1e-6
"""How far apart floating-point numbers may lie to be close: absolute up to 1, relative above.

Mujoco was seen 2.5e-8 apart on two types of CPU after 100 steps, and a last bit that rounds the
other way is 1.2e-7 in float32, in which most observations come. Half precision, whose last bit is
larger than this, may differ by two units in the last place.
"""

Value = bool | int | float | str | None
"""One value of a column as Python's own; what JSON does not know, as text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """Where one column first differs, and how much it does at all.

    Args:
        step: 0 for what ``reset`` returned, t+1 for what came of ``actions[t]``.
        column: The column's name.
        element: The index within the row; empty for a scalar.
        recorded: The value there in the one run.
        replayed: The value there in the other.
        largest: The largest absolute difference of floating-point numbers; infinite where one of
            them is not finite.
        is_close: Whether only floating-point numbers differ, within ``TOLERANCE``.
        why: What is to be said besides.
    """

    step: int
    column: str
    element: tuple[int, ...] = ()
    recorded: Value = None
    replayed: Value = None
    largest: float = 0.0
    is_close: bool = False
    why: str = ""


def find_deviations(
    tree: Tree,
    recorded: Mapping[str, NDArray[Any]],
    replayed: Mapping[str, NDArray[Any]],
    *,
    n_observations: int,
    strict: bool,
) -> list[Deviation]:
    """Return the first difference of each column that has one, in the columns' order.

    Rows that only one of both has are not looked at: which are missing is for the caller to say.

    Args:
        tree: The tree of the observation space.
        recorded: The columns of the one run: observations, rewards, ``terminated``, ``truncated``.
        replayed: Those of the other.
        n_observations: How many observations the first has.
        strict: Whether another dtype is a difference, even where it holds the same numbers.
    """
    steps = dict(_steps_of_rows(tree, recorded, "observations", np.arange(n_observations)))
    after = np.arange(1, len(recorded["rewards"]) + 1)
    steps |= dict.fromkeys(("rewards", "terminated", "truncated"), after)
    names = [*column_names(tree, "observations"), "rewards", "terminated", "truncated"]
    found = (
        _deviation(name, steps[name], recorded[name], replayed[name], strict=strict)
        for name in names
    )
    return [deviation for deviation in found if deviation is not None]


def _steps_of_rows(
    tree: Tree, columns: Mapping[str, NDArray[Any]], name: str, steps: NDArray[np.int64]
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield each column's name with the step of every row; ``steps`` are those of the samples."""
    match tree["type"]:
        case "Dict":
            for key, sub in tree["spaces"]:
                yield from _steps_of_rows(sub, columns, f"{name}/{escape(str(key))}", steps)
        case "Tuple":
            for i, sub in enumerate(tree["spaces"]):
                yield from _steps_of_rows(sub, columns, f"{name}/{i}", steps)
        case "Text":
            yield name + OFFSETS, steps
            yield name, np.repeat(steps, _counts(columns[name + OFFSETS]))
        case "Sequence":
            yield name + OFFSETS, steps
            sub, inner = tree["space"], np.repeat(steps, _counts(columns[name + OFFSETS]))
            elements = name if sub["type"] in LEAVES else f"{name}/items"
            yield from _steps_of_rows(sub, columns, elements, inner)
        case "Graph":
            for column in column_names(tree, name):
                if "#" in column.removeprefix(name):  # offsets, and which parts are present
                    yield column, steps
                if column.endswith(OFFSETS):
                    inner = np.repeat(steps, _counts(columns[column]))
                    yield column.removesuffix(OFFSETS), inner
        case "OneOf":
            choices = columns[f"{name}#choice"]
            yield f"{name}#choice", steps
            for i, sub in enumerate(tree["spaces"]):
                yield from _steps_of_rows(sub, columns, f"{name}/{i}", steps[choices == i])
        case _:
            yield name, steps


def _counts(ends: NDArray[Any]) -> NDArray[np.int64]:
    return np.diff(ends, prepend=0)


def _deviation(
    name: str,
    steps: NDArray[np.int64],
    recorded: NDArray[Any],
    replayed: NDArray[Any],
    *,
    strict: bool,
) -> Deviation | None:
    n_rows = min(len(recorded), len(replayed))
    ours, theirs = recorded[:n_rows], replayed[:n_rows]
    if not n_rows:
        return None
    what = "dtype" if not _are_comparable(ours.dtype, theirs.dtype, strict=strict) else ""
    if ours.shape != theirs.shape:
        what = "shape"
    if what:
        there, here = (
            str(side.dtype if what == "dtype" else side.shape[1:]) for side in (ours, theirs)
        )
        why = f"'{name}' had {what} {there} and has {here}"
        return Deviation(step=int(steps[0]), column=name, why=why)
    unequal = _unequal(ours, theirs)
    if not unequal.any():
        return None
    row, *element = (int(i) for i in np.argwhere(unequal)[0])
    largest, is_close = _distance(ours[unequal], theirs[unequal])
    return Deviation(
        step=int(steps[row]),
        column=name,
        element=tuple(element),
        recorded=_plain(ours[(row, *element)]),
        replayed=_plain(theirs[(row, *element)]),
        largest=largest,
        is_close=is_close,
    )


def _are_comparable(one: np.dtype[Any], other: np.dtype[Any], *, strict: bool) -> bool:
    if one == other:
        return True
    numbers = set("biufc")
    return not strict and (one.kind == other.kind or {one.kind, other.kind} <= numbers)


def _unequal(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[np.bool_]:
    """Which elements are not the same number, or bits; NaN equals NaN, whatever its bits are."""
    if ours.dtype != theirs.dtype and {ours.dtype.kind, theirs.dtype.kind} <= set("biu"):
        differ: NDArray[np.bool_] = ours.astype(np.uint64) != theirs.astype(np.uint64)
        differ |= (ours < 0) != (theirs < 0)
        return differ
    dtype = np.result_type(ours, theirs)
    unequal = _unequal_bits(ours.astype(dtype, copy=False), theirs.astype(dtype, copy=False))
    for whole in (ours, theirs):
        if whole.dtype.kind in "iu" and dtype.kind in "fc":
            unequal |= ~_is_exact(whole)
    return unequal


def _is_exact(whole: NDArray[Any]) -> NDArray[np.bool_]:
    """Which whole numbers float64 holds exactly: what is not one equals no such number."""
    numbers = whole.astype(np.float64)
    fits = numbers < 2.0 ** (8 * whole.itemsize - (whole.dtype.kind == "i"))
    exact: NDArray[np.bool_] = fits & (np.where(fits, numbers, 0).astype(whole.dtype) == whole)
    return exact


def _unequal_bits(ours: NDArray[Any], theirs: NDArray[Any]) -> NDArray[np.bool_]:
    """Which elements of one dtype are not the same bits; a complex number's parts each."""
    if ours.dtype.kind == "c":
        return _unequal_bits(ours.real, theirs.real) | _unequal_bits(ours.imag, theirs.imag)
    if not ours.dtype.itemsize or not ours.size:
        return np.zeros(ours.shape, dtype=bool)
    bits = [
        np.ascontiguousarray(side).view(np.uint8).reshape(*side.shape, ours.dtype.itemsize)
        for side in (ours, theirs)
    ]
    unequal: NDArray[np.bool_] = (bits[0] != bits[1]).any(axis=-1)
    if ours.dtype.kind == "f":
        unequal &= ~(np.isnan(ours) & np.isnan(theirs))
    return unequal


def _distance(ours: NDArray[Any], theirs: NDArray[Any]) -> tuple[float, bool]:
    """The largest absolute difference of floating-point numbers, and whether all are close."""
    if {ours.dtype.kind, theirs.dtype.kind} <= set("biu"):
        return 0.0, False
    dtype = np.result_type(ours, theirs)
    if dtype.kind not in "fc":
        return 0.0, False
    wide = np.complex128 if dtype.kind == "c" else np.float64
    tolerance = max(TOLERANCE, 2 * float(np.finfo(dtype).eps))
    with np.errstate(all="ignore"):
        apart = np.abs(ours.astype(wide) - theirs.astype(wide))
        allowed = tolerance * np.maximum(1.0, np.abs(ours.astype(wide)))
    apart[~np.isfinite(apart)] = np.inf
    is_close = bool(np.all((apart <= allowed) & np.isfinite(apart)))
    return float(apart.max()), is_close


def _plain(value: Any) -> Value:
    item = value.item()
    return item if isinstance(item, bool | int | float | str) else str(item)
