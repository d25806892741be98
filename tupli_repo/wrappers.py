"""What the wrappers have in common: recording is switched on and off, flushed and closed alike.

Invariant: an environment is closed last, whatever became of its episodes.
"""

import warnings
from collections.abc import Sequence
from typing import Any

from gymnasium import Env

from tupli_repo.recorder import EpisodeRecorder, HasSpaces, OnAbandoned
from tupli_repo.schema import BenchmarkMetadata, RLTuple
from tupli_repo.storage import TupliStorage


class EpisodeWrapper:
    """Records episodes of an environment; a base that comes before one that passes calls through.

    A subclass calls `_record_in` when it is made, and gives its recorder what it sees.

    Attributes:
        storage: Where benchmark and episodes go.
        id: The id of the benchmark that episodes are of; None until it is stored.
    """

    storage: TupliStorage
    id: str | None
    rl_tuple_cls: type[RLTuple] = RLTuple
    _recorder: EpisodeRecorder
    _record_episodes: bool
    _has_warned: bool

    def _record_in(
        self,
        storage: TupliStorage,
        benchmark_id: str | None,
        spaces: HasSpaces,
        *,
        on_abandoned: OnAbandoned,
    ) -> None:
        """Begin to record in a storage; ``spaces`` are those of what is recorded."""
        self.storage = storage
        self.id = benchmark_id
        self._record_episodes = True
        self._has_warned = False
        settings = getattr(storage, "settings", None)
        self._recorder = EpisodeRecorder(
            spaces,
            storage,
            on_abandoned=on_abandoned,
            sync_interval_s=getattr(settings, "sync_interval_s", 1.0),
        )

    def activate_recording(self) -> None:
        """Record from the next ``reset`` on; each sub-environment from its own."""
        self._record_episodes = True

    def deactivate_recording(self) -> None:
        """Stop recording; what was seen of episodes that go on is recorded as truncated."""
        self._close_episodes()
        self._record_episodes = False

    def flush(self) -> None:
        """Return when every episode that has ended is on the disk itself.

        Raises:
            StorageIOError: One may not be.
        """
        self._recorder.flush()

    def close(self, **kwargs: object) -> None:
        """Record what there is of the episodes, make everything durable, close the environment.

        Args:
            **kwargs: Handed on to a vector environment.
        """
        try:
            try:
                self._close_episodes()
            finally:
                self.flush()
        finally:
            super().close(**kwargs)  # type: ignore[misc] # of the other base

    def _close_episodes(self) -> None:
        """Close what goes on and did not end by itself."""
        self._recorder.abandon(self.id, self.rl_tuple_cls)

    def _warn_unrecorded(self) -> None:
        """Tell once that a step came before the first reset."""
        if self._record_episodes and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                "steps are not recorded before the next reset: no episode was begun",
                stacklevel=3,
            )


class EnvironmentStore:
    """Stores what a wrapper is around, a `gymnasium.Env` or several of a kind, as a benchmark."""

    id: str | None

    def store(
        self,
        name: str,
        description: str = "",
        difficulty: str | None = None,
        version: str | None = None,
        metadata: dict[str, Any] | None = None,
        *,
        eval_env: Env[Any, Any] | None = None,
        exclude: Sequence[str] = (),
        volatile: Sequence[str] = (),
        probe: bool = True,
    ) -> str:
        """Store the environment as a benchmark and return its id.

        The same environment with the same metadata has the same id, whoever stores it, and by
        whichever wrapper: of a vector environment, it is a sub-environment that is stored. Only
        private copies are looked at, reset and stepped. What was stored is loaded once and run
        beside a copy, so that a benchmark that would not behave alike is refused. From then on the
        environment is trusted for this user in this repository.

        Args:
            name: The benchmark's name.
            description: What it is about.
            difficulty: How hard it is.
            version: Its version.
            metadata: Anything else, as ``metadata.extra``. ``ref_min_score`` and ``ref_max_score``,
                the mean returns of a random and of a good policy, are what
                `TupliDataset.normalised_scores` needs.
            eval_env: An environment to evaluate policies in: other wind, the reward that counts.
                It is a single one, is stored beside this one by the same hooks and settings, goes
                wherever the benchmark goes, and is had by ``TupliEnvWrapper.load(storage, id,
                eval_env=True)``. With another one, or none, it is another benchmark.
            exclude: Attributes to leave out: globs over names (``'cache_*'``) or paths.
            volatile: Attributes that each reset sets anew, as globs; found by running where
                ``probe``.
            probe: Whether copies may be run (some 200 steps); without it nothing is run, and what
                is stored is not checked by running it.

        Raises:
            EncodingError: The environment or its metadata holds something that cannot be stored, or
                what was stored would not behave alike; the message names where, the hint says what
                to do.
            InvalidInputError: Of a vector environment, no sub-environment can be had, they are not
                alike, or a wrapper around all of them changes what is recorded.
        """
        words = BenchmarkMetadata(
            name=name,
            description=description,
            difficulty=difficulty,
            version=version,
            extra=metadata or {},
        )
        self.id = self._store_benchmark(
            words, eval_env=eval_env, exclude=exclude, volatile=volatile, probe=probe
        )
        return self.id

    def _store_benchmark(
        self,
        words: BenchmarkMetadata,
        *,
        eval_env: Env[Any, Any] | None,
        exclude: Sequence[str],
        volatile: Sequence[str],
        probe: bool,
    ) -> str:
        """Store the environment under these words; see `store`."""
        raise NotImplementedError
