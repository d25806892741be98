"""Datasets out of datasets: parts, unions, what is left, and how good it is beside references.

Invariant: what comes out names its episodes by their ids: it has the same ones whatever is recorded
later, and in the order every dataset has them.
"""

import json
from collections.abc import Iterable, Sequence
from hashlib import sha256
from math import isfinite
from typing import Any, Self, TypeGuard

import numpy as np
from numpy.typing import NDArray

from tupli_repo.choosing import ChosenEpisodes
from tupli_repo.errors import InvalidInputError
from tupli_repo.odb.objects import parse_object_id
from tupli_repo.schema import EpisodeHeader

REFERENCES = ("ref_min_score", "ref_max_score")
"""Where a benchmark's ``metadata.extra`` tells the returns of a random and of a good policy."""
_NUMBERS = (int, float, np.integer, np.floating)
_MISSING = object()


class CuratedEpisodes(ChosenEpisodes):
    """Chosen episodes of which others can be made."""

    def split(self, *ratios: float, seed: int = 0, by: str | None = None) -> list[Self]:
        """Return parts of the dataset; each episode is in one of them, whole.

        Which part it is in depends on the seed and the ids of the episodes, or their groups, and
        is the same on every machine.

        Args:
            *ratios: How large the parts are, such as ``0.8, 0.2``; their sum counts as the whole.
            seed: Another one gives other parts.
            by: What episodes must have in common to stay together, such as ``benchmark_id`` or
                ``metadata.pilot``. Each group goes to the part that lacks most.

        Returns:
            As many datasets as there are ratios. Without ``by``, their sizes are as near to the
            ratios as whole episodes can be.

        Raises:
            InvalidInputError: There are no ratios, one is not a positive number, an episode does
                not have ``by``, or the storage is not a repository.
        """
        if not ratios or not all(_is_number(ratio) and ratio > 0 for ratio in ratios):
            raise InvalidInputError(
                f"the ratios {list(ratios)} are not positive numbers", hint="split(0.8, 0.2)"
            )
        groups = self._grouped(by)
        order = sorted(groups, key=lambda key: sha256(f"{seed}\n{key}".encode()).digest())
        n = sum(map(len, groups.values()))
        shares = np.array(ratios, np.float64) / max(ratios)  # whose sum is finite
        shares *= n / shares.sum()
        parts: list[list[str]] = [[] for _ in ratios]
        if by is None:
            ends = np.rint(np.cumsum(shares)).astype(int).tolist()
            for part, a, b in zip(parts, [0, *ends], ends, strict=False):
                part.extend(order[a:b])
        else:
            for key in order:
                lacking = shares - [len(part) for part in parts]
                parts[int(lacking.argmax())].extend(groups[key])
        chosen = map(set, parts)
        return [self._of_ids(i for i in self._selection.ids if i in part) for part in chosen]

    def combined(self, *others: "CuratedEpisodes") -> Self:
        """Return a dataset of the episodes of several, of any benchmarks, each episode once.

        Raises:
            InvalidInputError: One is no dataset, they are of different repositories, or their step
                filters differ.
        """
        headers = list(self._headers)
        for other in others:
            self._check_alike(other)
            headers += other._headers  # noqa: SLF001 - one of us
        headers.sort(key=lambda header: (header.created_at, header.id))
        return self._of_ids(header.id for header in headers)

    def without(self, *others: "CuratedEpisodes | EpisodeHeader | str") -> Self:
        """Return a dataset that lacks some of the episodes.

        Args:
            *others: Datasets, headers or full ids; what is not here anyway is passed over.

        Raises:
            InvalidInputError: One is none of these: an id that is shortened leaves out nothing.
        """
        gone: set[str] = set()
        for other in others:
            if isinstance(other, CuratedEpisodes):
                gone.update(other._selection.ids)  # noqa: SLF001 - one of us
            elif isinstance(other, EpisodeHeader):
                gone.add(other.id)
            elif isinstance(other, str):
                gone.add(parse_object_id(other))
            else:
                raise InvalidInputError(
                    f"a '{type(other).__name__}' is no episode", hint="without(*headers)"
                )
        return self._of_ids(oid for oid in self._selection.ids if oid not in gone)

    def returns(self) -> NDArray[np.float64]:
        """Return the undiscounted return of each episode, shape (E,), in the order of the dataset.

        They are of whole episodes: rewards of steps that a step filter leaves out count.

        Raises:
            InvalidInputError: Rewards are not single numbers.
            CorruptObjectError: An episode is damaged.
        """
        loaded = self._read(["rewards"])
        if any(span.columns["rewards"].ndim != 1 for span in loaded.spans):
            raise InvalidInputError(
                "the return of rewards that are not single numbers is not known"
            )
        rewards = (loaded.spans[span].part(number)["rewards"] for span, number in loaded.places)
        return np.array([one.sum(dtype=np.float64) for one in rewards], np.float64)

    def normalised_scores(
        self, *, ref_min_score: float | None = None, ref_max_score: float | None = None
    ) -> NDArray[np.float64]:
        """Return the D4RL score of each episode: 0 as good as random, 1 as good as the reference.

        The references are what is given here, else what the episode's benchmark says in its
        ``metadata.extra``, as ``TupliEnvWrapper.store(name, metadata={"ref_min_score": -200.0,
        "ref_max_score": -100.0})`` stored them. (Papers often print a hundred times the score.)

        Args:
            ref_min_score: The mean undiscounted return of a random policy, of every benchmark.
            ref_max_score: That of a good policy.

        Returns:
            Shape (E,): (return - ref_min_score) / (ref_max_score - ref_min_score).

        Raises:
            InvalidInputError: The benchmark of an episode has no such numbers and none are given,
                they are equal or not finite, or as `returns`.

        Source: Fu et al., D4RL, arXiv:2004.07219, section 5.
        """
        given = {
            name: value
            for name, value in zip(REFERENCES, (ref_min_score, ref_max_score), strict=True)
            if value is not None
        }
        played = {header.benchmark_id for header in self._headers}
        known = {
            benchmark.id: _references(benchmark.metadata.name, benchmark.metadata.extra | given)
            for benchmark in self.benchmarks
            if benchmark.id in played
        }
        spans = np.array([known[header.benchmark_id] for header in self._headers]).reshape(-1, 2)
        found: NDArray[np.float64] = (self.returns() - spans[:, 0]) / (spans[:, 1] - spans[:, 0])
        return found

    @property
    def kept_steps(self) -> NDArray[np.bool_]:
        """Whether each step of the episodes passes the step filters, shape (N,)."""
        return np.ones(sum(self._selection.n_tuples), bool)

    def _step_filters(self) -> Sequence[Any]:
        """What chooses among the steps of the episodes."""
        return ()

    def _check_alike(self, other: "CuratedEpisodes") -> None:
        """Raise where what two datasets have cannot be one dataset's."""
        if not isinstance(other, CuratedEpisodes):
            raise InvalidInputError(f"a '{type(other).__name__}' is no dataset")
        if self._in_repository().root != other._in_repository().root:  # noqa: SLF001 - one of us
            raise InvalidInputError(
                "datasets of different repositories cannot be combined",
                hint="'tupli fetch' brings the episodes of one to the other",
            )
        if tuple(self._step_filters()) != tuple(other._step_filters()):  # noqa: SLF001
            raise InvalidInputError(
                "datasets with different step filters cannot be combined",
                hint="combine the episodes, then filter the steps",
            )

    def _grouped(self, by: str | None) -> dict[str, list[str]]:
        """The ids of the episodes of each group, by its name; each its own where there are none."""
        if by is None:
            return {oid: [oid] for oid in self._selection.ids}
        if not isinstance(by, str):
            raise InvalidInputError(
                f"a '{type(by).__name__}' is no name of what episodes have in common",
                hint="for example by='benchmark_id' or by='metadata.seed'",
            )
        groups: dict[str, list[str]] = {}
        for header in self._headers:
            value: Any = header.model_dump()
            for key in by.split("."):
                value = value.get(key, _MISSING) if isinstance(value, dict) else _MISSING
            if value is _MISSING:
                raise InvalidInputError(
                    f"episode '{header.id[:12]}' has no '{by}'",
                    hint="for example by='benchmark_id' or by='metadata.seed'",
                )
            name = json.dumps(value, sort_keys=True, default=str)
            groups.setdefault(name, []).append(header.id)
        return groups

    def _of_ids(self, ids: Iterable[str]) -> Self:
        """A dataset of exactly these episodes, which are in its order."""
        return self._narrowed(
            _ids=tuple(dict.fromkeys(ids)),
            _benchmark_filter=None,
            _episode_filter=None,
            _revision=None,
        )


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, _NUMBERS) and not isinstance(value, bool) and isfinite(value)


def _references(name: str, extra: dict[str, Any]) -> tuple[float, float]:
    low, high = map(extra.get, REFERENCES)
    if not (_is_number(low) and _is_number(high) and float(low) != float(high)):
        raise InvalidInputError(
            f"benchmark '{name}' has no two reference returns: {REFERENCES[0]} is {low},"
            f" {REFERENCES[1]} is {high}",
            hint="give both: normalised_scores(ref_min_score=0.0, ref_max_score=1.0); for all who"
            " use it, store(name, metadata={...}) before recording",
        )
    return float(low), float(high)
