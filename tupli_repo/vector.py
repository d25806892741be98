"""Episodes from vector environments: those of each sub-environment, as if it had run alone.

Invariant: the wrapper passes everything through unchanged; what it records of a sub-environment is
what `TupliEnvWrapper` records around it alone, as far as Gymnasium's batches tell.
"""

import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from secrets import token_hex
from typing import Any, NamedTuple

import numpy as np
from gymnasium import Env
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv, VectorWrapper

from tupli_repo.autoreset import autoreset_mode, check_infos, sub_environments, who_ended
from tupli_repo.batches import BatchBuffer, InfoBatch, Transitions
from tupli_repo.benchmark import TupliEnvWrapper
from tupli_repo.callbacks import EpisodeSummary
from tupli_repo.codec.buffer import snapshot
from tupli_repo.codec.episode import Steps
from tupli_repo.errors import InvalidInputError
from tupli_repo.recorder import OnAbandoned
from tupli_repo.recording import generator_state
from tupli_repo.schema import BenchmarkMetadata, EpisodeMetadataCallback, RLTuple, utc_now
from tupli_repo.storage import TupliStorage
from tupli_repo.wrappers import EnvironmentStore, EpisodeWrapper

_AT_END = ("final_obs", "final_info")


class _Begun(NamedTuple):
    """An episode that goes on: the row in which it began, and what is known since."""

    row: int
    seed: int | None
    options: Mapping[str, Any] | None
    rng: Mapping[str, Any] | None
    reset_info: Mapping[str, Any]
    summary: EpisodeSummary | None


class _Ended(NamedTuple):
    """An episode that is to be recorded, and what makes its metadata."""

    steps: Steps
    summary: EpisodeSummary | None


class _Spaces(NamedTuple):
    """The spaces of one sub-environment."""

    observation_space: Any
    action_space: Any


class TupliVectorEnvWrapper(EnvironmentStore, EpisodeWrapper, VectorWrapper):
    """Records what happens in each sub-environment of a vector environment.

    ``reset`` and ``step`` return what the vector environment returns, unchanged. What is recorded
    are the single environment's episodes, in each of Gymnasium's autoreset modes: the step that
    only resets (``NEXT_STEP``) is none, the observation before a reset in the same step
    (``SAME_STEP``) is the last of its episode, and after a reset of some sub-environments
    (``DISABLED``) the others go on. Episodes that end in one step are recorded in the order of the
    sub-environments.

    Observations have the dtype of their space and rewards are float64, as Gymnasium batches them.
    In infos numpy's float64 and int64 scalars become Python's numbers, and what a sub-environment
    gives in another dtype than the first to have that key has been cast already.

    Which episodes can be replayed: those of a ``reset`` with a seed (sub-environment i has ``seed +
    i``, or its own of a list), and those before whose reset the state of the generator was at hand:
    in a `SyncVectorEnv`, unless it reset in the same step. Other autoresets go on with a generator
    whose state is not known; so ``seed_episodes`` gives every episode a seed of its own only where
    autoresets are disabled.

    What an environment does to its last observation or info while it resets is seen in them where
    it resets in the same step: Gymnasium hands them out after the reset. What a vector wrapper
    inside this one adds to the infos of such a step goes to the episode that begins.

    Memory is given back when all episodes that saw it have ended: one that never ends keeps the
    steps of all sub-environments.

    A step that raises, or is interrupted, may have moved some sub-environments and not others: the
    episodes going on are closed as truncated by the next call, and the next begin with the next
    resets.

    Args:
        env: The vector environment. Wrappers that change infos into lists go around this one.
        storage: Where episodes go.
        benchmark_id: The id of the single environment's benchmark, where it is stored already.
        metadata_callback: What makes an episode's metadata when it ends: a summary of
            `tupli_repo.callbacks`, of which each episode has a copy, made when it begins; or
            PyTupli's, which is called with the tuple of every step: what it returns last counts.
        on_abandoned: ``"drop"`` discards episodes that were left in the middle.
        seed_episodes: Whether a ``reset`` without seeds gives each sub-environment one of its own.

    Raises:
        InvalidInputError: The environment does not tell how it resets, or takes no seeds for its
            sub-environments where ``seed_episodes``.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        storage: TupliStorage,
        benchmark_id: str | None = None,
        metadata_callback: EpisodeMetadataCallback | EpisodeSummary | None = None,
        *,
        on_abandoned: OnAbandoned = "record",
        seed_episodes: bool = False,
    ) -> None:
        super().__init__(env)
        self.metadata_callback = metadata_callback
        self._mode = autoreset_mode(env)
        base = env.unwrapped
        self._sub_envs = base.envs if isinstance(base, SyncVectorEnv) else None
        self._hands_on_seeds = isinstance(base, (SyncVectorEnv, AsyncVectorEnv))
        if seed_episodes and not self._hands_on_seeds:
            raise InvalidInputError(
                f"'{type(base).__name__}' takes no seeds for its sub-environments",
                hint="leave out seed_episodes",
            )
        self._seeds = np.random.SeedSequence() if seed_episodes else None
        self._drops_abandoned = on_abandoned == "drop"
        self._is_torn = False  # a step began and did not come to its end
        self._buffer: BatchBuffer | None = None
        self._begun: list[_Begun | None] = [None] * env.num_envs
        self._ended: list[int] = []  # who ended in the last step
        self._spaces = _Spaces(env.single_observation_space, env.single_action_space)
        self._record_in(storage, benchmark_id, self._spaces, on_abandoned=on_abandoned)

    # ---- recording

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the sub-environments, or those that ``options["reset_mask"]`` names.

        Their episodes in the middle are closed first.

        Args:
            seed: Sub-environment i is given ``seed + i``; or a list, with None where there is none.
            options: Handed on; ``reset_mask``, shape (num_envs,), is taken out by Gymnasium.
        """
        if self._is_torn:
            self._give_up()
        options_before = None if options is None else dict(options)
        mask = None if options_before is None else options_before.pop("reset_mask", None)
        chosen = range(self.num_envs) if mask is None else np.flatnonzero(mask).tolist()
        self._close_episodes(chosen)
        if seed is None and self._seeds is not None:
            seed = [int(s.generate_state(1)[0]) for s in self._seeds.spawn(self.num_envs)]
        begun = [
            (seed_i, None if seed_i is not None else self._generator_state(i))
            for i, seed_i in enumerate(self._seeds_of(seed))
        ]
        self._is_torn = True
        observations, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        check_infos(infos)
        self._ended = [i for i in self._ended if i not in chosen]
        if self._record_episodes:
            row = self._row_of_reset(observations, mask)
            told = InfoBatch(infos, self.num_envs)
            for i in chosen:
                seed_i, rng = begun[i]
                copied = snapshot(options_before)
                self._begun[i] = _Begun(row, seed_i, copied, rng, told.of(i), self._summary())
        self._is_torn = False
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step all sub-environments and record the step; episodes that end are stored.

        Raises:
            InvalidInputError: An episode ended and the environment has not been stored.
            EncodingError: Something in an episode could not be stored; the message says what.
            StorageIOError: The disk refused; the episode is kept and tried again with the next.
        """
        if self._is_torn:
            self._give_up()
        buffer = self._buffer
        resetting = self._ended if self._mode == "NextStep" else []
        rngs = [self._generator_state(i) for i in resetting] if self._record_episodes else []
        taken = None if buffer is None else snapshot(actions)  # before the step can change them
        self._is_torn = True
        result = self.env.step(actions)
        observations, rewards, terminated, truncated, infos = result
        ended = who_ended(terminated, truncated)
        told = infos
        if buffer is not None:
            check_infos(infos)
            told = _at_reset(infos) if ended and self._mode == "SameStep" else infos
            buffer.add(taken, observations, rewards, told)
        elif self._record_episodes and (resetting or (ended and self._mode == "SameStep")):
            self._row_of_reset(observations, None)
        else:
            self._warn_unrecorded()
        episodes: Sequence[_Ended] = ()
        if ended or resetting:
            episodes = self._episodes_ended(ended, terminated, truncated, infos)
            self._begin_by_autoreset(resetting, rngs, ended, told)
            self._forget()
        self._ended = ended
        self._is_torn = False
        if episodes:
            self._record(episodes)
        return result

    # ---- storing

    def _store_benchmark(
        self, words: BenchmarkMetadata, *, eval_env: Env[Any, Any] | None, **how: Any
    ) -> str:
        with sub_environments(self.env) as envs:
            single = TupliEnvWrapper(envs[0], self.storage)
            if len({single.serialize_env(env, **how) for env in envs}) > 1:
                raise InvalidInputError(
                    "the sub-environments are not alike, so that they are no one benchmark",
                    hint="record each kind in a vector environment of its own",
                )
            return single._store_benchmark(words, eval_env=eval_env, **how)  # noqa: SLF001 - our own

    # ---- episodes

    def _seeds_of(self, seed: Any) -> list[int | None]:
        """What seed each sub-environment is given, where it is given any."""
        if seed is None or not self._hands_on_seeds:
            return [None] * self.num_envs
        if isinstance(seed, int):
            return [seed + i for i in range(self.num_envs)]
        return [None if one is None else int(one) for one in seed]

    def _generator_state(self, i: int) -> Mapping[str, Any] | None:
        if self._sub_envs is None or not self._record_episodes:
            return None
        return generator_state(self._sub_envs[i])  # a copy

    def _row_of_reset(self, observations: Any, mask: Any) -> int:
        """Take in what a reset returned; the row in which it lies."""
        if self._buffer is None or mask is None:
            self._buffer = BatchBuffer(self.num_envs, *self._spaces, observations)
        else:
            self._buffer.begin_again(observations, mask)
        return self._buffer.n_rows - 1

    def _episodes_ended(
        self, ended: Sequence[int], terminated: Any, truncated: Any, infos: Mapping[str, Any]
    ) -> list[_Ended]:
        episodes = []
        final_infos = InfoBatch(infos.get("final_info", {}), self.num_envs)
        for i in ended:
            begun, self._begun[i] = self._begun[i], None
            if begun is None or self._buffer is None:
                continue
            last = self._buffer.n_rows - 1
            if self._mode == "SameStep":
                observation, info = infos["final_obs"][i], final_infos.of(i)
                seen = self._buffer.cut_before_reset(i, begun.row, last, observation, info)
            else:
                seen = self._buffer.cut(i, begun.row, last)
            flags = {"terminated": bool(terminated[i]), "truncated": bool(truncated[i])}
            episodes.append(_Ended(_steps(begun, seen, **flags), begun.summary))
        return episodes

    def _begin_by_autoreset(
        self,
        resetting: Sequence[int],
        rngs: Sequence[Mapping[str, Any] | None],
        ended: Sequence[int],
        infos: Mapping[str, Any],
    ) -> None:
        """Begin the episodes of sub-environments that have reset themselves in the last step."""
        in_this_step = ended if self._mode == "SameStep" else ()
        begins = resetting or in_this_step
        if self._buffer is None or not self._record_episodes or not begins:
            return
        row = self._buffer.n_rows - 1
        told = InfoBatch(infos, self.num_envs)
        for i, rng in zip(resetting, rngs, strict=True):
            self._begun[i] = _Begun(row, None, None, rng, told.of(i), self._summary())
        for i in in_this_step:
            self._begun[i] = _Begun(row, None, None, None, told.of(i), self._summary())

    def _close_episodes(self, chosen: Sequence[int] | None = None) -> None:
        """Close what goes on in some sub-environments, or in all, and did not end by itself."""
        buffer, episodes = self._buffer, []
        chosen = range(self.num_envs) if chosen is None else chosen
        for i in chosen:
            begun = self._begun[i]
            if begun is None or buffer is None:
                continue
            if begun.row < buffer.n_rows - 1 and not self._drops_abandoned:
                seen = buffer.cut(i, begun.row, buffer.n_rows - 1)
                steps = _steps(begun, seen, terminated=False, truncated=True, abandoned=True)
                episodes.append(_Ended(steps, begun.summary))
        for i in chosen:
            self._begun[i] = None
        self._forget()
        if not episodes:
            return
        if self.id is None:
            n_steps = sum(len(one.steps.actions) for one in episodes)
            warnings.warn(
                f"{n_steps} steps were not recorded: the environment is not stored yet",
                stacklevel=3,
            )
            return
        self._record(episodes)

    def _give_up(self) -> None:
        """Close what goes on: what the last call did to each sub-environment is not known."""
        self._is_torn = False
        self._ended = []
        self._close_episodes()

    def _record(self, episodes: Sequence[_Ended]) -> None:
        described = [one.steps for one in episodes]
        try:
            for k, one in enumerate(episodes):
                metadata = self._metadata_of(one)
                described[k] = replace(one.steps, metadata=metadata) if metadata else one.steps
        finally:  # an episode is recorded, whatever is said of it
            self._recorder.record(described, self.id)

    def _summary(self) -> EpisodeSummary | None:
        """What will make the metadata of an episode that begins."""
        if not isinstance(self.metadata_callback, EpisodeSummary):
            return None
        summary = deepcopy(self.metadata_callback)
        summary.begin()
        return summary

    def _metadata_of(self, one: _Ended) -> Mapping[str, Any]:
        callback = self.metadata_callback
        if one.summary is not None:
            return snapshot(one.summary.summarize(one.steps))  # type: ignore[no-any-return]
        if callback is None or isinstance(callback, EpisodeSummary):
            return {}
        return _told_by(callback, one.steps)

    def _forget(self) -> None:
        rows = [begun.row for begun in self._begun if begun is not None]
        if not rows:
            self._buffer = None
        elif self._buffer is not None:
            self._buffer.forget(min(rows))


def _at_reset(infos: Mapping[Any, Any]) -> dict[Any, Any]:
    """Infos without those of the episodes that ended in the same step."""
    return {k: v for k, v in infos.items() if str(k).removeprefix("_") not in _AT_END}


def _steps(
    begun: _Begun, seen: Transitions, *, terminated: bool, truncated: bool, abandoned: bool = False
) -> Steps:
    n_steps = len(seen.rewards)
    flags = np.zeros((2, n_steps), bool)  # all but the last are False: the episode went on
    flags[:, -1] = terminated, truncated
    return Steps(
        observations=seen.observations,
        actions=seen.actions,
        rewards=seen.rewards,
        terminated=flags[0],
        truncated=flags[1],
        infos=seen.infos,
        reset_info=begun.reset_info,
        seed=begun.seed,
        options=begun.options,
        rng=begun.rng,
        abandoned=abandoned,
        created_at=utc_now(),
        nonce=token_hex(8),
    )


def _told_by(callback: EpisodeMetadataCallback, steps: Steps) -> Mapping[str, Any]:
    """What a callback says of an episode, whose tuples it is given in order."""
    callback.reset()
    told: Mapping[str, Any] = {}
    for t in range(len(steps.actions)):
        seen = RLTuple.from_env_step(
            steps.observations[t],
            steps.actions[t],
            steps.rewards[t],
            bool(steps.terminated[t]),
            bool(steps.truncated[t]),
            dict(steps.infos[t]),
        )
        told = callback(seen)
    return snapshot(told)  # type: ignore[no-any-return]
