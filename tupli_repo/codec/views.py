"""Sequences whose items are made when they are asked for."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

Item = TypeVar("Item", covariant=True)


class View(Sequence[Item]):
    """A read-only sequence; slices are lists.

    Args:
        read: Makes the item of a number from 0 to ``length`` - 1.
        length: How many there are.

    >>> squares = View(lambda i: i * i, 4)
    >>> squares[-1], squares[:2], squares == [0, 1, 4, 9]
    (9, [0, 1], True)
    """

    def __init__(self, read: Callable[[int], Item], length: int) -> None:
        self._read = read
        self._length = length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Item: ...

    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...

    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self._read(i) for i in range(*index.indices(self._length))]
        return self._read(range(self._length)[index])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, (View, list, tuple)):
            return NotImplemented
        return list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # compares like a list

    def __repr__(self) -> str:
        shown: list[Any] = self[:3]
        return f"<{self._length} items: {', '.join(map(repr, shown))}{', …' * (len(self) > 3)}>"
