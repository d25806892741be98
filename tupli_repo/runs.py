"""Runs: steps that follow each other in one episode, with none between them left out.

Where steps are left out, by a filter or because nobody knows what followed, an episode is several
runs. A run that does not end in a terminal state is a trajectory that was cut off: the observation
that followed its last step is known, and the step after that is of another trajectory.

Invariant: a row of which `are_last` says nothing is followed by the next step of its episode.
"""

import numpy as np
from numpy.typing import NDArray


def origin(
    numbers: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where steps come from: the number of the episode of each, and its place there.

    Args:
        numbers: Steps, counted over all episodes, shape (B,).
        lengths: The number of steps of each episode, shape (E,).

    >>> origin(np.array([1, 2, 4]), np.array([2, 3]))
    (array([0, 1, 1]), array([1, 0, 2]))
    """
    ends = np.cumsum(lengths)
    episodes = np.searchsorted(ends, numbers, side="right")
    return episodes, numbers - (ends - lengths)[episodes]


def are_last(numbers: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether each of some steps is the last of its run, shape (B,).

    Args:
        numbers: Steps, counted over all episodes, ascending, shape (B,).
        lengths: The number of steps of each episode, shape (E,).

    >>> are_last(np.array([0, 2, 3, 4, 5]), np.array([4, 2])).tolist()
    [True, False, True, False, True]
    """
    episodes, _ = origin(numbers, lengths)
    found = np.ones(len(numbers), bool)
    found[:-1] = (np.diff(numbers) != 1) | (np.diff(episodes) != 0)
    return found


def with_cuts(
    timeouts: NDArray[np.bool_], terminals: NDArray[np.bool_], last: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return which steps were the last before their trajectory was cut off, shape (B,).

    Args:
        timeouts: Which are recorded as such.
        terminals: Which reached a terminal state.
        last: Which are the last of their run; see `are_last`.
    """
    return timeouts | (last & ~terminals)
