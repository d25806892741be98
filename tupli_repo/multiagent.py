"""Episodes of several agents: PettingZoo's parallel environments, recorded as joint runs.

A joint run is one episode. Its spaces are a Dict with a part for each agent, and each part is a
Sequence that is empty where the agent is absent, so that agents may come and go. ``rewards`` has a
row per step and a column per agent, in the order of the Dict's keys; so have the infos ``present``
(who was given a reward), ``terminated`` and ``truncated``. The agents' own infos are the info
``infos``, where there are any.

Invariant: what was given to the agents comes back, jointly or for one of them, in the same dtypes.
"""

from collections.abc import Hashable, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from tupli_repo.callbacks import EpisodeSummary
from tupli_repo.codec.arrays import stack
from tupli_repo.codec.buffer import snapshot
from tupli_repo.codec.episode import EpisodeData
from tupli_repo.codec.samples import escape, samples_from_columns
from tupli_repo.codec.spaces import LEAVES, Tree, describe_space
from tupli_repo.codec.values import dump_json
from tupli_repo.codec.views import View
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


class JointEpisode(NamedTuple):
    """A joint run as its environment gave it: dictionaries by the agents' names.

    Attributes:
        observations: T+1 dictionaries of those who observed; the first is what ``reset`` returned.
        actions: T dictionaries of those who acted.
        rewards: T dictionaries of those who were given one; so of the flags and infos.
        terminated: T dictionaries.
        truncated: T dictionaries.
        infos: T dictionaries.
    """

    observations: View[dict[str, Any]]
    actions: View[dict[str, Any]]
    rewards: View[dict[str, Any]]
    terminated: View[dict[str, Any]]
    truncated: View[dict[str, Any]]
    infos: View[dict[str, Any]]


class AgentEpisode(NamedTuple):
    """What one agent went through, from its first action to its last.

    Attributes:
        start: The step of the joint run in which it first acted.
        observations: n+1 samples, or n where it saw nothing after its last action: arrays of shape
            (n+1, *item) where its space has such, else a list.
        actions: n samples; ``actions[k]`` was taken in ``observations[k]``.
        rewards: Shape (n,), for ``actions[k]``.
        terminated: Shape (n,), what the environment said; no flag is set where a run was abandoned.
        truncated: Shape (n,).
        infos: n dictionaries.
    """

    start: int
    observations: Any
    actions: Any
    rewards: NDArray[Any]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    infos: list[dict[str, Any]]


def joint_episode(data: EpisodeData) -> JointEpisode:
    """Return a recorded joint run by step.

    Raises:
        InvalidInputError: It is no episode of several agents.
    """
    names = _agents_of(data)
    present = data.columns["infos/present"]

    def rows(column: NDArray[Any]) -> View[dict[str, Any]]:
        return View(
            lambda t: {n: column[t, k] for k, n in enumerate(names) if present[t, k]}, len(data)
        )

    def infos(t: int) -> dict[str, Any]:
        told = data.infos[t].get("infos", {})
        return {name: told.get(name, {}) for k, name in enumerate(names) if present[t, k]}

    return JointEpisode(
        _without_absent(data.observations),
        _without_absent(data.actions),
        rows(data.rewards),
        rows(data.columns["infos/terminated"]),
        rows(data.columns["infos/truncated"]),
        View(infos, len(data)),
    )


def agent_episode(data: EpisodeData, agent: Hashable, *, life: int = 0) -> AgentEpisode:
    """Return what one agent went through in a recorded joint run.

    Args:
        data: What `Repository.read_episode` returned second.
        agent: Its name.
        life: Which of its lives, of an agent that comes again; negative ones count from the last.

    Raises:
        InvalidInputError: It is no episode of several agents, has no such agent, or that has no
            such life.
    """
    names, name = _agents_of(data), str(agent)
    if name not in names:
        raise InvalidInputError(
            f"there is no agent '{name}' in this episode", hint=f"its agents: {', '.join(names)}"
        )
    k = names.index(name)
    ends = {part: data.columns[f"infos/{part}"][:, k] for part in ("terminated", "truncated")}
    seen, acted = (_of_agent(data, part, name) for part in ("observations", "actions"))
    lives = _lives(list(map(len, acted)), ends["terminated"] | ends["truncated"])
    if not -len(lives) <= life < len(lives):
        raise InvalidInputError(f"agent '{name}' has {len(lives)} lives in this episode")
    start, end = lives[life]
    if not all(seen[start:end]):
        raise InvalidInputError(f"agent '{name}' acted without having observed")
    return AgentEpisode(
        start,
        _values(data.layout.observation, name, seen[start : end + 1]),
        _values(data.layout.action, name, acted[start:end]),
        data.rewards[start:end, k],
        ends["terminated"][start:end],
        ends["truncated"][start:end],
        [info.get("infos", {}).get(name, {}) for info in data.infos[start:end]],
    )


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


def _of_agent(data: EpisodeData, part: str, name: str) -> View[tuple[Any, ...]]:
    """What is there of an agent at each step: a tuple of one sample, or an empty one."""
    is_action = part == "actions"
    joint = data.layout.action if is_action else data.layout.observation
    length = len(data.actions if is_action else data.observations)
    return samples_from_columns(
        dict(joint["spaces"])[name], data.columns, f"{part}/{escape(name)}", length
    )


def _values(joint: Tree, name: str, seen: list[tuple[Any, ...]]) -> Any:
    """Samples of an agent that is there, as an array where its space is a leaf."""
    values = [sample[0] for sample in seen if sample]
    part = dict(joint["spaces"])[name]["space"]
    return stack(values, name) if part["type"] in LEAVES else values


def _lives(acted: Sequence[int], ended: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The first step and the one behind the last of each time that an agent was there."""
    lives: list[tuple[int, int]] = []
    goes_on = False
    for t in np.flatnonzero(acted).tolist():
        if goes_on and lives[-1][1] == t:
            lives[-1] = (lives[-1][0], t + 1)
        else:
            lives.append((t, t + 1))
        goes_on = not ended[t]
    return lives


def _agents_of(data: EpisodeData) -> list[str]:
    needed = {"infos/present", "infos/terminated", "infos/truncated"}
    if data.layout.observation["type"] != "Dict" or not needed <= data.columns.keys():
        raise InvalidInputError(
            "the episode is not one of several agents",
            hint="agents are told apart where TupliParallelEnvWrapper recorded it",
        )
    return [key for key, _ in data.layout.observation["spaces"]]


def _without_absent(samples: View[Any]) -> View[dict[str, Any]]:
    return View(lambda t: {n: part[0] for n, part in samples[t].items() if part}, len(samples))
