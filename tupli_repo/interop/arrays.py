"""Arrays and data frames as episodes: no environment is needed.

Invariant: each row becomes one step, with the values and dtypes it has.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import Space
from numpy.typing import ArrayLike, NDArray

from tupli_repo.errors import EncodingError, InvalidInputError
from tupli_repo.interop.flat import Flat, check_rows, ends_of, episodes_of
from tupli_repo.interop.importing import record_all, source_in_memory
from tupli_repo.interop.progress import OnProgress
from tupli_repo.repository import Repository
from tupli_repo.schema.interop import ImportReport


def import_arrays(
    repository: Repository,
    name: str,
    *,
    observations: Any,
    actions: Any,
    rewards: ArrayLike,
    terminals: ArrayLike,
    timeouts: ArrayLike | None = None,
    next_observations: Any = None,
    episode_ids: ArrayLike | None = None,
    infos: Mapping[str, ArrayLike] | None = None,
    observation_space: Space[Any] | None = None,
    action_space: Space[Any] | None = None,
    description: str = "",
    metadata: Mapping[str, Any] | None = None,
    benchmark_id: str | None = None,
    on_progress: OnProgress | None = None,
) -> ImportReport:
    """Record steps that lie in arrays, cut into episodes; durable when this returns.

    An episode ends where ``terminals`` or ``timeouts`` is set, where ``episode_ids`` changes, and
    where the next row does not go on from ``next_observations``. The same arrays imported again
    are the same episodes.

    Args:
        repository: Where they go.
        name: What the benchmark is called that is made for them.
        observations: Shape (N, ...), what each action was taken in; a dict or tuple of such arrays
            for a composite space.
        actions: Shape (N, ...); a dict or tuple of such arrays for a composite space.
        rewards: Shape (N,), or (N, k) where there are several.
        terminals: Shape (N,); true where the step reached a terminal state.
        timeouts: Shape (N,); true where the episode was cut off after the step; never, where None.
        next_observations: Like ``observations``: what the steps led to. Without it, the last
            observation of an episode is not known.
        episode_ids: Shape (N,); the same within an episode, whose rows stand together.
        infos: By key, arrays of shape (N, ...).
        observation_space: The space of the observations, where it is known.
        action_space: The space of the actions, where it is known.
        description: What the data are.
        metadata: What is said of every episode.
        benchmark_id: A benchmark that is here already; none is made then.
        on_progress: Told how many episodes are done, of how many.

    Raises:
        InvalidInputError: Arrays have different numbers of rows, or none; the next observations
            have other parts than the observations, or a number of an episode is missing.
        EncodingError: Something is no array of numbers.
        NotFoundError: ``benchmark_id`` is not here.
        StorageIOError: The disk refused.
    """
    told = _nested(rewards, "rewards")
    n = len(told) if np.ndim(told) else 0
    flat = Flat(
        observations=_nested(observations, "observations"),
        actions=_nested(actions, "actions"),
        rewards=told,
        terminals=_flags(terminals, "terminals"),
        timeouts=np.zeros(n, bool) if timeouts is None else _flags(timeouts, "timeouts"),
        next_observations=(
            None if next_observations is None else _nested(next_observations, "next_observations")
        ),
        episode_ids=None if episode_ids is None else _episode_ids(episode_ids),
        infos={key: _nested(column, f"infos/{key}") for key, column in (infos or {}).items()},
        metadata=metadata or {},
    )
    check_rows(flat)
    ends = ends_of(flat)
    source = source_in_memory(
        repository,
        "arrays",
        name,
        benchmark_id=benchmark_id,
        description=description,
        n_episodes=len(ends),
        observation_space=observation_space,
        action_space=action_space,
    )
    return record_all(repository, episodes_of(flat, ends), source, [], on_progress)


def import_dataframe(
    repository: Repository,
    name: str,
    frame: Any,
    *,
    observations: str | Sequence[str],
    actions: str | Sequence[str],
    rewards: str = "reward",
    terminals: str = "terminal",
    timeouts: str | None = None,
    next_observations: str | Sequence[str] | None = None,
    episodes: str | None = None,
    infos: Sequence[str] = (),
    **options: Any,
) -> ImportReport:
    """Record steps that lie in a data frame, one per row; see `import_arrays`.

    Args:
        repository: Where they go.
        name: What the benchmark is called that is made for them.
        frame: A data frame of pandas or polars; anything whose ``frame[column].to_numpy()`` works.
        observations: The columns that make an observation, in order: a vector. One name alone is a
            column whose cells are the observations: numbers, lists or arrays.
        actions: The same for actions.
        rewards: The column of rewards.
        terminals: The column of flags: the step reached a terminal state.
        timeouts: The column of flags: the episode was cut off after the step.
        next_observations: The columns of what the steps led to, as for ``observations``.
        episodes: The column that tells episodes apart.
        infos: Columns that become infos.
        **options: Others of `import_arrays`.

    Raises:
        InvalidInputError: There is no such column, or no rows.
        EncodingError: A column holds no numbers.
        NotFoundError: ``benchmark_id`` is not here.
    """

    def taken(columns: str | Sequence[str]) -> NDArray[Any]:
        if isinstance(columns, str):
            return _cells(frame, columns)
        if not columns:
            raise InvalidInputError("no columns are named", hint="name at least one")
        cells = [_cells(frame, column) for column in columns]
        found = np.stack(cells, axis=1)
        for i, column in enumerate(columns):
            if not np.array_equal(found[:, i].astype(cells[i].dtype), cells[i], equal_nan=True):
                raise EncodingError(
                    f"'{column}' is not exact in '{found.dtype}', as the others are"
                )
        return found

    return import_arrays(
        repository,
        name,
        observations=taken(observations),
        actions=taken(actions),
        rewards=taken(rewards),
        terminals=taken(terminals),
        timeouts=None if timeouts is None else taken(timeouts),
        next_observations=None if next_observations is None else taken(next_observations),
        episode_ids=None if episodes is None else _column(frame, episodes),
        infos={column: taken(column) for column in infos},
        **options,
    )


def _column(frame: Any, column: str) -> NDArray[Any]:
    if column not in frame.columns:
        there = ", ".join(map(str, frame.columns))
        raise InvalidInputError(f"the data frame has no column '{column}'", hint=f"it has {there}")
    found: NDArray[Any] = frame[column].to_numpy()
    return found


def _cells(frame: Any, column: str) -> NDArray[Any]:
    found = _column(frame, column)
    return _numbers(list(found), column) if found.dtype == object else _numbers(found, column)


def _nested(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _nested(part, f"{name}/{key}") for key, part in value.items()}
    if isinstance(value, tuple):
        return tuple(_nested(part, f"{name}/{i}") for i, part in enumerate(value))
    return _numbers(value, name)


def _numbers(value: Any, name: str) -> NDArray[Any]:
    try:
        found = np.asarray(value)
    except ValueError:
        raise EncodingError(
            f"'{name}' has rows of different shapes", hint="every row has the same shape"
        ) from None
    if found.dtype.kind not in "biufc":
        raise EncodingError(f"'{name}' has dtype '{found.dtype}', where numbers are due")
    return found


def _episode_ids(value: ArrayLike) -> NDArray[Any]:
    found = np.asarray(value)
    if found.ndim != 1:
        raise InvalidInputError("'episode_ids' holds something else than one value per step")
    if any(one is None or one != one for one in found.tolist()):
        raise InvalidInputError("a value of 'episode_ids' is missing")
    return found


def _flags(value: ArrayLike, name: str) -> NDArray[np.bool_]:
    found = _numbers(value, name)
    flags = found.astype(bool)
    if found.ndim != 1 or not np.array_equal(flags, found):
        raise InvalidInputError(f"'{name}' holds something else than one flag per step")
    return flags
