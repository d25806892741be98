"""The recorder: keeps the episode in the making and records it when it ends.

Invariant: ``actions[t]`` stands beside the observation it was taken in; an episode that was begun
is recorded, however it ended, unless the caller chose to drop it.
"""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from secrets import token_hex
from typing import Any, Literal, NoReturn, Protocol

from gymnasium import Space

from tupli_repo.callbacks import EpisodeSummary
from tupli_repo.codec.arrays import Items
from tupli_repo.codec.buffer import StepBuffer, snapshot
from tupli_repo.codec.episode import Steps, encode
from tupli_repo.codec.tuples import tuples_from_steps
from tupli_repo.errors import EncodingError, InvalidInputError, StorageIOError, TupliError
from tupli_repo.repository.episodes import Recorded
from tupli_repo.schema import RLTuple, utc_now
from tupli_repo.storage import TupliStorage

OnAbandoned = Literal["record", "drop"]
_Spaces = tuple[Space[Any] | None, Space[Any] | None]


class HasSpaces(Protocol):
    """An environment, of which only the spaces matter here."""

    @property
    def observation_space(self) -> Space[Any]:
        """The space of its observations."""

    @property
    def action_space(self) -> Space[Any]:
        """The space of its actions."""


class EpisodeBuffer(StepBuffer):
    """The episode in the making, and what is known of it beside its steps.

    Args:
        observation: What ``reset`` returned; it is copied.
        info: What ``reset`` returned beside it; it is copied.
        summary: What makes the metadata when the episode ends; None where that is done otherwise.
        begun: Other fields of `Steps` that are known from the beginning: seed, options, rng.
    """

    def __init__(
        self,
        observation: Any,
        info: Mapping[str, Any],
        summary: EpisodeSummary | None = None,
        **begun: Any,
    ) -> None:
        super().__init__(observation)
        self.begun = begun
        self._summary = summary
        self.tuples: list[RLTuple] = []
        self.metadata: Mapping[str, Any] = {}
        self.is_abandoned = False
        self._reset_info = snapshot(info)

    @property
    def has_own_tuples(self) -> bool:
        """Whether every step has a tuple of the caller's own class."""
        return len(self.tuples) == len(self)

    def cut_to_tuples(self) -> None:
        """Forget the steps from the first one on that has no tuple of the caller's own class."""
        self.cut(len(self.tuples))
        self.is_abandoned = True

    def summarize(self) -> None:
        """Have the metadata made, where there is a summary that makes it."""
        if self._summary is not None:
            self.metadata = snapshot(self._summary.summarize(self.steps()))

    def steps(self) -> Steps:
        """What was seen."""
        return self._steps(*self.columns())

    def steps_of_tuples(self, rl_tuple_cls: type[RLTuple]) -> Steps:
        """What the caller's own tuples say happened; the last observation by the same hook."""
        tuples = self.tuples
        last = self.step(len(self) - 1)._replace(observation=self.observation(len(self)))
        return self._steps(
            [*(item.state for item in tuples), rl_tuple_cls.from_env_step(*last).state],
            [item.action for item in tuples],
            [item.reward for item in tuples],
            [item.terminal for item in tuples],
            [item.timeout for item in tuples],
            [item.info for item in tuples],
        )

    def last_tuple(self, rl_tuple_cls: type[RLTuple]) -> RLTuple:
        """The tuple of the last step."""
        return rl_tuple_cls.from_env_step(*self.step(len(self) - 1))

    def _steps(
        self,
        observations: Items,
        actions: Items,
        rewards: Items,
        terminated: Items,
        truncated: Items,
        infos: Sequence[Mapping[str, Any]],
    ) -> Steps:
        was_left = self.is_abandoned and not terminated[-1] and not truncated[-1]
        if was_left:
            truncated = [*truncated[:-1], True]
        return Steps(
            abandoned=was_left,
            observations=observations,
            actions=actions,
            rewards=rewards,
            terminated=terminated,
            truncated=truncated,
            infos=infos,
            reset_info=self._reset_info,
            metadata=self.metadata,
            **self.begun,
        )


class EpisodeRecorder:
    """Collects the steps of one environment and records each episode when it ends.

    Args:
        env: The environment, for its spaces.
        storage: Where episodes go.
        on_abandoned: Whether an episode that does not end by itself is recorded, as truncated, or
            dropped.
        sync_interval_s: At most this many seconds pass between two fsyncs while episodes come in.

    Attributes:
        buffer: The episode in the making; None where none was begun.
    """

    def __init__(
        self,
        env: HasSpaces,
        storage: TupliStorage,
        *,
        on_abandoned: OnAbandoned = "record",
        sync_interval_s: float = 1.0,
    ) -> None:
        self._env = env
        self._storage = storage
        self._on_abandoned = on_abandoned
        self._sync_interval_s = sync_interval_s
        self._synced_at = time.monotonic()
        self.buffer: EpisodeBuffer | None = None
        self._unsaved: list[Callable[[], None]] = []

    @property
    def tuples(self) -> tuple[RLTuple, ...]:
        """The tuples of the episode in the making; the caller's own where it makes some."""
        if self.buffer is None or not len(self.buffer):
            return ()
        if self.buffer.has_own_tuples:
            return tuple(self.buffer.tuples)
        return tuple(tuples_from_steps(self.buffer.steps()))

    def begin(
        self,
        observation: Any,
        info: Mapping[str, Any],
        *,
        seed: int | None = None,
        options: Mapping[str, Any] | None = None,
        rng: Mapping[str, Any] | None = None,
        summary: EpisodeSummary | None = None,
    ) -> None:
        """Begin an episode with what ``reset`` returned."""
        options, rng = snapshot(options), snapshot(rng)
        self.buffer = EpisodeBuffer(observation, info, summary, seed=seed, options=options, rng=rng)
        if summary is not None:
            summary.begin()

    def end(self, benchmark_id: str | None, rl_tuple_cls: type[RLTuple]) -> None:
        """Record the episode.

        Raises:
            InvalidInputError: The environment has not been stored.
            EncodingError: Something could not be stored. Of infos and metadata, the episode is
                recorded without it, and this says what was left out.
            StorageIOError: The disk refused; the episode is kept and tried again with the next.
        """
        buffer, self.buffer = self.buffer, None
        if buffer is None or not len(buffer):
            return
        if benchmark_id is None:
            raise _not_stored()
        buffer.begun |= {"created_at": utc_now(), "nonce": token_hex(8)}  # the same in every try
        try:
            buffer.summarize()
        finally:  # an episode is recorded, whatever its summary does
            self._unsaved.append(lambda: self._save(buffer, benchmark_id, rl_tuple_cls))
            self._save_all()

    def record(self, episodes: Sequence[Steps], benchmark_id: str | None) -> None:
        """Record episodes that were collected elsewhere, as `end` records its own.

        Args:
            episodes: The episodes, each with its time and nonce, the same in every try.
            benchmark_id: Of what.

        Raises:
            InvalidInputError: The environment has not been stored; they are dropped.
            EncodingError: Something could not be stored. Of infos and metadata, the episode is
                recorded without it, and this says what was left out.
            StorageIOError: The disk refused; they are kept and tried again with the next.
        """
        if not episodes:
            return
        if benchmark_id is None:
            raise _not_stored()
        self._unsaved += [partial(self._save_steps, steps, benchmark_id) for steps in episodes]
        self._save_all()

    def abandon(self, benchmark_id: str | None, rl_tuple_cls: type[RLTuple]) -> None:
        """Close the episode in the making, which did not end by itself."""
        buffer = self.buffer
        if buffer is None or not len(buffer) or self._on_abandoned == "drop":
            self.buffer = None
        elif benchmark_id is None:
            self.buffer = None
            warnings.warn(
                f"{len(buffer)} steps were not recorded: the environment is not stored yet",
                stacklevel=4,
            )
        else:
            buffer.is_abandoned = True
            self.end(benchmark_id, rl_tuple_cls)

    def flush(self) -> None:
        """Return when every ended episode is on the disk itself.

        Raises:
            StorageIOError: One may not be.
        """
        self._retry()
        self._storage.flush()
        self._synced_at = time.monotonic()

    def _save_all(self) -> None:
        self._retry()
        if time.monotonic() - self._synced_at >= self._sync_interval_s:
            self.flush()

    def _retry(self) -> None:
        while self._unsaved:
            try:
                self._unsaved[0]()
            except TupliError as err:
                if not isinstance(err, StorageIOError):  # else it is tried again, as after Ctrl-C
                    del self._unsaved[0]
                raise
            del self._unsaved[0]

    def _save(self, buffer: EpisodeBuffer, benchmark_id: str, rl_tuple_cls: type[RLTuple]) -> None:
        """Record an episode, or what of it can be stored, and tell what cannot."""
        own = rl_tuple_cls is not RLTuple
        n_steps = len(buffer)
        if own and not buffer.has_own_tuples:
            buffer.cut_to_tuples()
            if not len(buffer):
                raise EncodingError(
                    f"the episode was not recorded: '{rl_tuple_cls.__name__}.from_env_step' failed"
                )
        steps = buffer.steps_of_tuples(rl_tuple_cls) if own else buffer.steps()
        spaces = (self._env.observation_space, self._env.action_space)
        failures: list[EncodingError] = []
        # The caller's own tuples need not fit the environment's spaces.
        for known in (spaces, (None, None)) if own else (spaces,):
            try:
                recorded = self._record(steps, benchmark_id, known)
            except EncodingError as err:
                failures.append(err)
            else:
                self._tell(recorded)
                if len(buffer) < n_steps:
                    raise EncodingError(
                        f"episode '{recorded.id[:12]}' was recorded as far as"
                        f" '{rl_tuple_cls.__name__}.from_env_step' came, {len(buffer)} of {n_steps}"
                        " steps"
                    )
                return
        self._save_beginning(steps, benchmark_id, failures[-1])

    def _save_steps(self, steps: Steps, benchmark_id: str) -> None:
        """Record an episode that was collected elsewhere, or what of it can be stored."""
        spaces = (self._env.observation_space, self._env.action_space)
        try:
            recorded = self._record(steps, benchmark_id, spaces)
        except EncodingError as err:
            self._save_beginning(steps, benchmark_id, err)
        else:
            self._tell(recorded)

    def _save_beginning(self, steps: Steps, benchmark_id: str, failure: EncodingError) -> NoReturn:
        """Record the longest beginning of an episode that can be stored, and tell."""
        spaces = (self._env.observation_space, self._env.action_space)
        for known in (spaces, (None, None)):
            kept = _longest_storable(steps, known)
            if kept is not None:
                recorded = self._record(kept, benchmark_id, known)
                raise EncodingError(
                    f"episode '{recorded.id[:12]}' was recorded as far as it can be stored,"
                    f" {len(kept.actions)} of {len(steps.actions)} steps: {failure.message}",
                    hint=failure.hint,
                ) from failure
        raise failure

    def _record(self, steps: Steps, benchmark_id: str, spaces: _Spaces) -> Recorded:
        return self._storage.record(
            steps, benchmark_id, observation_space=spaces[0], action_space=spaces[1]
        )

    def _tell(self, recorded: Recorded) -> None:
        if recorded.problems:
            first, more = recorded.problems[0], len(recorded.problems) - 1
            raise EncodingError(
                f"episode '{recorded.id[:12]}' was recorded, without what cannot be stored:"
                f" {first.message}" + (f", and {more} more" if more else ""),
                hint=first.hint,
            )


def _not_stored() -> InvalidInputError:
    return InvalidInputError(
        "the episode cannot be recorded: its environment is not stored",
        hint="call store(name) first, or deactivate_recording()",
    )


def _longest_storable(steps: Steps, spaces: _Spaces) -> Steps | None:
    """The longest beginning of an episode that can be stored, as a truncated one; None if none."""
    observation_space, action_space = spaces
    low, high = 0, len(steps.actions) - 1  # the whole of it cannot be
    while low < high:
        middle = (low + high + 1) // 2
        try:
            encode(
                _beginning(steps, middle),
                observation_space=observation_space,
                action_space=action_space,
            )
        except EncodingError:
            high = middle - 1
        else:
            low = middle
    return _beginning(steps, low) if low else None


def _beginning(steps: Steps, n_steps: int) -> Steps:
    return replace(
        steps,
        observations=steps.observations[: n_steps + 1],
        actions=steps.actions[:n_steps],
        rewards=steps.rewards[:n_steps],
        terminated=steps.terminated[:n_steps],
        truncated=[*steps.truncated[: n_steps - 1], True],
        abandoned=True,
        infos=steps.infos[:n_steps],
    )
