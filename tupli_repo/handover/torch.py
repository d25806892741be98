"""Steps for PyTorch's ``DataLoader``: by number, or as a stream that holds a buffer and no more.

The bases of both classes are torch's, and torch need not be installed: they are made when they are
first asked for.

Invariant: over all ranks and workers, an epoch has every step once; its order depends on the seed,
the epoch and the numbers of ranks and workers, and on nothing else.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.errors import InvalidInputError
from tupli_repo.handover.steps import StepSource
from tupli_repo.optional import require
from tupli_repo.repository.loading import Columns

CHUNK_STEPS = 64
"""Steps that follow each other and are read together, whatever the order."""
Tensors = dict[str, Any]
_Window = tuple[Columns, NDArray[np.int64]]
"""Steps that are held at once, and the order they shall have."""


def tensors_of(columns: Mapping[str, NDArray[Any]]) -> Tensors:
    """Return arrays as tensors of the same memory.

    Raises:
        InvalidInputError: There are no tensors of such a dtype.
    """
    torch = require("torch", needed_for="a tensor")
    found = {}
    for name, column in columns.items():
        native = column.astype(column.dtype.newbyteorder("="), copy=False)
        try:
            found[name] = torch.from_numpy(native)
        except TypeError:
            raise InvalidInputError(
                f"'{name}' has dtype {column.dtype}, of which there are no tensors",
                hint="name the columns you want: only=['observations', 'actions']",
            ) from None
    return found


def by_number(source: StepSource) -> Any:
    """Return a map-style ``torch.utils.data.Dataset``; see `TupliDataset.to_torch`.

    Raises:
        MissingDependencyError: torch is not installed.
    """
    made = _classes()["StepDataset"]
    source.load()  # here: what is forked from this process shares it
    return made(source)


def streamed(
    source: StepSource,
    *,
    buffer_size: int,
    batch_size: int | None,
    shuffle: bool,
    seed: int,
    rank: int | None,
    world_size: int | None,
) -> Any:
    """Return a ``torch.utils.data.IterableDataset``; see `TupliDataset.to_torch`.

    Raises:
        MissingDependencyError: torch is not installed.
        InvalidInputError: A number is not possible.
    """
    made = _classes()["StepStream"]
    if rank is None and world_size is None:
        rank, world_size = _own_rank()
    if rank is None or world_size is None or not 0 <= rank < world_size:
        raise InvalidInputError(
            f"there is no rank {rank} of {world_size}", hint="for example rank=0, world_size=2"
        )
    if buffer_size < 1 or (batch_size is not None and batch_size < 1):
        raise InvalidInputError("a buffer or batch of no steps is not possible")
    if seed < 0:
        raise InvalidInputError(f"a seed is not negative, and this is {seed}")
    share = (rank, world_size)
    return made(source, buffer_size, batch_size, seed if shuffle else None, share)


class _ByNumber:
    """Steps by their numbers, as ``DataLoader`` asks for them: a batch at once."""

    def __init__(self, source: StepSource) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Tensors:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self.__getitems__([index % len(self)])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Tensors]:
        """Return several steps, read in one go."""
        found = tensors_of(self._source.read(np.asarray(indices, np.int64)))
        return [{name: column[i] for name, column in found.items()} for i in range(len(indices))]


class _Stream:
    """Steps as they come, chunk by chunk in random order, mixed in a buffer.

    Attributes:
        n_steps: How many steps this rank has in an epoch, over all its workers.
    """

    def __init__(
        self,
        source: StepSource,
        buffer_size: int,
        batch_size: int | None,
        seed: int | None,
        share: tuple[int, int],
    ) -> None:
        self._source = source
        self._buffer_size, self._batch_size = buffer_size, batch_size
        self._seed, self._share = seed, share
        torch = require("torch", needed_for="to_torch")
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # workers may live on
        start, stop = _part(0, len(source), *share)
        self.n_steps = stop - start

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch is next: each has an order of its own; all workers hear it.

        Raises:
            InvalidInputError: It is negative.
        """
        if epoch < 0:
            raise InvalidInputError(f"there is no epoch {epoch}")
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[Tensors]:
        windows = self._windows()
        return self._single(windows) if self._batch_size is None else self._batches(windows)

    def _windows(self) -> Iterator[_Window]:
        """A bufferful of steps at a time, and the order they shall have."""
        info = require("torch", needed_for="to_torch").utils.data.get_worker_info()
        worker, n_workers = (0, 1) if info is None else (info.id, info.num_workers)
        start, stop = _part(*_part(0, len(self._source), *self._share), worker, n_workers)
        n_chunks = -(-len(self._source) // CHUNK_STEPS)
        order: NDArray[np.int64] = np.arange(n_chunks)
        mixing: np.random.Generator | None = None
        if self._seed is not None:
            key = [self._seed, int(self._epoch)]
            order = np.random.default_rng(key).permutation(n_chunks)
            mixing = np.random.default_rng([*key, self._share[0], worker])
        ends = np.cumsum(np.minimum(CHUNK_STEPS, len(self._source) - order * CHUNK_STEPS))
        for at in range(start, stop, self._buffer_size):
            steps = _between(order, ends, at, min(at + self._buffer_size, stop))
            found = self._source.read(np.sort(steps))
            n = len(steps)
            yield found, np.arange(n) if mixing is None else mixing.permutation(n)
            del found  # before the next is read

    @staticmethod
    def _single(windows: Iterator[_Window]) -> Iterator[Tensors]:
        for found, order in windows:
            tensors = tensors_of(found)
            for i in order.tolist():  # a copy: who keeps a step must not keep the buffer
                yield {name: column[i].clone() for name, column in tensors.items()}
            del found, tensors

    def _batches(self, windows: Iterator[_Window]) -> Iterator[Tensors]:
        """Batches that go on from one window to the next; only the last is shorter."""
        size, rest = self._batch_size or 1, Columns()
        for found, order in windows:
            at = 0
            while at < len(order):
                n_rest = len(next(iter(rest.values()))) if rest else 0
                rows = order[at : at + size - n_rest]
                part = {name: column[rows] for name, column in found.items()}  # torch takes longer
                if rest:
                    part = {name: np.concatenate([rest[name], part[name]]) for name in part}
                at += len(rows)
                rest = part
                if n_rest + len(rows) == size:
                    yield tensors_of(part)
                    rest = Columns()
            del found
        if rest:
            yield tensors_of(rest)


def _part(start: int, stop: int, number: int, n_parts: int) -> tuple[int, int]:
    """One of equal parts of a range; they differ by one at most."""
    n = stop - start
    return start + n * number // n_parts, start + n * (number + 1) // n_parts


def _between(
    order: NDArray[np.int64], ends: NDArray[np.int64], start: int, stop: int
) -> NDArray[np.int64]:
    """Return the numbers of the steps from one place to another, chunks being in some order.

    >>> _between(np.array([1, 0]), np.array([6, 70]), 4, 8).tolist()
    [68, 69, 0, 1]
    """
    first, last = np.searchsorted(ends, [start, stop - 1], side="right")
    found = []
    for place in range(first, last + 1):
        begin = int(ends[place - 1]) if place else 0
        a, b = max(start, begin) - begin, min(stop, int(ends[place])) - begin
        found.append(np.arange(a, b) + order[place] * CHUNK_STEPS)
    return np.concatenate(found)


def _own_rank() -> tuple[int, int]:
    """This process's rank among those that train together, and how many they are."""
    distributed = require("torch", needed_for="to_torch").distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


@cache
def _classes() -> dict[str, type[Any]]:
    """Both classes by name, as pickle finds them here."""
    data = require("torch", needed_for="to_torch").utils.data
    return {
        name: type(name, (ours, base), {"__module__": __name__, "__doc__": ours.__doc__})
        for name, ours, base in [
            ("StepDataset", _ByNumber, data.Dataset),
            ("StepStream", _Stream, data.IterableDataset),
        ]
    }


def __getattr__(name: str) -> Any:
    if name not in ("StepDataset", "StepStream"):
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return _classes()[name]
