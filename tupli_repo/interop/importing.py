"""What every import shares: a benchmark for data without an environment, and recording in one go.

An episode that comes in is named by what it is and by its place in the source, so that importing
the same source again finds the same episodes, whoever does it: it is by the source's author, not by
the user, and where the source does not say when an episode ended, the clock counts microseconds
from 1970, one for each episode, which keeps them in order.

Invariant: the same source imported by anybody has the same ids, so that a second time adds nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from gymnasium import Space

from tupli_repo.codec.episode import Steps
from tupli_repo.codec.values import dump_json
from tupli_repo.curation import REFERENCES
from tupli_repo.errors import InvalidInputError, NotFoundError
from tupli_repo.interop.progress import OnProgress, told
from tupli_repo.optional import require
from tupli_repo.repository import Repository
from tupli_repo.schema import BenchmarkMetadata, BenchmarkQuery, FilterEQ
from tupli_repo.schema.interop import ImportReport

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NONCE = "0" * 16  # the time tells episodes of one source apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where episodes come from, and where they go.

    Args:
        format: What it is, for the report; the author too, where the source tells none.
        path: Where it is; empty for arrays.
        benchmark_id: The benchmark they shall be of.
        n_episodes: How many there are, to show how far the import has come.
        observation_space: The space of the observations, where it is known.
        action_space: The space of the actions, where it is known.
        author: Who made the episodes that do not say so themselves.
    """

    format: str
    path: str = ""
    benchmark_id: str
    n_episodes: int = 0
    observation_space: Space[Any] | None = None
    action_space: Space[Any] | None = None
    author: str = ""


def hdf5(needed_for: str) -> ModuleType:
    """Return h5py.

    Raises:
        MissingDependencyError: It is not installed.
    """
    return require("h5py", needed_for=needed_for)


def existing(path: str | Path) -> Path:
    """Return a path at which something is.

    Raises:
        NotFoundError: Nothing is.
    """
    found = Path(path)
    if not found.exists():
        raise NotFoundError(f"there is nothing at '{path}'")
    return found


def store_source(
    repository: Repository,
    name: str,
    *,
    description: str = "",
    extra: Mapping[str, Any],
    text: Mapping[str, Any],
) -> str:
    """Store a benchmark that stands for data whose environment is not here; return its id.

    Its text is kept and never decoded. The same words and the same text are the same benchmark.

    Args:
        repository: Where.
        name: What the benchmark is called.
        description: What it is.
        extra: What filters shall find.
        text: What is known of the environment.

    Raises:
        EncodingError: Something of it cannot be stored.
    """
    metadata = BenchmarkMetadata(name=name, description=description, extra=dict(extra))
    serialized = dump_json(dict(text), name="text").decode()
    told = dump_json([serialized, metadata.model_dump()], name="metadata")
    query = BenchmarkQuery(hash=sha256(told).hexdigest(), serialized=serialized, metadata=metadata)
    return repository.store_benchmark(query).id


def source_in_memory(
    repository: Repository,
    kind: str,
    name: str,
    *,
    benchmark_id: str | None,
    description: str,
    n_episodes: int,
    observation_space: Space[Any] | None,
    action_space: Space[Any] | None,
) -> Source:
    """Return a source that is no file, whose benchmark is stored where none was chosen.

    Args:
        repository: Where the episodes go.
        kind: What they are, for the report.
        name: What the benchmark is called.
        benchmark_id: The one that was chosen, if any.
        description: What the data are.
        n_episodes: How many there are; 0 where that is not known.
        observation_space: The space of the observations, where it is known.
        action_space: The space of the actions, where it is known.

    Raises:
        InvalidInputError: The name is empty.
        NotFoundError: The benchmark that was chosen is not here.
    """
    oid = benchmark_for(
        repository,
        benchmark_id,
        lambda: store_source(
            repository,
            checked_name(name),
            description=description,
            extra={"source": kind},
            text={"format": kind},
        ),
    )
    return Source(
        format=kind,
        benchmark_id=oid,
        n_episodes=n_episodes,
        observation_space=observation_space,
        action_space=action_space,
    )


def record_all(
    repository: Repository,
    episodes: Iterable[Steps],
    source: Source,
    left_out: list[str],
    on_progress: OnProgress | None = None,
) -> ImportReport:
    """Record the episodes of a source; durable when this returns.

    Args:
        repository: Where.
        episodes: The episodes, in order.
        source: Where they come from.
        left_out: What the source already lost; what cannot be stored is added.
        on_progress: Told how many are done, of how many.

    Raises:
        NotFoundError: The benchmark is not here.
        EncodingError: Observations, actions or rewards cannot be stored.
        StorageIOError: The disk refused.
    """
    chosen = FilterEQ(key="benchmark_id", value=repository.benchmark(source.benchmark_id).id)
    before = sum(repository.count_episodes(chosen).values())
    n_episodes = n_steps = 0
    with repository.batch():
        all_told = told(episodes, source.n_episodes, on_progress)
        for n_episodes, steps in enumerate(all_told, start=1):
            recorded = repository.record(
                _named(steps, n_episodes - 1, source),
                source.benchmark_id,
                observation_space=source.observation_space,
                action_space=source.action_space,
                once=True,
            )
            left_out += (f"episode {n_episodes - 1}: {e.message}" for e in recorded.problems)
            n_steps += len(steps.actions)
    after = sum(repository.count_episodes(chosen).values())
    return ImportReport(
        format=source.format,
        source=source.path,
        benchmarks=(source.benchmark_id,),
        n_episodes=n_episodes,
        n_steps=n_steps,
        n_new=after - before,
        left_out=tuple(left_out),
    )


def benchmark_for(repository: Repository, benchmark_id: str | None, make: Callable[[], str]) -> str:
    """Return the id of the benchmark the caller chose, or of the one that ``make`` stores.

    Raises:
        NotFoundError: The one that was chosen is not here.
    """
    return make() if benchmark_id is None else repository.benchmark(benchmark_id).id


def reference_scores(told: Mapping[str, Any]) -> dict[str, float]:
    """Return the returns of a random and of a good policy, where some metadata tell them."""
    scores = {key: np.asarray(told[key]) for key in REFERENCES if key in told}
    return {
        key: score.item()
        for key, score in scores.items()
        if score.shape == () and score.dtype.kind in "iuf"
    }


def checked_name(name: str) -> str:
    """Return the name of a benchmark to be.

    Raises:
        InvalidInputError: It is empty.
    """
    if not name.strip():
        raise InvalidInputError("a benchmark needs a name", hint="for example 'hopper-medium'")
    return name


def _named(steps: Steps, place: int, source: Source) -> Steps:
    """An episode with what its id depends on besides itself: nothing of this machine or user."""
    author = steps.created_by or source.author or source.format
    if steps.created_at:
        return replace(steps, created_by=author)
    return replace(steps, created_by=author, created_at=_time_of(place), nonce=_NONCE)


def _time_of(place: int) -> str:
    return (_EPOCH + timedelta(microseconds=place)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
