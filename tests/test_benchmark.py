"""The wrapper: it changes nothing, records what happened, and stores and loads environments."""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings

from tests.envs import Replay, Seen, Walk, Windy, WindyWrapper, make_env, play, stored, watch
from tests.faults import RecordingFileSystem
from tests.strategies import Generated, episodes, same
from tests.test_storage import query
from tupli_repo.benchmark import TupliEnvWrapper
from tupli_repo.dataset import TupliDataset
from tupli_repo.errors import (
    EncodingError,
    InvalidInputError,
    NotFoundError,
    UntrustedCodeError,
)
from tupli_repo.repository import Repository
from tupli_repo.schema import EpisodeMetadataCallback, FilterEQ, RLTuple
from tupli_repo.storage import FileStorage

ACTIONS: list[Any] = [1, np.int64(2), 3, 0, 1, 2]


def d4rl(storage: FileStorage) -> dict[str, Any]:
    return TupliDataset(storage).convert_to_d4rl_format()


def lengths(storage: FileStorage) -> list[int]:
    return [header.n_tuples for header in storage.list_episodes()]


# ---- what is recorded


@pytest.mark.parametrize("reuse", [False, True], ids=["fresh", "reused"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("ends", ["terminated", "truncated", "both"])
def test_what_is_recorded_is_what_a_loop_around_the_bare_environment_saw(
    storage, ends, dtype, reuse
):
    env = stored(storage, Walk(5, ends, dtype, reuse=reuse))
    bare, seen = Walk(5, ends, dtype), Seen()
    for seed, n in enumerate([5, 3, 5, 1, 5, 4]):
        play(env, ACTIONS[:n], seed=seed)
        watch(bare, seen, ACTIONS[:n], seed=seed, cut=n < 5)
    env.close()
    assert same(d4rl(storage), seen.arrays())
    columns = TupliDataset(storage).columns()
    assert columns["observations"].shape == (23 + 6, 3)
    assert columns["observations"].dtype == np.dtype(dtype)
    infos = TupliDataset(storage).infos
    assert [info["t"] for info in infos] == [info["t"] for info in seen.infos]
    if reuse:
        assert [info["norm"] for info in infos] == [{"x": info["t"]} for info in seen.infos]
        assert [info["grid"].tolist() for info in infos] == [[i["t"]] * 2 for i in seen.infos]
    else:
        assert infos == seen.infos


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(episodes())
def test_generated_episodes_pass_through_the_wrapper_and_come_back(tmp_path, made: Generated):
    steps = made.steps
    if len(steps.observations) == len(steps.actions):
        steps.observations.append(steps.observations[0])  # type: ignore[union-attr]
    storage = FileStorage(tmp_path / "generated")
    benchmark_id = storage.store_benchmark(query()).id
    env = TupliEnvWrapper(
        Replay(steps, made.observation_space, made.action_space), storage, benchmark_id
    )
    env.reset(seed=7, options=steps.options)  # type: ignore[arg-type]
    for action in steps.actions:
        env.step(action)
    env.close()
    _, data = storage.read_episode(storage.list_episodes()[-1].id)
    assert same(list(data.observations), list(steps.observations))
    assert same(list(data.actions), list(steps.actions))
    assert same(data.record["reset_info"], steps.reset_info)
    assert same(data.record["options"], steps.options)
    assert data.truncated[-1] == (steps.truncated[-1] or not steps.terminated[-1])
    assert data.terminated.tolist() == steps.terminated


def test_what_the_environment_returns_passes_through_unchanged(storage):
    bare, env = Walk(), stored(storage)
    for seed in (3, None):
        bare.np_random = np.random.default_rng(1)
        env.unwrapped.np_random = np.random.default_rng(1)
        assert same(env.reset(seed=seed), bare.reset(seed=seed))
        for action in ACTIONS[:5]:
            assert same(env.step(action), bare.step(action))
    observation, _ = stored(storage, Walk(reuse=True)).reset(seed=1)
    assert observation is not None


def test_arrays_that_are_returned_are_the_environments_own(storage):
    env = stored(storage, Walk(reuse=True))
    observation, info = env.reset(seed=1)
    assert env.step(1)[0] is observation
    assert env.step(1)[4] is info


def test_an_action_that_the_environment_changes_is_recorded_as_it_was_taken(storage):
    class Greedy(Walk):
        def __init__(self) -> None:
            super().__init__(2)
            self.action_space = spaces.Box(-1, 1, (2,))

        def step(self, action: Any) -> Any:
            action[:] = 9
            return super().step(0)

    env = TupliEnvWrapper(Greedy(), storage, stored(storage).id)
    play(env, [np.array([0.5, t], np.float32) for t in range(2)])
    assert d4rl(storage)["actions"].tolist() == [[0.5, 0.0], [0.5, 1.0]]


def test_lists_and_nested_containers_that_are_reused_are_recorded_as_they_were(storage):
    class Reusing(gymnasium.Env[Any, Any]):
        observation_space = spaces.Dict({"a": spaces.Box(0, 9, (1,)), "n": spaces.Discrete(9)})
        action_space = spaces.Discrete(2)

        def reset(self, **_: Any) -> Any:
            self.seen: dict[str, Any] = {"a": np.zeros(1, np.float32), "n": 0}
            self.info: dict[str, Any] = {"deep": [{"x": [0]}], "raw": bytearray(1)}
            return self.seen, self.info

        def step(self, action: Any) -> Any:
            self.seen["a"] += 1
            self.seen["n"] += 1
            self.info["deep"][0]["x"].append(1)
            self.info["raw"][0] += 1
            return self.seen, 0.0, self.seen["n"] == 3, False, self.info

    env = TupliEnvWrapper(Reusing(), storage, stored(storage).id)
    play(env, [0, 1, 1])
    data = TupliDataset(storage)
    assert data.columns()["observations/a"].tolist() == [[0], [1], [2], [3]]
    assert data.columns()["observations/n"].tolist() == [0, 1, 2, 3]
    assert [info["deep"] for info in data.infos] == [[{"x": [0] + [1] * n}] for n in (1, 2, 3)]
    assert [info["raw"] for info in data.infos] == [b"\1", b"\2", b"\3"]


# ---- how episodes begin and end


def test_a_pause_closes_the_part_before_it_and_recording_resumes_with_a_reset(storage):
    env = stored(storage)
    env.reset(seed=0)
    for action in ACTIONS[:2]:
        env.step(action)
    env.deactivate_recording()
    assert lengths(storage) == [2]
    env.step(1)
    play(env, ACTIONS[:5], seed=1)
    env.reset()
    env.step(1)
    env.activate_recording()
    with pytest.warns(UserWarning, match="not recorded before the next reset"):
        env.step(1)
    env.step(1)
    assert lengths(storage) == [2]
    play(env, ACTIONS[:5], seed=2)
    headers = storage.list_episodes()
    assert [(h.n_tuples, h.terminated, h.timeout, h.seed) for h in headers] == [
        (2, False, True, 0),
        (5, True, False, 2),
    ]


@pytest.mark.parametrize("leave", ["reset", "close", "deactivate_recording"])
@pytest.mark.parametrize("on_abandoned", ["record", "drop"])
def test_an_episode_left_in_the_middle_is_recorded_as_truncated_or_dropped(
    storage, leave, on_abandoned
):
    env = stored(storage, on_abandoned=on_abandoned)
    play(env, ACTIONS[:3], seed=1)
    getattr(env, leave)()
    env.close()
    headers = storage.list_episodes()
    wanted = [] if on_abandoned == "drop" else [(3, False, True)]
    assert [(h.n_tuples, h.terminated, h.timeout) for h in headers] == wanted


def test_a_step_that_stops_the_recording_itself_is_not_recorded(storage):
    inner = Walk(5)
    env = TupliEnvWrapper(inner, storage, stored(storage, Walk(5)).id)
    env.reset(seed=1)
    env.step(1)
    bare_step = inner.step

    def stopping(action):
        env.deactivate_recording()
        return bare_step(action)

    inner.step = stopping  # type: ignore[method-assign]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.step(1)
    assert lengths(storage) == [1]


def test_resets_without_steps_and_steps_after_the_end_record_nothing(storage):
    env = stored(storage, Walk(2))
    env.reset()
    env.reset()
    play(env, ACTIONS[:2])
    with pytest.warns(UserWarning, match="not recorded before the next reset"):
        env.step(1)
    env.step(1)  # told once
    env.close()
    env.close()
    assert lengths(storage) == [2]


def test_seeds_and_options_are_recorded(storage):
    env = stored(storage, Walk(1))
    for seed, options in [(5, None), (None, {"x": np.arange(2)}), (2**40, {})]:
        env.reset(seed=seed, options=options)
        env.step(0)
    found = [
        data.record for _, data in storage.read_episodes(h.id for h in storage.list_episodes())
    ]
    assert [record["seed"] for record in found] == [5, None, 2**40]
    assert same([r["options"] for r in found], [None, {"x": np.arange(2)}, {}])
    assert [h.seed for h in storage.list_episodes(FilterEQ(key="seed", value=5))] == [5]


def test_a_seedless_reset_stores_the_generators_state_so_that_it_can_be_replayed(storage):
    env = stored(storage)
    for seed in (3, None, None):
        play(env, ACTIONS[:5], seed=seed)
    for header, data in storage.read_episodes(h.id for h in storage.list_episodes()):
        bare, seen = Walk(), Seen()
        if header.seed is None:
            assert data.record["rng"]["bit_generator"] == "PCG64"
            bare.np_random = np.random.Generator(np.random.PCG64())
            bare.np_random.bit_generator.state = data.record["rng"]
        else:
            assert data.record["rng"] is None
        watch(bare, seen, list(data.actions), seed=header.seed)
        assert same(np.array(seen.next_observations), data.columns["observations"][1:])


def test_another_generator_is_passed_over(storage):
    env = stored(storage, Walk(1))
    env.unwrapped.np_random = np.random.Generator(np.random.MT19937(1))
    play(env, [0])
    _, data = storage.read_episode(storage.list_episodes()[0].id)
    assert data.record["rng"] is None


def test_seed_episodes_gives_every_episode_a_seed_of_its_own(storage):
    env = stored(storage, seed_episodes=True)
    play(env, ACTIONS[:5])
    play(env, ACTIONS[:5], seed=11)
    play(env, ACTIONS[:5])
    seeds = [header.seed for header in storage.list_episodes()]
    assert seeds[1] == 11
    assert len(set(seeds)) == 3
    assert None not in seeds
    seen = Seen()
    for seed in seeds:
        watch(Walk(), seen, ACTIONS[:5], seed=seed)
    assert same(d4rl(storage), seen.arrays())


def test_an_environment_that_is_not_stored_says_so_when_an_episode_ends(storage):
    env = TupliEnvWrapper(Walk(2), storage)
    env.reset()
    env.step(1)
    with pytest.raises(InvalidInputError, match="not stored"):
        env.step(1)
    env.reset()
    env.step(1)
    with pytest.warns(UserWarning, match="1 steps were not recorded"):
        env.reset()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.close()
    for call in (env.publish, env.delete):
        with pytest.raises(InvalidInputError, match="not stored"):
            call()


def test_recording_can_be_off_before_the_environment_is_stored(storage):
    env = TupliEnvWrapper(Walk(2), storage)
    env.deactivate_recording()
    play(env, ACTIONS[:2])
    env.store("walk")
    env.activate_recording()
    play(env, ACTIONS[:2])
    assert lengths(storage) == [2]


def test_an_info_that_cannot_be_stored_costs_only_itself(storage):
    class Chatty(Walk):
        def step(self, action: Any) -> Any:
            *rest, info = super().step(action)
            return (*rest, {**info, "engine": object()})

    env = TupliEnvWrapper(Chatty(3), storage, stored(storage).id)
    with pytest.raises(EncodingError, match=r"was recorded, without.*engine.*2 more"):
        play(env, ACTIONS)
    (item,) = storage.list_episodes(include_tuples=True)
    assert [step.info["t"] for step in item.tuples] == [1, 2, 3]
    assert all("engine" not in step.info for step in item.tuples)
    play(env, ACTIONS[:1])
    with pytest.raises(EncodingError, match="engine"):
        env.close()
    assert lengths(storage) == [3, 1]


def test_observations_that_cannot_be_stored_are_an_error_and_the_next_episode_is_recorded(storage):
    class Odd(Walk):
        def step(self, action: Any) -> Any:
            observation, *rest = super().step(action)
            return (observation if action else np.array([object()] * 3), *rest)

    env = TupliEnvWrapper(Odd(2), storage, stored(storage).id)
    with pytest.raises(EncodingError, match=r"as far as .* 1 of 2 steps: 'observations\[2\]'"):
        play(env, [1, 0])
    play(env, [1, 1])
    assert lengths(storage) == [1, 2]
    first = storage.list_episodes()[0]
    assert (first.terminated, first.timeout) == (False, True)


def test_close_makes_durable_and_closes_the_environment_even_after_an_error(storage):
    closed = []

    class Chatty(Walk):
        def step(self, action: Any) -> Any:
            *rest, _ = super().step(action)
            return (*rest, {"engine": object()})

        def close(self) -> None:
            closed.append(1)

    fs = RecordingFileSystem()
    repository = Repository(storage.storage_dir, fs=fs)
    env = TupliEnvWrapper(Chatty(), repository, stored(storage).id)
    play(env, ACTIONS[:2])
    fs.clear()
    with pytest.raises(EncodingError):
        env.close()
    assert closed == [1]
    assert [name for name, _ in fs.changes()][-2:] == ["fsync", "fsync_folder"]


# ---- tuples, callbacks


class Count(EpisodeMetadataCallback):
    """Counts steps and rewards."""

    def __init__(self) -> None:
        self.resets = 0
        self.reset()

    def reset(self) -> None:
        self.resets += 1
        self.seen: list[RLTuple] = []

    def __call__(self, tuple: RLTuple) -> dict[str, Any]:  # noqa: A002 - PyTupli's name
        self.seen.append(tuple)
        return {"n": len(self.seen), "total": np.float64(sum(t.reward for t in self.seen))}


class Scaled(RLTuple):
    """Records observations and rewards in another scale."""

    @classmethod
    def from_env_step(
        cls, obs: Any, action: Any, reward: Any, terminated: bool, truncated: bool, info: Any
    ) -> Any:
        return cls(
            state=[float(x) * 2 for x in obs],
            action=[int(action), 7],
            reward=reward * 10,
            terminal=terminated,
            timeout=truncated,
            info={"kept": info["t"]},
        )


@pytest.mark.parametrize("late", [False, True], ids=["argument", "set_wrapper_attr"])
def test_the_callback_sees_every_step_and_its_last_word_is_the_metadata(storage, late):
    callback = Count()
    env = stored(storage, Walk(3), metadata_callback=None if late else callback)
    if late:
        gymnasium.wrappers.TimeLimit(env, 10).set_wrapper_attr("metadata_callback", callback)
    play(env, ACTIONS)
    play(env, ACTIONS[:2])
    env.deactivate_recording()
    play(env, ACTIONS)
    headers = storage.list_episodes()
    assert [header.metadata["n"] for header in headers] == [3, 2]
    assert [t.reward for t in callback.seen] == TupliDataset(storage).rewards[3:]
    assert isinstance(callback.seen[0].state, list)
    assert [h.n_tuples for h in storage.list_episodes(FilterEQ(key="metadata.n", value=2))] == [2]


def test_the_callback_can_be_set_as_gymnasium_sets_attributes(storage):
    env = stored(storage, gymnasium.wrappers.TimeLimit(Walk(horizon=3), 9))
    assert env.set_wrapper_attr("metadata_callback", Count())
    env.set_wrapper_attr("horizon", 2)
    play(env, ACTIONS)
    (header,) = storage.list_episodes()
    assert header.metadata["n"] == 2
    assert (header.n_tuples, env.unwrapped.horizon) == (2, 2)


def test_a_callback_that_says_nothing_leaves_the_metadata_empty(storage):
    class Silent(Count):
        def __call__(self, tuple: RLTuple) -> Any:  # noqa: A002 - PyTupli's name
            return None

    env = stored(storage, Walk(2), metadata_callback=Silent())
    play(env, ACTIONS)
    assert storage.list_episodes()[0].metadata == {}


def test_a_custom_tuple_class_decides_what_is_recorded(storage):
    callback, seen = Count(), Seen()
    env = stored(storage, Walk(3), rl_tuple_cls=Scaled, metadata_callback=callback)
    env.reset(seed=1)
    env.step(1)
    assert env.tuple_buffer[0].action == [1, 7]
    for action in (2, 3):
        env.step(action)
    watch(Walk(3), seen, [1, 2, 3], seed=1)
    (item,) = storage.list_episodes(include_tuples=True)
    assert np.array([t.state for t in item.tuples]).tolist() == [
        (np.asarray(o, float) * 2).tolist() for o in seen.observations
    ]
    assert [t.action for t in item.tuples] == [[1, 7], [2, 7], [3, 7]]
    assert [t.reward for t in item.tuples] == [r * 10 for r in seen.rewards]
    assert [t.info for t in item.tuples] == [{"kept": 1}, {"kept": 2}, {"kept": 3}]
    assert item.final_state == (np.asarray(seen.next_observations[-1], float) * 2).tolist()
    assert type(callback.seen[0]) is Scaled
    assert d4rl(storage)["next_observations"].shape == (3, 3)


def test_a_custom_tuple_class_records_abandoned_episodes_too(storage):
    env = stored(storage, rl_tuple_cls=Scaled)
    play(env, ACTIONS[:2])
    env.close()
    (header,) = storage.list_episodes()
    assert (header.n_tuples, header.timeout) == (2, True)


def test_the_tuple_buffer_shows_the_episode_in_the_making(storage):
    env = stored(storage, Walk(3))
    assert len(env.tuple_buffer) == 0
    observation, _ = env.reset(seed=1)
    assert len(env.tuple_buffer) == 0
    env.step(1)
    env.step(np.int64(2))
    assert [t.action for t in env.tuple_buffer] == [1, 2]
    assert env.tuple_buffer[0].state == observation.tolist()
    env.step(3)
    assert len(env.tuple_buffer) == 0


# ---- storing and loading


def test_storing_twice_gives_the_same_id_and_other_words_another(storage):
    env = TupliEnvWrapper(make_env("CartPole-v1"), storage)
    first = env.store("cartpole", "balance", "easy", "1", {"tags": ["a"]})
    assert env.id == first
    assert env.store("cartpole", "balance", "easy", "1", {"tags": ["a"]}) == first
    assert env.store("cartpole") != first
    header = storage.benchmark(first)
    assert header.metadata.extra == {"tags": ["a"]}
    assert (header.metadata.difficulty, header.metadata.version) == ("easy", "1")


def test_use_does_not_change_a_benchmarks_id(storage):
    env = TupliEnvWrapper(make_env("CartPole-v1"), storage)
    first = env.store("cartpole")
    env.reset(seed=3)
    env.step(1)
    assert env.store("cartpole") == first


def test_a_loaded_environment_plays_the_same_episode(storage):
    benchmark_id = TupliEnvWrapper(make_env("CartPole-v1"), storage).store("cartpole")
    loaded = TupliEnvWrapper.load(storage, benchmark_id[:8])
    assert loaded.id == benchmark_id
    bare: Any = make_env("CartPole-v1")
    assert same(loaded.reset(seed=5), bare.reset(seed=5))
    for action in (0, 1, 1, 0):
        assert same(loaded.step(action), bare.step(action))
    loaded.close()
    assert lengths(storage) == [4]


def test_hooks_keep_a_series_out_of_the_document(storage):
    wind = np.linspace(0, 1, 5000)
    live = Windy(wind)
    env = stored(storage, live, cls=WindyWrapper)
    assert live.wind is wind
    (item,) = storage.list_artifacts()
    assert storage.load_artifact(item.id) == wind.tobytes()
    assert len(storage.load_benchmark(env.id).serialized) < 3000
    loaded: Any = WindyWrapper.load(storage, env.id, trust=["tests.*"])
    assert loaded.unwrapped.related_artifacts == [item.id]
    assert loaded.unwrapped.wind.tolist() == wind.tolist()
    assert loaded.store("walk") == env.id
    play(loaded, [0, 1, 0])
    assert lengths(storage) == [3]


def test_without_hooks_no_storage_is_needed_to_serialise(storage):
    text = TupliEnvWrapper(make_env("CartPole-v1"), storage).serialize_env(make_env("CartPole-v1"))
    loaded = TupliEnvWrapper.deserialize_env(text, None)
    assert same(loaded.reset(seed=1), make_env("CartPole-v1").reset(seed=1))


def test_a_benchmark_is_loaded_by_the_class_that_stored_it(storage):
    env = stored(storage, Windy(np.arange(5.0)), cls=WindyWrapper)
    with pytest.raises(InvalidInputError, match="WindyWrapper"):
        TupliEnvWrapper.load(storage, env.id, trust=["tests.*"])
    bare: Any = TupliEnvWrapper.load(storage, env.id, trust=["tests.*"], wrapper="ignore")
    assert bare.unwrapped.wind is None

    class Heir(WindyWrapper):
        pass

    heir: Any = Heir.load(storage, env.id, trust=["tests.*"])
    assert heir.unwrapped.wind is not None


@pytest.mark.parametrize("uri", [None, "0" * 64, "../x"])
def test_a_benchmark_that_is_not_there_is_not_loaded(storage, uri):
    with pytest.raises((InvalidInputError, NotFoundError)):
        TupliEnvWrapper.load(storage, uri)


def test_a_text_that_is_no_environment_is_kept_and_not_loaded(storage):
    header = storage.store_benchmark(query())
    with pytest.raises(InvalidInputError, match="not an environment"):
        TupliEnvWrapper.load(storage, header.id)


def test_custom_code_runs_in_another_process_only_where_it_is_trusted(storage):
    benchmark_id = stored(storage).id
    code = """if True:
        import sys
        from tupli_repo import FileStorage, TupliEnvWrapper
        from tupli_repo.errors import UntrustedCodeError
        storage = FileStorage(sys.argv[1])
        try:
            TupliEnvWrapper.load(storage, sys.argv[2])
        except UntrustedCodeError as err:
            assert "tests.envs" not in sys.modules
            print(*err.names)
        env = TupliEnvWrapper.load(storage, sys.argv[2], trust=["tests.envs.Walk"])
        print(env.reset(seed=1)[0].tolist())
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(storage.storage_dir), benchmark_id],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "XDG_CONFIG_HOME": str(storage.storage_dir / "of-another-user")},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["tests.envs.Walk", str(Walk().reset(seed=1)[0].tolist())]
    assert issubclass(UntrustedCodeError, Exception)


@pytest.mark.parametrize("artifacts", [False, True])
@pytest.mark.parametrize("delete_episodes", [False, True])
@pytest.mark.parametrize("loaded", [False, True], ids=["stored", "loaded"])
def test_delete_removes_what_it_says(storage, artifacts, delete_episodes, loaded):
    other = stored(storage, name="other")
    play(other, ACTIONS)
    env = stored(storage, Windy(np.arange(5.0)), cls=WindyWrapper)
    play(env, [0, 1, 0])
    if loaded:
        env = WindyWrapper.load(storage, env.id, trust=["tests.*"])
    env.delete(delete_artifacts=artifacts, delete_episodes=delete_episodes)
    assert [h.metadata.name for h in storage.list_benchmarks()] == ["other"]
    assert lengths(storage) == ([5] if delete_episodes else [5, 3])
    assert len(storage.list_artifacts()) == (0 if artifacts else 1)
    with pytest.raises(NotFoundError):
        play(env, [0, 1, 0])
    env.store("walk")
    play(env, [0, 1, 0])
    assert lengths(storage)[-1] == 3


def test_a_benchmark_is_published_where_it_says(storage):
    env = stored(storage)
    env.publish()
    env.publish("lab")
    assert storage.benchmark(env.id).published_in == ["global", "lab"]


@pytest.mark.parametrize(
    "name", ["CartPole-v1", "Pendulum-v1", "MountainCarContinuous-v0", "Taxi-v4", "Blackjack-v1"]
)
def test_gymnasiums_environments_are_recorded_exactly(storage, name):
    env = TupliEnvWrapper(make_env(name, max_episode_steps=20), storage)
    env.store(name)
    bare, seen = make_env(name, max_episode_steps=20), []
    bare.action_space.seed(1)
    for seed in range(2):
        observation, _ = bare.reset(seed=seed)
        env.reset(seed=seed)
        while True:
            seen.append(observation)
            action = bare.action_space.sample()
            observation, reward, terminated, truncated, info = bare.step(action)
            assert same(env.step(action), (observation, reward, terminated, truncated, info))
            if terminated or truncated:
                break
    data = TupliDataset(storage)
    samples = [
        sample
        for item_id in [h.id for h in storage.list_episodes()]
        for sample in list(storage.read_episode(item_id)[1].observations)[:-1]
    ]
    assert same(
        [np.asarray(s) for s in _flat(samples)],
        [np.asarray(s) for s in _flat(seen)],
    )
    assert len(data.tuples) == len(seen)


def _flat(samples: list[Any]) -> list[Any]:
    return [part for s in samples for part in (s if isinstance(s, tuple) else (s,))]


class Mission(spaces.Space[Any]):
    """A space of a package's own, as minigrid has one."""


class WithMission(Walk):
    """Observes a text from a space of its own beside the walk."""

    def __init__(self) -> None:
        super().__init__()
        self.observation_space = spaces.Dict(
            {"at": self.observation_space, "mission": Mission((), str)}
        )

    def _seen(self) -> Any:
        observation, info = super()._seen()
        return {"at": observation, "mission": f"go on from {self.t}"}, info


def test_a_space_of_another_package_costs_nothing(storage):
    env = TupliEnvWrapper(WithMission(), storage)
    env.id = storage.store_benchmark(query("text")).id
    play(env, [1, 2, 3, 0, 1], seed=1)
    (header,) = storage.list_episodes()
    data = storage.read_episode(header.id)[1]
    assert header.n_tuples == 5
    assert [observation["mission"] for observation in data.observations] == [
        f"go on from {t}" for t in range(6)
    ]
