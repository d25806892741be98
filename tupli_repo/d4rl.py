"""Loaded episodes as arrays with a row per step, in D4RL's names.

Invariant: row i of every array is of the same step.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.arrays import are_joinable
from tupli_repo.errors import InvalidInputError
from tupli_repo.repository.loading import LoadedEpisodes

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
    _check_alike(episodes, ("observations", *_COLUMNS.values()))
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in _D4RL}
    at = 0
    for _, data in episodes:
        columns, n = data.columns, data.n_steps
        keep = kept[at : at + n].copy()
        at += n
        observations = columns["observations"]
        if len(observations) == n:
            keep[-1] &= columns["terminated"][-1]
            observations = np.concatenate([observations, observations[-1:]])
        parts["observations"].append(observations[:-1][keep])
        parts["next_observations"].append(observations[1:][keep])
        for target, name in _COLUMNS.items():
            parts[target].append(columns[name][keep])
    empty = {name: np.empty(0, bool if name in _FLAGS else np.float64) for name in _D4RL}
    return {name: np.concatenate(p) if p else empty[name] for name, p in parts.items()}


def is_part(column: str, name: str) -> bool:
    """Return whether a column is the one of that name, or a part of it."""
    return column == name or column.startswith((f"{name}/", f"{name}#"))


def _check_alike(episodes: LoadedEpisodes, names: Sequence[str]) -> None:
    """Check that the episodes have these columns, a row per step, of the same shape."""
    hint = "columns() gives every column; filter the dataset, or take episodes one by one"
    first: tuple[str, dict[str, NDArray[Any]]] | None = None
    for header, data in episodes:
        columns, oid = data.columns, header.id[:12]
        for name in names:
            if name not in columns or f"{name}#offsets" in columns:
                parts = ", ".join(f"'{c}'" for c in columns if is_part(c, name))
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
