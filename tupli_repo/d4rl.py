"""Loaded episodes as arrays with a row per step, in D4RL's names.

Invariant: row i of every array is of the same step.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.arrays import are_joinable
from tupli_repo.errors import InvalidInputError
from tupli_repo.repository.loading import LoadedEpisodes, is_asked_for
from tupli_repo.runs import are_last, with_cuts

_D4RL = ("observations", "actions", "next_observations", "rewards", "terminals", "timeouts")
_FLAGS = ("terminals", "timeouts")
_COLUMNS = {
    "actions": "actions",
    "rewards": "rewards",
    "terminals": "terminated",
    "timeouts": "truncated",
}


def d4rl_arrays(episodes: LoadedEpisodes, kept: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    """Return the steps of episodes as `TupliDataset.convert_to_d4rl_format` describes.

    Args:
        episodes: The episodes.
        kept: Which of their N steps are wanted, shape (N,).

    Raises:
        InvalidInputError: The spaces are composite, or the episodes have different shapes.
    """
    spans = episodes.spans
    if not spans:
        return {name: np.empty(0, bool if name in _FLAGS else np.float64) for name in _D4RL}
    _check_alike(episodes, ("observations", *_COLUMNS.values()))
    steps = [_Steps(episodes, number, kept) for number in range(len(spans))]
    order = None if len(steps) == 1 else np.argsort(np.concatenate([s.numbers() for s in steps]))
    found: dict[str, NDArray[Any]] = {}
    for target in _D4RL:
        found[target] = _in_order([of_span.taken(target) for of_span in steps], order)
    last = are_last(_in_order([of_span.numbers() for of_span in steps], order), episodes.n_steps)
    found["timeouts"] = with_cuts(found["timeouts"], found["terminals"], last)
    return found


def _in_order(parts: Sequence[NDArray[Any]], order: NDArray[np.int64] | None) -> NDArray[Any]:
    return parts[0] if order is None else np.concatenate(parts)[order]


class _Steps:
    """The wanted steps of the episodes that share a layout.

    Where the observation after the last action was never known, an episode that terminated repeats
    its last one, and one that did not loses its last step.

    Args:
        episodes: The episodes.
        number: The number of the span.
        kept: Which steps of all episodes are wanted.
    """

    def __init__(self, episodes: LoadedEpisodes, number: int, kept: NDArray[np.bool_]) -> None:
        span = episodes.spans[number]
        here = episodes.place_table[:, 0] == number
        self._columns = span.columns
        self._starts = episodes.starts_of(span, "observations")
        self._lengths = episodes.n_steps[here]
        self._ends = np.cumsum(self._lengths)
        self._first = (np.cumsum(episodes.n_steps) - episodes.n_steps)[here]
        lacks_final = np.diff(self._starts) == self._lengths
        self._repeated = self._ends[lacks_final] - 1
        self._keep = kept[self._counted_from(self._first)]
        self._keep[self._repeated] &= self._columns["terminated"][self._repeated]

    def numbers(self) -> NDArray[np.int64]:
        """Return their numbers among all steps."""
        return self._counted_from(self._first)[self._keep]

    def taken(self, target: str) -> NDArray[Any]:
        """Return one of the arrays, as far as it is of these steps."""
        if target in _COLUMNS:
            return self._columns[_COLUMNS[target]][self._keep]
        rows = self._counted_from(self._starts[:-1])
        if target == "next_observations":
            rows += 1
            rows[self._repeated] -= 1
        return self._columns["observations"][rows[self._keep]]

    def _counted_from(self, starts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of each step a number, counted on from that of the first in its episode."""
        rows = np.repeat(starts - (self._ends - self._lengths), self._lengths)
        rows += np.arange(len(rows))
        return rows


def _check_alike(episodes: LoadedEpisodes, names: Sequence[str]) -> None:
    """Check that the episodes have these columns, a row per step, of the same shape."""
    hint = "columns() gives every column; filter the dataset, or take episodes one by one"
    first: tuple[str, dict[str, NDArray[Any]]] | None = None
    for number, span in enumerate(episodes.spans):
        columns = span.columns
        oid = episodes.ids[int(np.argmax(episodes.place_table[:, 0] == number))][:12]
        for name in names:
            if name not in columns or f"{name}#offsets" in columns:
                parts = ", ".join(f"'{c}'" for c in columns if is_asked_for(c, [name]))
                raise InvalidInputError(
                    f"'{name}' of episode '{oid}' has no row per step: {parts or 'none'}",
                    hint=hint,
                )
        if first is None:
            first = oid, columns
        for name in names:
            one, other = first[1][name], columns[name]
            if one.shape[1:] != other.shape[1:]:
                raise InvalidInputError(
                    f"'{name}' has shape {one.shape[1:]} in episode '{first[0]}' and"
                    f" {other.shape[1:]} in '{oid}'",
                    hint=hint,
                )
            if not are_joinable(one.dtype, other.dtype):
                raise InvalidInputError(
                    f"'{name}' has dtype {one.dtype} in episode '{first[0]}' and"
                    f" {other.dtype} in '{oid}', which no array holds both exactly",
                    hint=hint,
                )
