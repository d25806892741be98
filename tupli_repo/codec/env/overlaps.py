"""Parts of an environment that share memory without being the same object.

A document says where one object stands twice; that an array is a view of another it cannot say,
and neither can a private copy, so only the live environment shows it.

Invariant: what is refused would come back apart, and one of both can be written to.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from tupli_repo.codec.env.attributes import is_named
from tupli_repo.codec.env.leaves import held_by_layer, layer_index
from tupli_repo.codec.env.probing import Configuration
from tupli_repo.codec.env.recipe import AnyEnv, Plan, layers_of, path_of
from tupli_repo.codec.env.walk import Walk
from tupli_repo.errors import EncodingError

_MOST_WORK = 1_000_000
"""How long numpy may search for an element that two strided arrays share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Buffer:
    """Where a value lies: its first byte, and the one behind its last."""

    path: str
    value: Any
    start: int
    end: int
    is_writeable: bool


def refuse_overlaps(
    found: Configuration, stored: Sequence[AnyEnv] | None, *, probe: bool, volatile: Sequence[str]
) -> None:
    """Check that no two stored parts share memory that the document would take apart.

    Where a reset makes one of both anew, it also makes the sharing.

    Args:
        found: Its live layers are looked at.
        stored: The layers that are written, where a hook may have taken something out.
        probe: Whether a copy may be reset.
        volatile: Globs of what episodes change.

    Raises:
        EncodingError: Two do; the message names both paths.
    """
    walk = _walked(found.plan.live, found.plan)
    pairs = [
        (one, other)
        for one, other in [*_sharing(walk.buffers), *walk.viewed()]
        if _is_stored(one, found) or _is_stored(other, found)
        if not _is_volatile(one, found, volatile) and not _is_volatile(other, found, volatile)
    ]
    if pairs and stored is not None:
        left = _walked(stored, found.plan).objects()
        pairs = [pair for pair in pairs if left.keys() >= set(pair)]
    if pairs and probe:
        private = found.copy()
        before = _walked(layers_of(private), found.plan).objects()
        with suppress(Exception):  # it may raise anything; whoever describes it has reset it too
            private.reset(seed=0)
        after = _walked(layers_of(private), found.plan).objects()
        pairs = [
            pair for pair in pairs if all(before.get(path) is after.get(path) for path in pair)
        ]
    for one, other in pairs[:1]:
        raise EncodingError(
            f"'{one}' and '{other}' share memory, which a loaded environment would not",
            hint="make one from the other in reset(), index it where it is used, copy it, or"
            " exclude it",
        )


def _walked(layers: Sequence[AnyEnv], plan: Plan) -> Walk:
    walk = Walk(layers=layers, exclude=plan.exclude)
    told = plan.snapshot_layers()
    for index, layer in enumerate(layers):
        held, _ = held_by_layer(layer, index, plan, as_state=index in told)
        walk.attributes(sorted(held.items()), path_of(index))
    return walk


def _is_stored(path: str, found: Configuration) -> bool:
    index = layer_index(path)
    if index in found.plan.snapshot_layers():
        return True
    name = path[len(path_of(index)) + 1 :].partition("/")[0]
    return name in found.overrides.get(index, {})


def _is_volatile(path: str, found: Configuration, globs: Sequence[str]) -> bool:
    layer = path_of(layer_index(path))
    while len(path) > len(layer):
        if is_named(path, layer, globs):
            return True
        path = path.rpartition("/")[0]
    return False


# ---- memory --------------------------------------------------------------------------------------


def _sharing(buffers: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the paths of each two that share a byte, where one of both may be written."""
    lying = (_buffer(path, value) for path, value in buffers.items())
    behind: list[_Buffer] = []
    for buffer in sorted(
        (buffer for buffer in lying if buffer is not None), key=lambda b: (b.start, b.path)
    ):
        behind = [other for other in behind if other.end > buffer.start]
        for other in behind:
            if (buffer.is_writeable or other.is_writeable) and _do_share(buffer.value, other.value):
                one, two = sorted((buffer.path, other.path))
                yield one, two
        behind.append(buffer)


def _buffer(path: str, value: Any) -> _Buffer | None:
    if isinstance(value, np.ndarray):
        start = end = int(value.__array_interface__["data"][0])
        strides, size, is_writeable = value.strides, value.itemsize, value.flags.writeable
    else:
        if value.layout.__repr__() != "torch.strided" or value.device.type != "cpu":
            return None
        start = end = int(value.data_ptr())
        size, is_writeable = value.element_size(), True
        strides = tuple(stride * size for stride in value.stride())
    if not all(value.shape):
        return None
    for length, stride in zip(value.shape, strides, strict=True):
        start, end = start + min(0, stride * (length - 1)), end + max(0, stride * (length - 1))
    return _Buffer(path=path, value=value, start=start, end=end + size, is_writeable=is_writeable)


def _do_share(one: Any, other: Any) -> bool:
    if not isinstance(one, np.ndarray) or not isinstance(other, np.ndarray):
        return True
    try:
        return np.shares_memory(one, other, max_work=_MOST_WORK)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True
