"""Chosen episodes in memory: their tuples and lists, and which steps pass the step filters.

Invariant: the tuples and each of the lists have the steps that pass the filters, in canonical
order; item i of each is of the same step.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.tuples import tuples_from_steps
from tupli_repo.codec.views import View
from tupli_repo.errors import InvalidInputError
from tupli_repo.handover.methods import HandedOver
from tupli_repo.repository.episodes import episode_item
from tupli_repo.repository.loading import LoadedEpisodes
from tupli_repo.runs import are_last, with_cuts
from tupli_repo.schema import EpisodeHeader, EpisodeItem, RLTuple
from tupli_repo.storage import TupliStorage


class EpisodesInMemory(HandedOver):
    """Chosen episodes, read once, when they are first needed; `tupli_repo.TupliDataset` is one.

    Args:
        storage: Where the episodes are.
        info: Anything the user wants to keep with them.
    """

    def __init__(self, storage: TupliStorage, info: dict[str, Any] | None = None) -> None:
        super().__init__(storage, info)
        self._tuple_filters: tuple[Callable[[RLTuple], bool], ...] = ()
        self._data: LoadedEpisodes | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What a copy, or another process, gets: the filters; it loads the episodes itself."""
        read = {"_all_steps", "_kept_steps"}
        state = {name: one for name, one in super().__getstate__().items() if name not in read}
        return {**state, "_data": None}

    def with_tuple_filter(self, filter_fcn: Callable[[RLTuple], bool]) -> Self:
        """Return a dataset that has only the steps for which ``filter_fcn`` is true too.

        Every step of every episode is shown to it, once, when the steps are first needed; all
        episodes are read for it. The steps that remain are trajectories that end where one is left
        out, for whoever learns from them: each keeps the observation that followed it.

        Raises:
            InvalidInputError: It is no function.
        """
        if not callable(filter_fcn):
            raise InvalidInputError(
                f"a '{type(filter_fcn).__name__}' is no function of a step",
                hint="for example with_tuple_filter(lambda step: step.reward > 0)",
            )
        return self._narrowed(_tuple_filters=(*self._tuple_filters, filter_fcn))

    def load(self) -> None:
        """Read every episode, once.

        A large dataset is kept in the user's cache: the next time, in any process, it is mapped
        from there. 'tupli cache' tells what is kept.

        Raises:
            CorruptObjectError: One is damaged.
        """
        _ = self._columns_loaded().described  # records too: nothing is read later

    @property
    def episodes(self) -> View[EpisodeItem]:
        """The episodes with all their tuples, each made when it is asked for."""
        data = self._loaded()
        return View(lambda index: episode_item(*data[index]), len(data))

    @property
    def episode_lengths(self) -> NDArray[np.int64]:
        """The number of steps of each episode, shape (E,)."""
        if self._data is not None:
            return self._data.n_steps.copy()
        if "_selection" in vars(self):
            return np.array(self._selection.n_tuples, dtype=np.int64)
        return np.array([header.n_tuples for header in self._headers], dtype=np.int64)

    @property
    def kept_steps(self) -> NDArray[np.bool_]:
        """Whether each step of the episodes passes the step filters, shape (N,)."""
        if not self._tuple_filters:
            return np.ones(int(self.episode_lengths.sum()), dtype=bool)
        return self._kept_steps.copy()

    @property
    def tuples(self) -> View[RLTuple]:
        """The steps of all episodes that pass the step filters, each made when asked for."""
        if not self._tuple_filters:
            return self._all_steps
        kept = np.flatnonzero(self.kept_steps).tolist()
        return View(lambda index: self._all_steps[kept[index]], len(kept))

    # ---- as lists

    @property
    def observations(self) -> list[Any]:
        """The observation each action was taken in, one per step."""
        return [step.state for step in self.tuples]

    @property
    def actions(self) -> list[Any]:
        """The actions, one per step."""
        return [step.action for step in self.tuples]

    @property
    def rewards(self) -> list[Any]:
        """The rewards, one per step."""
        return [step.reward for step in self.tuples]

    @property
    def terminals(self) -> list[bool]:
        """Whether the step reached a terminal state, one per step."""
        return [step.terminal for step in self.tuples]

    @property
    def timeouts(self) -> list[bool]:
        """Whether the trajectory was cut off after the step, one per step.

        It was where its tuple says so, where the step that followed it does not pass the step
        filters, and where the episode has no other and did not terminate.
        """
        last = are_last(np.flatnonzero(self.kept_steps), self.episode_lengths)
        flags = np.array([(step.timeout, step.terminal) for step in self.tuples], bool)
        timeouts, terminals = flags.reshape(-1, 2).T
        found: list[bool] = with_cuts(timeouts, terminals, last).tolist()
        return found

    @property
    def infos(self) -> list[dict[str, Any]]:
        """The info dictionaries, one per step."""
        return [step.info for step in self.tuples]

    def _find_headers(self) -> list[EpisodeHeader]:
        return super()._find_headers() if self._data is None else self._data.headers

    def _step_filters(self) -> Sequence[Callable[[RLTuple], bool]]:
        return self._tuple_filters

    def _steps_at_hand(self) -> tuple[LoadedEpisodes | None, NDArray[np.bool_] | None]:
        kept = self._kept_steps if self._tuple_filters else None
        return self._data, kept

    def _columns_loaded(self) -> LoadedEpisodes:
        """The episodes, of which records may not have been read yet."""
        if self._data is None:
            self._data = self._read()
        return self._data

    def _loaded(self) -> LoadedEpisodes:
        self.load()
        return self._columns_loaded()

    @cached_property
    def _all_steps(self) -> View[RLTuple]:
        """The steps of all episodes; the episode that was asked for last is kept at hand."""
        data = self._loaded()
        ends = np.cumsum(self.episode_lengths)
        last: tuple[int, Sequence[RLTuple]] = (-1, ())

        def read(index: int) -> RLTuple:
            nonlocal last
            number = int(np.searchsorted(ends, index, side="right"))
            if number != last[0]:
                last = number, tuples_from_steps(data[number][1])
            return last[1][index - int(ends[number])]

        return View(read, int(ends[-1]) if len(ends) else 0)

    @cached_property
    def _kept_steps(self) -> NDArray[np.bool_]:
        passes = (all(keep(step) for keep in self._tuple_filters) for step in self._all_steps)
        return np.fromiter(passes, dtype=bool, count=len(self._all_steps))
