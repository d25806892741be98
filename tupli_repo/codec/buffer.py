"""An episode in the making: steps as they come, copied at once, and at its end as columns.

An environment may go on with the arrays and dictionaries it returned, so each is copied when it is
added. Arrays of plain numbers that are like the first one are kept as their bytes: end to end those
are the column. Whatever else comes is kept as a copy of its own, and looked at when the episode is
encoded.

Invariant: what `StepBuffer.columns` returns is what was appended, in value and type; a step is in
it whole or, when its `append` was interrupted, not at all.
"""

from array import array
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.arrays import Items
from tupli_repo.codec.values import MAX_DEPTH

_UNCHANGING = frozenset({bool, int, float, str, np.float32, np.float64, np.int64, type(None)})
_NOTHING: dict[str, Any] = {}
"""The copy of every empty info; nobody may change it."""
_FIELDS = 6


class StepColumns(NamedTuple):
    """The steps of an episode, as `tupli_repo.codec.episode.Steps` takes them.

    Attributes:
        observations: T+1 samples; row 0 is what ``reset`` returned.
        actions: T samples.
        rewards: T numbers, or what was returned in their place.
        terminated: T flags.
        truncated: T flags.
        infos: T dictionaries; empty ones may be the same, and must not be changed.
    """

    observations: Items
    actions: Items
    rewards: Sequence[Any]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    infos: Sequence[Mapping[str, Any]]


class Step(NamedTuple):
    """One step, in the order in which ``RLTuple.from_env_step`` takes it.

    Attributes:
        observation: What the action was taken in.
    """

    observation: Any
    action: Any
    reward: Any
    terminated: bool
    truncated: bool
    info: dict[str, Any]


class StepBuffer:
    """The steps of one episode.

    Args:
        observation: What ``reset`` returned; it is copied.
    """

    def __init__(self, observation: Any) -> None:
        self._observations, self._actions = _Copies(), _Copies()
        self._copy = self._observations.copy
        self._first = self._copy(observation)
        self.taken = self._actions.copy
        """Returns a copy of an action, for `append`; to be called before the step changes it."""
        # One list, so that a step comes in with one call; T dictionaries or tuples would keep the
        # garbage collector busy.
        self._rows: list[Any] = []

    def __len__(self) -> int:
        return len(self._rows) // _FIELDS

    def append(
        self,
        taken: Any,
        observation: Any,
        reward: Any,
        terminated: bool,  # noqa: FBT001 - as Gymnasium returns them
        truncated: bool,  # noqa: FBT001
        info: Mapping[str, Any],
    ) -> None:
        """Add a step, all of it or, when interrupted, nothing.

        Args:
            taken: What `taken` made of the action.
            observation: What the step returned; it is copied, as the others are.
            reward: What the step returned.
            terminated: What the step returned.
            truncated: What the step returned.
            info: What the step returned.
        """
        self._rows.extend(
            (
                taken,
                self._copy(observation),
                reward if type(reward) in _UNCHANGING else snapshot(reward),
                bool(terminated),
                bool(truncated),
                snapshot(info) if info or type(info) is not dict else _NOTHING,
            )
        )

    def pass_over(
        self,
        observation: Any,
        terminated: bool,  # noqa: FBT001 - as Gymnasium returns them
        truncated: bool,  # noqa: FBT001
    ) -> None:
        """Leave a step out, and with it the observation it began in.

        Where it led to is where the step before it leads to now; how it ended, that one ends.

        Args:
            observation: What the step returned.
            terminated: What the step returned.
            truncated: What the step returned.
        """
        copy = self._copy(observation)
        if self._rows:
            reward = self._rows[2 - _FIELDS]
            self._rows[1 - _FIELDS : -1] = (copy, reward, bool(terminated), bool(truncated))
        else:
            self._first = copy

    def cut(self, n_steps: int) -> None:
        """Forget all steps but the first ``n_steps``."""
        del self._rows[n_steps * _FIELDS :]

    def observation(self, t: int) -> Any:
        """Return observation t; 0 is what ``reset`` returned, T what the last step did."""
        row = self._rows[(t - 1) * _FIELDS + 1] if t else self._first
        return self._observations.value(row)

    def step(self, t: int) -> Step:
        """Return step t, from 0 on."""
        at = t * _FIELDS
        taken, _, *others = self._rows[at : at + _FIELDS]
        reward, terminated, truncated, info = others
        own = {} if info is _NOTHING else info
        action = self._actions.value(taken)
        return Step(self.observation(t), action, reward, terminated, truncated, own)

    def columns(self) -> StepColumns:
        """Return all steps."""
        rows = self._rows
        return StepColumns(
            self._observations.values([self._first, *rows[1::_FIELDS]]),
            self._actions.values(rows[0::_FIELDS]),
            rows[2::_FIELDS],
            np.frombuffer(bytearray(rows[3::_FIELDS]), bool),
            np.frombuffer(bytearray(rows[4::_FIELDS]), bool),
            rows[5::_FIELDS],
        )


class _Bytes(NamedTuple):
    """Bytes that somebody handed in as a value."""

    value: bytes


class _Copies:
    """How the samples of one column are copied: as bytes while they are like the first one."""

    __slots__ = ("_are_mixed", "_dtype", "_shape")

    def __init__(self) -> None:
        self._dtype: np.dtype[Any] | None = None
        self._shape: tuple[int, ...] = ()
        self._are_mixed = False

    def copy(self, value: Any) -> Any:
        """Return a copy, which `value` and `values` understand."""
        kind = type(value)
        if kind is np.ndarray:
            if value.dtype is self._dtype and value.shape == self._shape:
                return value.tobytes()
            if self._is_alike(value):
                return value.tobytes()
        self._are_mixed = True
        if kind in _UNCHANGING:
            return value
        kept = snapshot(value)
        return _Bytes(kept) if type(kept) is bytes and self._dtype is not None else kept

    def value(self, kept: Any) -> Any:
        """Return the value of a copy; it is a new array where it was kept as bytes."""
        if type(kept) is bytes and self._dtype is not None:
            return np.frombuffer(bytearray(kept), self._dtype).reshape(self._shape)
        return kept.value if type(kept) is _Bytes else kept

    def values(self, kept: list[Any]) -> Items:
        """Return the values of all copies, in order."""
        if self._dtype is None:
            return kept
        if self._are_mixed:
            return [self.value(one) for one in kept]
        rows = np.frombuffer(bytearray().join(kept), self._dtype)
        return rows.reshape(len(kept), *self._shape)

    def _is_alike(self, value: NDArray[Any]) -> bool:
        """Whether an array is like the first one, if it is not the first one itself."""
        dtype = value.dtype
        if self._dtype is not None:  # one that was unpickled has a dtype object of its own
            return dtype == self._dtype and value.shape == self._shape
        is_plain = dtype.kind in "biuf" and dtype.char != "g"
        if self._are_mixed or not is_plain or not value.size:
            return False
        self._shape, self._dtype = value.shape, dtype
        return True


def snapshot(value: Any) -> Any:
    """Return a copy of what an environment may change later: arrays and containers.

    What is nested too deeply to be stored (a dictionary that holds itself, say) is not copied:
    that it cannot be stored is told when the episode ends.
    """
    kind = type(value)
    if kind is np.ndarray:
        return value.copy()
    return value if kind in _UNCHANGING else _snapshot(value, 0)


def _snapshot(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        return value
    if type(value) is dict:  # most are, and a test for any mapping takes long
        return {
            key: item if type(item) in _UNCHANGING else _snapshot(item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, (np.generic, str, bytes)):
        return value
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, bytearray):
        return bytes(value)
    if isinstance(value, Mapping):
        return {key: _snapshot(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [item if type(item) in _UNCHANGING else _snapshot(item, depth + 1) for item in value]
    if isinstance(value, tuple):
        items = [_snapshot(item, depth + 1) for item in value]
        return type(value)._make(items) if hasattr(value, "_make") else tuple(items)
    if hasattr(value, "__array__") or isinstance(value, (array, memoryview)):
        return np.asarray(value).copy()  # a tensor, or another kind of array
    return value
