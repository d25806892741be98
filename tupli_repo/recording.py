"""Recording: a wrapper that passes everything through and hands what it saw to a recorder.

Invariant: what acts in the environment gets what the environment returned, unchanged.
"""

from collections.abc import Mapping
from typing import Any, SupportsFloat

import numpy as np
from gymnasium import Env, Wrapper

from tupli_repo.callbacks import EpisodeSummary, ObservedStep, StepCallback
from tupli_repo.codec.buffer import snapshot
from tupli_repo.errors import InvalidInputError
from tupli_repo.recorder import EpisodeBuffer, OnAbandoned
from tupli_repo.schema import EpisodeMetadataCallback, RLTuple
from tupli_repo.storage import TupliStorage
from tupli_repo.wrappers import EpisodeWrapper


class RecordingWrapper(EpisodeWrapper, Wrapper[Any, Any, Any, Any]):
    """Records what happens in an environment; see `tupli_repo.TupliEnvWrapper`, which stores it."""

    def __init__(
        self,
        env: Env[Any, Any],
        storage: TupliStorage,
        benchmark_id: str | None = None,
        metadata_callback: EpisodeMetadataCallback | EpisodeSummary | None = None,
        rl_tuple_cls: type[RLTuple] = RLTuple,
        *,
        step_callback: StepCallback | None = None,
        on_abandoned: OnAbandoned = "record",
        seed_episodes: bool = False,
    ) -> None:
        super().__init__(env)
        self.metadata_callback = metadata_callback
        self.rl_tuple_cls = rl_tuple_cls
        self.step_callback = step_callback
        self._seeds = np.random.SeedSequence() if seed_episodes else None
        self._record_in(storage, benchmark_id, env, on_abandoned=on_abandoned)

    @property
    def tuple_buffer(self) -> tuple[RLTuple, ...]:
        """The tuples of the episode in the making, made now."""
        return self._recorder.tuples

    def set_wrapper_attr(self, name: str, value: Any, **options: Any) -> bool:
        """Set an attribute of this wrapper, or of the first one below that has it.

        Gymnasium 1.0 passes over the wrapper it is asked of, and sets what nobody looks at.
        """
        if hasattr(self, name):
            setattr(self, name, value)
            return True
        return bool(super().set_wrapper_attr(name, value, **options))

    # ---- recording

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment; an episode in the middle is closed first."""
        self._close_episodes()
        if seed is None and self._seeds is not None:
            seed = int(self._seeds.spawn(1)[0].generate_state(1)[0])
        rng = generator_state(self.env) if self._record_episodes and seed is None else None
        observation, info = self.env.reset(seed=seed, options=options)
        if self._record_episodes:
            seen = observation, info
            if self.step_callback is not None:
                seen = self.step_callback.on_reset(observation, info)
            callback = self.metadata_callback
            summary = callback if isinstance(callback, EpisodeSummary) else None
            self._recorder.begin(*seen, seed=seed, options=options, rng=rng, summary=summary)
            if callback is not None and not isinstance(callback, EpisodeSummary):
                callback.reset()
        return observation, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the environment and record the step; an episode that ends is stored.

        Raises:
            InvalidInputError: An episode ended and the environment has not been stored.
            EncodingError: Something in the episode could not be stored; the message says what.
            StorageIOError: The disk refused; the episode is kept and tried again with the next.
        """
        recorder = self._recorder
        buffer = recorder.buffer
        taken = None if buffer is None else buffer.taken(action)  # the step may change it
        observation, reward, terminated, truncated, info = self.env.step(action)
        if buffer is None:
            self._warn_unrecorded()
        elif buffer is recorder.buffer:  # else the step itself has closed the episode
            try:
                if self.step_callback is None:
                    buffer.append(taken, observation, reward, terminated, truncated, info)
                    if self.metadata_callback is not None or self.rl_tuple_cls is not RLTuple:
                        self._look_at(buffer)
                else:
                    step = ObservedStep(action, observation, reward, terminated, truncated, info)
                    self._append_seen(step, buffer)
            finally:  # whatever a callback raises, the episode has ended
                if terminated or truncated:
                    recorder.end(self.id, self.rl_tuple_cls)
        return observation, reward, terminated, truncated, info

    def _append_seen(self, step: ObservedStep, buffer: EpisodeBuffer) -> None:
        """Add what the step callback makes of a step; where it fails, the step is left out."""
        assert self.step_callback is not None
        ends = step.terminated, step.truncated
        n_steps = len(buffer)
        try:
            seen = _checked(self.step_callback.on_step(step))
            if seen is not None:
                taken = buffer.taken(seen.action)
                buffer.append(taken, seen.observation, seen.reward, *ends, seen.info)
        finally:  # the environment has gone on, whatever was raised
            if len(buffer) == n_steps:
                buffer.pass_over(step.observation, *ends)
                if buffer.tuples and buffer.has_own_tuples:  # it may end there now
                    buffer.tuples[-1] = buffer.last_tuple(self.rl_tuple_cls)
        if len(buffer) > n_steps:
            self._look_at(buffer)

    def _look_at(self, buffer: EpisodeBuffer) -> None:
        """Have the callbacks that want tuples look at the last step."""
        if self.rl_tuple_cls is not RLTuple and len(buffer.tuples) == len(buffer) - 1:
            buffer.tuples.append(buffer.last_tuple(self.rl_tuple_cls))
        callback = self.metadata_callback
        if callback is not None and not isinstance(callback, EpisodeSummary):
            own = len(buffer.tuples) == len(buffer)
            seen = buffer.tuples[-1] if own else buffer.last_tuple(RLTuple)
            buffer.metadata = snapshot(callback(seen))


def _checked(seen: object) -> ObservedStep | None:
    if seen is None or isinstance(seen, ObservedStep):
        return seen
    raise InvalidInputError(
        f"the step callback returned a '{type(seen).__name__}', so the step is left out",
        hint="return step, step._replace(reward=...), or None",
    )


def generator_state(env: Env[Any, Any]) -> Mapping[str, Any] | None:
    """Return the state of an environment's generator, None where it is not numpy's PCG64."""
    generator = getattr(env.unwrapped, "np_random", None)
    if isinstance(generator, np.random.Generator):
        bits = generator.bit_generator
        if isinstance(bits, np.random.PCG64):
            return bits.state
    return None
