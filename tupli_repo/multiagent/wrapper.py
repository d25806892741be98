"""The wrapper of parallel environments: it records a joint run as one episode.

Invariant: the agents get what the environment returned, unchanged; what is recorded of a step is
what all of them did and saw in it.
"""

from collections.abc import Hashable, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from tupli_repo.callbacks import EpisodeSummary
from tupli_repo.codec.buffer import snapshot
from tupli_repo.codec.spaces import describe_space
from tupli_repo.codec.values import dump_json
from tupli_repo.errors import InvalidInputError
from tupli_repo.recorder import OnAbandoned
from tupli_repo.schema import BenchmarkMetadata, BenchmarkQuery
from tupli_repo.storage import TupliStorage
from tupli_repo.wrappers import EpisodeWrapper

_ABSENT: tuple[Any, ...] = ()


class JointSpaces(NamedTuple):
    """The spaces of all agents together, as episodes are recorded in them.

    Attributes:
        observation_space: A Dict with a Sequence for each agent.
        action_space: A Dict with a Sequence for each agent.
    """

    observation_space: spaces.Dict
    action_space: spaces.Dict


class _Wrapped:
    """An environment of several agents, whose attributes are this one's too."""

    def __init__(self, env: Any) -> None:
        self.env = env

    def __getattr__(self, name: str) -> Any:
        if name == "env":  # not set yet
            raise AttributeError(name)
        return getattr(self.env, name)

    def close(self) -> None:
        """Close the environment."""
        self.env.close()


class TupliParallelEnvWrapper(EpisodeWrapper, _Wrapped):
    """Records what happens in a parallel environment, one episode for each joint run.

    ``reset`` and ``step`` return what the environment returns, unchanged; every other attribute is
    the environment's. An episode ends when no agents are left; one that is left in the middle is
    recorded as truncated. Its last step is ``terminated`` where an agent was that ended with it,
    and ``truncated`` likewise.

    Nothing but the methods of ``pettingzoo.ParallelEnv`` is asked of the environment, and
    PettingZoo itself is not needed. Other wrappers may insist on a ``ParallelEnv``: they go inside.

    Args:
        env: The environment. It names its ``possible_agents``.
        storage: Where benchmark and episodes go.
        benchmark_id: The benchmark's id, where it is stored already.
        metadata_callback: What makes the metadata of a joint run when it ends.
        on_abandoned: ``"drop"`` discards episodes that were left in the middle.

    Attributes:
        joint: The spaces of all agents together.

    Raises:
        InvalidInputError: The environment is not parallel, does not name its agents, or two read
            alike.
    """

    def __init__(
        self,
        env: Any,
        storage: TupliStorage,
        benchmark_id: str | None = None,
        metadata_callback: EpisodeSummary | None = None,
        *,
        on_abandoned: OnAbandoned = "record",
    ) -> None:
        super().__init__(env)
        self.metadata_callback = metadata_callback
        self._names = _names_of(env)
        self.joint = JointSpaces(
            _joint_space({n: env.observation_space(agent) for agent, n in self._names.items()}),
            _joint_space({n: env.action_space(agent) for agent, n in self._names.items()}),
        )
        self._columns = {name: k for k, name in enumerate(self.joint.observation_space.spaces)}
        self._record_in(storage, benchmark_id, self.joint, on_abandoned=on_abandoned)

    # ---- recording

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[Any, Any], dict[Any, Any]]:
        """Reset the environment; an episode in the middle is closed first."""
        self._close_episodes()
        observations, infos = self.env.reset(seed=seed, options=options)
        if self._record_episodes:
            own = {"infos": self._named(infos)} if any(infos.values()) else {}
            summary = self.metadata_callback
            seen = self._joint(observations)
            self._recorder.begin(seen, own, seed=seed, options=options, summary=summary)
        return observations, infos

    def step(
        self, actions: dict[Any, Any]
    ) -> tuple[dict[Any, Any], dict[Any, Any], dict[Any, Any], dict[Any, Any], dict[Any, Any]]:
        """Step the environment and record the step; an episode that ends is stored.

        Raises:
            InvalidInputError: An episode ended and the environment has not been stored.
            EncodingError: Something in the episode could not be stored; the message says what.
            StorageIOError: The disk refused; the episode is kept and tried again with the next.
        """
        taken = snapshot(self._joint(actions))  # before the environment can change them
        result = self.env.step(actions)
        observations, rewards, terminated, truncated, infos = result
        buffer = self._recorder.buffer
        if buffer is None:
            self._warn_unrecorded()
            return result  # type: ignore[no-any-return]
        flags = {
            "present": self._row(dict.fromkeys(rewards, True), bool),
            "terminated": self._row(terminated, bool),
            "truncated": self._row(truncated, bool),
        }
        told = self._named({agent: info for agent, info in infos.items() if info})
        is_over = not self.env.agents
        is_terminated = is_over and any(terminated.values())
        buffer.append(
            taken,
            self._joint(observations),
            self._row(rewards),
            is_terminated,
            is_over and (any(truncated.values()) or not is_terminated),
            {**flags, "infos": told} if told else flags,
        )
        if is_over:
            self._recorder.end(self.id, self.rl_tuple_cls)
        return result  # type: ignore[no-any-return]

    # ---- storing

    def store(
        self,
        name: str,
        description: str = "",
        difficulty: str | None = None,
        version: str | None = None,
        metadata: dict[str, Any] | None = None,
        *,
        config: Mapping[str, Any] | None = None,
    ) -> str:
        """Store a description of the environment as a benchmark and return its id.

        What is described are its class, its agents, their spaces and what it was made with. It is
        no environment document, which only a `gymnasium.Env` has: nothing can be made of it again,
        and its episodes cannot be replayed by command.

        Args:
            name: The benchmark's name.
            description: What it is about.
            difficulty: How hard it is.
            version: Its version.
            metadata: Anything else, as ``metadata.extra``.
            config: What the environment was made with; another makes another benchmark.

        Raises:
            EncodingError: A space, ``metadata`` or ``config`` cannot be stored.
        """
        words = BenchmarkMetadata(
            name=name,
            description=description,
            difficulty=difficulty,
            version=version,
            extra=metadata or {},
        )
        base = getattr(self.env, "unwrapped", self.env)
        told = {
            "action_spaces": _described(self.joint.action_space),
            "class": f"{type(base).__module__}.{type(base).__qualname__}",
            "config": dict(config or {}),
            "kind": "parallel environment",
            "observation_spaces": _described(self.joint.observation_space),
        }
        text = dump_json(told, name="environment").decode("utf-8", "surrogatepass")
        digest = sha256(dump_json([text, words.model_dump()], name="metadata")).hexdigest()
        query = BenchmarkQuery(hash=digest, serialized=text, metadata=words)
        self.id = self.storage.store_benchmark(query).id
        return self.id

    # ---- agents

    def _name(self, agent: Hashable) -> str:
        return self._names.get(agent, str(agent))  # a stranger does not fit the space: that is told

    def _named(self, values: Mapping[Any, Any]) -> dict[str, Any]:
        return {self._name(agent): value for agent, value in values.items()}

    def _joint(self, samples: Mapping[Any, Any]) -> dict[str, Any]:
        """Samples of some agents as one of all."""
        return {
            **dict.fromkeys(self._columns, _ABSENT),
            **{self._name(agent): (sample,) for agent, sample in samples.items()},
        }

    def _row(self, values: Mapping[Any, Any], dtype: Any = None) -> NDArray[Any]:
        """Numbers of some agents as a row of all, in a dtype that holds them; 0 where none is."""
        found = {
            self._columns[name]: np.asarray(value)
            for name, value in self._named(values).items()
            if name in self._columns
        }
        if dtype is None:
            kinds = [value.dtype for value in found.values()]
            dtype = np.result_type(*kinds) if kinds else np.float64
            if any(value.shape for value in found.values()):
                dtype = object  # it is told when the episode ends, as of all that cannot be stored
        row = np.zeros(len(self._columns), dtype)
        for k, value in found.items():
            row[k] = value
        return row


def _names_of(env: Any) -> dict[Hashable, str]:
    if hasattr(env, "agent_iter"):
        raise InvalidInputError(
            f"'{type(env).__name__}' lets one agent act after the other",
            hint="pettingzoo.utils.aec_to_parallel makes a parallel environment of some",
        )
    agents = getattr(env, "possible_agents", None)
    if not agents:
        raise InvalidInputError(
            f"'{type(env).__name__}' does not name the agents that it may have",
            hint="give it the attribute possible_agents",
        )
    names = {agent: str(agent) for agent in agents}
    if len(set(names.values())) < len(names):
        raise InvalidInputError("two agents have names that read alike")
    return names


def _joint_space(parts: Mapping[str, Space[Any]]) -> spaces.Dict:
    return spaces.Dict({name: spaces.Sequence(space) for name, space in parts.items()})


def _described(joint: spaces.Dict) -> dict[str, Any]:
    return {
        name: describe_space(part.feature_space)
        for name, part in joint.spaces.items()
        if isinstance(part, spaces.Sequence)
    }
