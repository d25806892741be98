"""Several agents: a joint run is one episode, whoever comes and goes in it."""

import copy
import warnings
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from tests.strategies import same
from tupli_repo import (
    EpisodeData,
    FileStorage,
    TupliDataset,
    TupliParallelEnvWrapper,
    agent_episode,
)
from tupli_repo.errors import EncodingError, InvalidInputError
from tupli_repo.multiagent import joint_episode


class Meadow:
    """A parallel environment without PettingZoo; who is there at each step is written down.

    Args:
        there: For each step, and after the last, the agents that are there.
        strange: Whether an agent comes that nobody knew of.
    """

    metadata = {"name": "meadow_v0"}  # noqa: RUF012 - as PettingZoo has it
    possible_agents: tuple[Any, ...] = ("wolf", "sheep/1", "sheep/2", "crow")

    def __init__(self, there: list[str] | None = None, *, strange: bool = False) -> None:
        self.there = there or ["ws", "wst", "wt", "wtc", "sc", "s", ""]
        self.strange = strange
        self.agents: list[str] = []
        self.closed = False

    def observation_space(self, agent: str) -> Any:
        if agent == "wolf":
            return spaces.Dict(nose=spaces.Box(-9, 9, (2,)), word=spaces.Text(9))
        if agent == "crow":
            return spaces.Discrete(50)
        return spaces.Box(0, 255, (3, 2), np.uint8)

    def action_space(self, agent: str) -> Any:
        return spaces.Discrete(4) if agent != "crow" else spaces.Box(-1, 1, (1,), np.float64)

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.rng, self.t = np.random.default_rng(seed), 0
        self.agents = self._at(0)
        self.seen = {agent: self._see(agent) for agent in self.agents}
        return self.seen, {agent: {"hello": agent} for agent in self.agents}

    def step(self, actions: dict[str, Any]) -> Any:
        before, after = self._at(self.t), self._at(self.t + 1)
        self.t += 1
        for action in actions.values():
            if isinstance(action, np.ndarray):
                action[:] = 9  # what is recorded must be older
        present = list(dict.fromkeys(before + after))
        gone = [agent for agent in before if agent not in after]
        self.agents = after
        rewards = {a: float(self.rng.normal()) if a in before else 0.0 for a in present}
        terminated = {agent: agent in gone and agent != "wolf" for agent in present}
        truncated = {agent: agent in gone and agent == "wolf" for agent in present}
        infos: dict[str, Any] = {agent: {} for agent in present}
        if self.t % 2:
            infos[present[0]] = {"t": self.t, "grid": np.arange(self.t)}
        seen = {agent: self._see(agent) for agent in present}
        if self.strange:
            seen["stranger"] = 1
        return seen, rewards, terminated, truncated, infos

    def close(self) -> None:
        self.closed = True

    def _at(self, t: int) -> list[str]:
        letters = {"w": "wolf", "s": "sheep/1", "t": "sheep/2", "c": "crow"}
        return [letters[letter] for letter in self.there[t]]

    def _see(self, agent: str) -> Any:
        if agent == "wolf":
            nose = self.rng.normal(size=2).astype(np.float32)
            return {"nose": nose, "word": "x" * int(self.rng.integers(0, 9))}
        if agent == "crow":
            return np.int64(self.rng.integers(0, 50))
        return self.rng.integers(0, 256, (3, 2), dtype=np.uint8)


def act(env: Any, t: int) -> dict[str, Any]:
    return {
        agent: np.array([t / 10 + k]) if agent == "crow" else np.int64((t + k) % 4)
        for k, agent in enumerate(env.agents)
    }


def run(env: Any, seed: int = 1, n_steps: int = 1000) -> list[Any]:
    """One joint run; the notes of a loop around it, copied at once."""
    notes: list[Any] = [copy.deepcopy(env.reset(seed=seed))]
    for t in range(n_steps):
        if not env.agents:
            break
        actions = act(env, t)
        taken = copy.deepcopy(actions)
        notes.append(copy.deepcopy((taken, *env.step(actions))))
    return notes


def stored(storage: FileStorage, env: Any, **kw: Any) -> Any:
    wrapped = TupliParallelEnvWrapper(env, storage, **kw)
    wrapped.store("meadow")
    return wrapped


def recorded(storage: FileStorage) -> list[EpisodeData]:
    return [data for _, data in storage.read_episodes(h.id for h in storage.list_episodes())]


def check_joint(data: EpisodeData, notes: list[Any]) -> None:
    joint = joint_episode(data)
    first, steps = notes[0], notes[1:]
    named = lambda values: {str(agent): value for agent, value in values.items()}  # noqa: E731
    assert same(list(joint.observations), [named(first[0]), *(named(s[1]) for s in steps)])
    assert same(list(joint.actions), [named(s[0]) for s in steps])
    assert [dict(r) for r in joint.rewards] == [named(s[2]) for s in steps]
    assert [dict(f) for f in joint.terminated] == [named(s[3]) for s in steps]
    assert [dict(f) for f in joint.truncated] == [named(s[4]) for s in steps]
    assert same(list(joint.infos), [named(s[5]) for s in steps])


def check_agents(data: EpisodeData, notes: list[Any]) -> int:
    """Compare each agent's lives with the notes; how many there were."""
    steps, n_lives = notes[1:], 0
    agents = {agent: str(agent) for step in steps for agent in step[0]}
    for agent, name in agents.items():
        rows = [t for t, step in enumerate(steps) if agent in step[0]]
        cuts = [0]
        for k in range(1, len(rows)):
            before = steps[rows[k - 1]]
            if rows[k] > rows[k - 1] + 1 or before[3][agent] or before[4][agent]:
                cuts.append(k)
        for life, (a, b) in enumerate(zip(cuts, [*cuts[1:], len(rows)], strict=True)):
            mine, n_lives = rows[a:b], n_lives + 1
            got = agent_episode(data, name, life=life)
            assert got.start == mine[0]
            observed = [notes[0][0], *(step[1] for step in steps)]
            seen = [observed[t][agent] for t in [*mine, mine[-1] + 1] if agent in observed[t]]
            assert same(list(got.observations), seen)
            assert same(list(got.actions), [steps[t][0][agent] for t in mine])
            assert got.rewards.tolist() == [steps[t][2][agent] for t in mine]
            assert got.terminated.tolist() == [steps[t][3][agent] for t in mine]
            assert got.truncated.tolist() == [steps[t][4][agent] for t in mine]
            assert same(got.infos, [steps[t][5][agent] for t in mine])
    return n_lives


def test_a_joint_run_comes_back_jointly_and_for_each_agent(storage):
    env = stored(storage, Meadow())
    notes = run(env)
    env.close()
    (data,) = recorded(storage)
    check_joint(data, notes)
    assert check_agents(data, notes) == 5  # a sheep comes twice
    assert data.record["seed"] == 1
    assert data.record["reset_info"]["infos"]["wolf"] == {"hello": "wolf"}
    assert (data.terminated.tolist(), data.truncated.tolist()) == (
        [False] * 5 + [True],
        [False] * 6,
    )
    assert env.closed


def test_columns_are_contiguous_for_each_agent(storage):
    env = stored(storage, Meadow())
    for seed in (1, 2):
        run(env, seed)
    env.close()
    columns = TupliDataset(storage).columns()
    assert columns["observations/crow"].dtype == np.int64
    assert columns["observations/sheep%2F1"].shape == (2 * 6, 3, 2)
    assert columns["actions/crow"].shape == (2 * 2, 1)
    assert columns["rewards"].shape == (12, 4)
    assert columns["infos/present"].dtype == bool
    crow = agent_episode(recorded(storage)[1], "crow")
    assert (crow.observations.dtype, crow.observations.shape) == (np.int64, (3,))
    assert isinstance(agent_episode(recorded(storage)[1], "wolf").observations, list)


def test_what_passes_through_is_unchanged_and_other_attributes_are_the_environments(storage):
    bare, inner = Meadow(), Meadow()
    env = stored(storage, inner)
    assert same(run(env, 3), run(bare, 3))
    assert env.possible_agents is inner.possible_agents
    assert env.metadata["name"] == "meadow_v0"
    assert env.reset()[0] is inner.seen
    with pytest.raises(AttributeError, match="nonsense"):
        _ = env.nonsense
    assert copy.copy(env).env is inner


def test_a_run_left_in_the_middle_is_recorded_as_truncated_or_dropped(storage):
    env = stored(storage, Meadow())
    run(env, n_steps=2)
    run(env, n_steps=3)
    env.deactivate_recording()
    run(env)
    env.activate_recording()
    env.env.t = 0
    with pytest.warns(UserWarning, match="not recorded before the next reset"):
        env.step({})
    env.close()
    found = recorded(storage)
    assert [(len(data), data.record["abandoned"]) for data in found] == [(2, True), (3, True)]
    assert all(data.truncated[-1] and not data.terminated[-1] for data in found)
    assert not agent_episode(found[0], "wolf").truncated.any()
    env = stored(storage, Meadow(), on_abandoned="drop")
    run(env, n_steps=2)
    env.close()
    assert len(storage.list_episodes()) == 2


def test_a_run_whose_last_agent_is_truncated_is_truncated(storage):
    env = stored(storage, Meadow(["ws", "w", ""]))
    run(env)
    env.close()
    (data,) = recorded(storage)
    assert (data.terminated.tolist(), data.truncated.tolist()) == ([False] * 2, [False, True])


def test_an_agent_that_dies_and_is_there_again_at_once_has_two_lives(storage):
    class Cat(Meadow):
        def step(self, actions: Any) -> Any:
            seen, rewards, terminated, *others = super().step(actions)
            return seen, rewards, terminated | {"wolf": self.t == 2}, *others

    env = stored(storage, Cat(["ws", "w", "w", "w", ""]))
    notes = run(env)
    env.close()
    (data,) = recorded(storage)
    assert check_agents(data, notes) == 3
    assert [agent_episode(data, "wolf", life=k).start for k in (0, 1)] == [0, 2]


def test_rewards_keep_their_dtype(storage):
    class Single(Meadow):
        def step(self, actions: Any) -> Any:
            seen, rewards, *others = super().step(actions)
            return seen, {a: np.float32(r) for a, r in rewards.items()}, *others

    env = stored(storage, Single())
    notes = run(env)
    env.close()
    (data,) = recorded(storage)
    assert data.rewards.dtype == np.float32
    check_joint(data, notes)


def test_an_agent_that_nobody_knew_of_costs_what_comes_after_it(storage):
    meadow = Meadow()
    env = stored(storage, meadow)
    env.reset(seed=1)
    env.step(act(env, 0))
    meadow.strange = True
    for t in range(1, 5):
        env.step(act(env, t))
    with pytest.raises(EncodingError, match=r"recorded as far as .* 1 of 6 steps: .*'stranger'"):
        env.step(act(env, 5))
    env.close()
    assert [len(data) for data in recorded(storage)] == [1]


def test_rewards_that_are_no_numbers_cost_what_comes_after_them(storage):
    class Torn(Meadow):
        def step(self, actions: Any) -> Any:
            seen, rewards, *others = super().step(actions)
            return seen, {a: np.ones(2) if self.t > 2 else r for a, r in rewards.items()}, *others

    env = stored(storage, Torn())
    with pytest.raises(EncodingError, match="recorded as far as it can be stored, 2 of 6 steps"):
        run(env)
    env.close()
    assert [len(data) for data in recorded(storage)] == [2]


def test_what_cannot_be_asked_for_is_told(storage):
    env = stored(storage, Meadow())
    run(env)
    env.close()
    (data,) = recorded(storage)
    with pytest.raises(InvalidInputError, match="no agent 'bear'"):
        agent_episode(data, "bear")
    with pytest.raises(InvalidInputError, match="agent 'sheep/1' has 2 lives"):
        agent_episode(data, "sheep/1", life=2)
    assert same(agent_episode(data, "sheep/1", life=-1), agent_episode(data, "sheep/1", life=1))

    class Nameless(Meadow):
        possible_agents = ()

    class Twins(Meadow):
        possible_agents = (1, "1")

    class Turns(Meadow):
        def agent_iter(self) -> Any:
            return iter(self.agents)

    told = ((Nameless, "does not name"), (Twins, "read alike"), (Turns, "one agent .* after"))
    for cls, message in told:
        with pytest.raises(InvalidInputError, match=message):
            TupliParallelEnvWrapper(cls(), storage)
    unstored = TupliParallelEnvWrapper(Meadow(["w", ""]), storage)
    with pytest.raises(InvalidInputError, match="not stored"):
        run(unstored)


def test_an_episode_of_a_single_agent_has_no_agents(storage):
    from tests.envs import play
    from tests.envs import stored as single

    env = single(storage)
    play(env, [1] * 5)
    env.close()
    for read in (joint_episode, lambda data: agent_episode(data, "wolf")):
        with pytest.raises(InvalidInputError, match="not one of several agents"):
            read(recorded(storage)[0])


def test_the_benchmark_describes_agents_and_spaces(storage):
    env = TupliParallelEnvWrapper(Meadow(), storage)
    first = env.store("meadow", "grass", config={"n": 3})
    assert (
        TupliParallelEnvWrapper(Meadow(), storage).store("meadow", "grass", config={"n": 3})
        == first
    )
    assert env.store("meadow", "grass", config={"n": 4}) != first
    found = storage.load_benchmark(first)
    assert found.env_format == "opaque"
    assert '"class":"tests.test_multiagent.Meadow"' in found.serialized
    assert '"sheep/2":{"dtype":"|u1"' in found.serialized


def test_an_environment_of_pettingzoo_whose_agents_die_comes_back(storage):
    pytest.importorskip("pettingzoo")
    pytest.importorskip("pygame")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pygame's own
        module = pytest.importorskip("pettingzoo.butterfly.knights_archers_zombies_v11")
        env = stored(storage, module.parallel_env(spawn_delay=2, max_zombies=40))
        runs = []
        for seed in (1, 2):
            for agent in env.possible_agents:
                env.action_space(agent).seed(seed)
            notes: list[Any] = [copy.deepcopy(env.reset(seed=seed))]
            while env.agents and len(notes) < 400:
                actions = {agent: env.action_space(agent).sample() for agent in env.agents}
                notes.append(copy.deepcopy((actions, *env.step(actions))))
            runs.append(notes)
        env.close()
    for data, notes in zip(recorded(storage), runs, strict=True):
        check_joint(data, notes)
        assert check_agents(data, notes) == 4
        assert len({len(agent_episode(data, name).rewards) for name in env.possible_agents}) > 1
