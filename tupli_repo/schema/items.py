"""The things of a repository as its callers see them: benchmarks, artifacts, episodes, tuples.

Invariant: a header holds everything of its item that is listed and filtered, and nothing heavy;
the item itself (`Benchmark`, `EpisodeItem`) is its header and the content.

Names and defaults are PyTupli's. Fields typed ``Any`` hold whatever an environment gave, arrays
included: models with arrays in them compare by content and become JSON as lists.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Self, SupportsFloat
from uuid import uuid4

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, field_serializer

from tupli_repo.errors import InvalidInputError
from tupli_repo.schema.display import card, short_id
from tupli_repo.schema.plain import plain

_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
_EMPTY: tuple[object, ...] = (None, "", {}, [])


def utc_now() -> str:
    """Return the time now, in UTC to the microsecond, as ``YYYY-MM-DDTHH:MM:SS.ffffffZ``.

    Such times sort as text in the order of time.
    """
    return datetime.now(UTC).strftime(_TIME)


def a_moment_later(time: str) -> str:
    """Return the time a microsecond after one; what is no such time, or the last, as it is.

    >>> a_moment_later("2026-12-31T23:59:59.999999Z")
    '2027-01-01T00:00:00.000000Z'
    """
    try:
        moment = datetime.strptime(time, _TIME).replace(tzinfo=UTC) + timedelta(microseconds=1)
    except (ValueError, OverflowError):
        return time
    return moment.strftime(_TIME)


class _Record(BaseModel):
    """A model whose fields may hold arrays."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Record):
            return NotImplemented
        return type(self) is type(other) and self._content() == other._content()

    __hash__ = None  # type: ignore[assignment]  # equal by content, which may change

    def _content(self) -> object:
        return plain((self.__dict__, self.__pydantic_extra__, self.__pydantic_private__))

    @field_serializer("*", mode="wrap", when_used="json", check_fields=False)
    def _serialize_plain(self, value: object, handler: SerializerFunctionWrapHandler) -> object:
        return handler(plain(value))


class DBItem(_Record):
    """What every stored item has.

    Attributes:
        id: 64 hex digits in a repository; PyTupli's own items have 32.
        created_by: The author's name.
        published_in: The groups the item is visible in.
        created_at: When, in UTC; see `utc_now`.
    """

    id: str
    created_by: str
    published_in: list[str] = Field(default_factory=list)
    created_at: str

    def __repr_args__(self) -> Iterator[tuple[str, object]]:
        """What there is to see at a glance; `model_dump` has everything."""
        return ((name, value) for name, value in self._glance().items() if value not in _EMPTY)

    def _repr_html_(self) -> str:
        """Return it as a table, for a notebook."""
        who = {"published": ", ".join(self.published_in), "by": self.created_by}
        return card(type(self).__name__, {**self._glance(), **who, "at": self.created_at})

    def _glance(self) -> dict[str, object]:
        return {"id": short_id(self.id)}

    @classmethod
    def create_new(cls, **data: Any) -> Self:
        """Return an item with a random id, made now, published in its author's own group.

        Args:
            **data: The other fields; what is given here goes before what would be made up.
        """
        made_up: dict[str, Any] = {"id": uuid4().hex, "created_at": utc_now()}
        if "created_by" in data:
            made_up["published_in"] = [data["created_by"]]
        return cls.model_validate({**made_up, **data})


class ArtifactMetadata(_Record):
    """What the user says about an artifact."""

    name: str
    description: str = ""
    benchmark_id: str | None = None
    extra: dict[str, Any] = Field(default_factory=dict)


class BenchmarkMetadata(_Record):
    """What the user says about a benchmark."""

    name: str
    description: str = ""
    difficulty: str | None = None
    version: str | None = None
    extra: dict[str, Any] = Field(default_factory=dict)


class BenchmarkQuery(_Record):
    """A benchmark that is handed in to be stored.

    Attributes:
        hash: The SHA-256 that tells equal benchmarks, computed by the caller.
        serialized: The environment as JSON text.
        metadata: What the user says about it.
        wrapper: The wrapper class whose hooks made the text; empty where none is needed.
        packages: The versions of the packages its classes come from, where they are known.
        sources: SHA-256 of the source of each module they come from, where it is known.
        evaluation: The id of the artifact that holds an environment to evaluate in, as text; empty
            where there is none.
    """

    hash: str
    serialized: str
    metadata: BenchmarkMetadata
    wrapper: str = ""
    evaluation: str = ""
    packages: dict[str, str] = Field(default_factory=dict)
    sources: dict[str, str] = Field(default_factory=dict)


class ArtifactMetadataItem(DBItem, ArtifactMetadata):
    """The header of an artifact, flat: filters say ``name`` and ``extra.x``.

    Attributes:
        hash: SHA-256 of the bytes.
        encoding: How to read the bytes as text, where they are text.
        size: Number of bytes, where it is known.
    """

    hash: str
    encoding: str = "utf-8"
    size: int | None = None

    def _glance(self) -> dict[str, object]:
        about = {"name": self.name, "description": self.description, "size": self.size}
        return {**super()._glance(), **about, "extra": self.extra}


class BenchmarkHeader(DBItem):
    """A benchmark without its environment; filters say ``metadata.name``.

    Attributes:
        hash: The hash it was handed in with.
        metadata: What the user says about it.
        env: The id of the environment document; benchmarks that differ in words only share it.
        env_format: The format of that document.
        wrapper: The wrapper class whose hooks it needs; empty where it needs none.
        evaluation: The id of the artifact that holds the environment to evaluate in; empty where
            there is none.
    """

    hash: str
    metadata: BenchmarkMetadata
    env: str = ""
    env_format: str = ""
    wrapper: str = ""
    evaluation: str = ""

    def _glance(self) -> dict[str, object]:
        words = {name: getattr(self.metadata, name) for name in BenchmarkMetadata.model_fields}
        return {**super()._glance(), **words, "evaluation": short_id(self.evaluation)}


class Benchmark(BenchmarkHeader):
    """A benchmark with its environment.

    Attributes:
        serialized: The environment as JSON text.
    """

    serialized: str


class RLTuple(_Record):
    """One step of an episode.

    Attributes:
        state: The observation the action was taken in.
        action: What was done.
        reward: What it brought; a list where the environment has several rewards.
        info: What the environment told with the step.
        terminal: The step reached a terminal state.
        timeout: The episode was cut off after the step.
    """

    state: Any
    action: Any
    reward: Any
    info: dict[str, Any] = Field(default_factory=dict)
    terminal: bool = False
    timeout: bool = False

    @classmethod
    def from_env_step(
        cls,
        obs: Any,
        action: Any,
        reward: Any,
        terminated: bool,  # noqa: FBT001 - the order of Gymnasium's step
        truncated: bool,  # noqa: FBT001
        info: dict[str, Any],
    ) -> Self:
        """Return the tuple of one step; the hook a subclass overrides to record otherwise.

        ``obs`` is the observation the action was taken **in**: the one ``reset`` or the previous
        step returned. PyTupli's wrapper hands in the one that the step itself returned.

        Any observation and action will do. Arrays and numpy scalars become Python's values by
        ``tolist()``, within dicts, lists and tuples too; a named tuple such as Gymnasium's
        ``GraphInstance`` becomes a dict; everything else passes unchanged.

        Args:
            obs: The observation before the step.
            action: The action of the step.
            reward: A number, or several in an array or list.
            terminated: As the environment returned it.
            truncated: As the environment returned it.
            info: As the environment returned it; the dict is copied, its values are kept.
        """
        return cls(
            state=plain(obs),
            action=plain(action),
            reward=_plain_reward(reward),
            info=dict(info),
            terminal=bool(terminated),
            timeout=bool(truncated),
        )


def _plain_reward(reward: object) -> object:
    """Return ``reward`` as Python's own numbers; a Fraction or the like as its float."""
    reward = plain(reward)
    if isinstance(reward, int | float | str) or not isinstance(reward, SupportsFloat):
        return reward
    return float(reward)


class Episode(_Record):
    """An episode that is handed in to be recorded.

    Attributes:
        benchmark_id: The benchmark it was made in.
        metadata: What the user says about it.
        tuples: Its steps in order; each state is the one its action was taken in.
        final_state: The observation after the last action; None where it is not known.
        seed: What ``reset`` was called with.
        options: What ``reset`` was called with.
        reset_info: The info ``reset`` returned.
    """

    benchmark_id: str
    metadata: dict[str, Any]
    tuples: list[RLTuple]
    final_state: Any = None
    seed: int | None = None
    options: dict[str, Any] | None = None
    reset_info: dict[str, Any] = Field(default_factory=dict)


class EpisodeHeader(DBItem):
    """An episode without its steps; filters say ``metadata.x``.

    Attributes:
        benchmark_id: The benchmark it was made in.
        metadata: What the user says about it.
        n_tuples: Number of steps.
        terminated: The last step reached a terminal state.
        timeout: The episode was cut off after the last step.
        seed: What ``reset`` was called with.
    """

    benchmark_id: str
    metadata: dict[str, Any]
    n_tuples: int
    terminated: bool
    timeout: bool
    seed: int | None = None

    def _glance(self) -> dict[str, object]:
        ends = {"terminated": self.terminated, "timeout": self.timeout}
        return {
            **super()._glance(),
            "benchmark_id": short_id(self.benchmark_id),
            "n_tuples": self.n_tuples,
            **{name: True for name, holds in ends.items() if holds},
            "seed": self.seed,
            "metadata": self.metadata,
        }


class EpisodeItem(Episode, EpisodeHeader):
    """An episode with its steps and its header."""

    def _glance(self) -> dict[str, object]:
        shapes: dict[str, object] = {}
        if self.tuples:
            first = self.tuples[0]
            shapes = {"state": _form(first.state), "action": _form(first.action)}
        return {**super()._glance(), "total_reward": self._total_reward(), **shapes}

    def _total_reward(self) -> float | None:
        """The sum of the rewards; None where one is not a number."""
        rewards = [step.reward for step in self.tuples]
        if not all(isinstance(reward, (int, float)) for reward in rewards):
            return None
        return float(sum(rewards))

    @classmethod
    def create_new(cls, **data: Any) -> Self:
        """Return an episode made now, its number of steps and flags taken from its tuples.

        Args:
            **data: The other fields; ``tuples`` are `RLTuple` objects or dicts of their fields.

        Raises:
            InvalidInputError: There are no tuples.
        """
        tuples = [RLTuple.model_validate(step) for step in data.get("tuples") or ()]
        if not tuples:
            raise InvalidInputError("episode has no steps", hint="record at least one step")
        told_by_tuples = {
            "tuples": tuples,
            "n_tuples": len(tuples),
            "terminated": tuples[-1].terminal,
            "timeout": tuples[-1].timeout,
        }
        return super().create_new(**{**data, **told_by_tuples})


def _form(value: object) -> str:
    """What a value looks like: ``float (17,)``, ``int``, ``dict(camera, pose)``."""
    if isinstance(value, Mapping):
        return f"dict({', '.join(map(str, value))})"
    shape: list[int] = []
    while isinstance(value, (list, tuple)) and value:
        shape.append(len(value))
        value = value[0]
    name = getattr(value, "dtype", None) or type(value).__name__
    shape += getattr(value, "shape", ())
    return f"{name} {tuple(shape)}" if shape else str(name)


class EpisodeMetadataCallback(ABC):
    """Gathers an episode's metadata while it is recorded.

    It is called with every recorded step; what it returned last becomes the episode's metadata.
    """

    @abstractmethod
    def reset(self) -> None:
        """Forget the episode; the next call belongs to another one."""

    @abstractmethod
    def __call__(self, tuple: RLTuple) -> dict[str, Any]:  # noqa: A002 - PyTupli's name
        """Take in one step and return the metadata of the episode so far."""
