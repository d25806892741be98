"""Episodes as arrays, and whether what came back is the same.

Invariant: `Expected` says nothing for arrays of the same bits, and something for all others.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = dict[str, NDArray[Any]]
STEP_COLUMNS = ("actions", "rewards", "terminated", "truncated")
POLICIES = ("random", "medium", "expert")
_COMPARED_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """One episode.

    Attributes:
        columns: ``observations`` of T+1 rows; ``actions``, ``rewards``, ``terminated`` and
            ``truncated`` of T.
        metadata: ``index``, ``policy``, ``score`` in [0, 1) and ``seed``.
    """

    columns: Columns
    metadata: dict[str, Any]

    def __len__(self) -> int:
        return len(self.columns["rewards"])


class Episodes(Sequence[Episode]):
    """E episodes of N steps, end to end.

    Args:
        lengths: The number of steps of each, shape (E,), int64.
        columns: ``observations`` of N+E rows, the other columns of N rows.

    Attributes:
        ends: Where the steps of each episode end, shape (E+1,), 0 first.
    """

    def __init__(self, lengths: NDArray[np.int64], columns: Mapping[str, NDArray[Any]]) -> None:
        self.lengths = lengths
        self.columns = dict(columns)
        self.ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])

    @property
    def n_steps(self) -> int:
        """N."""
        return int(self.ends[-1])

    @property
    def n_bytes(self) -> int:
        """The size of all columns."""
        return sum(column.nbytes for column in self.columns.values())

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        start, stop = int(self.ends[index]), int(self.ends[index + 1])
        columns = {name: self.columns[name][start:stop] for name in STEP_COLUMNS}
        observations = self.columns["observations"][start + index : stop + index + 1]
        return Episode(
            columns={"observations": observations, **columns}, metadata=metadata_of(index)
        )

    def in_memory(self) -> list[Episode]:
        """Return the episodes, each with arrays of its own, as a user holds them."""
        return [
            Episode(
                columns={name: np.array(column) for name, column in episode.columns.items()},
                metadata=episode.metadata,
            )
            for episode in self
        ]

    def save(self, folder: Path) -> None:
        """Write the columns as ``.npy`` files."""
        folder.mkdir(parents=True)
        for name, column in {"lengths": self.lengths, **self.columns}.items():
            np.save(folder / f"{name}.npy", column)

    @classmethod
    def load(cls, folder: Path) -> "Episodes":
        """Return what was saved, as mapped files: nothing is in memory until it is looked at."""
        columns = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r")
            for name in ("observations", *STEP_COLUMNS)
        }
        return cls(np.load(folder / "lengths.npy"), columns)


def metadata_of(index: int) -> dict[str, Any]:
    """Return the metadata of an episode; every contender stores these.

    >>> metadata_of(5)["policy"]
    'expert'
    """
    score = (index * 2654435761) % (1 << 32) / (1 << 32)
    return {"index": index, "policy": POLICIES[index % 3], "score": score, "seed": index}


def matching(n_episodes: int, *, policy: str, score: float) -> list[int]:
    """Return the episodes whose metadata has this policy and at least this score."""
    found = map(metadata_of, range(n_episodes))
    return [item["index"] for item in found if item["policy"] == policy and item["score"] >= score]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a contender keeps of episodes.

    Attributes:
        observations: ``all`` T+1, the ``first`` T, or (what PyTupli's wrapper records) the ``next``
            ones, those after each step.
        dtypes: Whether values keep their dtypes; else they are compared after a cast.
    """

    observations: str = "all"
    dtypes: bool = True


class Expected:
    """What a contender has to give back.

    Args:
        source: What it was given.
        kept: What it keeps of it.
    """

    def __init__(self, source: Episodes, kept: Kept) -> None:
        self._source = source
        self._kept = kept

    def wrong_in_episodes(self, got: Columns, indices: Sequence[int]) -> str:
        """Return what is wrong in columns of episodes end to end; empty where nothing is."""
        return self._wrong(got, {name: self._rows_of(indices, name) for name in got})

    def wrong_in_steps(self, got: Columns, steps: NDArray[np.int64]) -> str:
        """Return what is wrong in columns with a row for each of some steps."""
        source, wanted = self._source, {}
        shift = 1 if self._kept.observations == "next" else 0
        for name in got:
            if name == "observations":
                rows = steps + np.searchsorted(source.ends[1:], steps, side="right") + shift
                wanted[name] = iter([source.columns[name][rows]])
            else:
                wanted[name] = iter([source.columns[name][steps]])
        return self._wrong(got, wanted)

    def _rows_of(self, indices: Sequence[int], name: str) -> Iterator[NDArray[Any]]:
        return (self._rows(self._source[index], name) for index in indices)

    def _rows(self, episode: Episode, name: str) -> NDArray[Any]:
        if name == "final_observations":
            return episode.columns["observations"][-1:]
        column = episode.columns[name]
        if name != "observations" or self._kept.observations == "all":
            return column
        return column[:-1] if self._kept.observations == "first" else column[1:]

    def _wrong(self, got: Columns, wanted: Mapping[str, Iterator[NDArray[Any]]]) -> str:
        for name, parts in wanted.items():
            at = 0
            for part in parts:
                there = got[name][at : at + len(part)]
                if not self._is_same(there, part):
                    return f"'{name}' differs in the rows from {at} on"
                at += len(part)
            if at != len(got[name]):
                return f"'{name}' has {len(got[name])} rows, where {at} are due"
            if not got[name].flags.c_contiguous:
                return f"'{name}' is not contiguous"
        return ""

    def _is_same(self, got: NDArray[Any], wanted: NDArray[Any]) -> bool:
        if not self._kept.dtypes:
            wanted = wanted.astype(got.dtype)
        if got.dtype != wanted.dtype or got.shape != wanted.shape:
            return False
        return all(
            got[at : at + _COMPARED_AT_ONCE].tobytes()
            == wanted[at : at + _COMPARED_AT_ONCE].tobytes()
            for at in range(0, len(got), _COMPARED_AT_ONCE)
        )


def dump_metadata(episodes: Sequence[Episode]) -> bytes:
    """Return the episodes' metadata as JSON, for contenders that have no place for it."""
    return json.dumps([episode.metadata for episode in episodes]).encode()
