"""Arrays and lists of numbers, element by element: how many differ, where first, and by how much.

Invariant: elements are equal only where every bit is; a constant array is never unfolded on its
own, so that a comparison takes no more room than the two texts.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from jsonpickle import tags  # type: ignore[import-untyped]
from numpy.typing import NDArray

from tupli_repo.codec.env.comparing.short_text import Elements, element_text, elements_of
from tupli_repo.schema.reports import ElementsDifference

_MANY = 10
_FLAGS = {"order": "memory order", "readonly": "read-only", "swapped": "byte order"}
_NOT_FINITE = ("nan", "inf", "-inf")


class Summary(NamedTuple):
    """What differs, in words and in figures; no words where nothing does."""

    note: str
    elements: ElementsDifference | None


def compare_arrays(ours: dict[str, Any], theirs: dict[str, Any]) -> Summary | None:
    """Return what differs between two arrays' nodes; None where one's fields do not fit."""
    mine, yours = elements_of(ours), elements_of(theirs)
    if mine is None or yours is None:
        return None
    notes = []
    if mine.items.dtype != yours.items.dtype:
        notes.append("dtype")
    if mine.shape != yours.shape:
        notes.append("shape")
    notes += [word for flag, word in _FLAGS.items() if ours.get(flag) != theirs.get(flag)]
    elements = None
    if mine.shape == yours.shape and "dtype" not in notes:
        elements = _elements(mine, yours)
    said = [f"another {' and '.join(notes)}"] if notes else []
    return Summary("; ".join(said + ([_told(elements)] if elements else [])), elements)


def compare_numbers(ours: list[Any], theirs: list[Any]) -> Summary | None:
    """Return what differs between two lists of numbers, where it is too much to list each place.

    None stands for: compare them like any other list.
    """
    if max(len(ours), len(theirs)) <= _MANY:
        return None
    mine, yours = [_number(node) for node in ours], [_number(node) for node in theirs]
    if None in mine or None in yours:
        return None
    pairs = list(zip(mine, yours, strict=False))
    places = [i for i, (one, other) in enumerate(pairs) if _identity(one) != _identity(other)]
    if len(places) + abs(len(mine) - len(yours)) <= _MANY:
        return None
    said = [] if len(mine) == len(yours) else [f"{len(mine)} and {len(yours)} elements"]
    if not places:
        return Summary(said[0], None)
    first = places[0]
    elements = ElementsDifference(
        count=len(places),
        of=len(pairs),
        first_index=[first],
        ours=element_text(mine[first]),
        theirs=element_text(yours[first]),
        max_abs_difference=_largest_of(pairs[i] for i in places),
    )
    return Summary("; ".join([*said, _told(elements)]), elements)


def _number(node: Any) -> Any:
    """Return the number a node stands for, Python's or numpy's; None where it is none."""
    if type(node) in (int, float):
        return node
    if type(node) is not dict:
        return None
    if node.get(tags.OBJECT) == "builtins.float":
        return float(node["value"]) if node.get("value") in _NOT_FINITE else None
    if node.get(tags.OBJECT) == "numpy.generic":
        found = elements_of({**node, "shape": []})
        return found.items[0] if found and found.items.dtype.kind in "iuf" else None
    return None


def _identity(number: Any) -> tuple[type, str]:
    return type(number), repr(number)


def _largest_of(pairs: Iterable[tuple[Any, Any]]) -> int | float | None:
    distances = (_distance(one, other) for one, other in pairs)
    return max((d for d in distances if math.isfinite(d)), default=None)


def _distance(one: Any, other: Any) -> int | float:
    try:
        distance: int | float = abs(_plain(one) - _plain(other))
        math.isfinite(distance)
    except OverflowError:  # an int that no float can hold
        return math.inf
    return distance


def _plain(number: Any) -> Any:
    return number.item() if isinstance(number, np.generic) else number


def _elements(ours: Elements, theirs: Elements) -> ElementsDifference | None:
    """Return what differs; the arrays have one dtype and one shape."""
    size = math.prod(ours.shape)
    both_constant = ours.is_constant and theirs.is_constant
    size_seen = min(size, 1) if both_constant else size  # then the first stands for all
    mine, yours = (_unfolded(side.items, size_seen) for side in (ours, theirs))
    differs = (_bytes(mine) != _bytes(yours)).any(axis=1)
    count = int(differs.sum())
    if count == 0:
        return None
    first = int(differs.argmax())
    index = np.unravel_index(first, ours.shape) if first else [0] * len(ours.shape)
    return ElementsDifference(
        count=count if size_seen == size else size,
        of=size,
        first_index=[int(i) for i in index],
        ours=element_text(mine[first]),
        theirs=element_text(yours[first]),
        max_abs_difference=_largest(mine[differs], yours[differs]),
    )


def _unfolded(items: NDArray[Any], size: int) -> NDArray[Any]:
    return items[:size] if len(items) >= size else np.broadcast_to(items, (size,))


def _bytes(items: NDArray[Any]) -> NDArray[np.uint8]:
    if items.strides == (0,):  # one element, seen many times
        return np.broadcast_to(_bytes(items[:1].copy()), (len(items), items.dtype.itemsize))
    return items.view(np.uint8).reshape(len(items), items.dtype.itemsize)


def _largest(ours: NDArray[Any], theirs: NDArray[Any]) -> int | float | None:
    """Return the largest absolute difference, None where there is no finite one."""
    kind = ours.dtype.kind
    if kind in "iu":
        high, low = np.maximum(ours, theirs), np.minimum(ours, theirs)
        return int((high.astype(np.uint64) - low.astype(np.uint64)).max())
    if kind not in "fc":
        return None
    wide = np.complex128 if kind == "c" else np.float64
    with np.errstate(all="ignore"):
        distances = np.abs(ours.astype(wide) - theirs.astype(wide))
    finite = distances[np.isfinite(distances)]
    return float(finite.max()) if finite.size else None


def _told(elements: ElementsDifference) -> str:
    index = ", ".join(map(str, elements.first_index))
    text = (
        f"{elements.count} of {elements.of} elements differ,"
        f" first at [{index}]: {elements.ours}, {elements.theirs}"
    )
    if elements.max_abs_difference is None:
        return text
    return f"{text}; by at most {elements.max_abs_difference:.6g}"
