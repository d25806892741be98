"""Vector environments: each sub-environment's episodes are those that it has alone."""

import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import ClipReward, DictInfoToList, RecordEpisodeStatistics

from tests.envs import Walk, make_env
from tests.faults import FailingFileSystem, full_disk
from tests.strategies import same
from tests.test_storage import query
from tupli_repo import (
    FileStorage,
    Repository,
    TupliEnvWrapper,
    TupliVectorEnvWrapper,
    replay,
)
from tupli_repo.errors import EncodingError, InvalidInputError, StorageIOError
from tupli_repo.schema import EpisodeMetadataCallback, RLTuple

MODES = list(AutoresetMode)
SEED = 7


class Rich(gymnasium.Env[Any, Any]):
    """Episodes of random lengths that end in all ways; its infos have all that infos may have.

    Args:
        kind: What is observed.
        longest: The most steps of an episode.
    """

    action_space = spaces.Discrete(4)

    def __init__(self, kind: str = "box", longest: int = 12) -> None:
        self.kind, self.longest = kind, longest
        self.observation_space = SPACES[kind]
        self.t, self.end, self.log = 0, 0, [0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.t, self.end = 0, int(self.np_random.integers(1, self.longest + 1))
        self.log = []
        info: dict[str, Any] = {"at": 0, "end": self.end, "options": options or {}, "log": self.log}
        return self._seen(), info if self.end % 3 else {}

    def step(self, action: Any) -> Any:
        self.t += 1
        self.log.append(self.t)
        rng, over, how = self.np_random, self.t == self.end, self.end % 3
        info: dict[str, Any] = {
            "at": self.t,
            "action": int(action),
            "speed": float(rng.normal()),
            "single": np.float32(rng.normal()),
            "is_odd": bool(self.t % 2),
            "is_even": np.bool_(self.t % 2 == 0),
            "grid": rng.integers(0, 9, (2, 2)),
            "_own": self.t,
            "name": f"step {self.t}",
            "nothing": None,
            "log": self.log,
            "deep": {"x": self.t, "deeper": {"y": [self.t]}} | ({"z": 1.5} if how else {}),
        }
        if rng.random() < 0.3:
            info |= {"seldom": 2.5, "seldom_int": 3, "seldom_array": np.arange(3.0), "empty": {}}
        if over:
            info |= {"success": how == 1, "final": {"length": self.t}}
        if self.t == 2:
            info = {}
        reward = float(rng.normal())
        return self._seen(), reward, over and how != 1, over and how != 2, info

    def _seen(self) -> Any:
        rng = self.np_random
        position = rng.normal(size=3).astype(np.float32)
        match self.kind:
            case "box":
                return position
            case "discrete":
                return int(rng.integers(0, 9))
            case "image":
                return rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
            case "tree":
                flags = rng.integers(0, 2, 4, dtype=np.int8)
                return {"p": position, "more": (int(rng.integers(0, 5)), {"flags": flags})}
        return {"p": position, "word": "x" * int(rng.integers(0, 5))}


_BOX = spaces.Box(-np.inf, np.inf, (3,))
SPACES: dict[str, Any] = {
    "box": _BOX,
    "discrete": spaces.Discrete(9),
    "image": spaces.Box(0, 255, (20, 20, 3), np.uint8),
    "tree": spaces.Dict(
        p=_BOX,
        more=spaces.Tuple([spaces.Discrete(5), spaces.Dict(flags=spaces.MultiBinary(4))]),
    ),
    "words": spaces.Dict(p=_BOX, word=spaces.Text(9)),
}


def made(kind: str, make: Any, n: int, mode: AutoresetMode) -> Any:
    """A vector environment."""
    if kind == "sync":
        return SyncVectorEnv([make] * n, autoreset_mode=mode)
    return AsyncVectorEnv([make] * n, autoreset_mode=mode, shared_memory=kind != "async-piped")


def storage_in(folder: Path) -> tuple[FileStorage, str]:
    """A repository with a benchmark that is nobody's in particular."""
    storage = FileStorage(folder)
    return storage, storage.store_benchmark(query()).id


def actions_for(n_steps: int, n_envs: int) -> Any:
    return np.random.default_rng(3).integers(0, 2, (n_steps, n_envs))


def record_vector(storage: Any, benchmark: str, env: Any, actions: Any, **kw: Any) -> None:
    """Run a vector environment; where it does not reset by itself, reset who ended."""
    wrapped = TupliVectorEnvWrapper(env, storage, benchmark, **kw)
    mode = env.metadata["autoreset_mode"]
    wrapped.reset(seed=SEED)
    for t, batch in enumerate(actions):
        _, _, terminated, truncated, _ = wrapped.step(batch)
        over = terminated | truncated
        if mode == AutoresetMode.DISABLED and over.any():
            seeds = [1000 * t + i if i % 2 else None for i in range(len(over))]
            wrapped.reset(seed=seeds, options={"reset_mask": over, "level": 2})
    wrapped.close()


def record_singles(
    storage: Any, benchmark: str, make: Any, mode: AutoresetMode, actions: Any, **kw: Any
) -> None:
    """Run environments one by one, each as it is run within a vector environment."""
    for i in range(actions.shape[1]):
        env = TupliEnvWrapper(make(), storage, benchmark, **kw)
        env.reset(seed=SEED + i)
        is_over = False
        for t, action in enumerate(actions[:, i]):
            if is_over:  # only where the next step resets
                env.reset()
                is_over = False
                continue
            is_over = any(env.step(action)[2:4])
            if is_over and mode == AutoresetMode.DISABLED:
                env.reset(seed=1000 * t + i if i % 2 else None, options={"level": 2})
            elif is_over and mode == AutoresetMode.SAME_STEP:
                env.reset()
            is_over = is_over and mode == AutoresetMode.NEXT_STEP
        env.close()


def contents(storage: FileStorage, *, rng: bool) -> list[str]:
    """All that is recorded of each episode but when and under which nonce, in any order."""
    found = []
    for header, data in storage.read_episodes(h.id for h in storage.list_episodes()):
        record = {k: v for k, v in data.record.items() if k not in ("created_at", "nonce")}
        if not rng:
            del record["rng"]
        columns = {
            name: (str(column.dtype), column.shape, column.tobytes().hex())
            for name, column in data.columns.items()
        }
        assert header.n_tuples == data.n_steps
        found.append(repr((sorted(record.items()), data.layout, list(columns.items()))))
    return sorted(found)


class Longest(EpisodeMetadataCallback):
    """Tells how many steps there were, and the highest reward."""

    def reset(self) -> None:
        self.rewards: list[float] = []

    def __call__(self, tuple: RLTuple) -> dict[str, Any]:  # noqa: A002
        self.rewards.append(float(tuple.reward))
        return {"n": len(self.rewards), "best": max(self.rewards), "last": tuple.terminal}


def check_alike(tmp_path: Path, kind: str, mode: AutoresetMode, make: Any, shape: Any) -> int:
    """Record both ways and compare; how many episodes there were."""
    actions = actions_for(*shape)
    one, benchmark = storage_in(tmp_path / "one")
    record_vector(
        one, benchmark, made(kind, make, shape[1], mode), actions, metadata_callback=Longest()
    )
    other, benchmark = storage_in(tmp_path / "other")
    record_singles(other, benchmark, make, mode, actions, metadata_callback=Longest())
    has_rng = kind == "sync" and mode != AutoresetMode.SAME_STEP
    seen, expected = contents(one, rng=has_rng), contents(other, rng=has_rng)
    assert len(seen) == len(expected)
    assert seen == expected
    return len(seen)


# ---- what is recorded


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("kind", list(SPACES))
def test_what_is_recorded_is_what_single_wrappers_record(tmp_path, mode, kind):
    shape = (150, 8) if kind == "box" else (50, 3)
    assert check_alike(tmp_path, "sync", mode, partial(Rich, kind), shape) > 15


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_a_thousand_steps_of_eight_are_recorded_as_single_wrappers_record_them(tmp_path, mode):
    make = partial(make_env, "CartPole-v1")
    assert check_alike(tmp_path, "sync", mode, make, (1000, 8)) > 200


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_other_processes_are_recorded_as_single_wrappers_are(tmp_path, mode):
    assert check_alike(tmp_path, "async", mode, partial(Rich, "tree"), (40, 2)) > 9


def test_other_processes_without_shared_memory_are_recorded_alike(tmp_path):
    make = partial(Rich, "words")
    assert check_alike(tmp_path, "async-piped", AutoresetMode.SAME_STEP, make, (40, 2)) > 9


@pytest.mark.torture
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    "make",
    [partial(make_env, "CartPole-v1"), partial(Rich, "tree", 60), partial(Rich, "box", 900)],
    ids=["CartPole", "short", "long"],
)
def test_ten_thousand_steps_of_eight_are_alike(tmp_path, kind, mode, make):
    assert check_alike(tmp_path, kind, mode, make, (10_000, 8)) > 100


def run_walks(storage: Any, env: Any, n_steps: int, **kw: Any) -> Any:
    """A vector of walks of 5 steps, run and not closed."""
    wrapped = TupliVectorEnvWrapper(env, storage, storage_benchmark(storage), **kw)
    wrapped.reset(seed=SEED)
    for t in range(n_steps):
        wrapped.step(np.arange(wrapped.num_envs) * t % 4)
    return wrapped


def storage_benchmark(storage: Any) -> str:
    found: str = storage.store_benchmark(query()).id
    return found


def step_times(env: Any, n: int) -> None:
    for _ in range(n):
        env.step(np.ones(env.num_envs, int))


def walks(n: int = 3, mode: AutoresetMode = AutoresetMode.NEXT_STEP, **kw: Any) -> Any:
    return SyncVectorEnv([partial(Walk, **kw)] * n, autoreset_mode=mode)


def seeds_and_lengths(storage: Any) -> list[tuple[int | None, int]]:
    return [(header.seed, header.n_tuples) for header in storage.list_episodes()]


def test_what_the_environment_returns_passes_through_unchanged(storage):
    for mode in MODES[:2]:
        bare, env = walks(mode=mode), TupliVectorEnvWrapper(walks(mode=mode), storage)
        env.id = storage_benchmark(storage)
        seen: Any = env.reset(seed=3)
        expected = bare.reset(seed=3)
        for t in range(12):
            assert same(seen[:-1], expected[:-1])
            assert repr(seen[-1]) == repr(expected[-1])
            seen, expected = env.step(np.full(3, t % 4)), bare.step(np.full(3, t % 4))
        inner: Any = RecordEpisodeStatistics(walks(mode=mode))
        assert TupliVectorEnvWrapper(inner, storage).unwrapped is inner.unwrapped


def test_arrays_that_are_used_again_are_recorded_as_they_were(tmp_path):
    class Greedy(SyncVectorEnv):
        """Returns its own observations, and changes the actions it is given."""

        def step(self, actions: Any) -> Any:
            result = super().step(actions)
            actions[:] = 99
            return result

    one, benchmark = storage_in(tmp_path / "one")
    actions = actions_for(30, 3)
    make = partial(Walk, reuse=True)
    env = Greedy([make] * 3, copy=False, autoreset_mode=AutoresetMode.NEXT_STEP)
    record_vector(one, benchmark, env, actions.copy())
    other, benchmark = storage_in(tmp_path / "other")
    record_singles(other, benchmark, make, AutoresetMode.NEXT_STEP, actions)
    assert contents(one, rng=True) == contents(other, rng=True)


def test_actions_of_any_kind_are_recorded(storage):
    class Wide(Walk):
        def __init__(self) -> None:
            super().__init__(3)
            self.action_space = spaces.Dict(
                a=spaces.Discrete(4), b=spaces.Tuple([spaces.Box(-1, 1, (2,)), spaces.Text(5)])
            )

        def step(self, action: Any) -> Any:
            return super().step(action["a"])

    env = TupliVectorEnvWrapper(SyncVectorEnv([Wide] * 2), storage, storage_benchmark(storage))
    env.reset(seed=0)
    given: list[Any] = []
    for t in range(3):
        given.append(
            {"a": np.array([t, t + 1]), "b": (np.full((2, 2), t / 9, "f4"), ("x", "y" * t))}
        )
        env.step(given[-1])
    env.close()
    _, data = storage.read_episode(storage.list_episodes()[1].id)
    expected = [{"a": g["a"][1], "b": (g["b"][0][1], g["b"][1][1])} for g in given]
    assert same(list(data.actions), expected)
    assert data.columns["actions/b/0"].dtype == np.float32


def test_lists_of_actions_are_recorded_in_the_dtype_of_their_space(storage):
    env = TupliVectorEnvWrapper(walks(2), storage, storage_benchmark(storage))
    env.reset(seed=0)
    for actions in ([1, 2], np.array([3, 0], np.int32), (2, 2), [0, 1], [1, 1]):
        env.step(actions)
    env.close()
    _, data = storage.read_episode(storage.list_episodes()[0].id)
    assert data.columns["actions"].dtype == np.int64
    assert data.columns["actions"].tolist() == [1, 3, 2, 0, 1]


# ---- resets and what is left in the middle


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_who_is_reset_in_the_middle_is_closed_and_the_others_go_on(storage, mode):
    env = run_walks(storage, walks(3, mode), 2)
    env.reset(seed=[50, 51, 52], options={"reset_mask": np.array([False, True, False])})
    for _ in range(3):
        env.step(np.array([1, 2, 3]))
    assert seeds_and_lengths(storage) == [(SEED + 1, 2), (SEED, 5), (SEED + 2, 5)]
    env.close()
    assert seeds_and_lengths(storage)[3] == (51, 3)
    alone = Walk()
    for i, first, rest in ((0, [0, 0], [1] * 3), (2, [0, 2], [3] * 3)):
        observations = [alone.reset(seed=SEED + i)[0]]
        observations += [alone.step(action)[0] for action in first + rest]
        header = next(h for h in storage.list_episodes() if h.seed == SEED + i)
        assert same(list(storage.read_episode(header.id)[1].observations), observations)


def test_what_is_left_in_the_middle_is_recorded_as_truncated_or_dropped(storage):
    env = run_walks(storage, walks(2), 3)
    env.reset(seed=20)
    step_times(env, 2)
    env.deactivate_recording()
    step_times(env, 1)
    env.activate_recording()
    with pytest.warns(UserWarning, match="not recorded before the next reset"):
        step_times(env, 2)
    step_times(env, 1 + 5 + 1 + 4)  # the first and the seventh are resets
    env.close()
    found = [(SEED, 3), (SEED + 1, 3), (20, 2), (21, 2)] + [(None, 5)] * 2 + [(None, 4)] * 2
    assert sorted(seeds_and_lengths(storage), key=repr) == sorted(found, key=repr)
    for header in storage.list_episodes():
        _, data = storage.read_episode(header.id)
        assert data.record["abandoned"] == (len(data) < 5)
        assert bool(data.truncated[-1]) == (len(data) < 5)
        assert [info["t"] for info in data.infos] == list(range(1, len(data) + 1))
    run_walks(storage, walks(2), 3, on_abandoned="drop").close()
    assert len(storage.list_episodes()) == len(found)


def test_a_vector_that_is_not_stored_records_nothing_and_says_so(storage):
    env = TupliVectorEnvWrapper(walks(2), storage)
    env.env.reset()
    with pytest.warns(UserWarning, match="not recorded before the next reset"):
        step_times(env, 1)
    env.reset()
    env.step(np.array([1, 1]))
    with pytest.warns(UserWarning, match="2 steps were not recorded"):
        env.reset()
    with pytest.raises(InvalidInputError, match="its environment is not stored"):
        step_times(env, 5)
    env.close()
    assert storage.list_episodes() == []


def test_a_step_that_fails_closes_the_episodes_and_the_next_resets_begin_others(storage):
    class Fragile(Walk):
        def step(self, action: Any) -> Any:
            if action == 3:
                raise KeyboardInterrupt
            return super().step(action)

    env = TupliVectorEnvWrapper(SyncVectorEnv([Fragile] * 2), storage, storage_benchmark(storage))
    env.reset(seed=0)
    step_times(env, 2)
    with pytest.raises(KeyboardInterrupt):
        env.step(np.array([1, 3]))  # the first has made a step, the second none
    with pytest.warns(UserWarning, match="not recorded before the next reset"):
        step_times(env, 1)
    step_times(env, 1 + 5 + 1 + 3)
    env.close()
    found = [(header.seed, header.n_tuples) for header in storage.list_episodes()]
    assert found[:2] == [(0, 2), (1, 2)]
    assert sorted(found[2:], key=repr) == [(None, 1), (None, 2), (None, 5), (None, 5)]
    for header in storage.list_episodes()[2:]:
        _, data = storage.read_episode(header.id)
        assert [info["t"] for info in data.infos] == list(range(1, len(data) + 1))


def test_a_failing_disk_keeps_the_episodes_for_the_next(tmp_path):
    Repository.init(tmp_path)
    fs = FailingFileSystem(0, full_disk(), lasting=True)
    repository = Repository(tmp_path, fs=fs)
    env = run_walks(repository, walks(2), 4)
    fs.fail_at(1)
    with pytest.raises(StorageIOError):
        env.step(np.array([1, 1]))
    env.step(np.array([1, 1]))
    fs.heal()
    for _ in range(5):
        env.step(np.array([1, 1]))
    env.close()
    assert seeds_and_lengths(repository) == [(SEED, 5), (SEED + 1, 5), (None, 5), (None, 5)]


def test_what_cannot_be_stored_is_told_and_costs_no_episode(storage):
    class Chatty(Walk):
        def step(self, action: Any) -> Any:
            *rest, info = super().step(action)
            return (*rest, {"engine": object()} if self.t == 2 else info)

    env = TupliVectorEnvWrapper(SyncVectorEnv([Chatty] * 2), storage, storage_benchmark(storage))
    env.reset(seed=0)
    with pytest.raises(EncodingError, match="was recorded, without what cannot be stored"):
        step_times(env, 5)
    with pytest.raises(EncodingError, match="was recorded, without what cannot be stored"):
        env.close()
    assert seeds_and_lengths(storage) == [(0, 5), (1, 5)]


@pytest.mark.parametrize("mode", MODES[:2], ids=lambda mode: mode.value)
def test_an_observation_that_cannot_be_stored_costs_what_comes_after_it(tmp_path, mode):
    class Mute(Rich):
        def __init__(self) -> None:
            super().__init__("words")

        def _seen(self) -> Any:
            return super()._seen() | ({"word": None} if self.t == 3 else {})

    outcomes = []
    for n in (1, 0):
        storage, benchmark = storage_in(tmp_path / str(n))
        sub_envs = SyncVectorEnv([Mute], autoreset_mode=mode)
        env: Any = TupliEnvWrapper(Mute(), storage, benchmark)
        if n:
            env = TupliVectorEnvWrapper(sub_envs, storage, benchmark)
        env.reset(seed=[4] if n else 4)  # it has more steps than these
        for _ in range(6):
            env.step(np.array([1]) if n else 1)
        told = r"as far as it can be stored, 2 of 6 steps: 'observations/word\[3\]' is None"
        with pytest.raises(EncodingError, match=told):
            env.deactivate_recording()
        outcomes.append(contents(storage, rng=False))
    assert outcomes[0] == outcomes[1]


def test_a_callback_that_fails_costs_no_episode(storage):
    class Failing(Longest):
        def __call__(self, tuple: RLTuple) -> dict[str, Any]:  # noqa: A002
            raise ZeroDivisionError

    env = run_walks(storage, walks(2), 4, metadata_callback=Failing())
    with pytest.raises(ZeroDivisionError):
        env.step(np.array([1, 1]))
    assert seeds_and_lengths(storage) == [(SEED, 5), (SEED + 1, 5)]


# ---- seeds


def test_every_episode_has_a_seed_where_autoresets_are_disabled(storage):
    env = run_walks(storage, walks(2, AutoresetMode.DISABLED), 5, seed_episodes=True)
    for _ in range(2):
        env.reset(options={"reset_mask": np.array([True, True])})
        for _ in range(5):
            env.step(np.array([1, 1]))
    env.close()
    seeds = [header.seed for header in storage.list_episodes()]
    assert len(set(seeds)) == 6
    assert None not in seeds
    header = storage.list_episodes()[-1]
    alone = Walk()
    _, data = storage.read_episode(header.id)
    assert same(data.observations[0], alone.reset(seed=header.seed)[0])


def test_a_seedless_reset_is_replayed_from_the_state_of_its_generator(storage):
    run_walks(storage, walks(2), 17).close()
    episodes = [storage.read_episode(h.id)[1] for h in storage.list_episodes()]
    assert [data.record["seed"] for data in episodes][2:4] == [None, None]
    for data in episodes:
        assert replay(data, Walk()).verdict == "exact"


def test_a_vector_without_sub_environments_is_recorded_without_their_seeds(storage):
    env = gymnasium.make_vec("CartPole-v1", 3, vectorization_mode="vector_entry_point")
    with pytest.raises(InvalidInputError, match="takes no seeds for its sub-environments"):
        TupliVectorEnvWrapper(env, storage, seed_episodes=True)
    wrapped = TupliVectorEnvWrapper(env, storage)
    with pytest.raises(InvalidInputError, match="'CartPoleVectorEnv' has none"):
        wrapped.store("cart")
    wrapped.id = TupliEnvWrapper(make_env("CartPole-v1"), storage).store("cart")
    wrapped.reset(seed=3)
    for t in range(60):
        wrapped.step(np.full(3, t % 2))
    wrapped.close()
    assert {header.seed for header in storage.list_episodes()} == {None}


# ---- storing


def test_the_benchmark_is_that_of_the_single_environment(storage):
    single = TupliEnvWrapper(make_env("CartPole-v1"), storage).store("cart", difficulty="easy")
    for cls in (SyncVectorEnv, AsyncVectorEnv):
        env = TupliVectorEnvWrapper(cls([partial(make_env, "CartPole-v1")] * 2), storage)
        env.reset(seed=1)
        env.step(np.array([1, 1]))
        assert env.store("cart", difficulty="easy") == single == env.id
        env.close()
    counted = TupliVectorEnvWrapper(RecordEpisodeStatistics(SyncVectorEnv([Walk] * 2)), storage)
    assert counted.store("walk") == TupliEnvWrapper(Walk(), storage).store("walk")


def test_what_is_no_one_benchmark_is_not_stored(storage):
    unlike = SyncVectorEnv([Walk, partial(Walk, 6)])
    with pytest.raises(InvalidInputError, match="are not alike"):
        TupliVectorEnvWrapper(unlike, storage).store("walk")
    clipped = ClipReward(walks(), 0, 1)
    with pytest.raises(InvalidInputError, match="'ClipReward' changes what is recorded"):
        TupliVectorEnvWrapper(clipped, storage).store("walk")
    assert storage.list_benchmarks() == []


def test_what_cannot_be_wrapped_is_refused(storage):
    silent = walks()
    del silent.metadata["autoreset_mode"]
    with pytest.raises(InvalidInputError, match="'SyncVectorEnv' does not tell how"):
        TupliVectorEnvWrapper(silent, storage)
    listed: Any = DictInfoToList(walks())
    with pytest.raises(InvalidInputError, match="the infos are a 'list'"):
        TupliVectorEnvWrapper(listed, storage).reset()


# ---- infos, memory, cost


@pytest.mark.parametrize("mode", MODES[:2], ids=lambda mode: mode.value)
def test_what_a_vector_wrapper_adds_to_infos_is_recorded(storage, mode):
    run_walks(storage, RecordEpisodeStatistics(walks(2, mode)), 30).close()
    for header in storage.list_episodes():
        _, data = storage.read_episode(header.id)
        if not data.record["abandoned"]:
            assert ["episode" in info for info in data.infos] == [False] * 4 + [
                mode == AutoresetMode.NEXT_STEP
            ]
        for t, info in enumerate(data.infos, start=1):
            assert (info["t"], info["path"], info["norm"]) == (t, [t], {"x": t})
            assert type(info["t"]) is int
            if "episode" in info:
                assert info["episode"]["l"] == len(data)


def test_memory_is_given_back_when_all_episodes_have_left_it(storage):
    class Film(Walk):
        def __init__(self, horizon: int) -> None:
            super().__init__(horizon)
            self.observation_space = spaces.Box(0, 255, (64, 64), np.uint8)

        def _seen(self) -> Any:
            return np.full((64, 64), self.t, np.uint8), {"t": self.t, "name": "x"}

    films = SyncVectorEnv(
        [partial(Film, 9), partial(Film, 40)], autoreset_mode=AutoresetMode.SAME_STEP
    )
    env = TupliVectorEnvWrapper(films, storage, storage_benchmark(storage))
    env.reset(seed=SEED)
    tracemalloc.start()
    step_times(env, 1500)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    env.close()
    assert peak < 6 << 20  # of 12 MB that passed through
    lengths = {header.n_tuples for header in storage.list_episodes()}
    assert {9, 40} <= lengths


def calls_of_ours(run: Callable[[], object]) -> int:
    """How many of our functions are called."""
    n_calls = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal n_calls
        n_calls += event == "call" and "tupli_repo" in frame.f_code.co_filename

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return n_calls


class Plain(Walk):
    """A walk with infos of numbers, and of dictionaries of them."""

    def _seen(self) -> Any:
        x = float(self.position[0])
        return self.position.copy(), {"t": self.t, "x": x, "deep": {"x": x, "how": "far"}}


@pytest.mark.parametrize("mode", MODES[:2], ids=lambda mode: mode.value)
def test_recording_takes_fewer_calls_for_each_transition_than_a_single_wrapper(tmp_path, mode):
    make, n_steps = partial(Plain, 100), 505
    actions = actions_for(n_steps, 8)
    storage, benchmark = storage_in(tmp_path)
    batched = TupliVectorEnvWrapper(made("sync", make, 8, mode), storage, benchmark)
    batched.reset(seed=SEED)
    n_batched = calls_of_ours(lambda: [batched.step(batch) for batch in actions])
    alone = TupliEnvWrapper(make(), storage, benchmark)
    alone.reset(seed=SEED)

    def single() -> None:
        for action in actions[:, 0]:
            if any(alone.step(action)[2:4]):
                alone.reset()

    assert n_batched / 8 < calls_of_ours(single) / 2
    batched.close()
    alone.close()
