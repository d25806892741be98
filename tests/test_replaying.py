"""Recorded episodes run again: exact, close or different, and where first."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import NormalizeObservation, TimeLimit
from hypothesis import HealthCheck, given, settings

from tests.envs import Replay, Walk, Windy, WindyWrapper, make_env, play, stored
from tests.strategies import Generated, episodes, same
from tests.test_storage import query
from tupli_repo import replay
from tupli_repo.benchmark import TupliEnvWrapper
from tupli_repo.codec.episode import EpisodeData, Steps, decode, decode_layout, encode
from tupli_repo.errors import (
    CorruptObjectError,
    EncodingError,
    InvalidInputError,
    NotFoundError,
    UntrustedCodeError,
)
from tupli_repo.replaying import replay_stored
from tupli_repo.schema import Episode, RLTuple
from tupli_repo.schema.reports import ReplayReport
from tupli_repo.storage import FileStorage

ACTIONS: list[Any] = [1, np.int64(2), 3, 0, 1, 2]
LEFT = "the episode was left in the middle"


class Thing(gymnasium.Env[Any, Any]):
    """Moves by its action and by chance; what it does besides, its arguments say.

    Args:
        offset: Added to every observation from step 2 on.
        keeps: Whether it counts its steps over all episodes, and shows the count.
        chance: Whether it draws from a generator that no seed reaches.
        fails: The step that raises; 0 is the reset.
        shape: Of the observations from step 2 on.
    """

    def __init__(
        self,
        offset: float = 0.0,
        keeps: bool = False,
        chance: bool = False,
        fails: int = -1,
        shape: int = 2,
    ) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = spaces.Discrete(4)
        self.offset, self.keeps, self.chance = offset, keeps, chance
        self.fails, self.shape = fails, shape
        self.count = 0
        self.t = 0
        self.start = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        if self.fails == 0:
            raise RuntimeError("no\nstart")
        self.start = self.np_random.normal() + (options or {}).get("start", 0.0)
        return self._seen(), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        self.count += self.keeps
        if self.t == self.fails:
            raise ValueError("out of road")
        self.start += int(action) + self.np_random.normal()
        return self._seen(), self.t % 3, self.t == 6, False, {"noise": random.random()}

    def _seen(self) -> Any:
        late = self.t >= 2
        hidden = self.count + random.random() * self.chance
        value = self.start + (self.offset if late else 0.0) + hidden
        return np.full(self.shape if late else 2, value)


class Single(gymnasium.Env[Any, Any]):
    """Computes in float32, where Python's numbers and numpy's are not the same."""

    observation_space = spaces.Box(-np.inf, np.inf, (), np.float32)
    action_space = spaces.Discrete(8)
    x = np.float32(0)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.x = np.float32(0.1)
        return self.x, {}

    def step(self, action: Any) -> Any:
        self.x = np.float32(self.x * (action * 1.1 + 0.7) + self.x * 0.3)
        return self.x, 0.0, False, False, {}


class Noting(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Notes what it is told to do, and spoils it."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.actions: list[Any] = []

    def step(self, action: Any) -> Any:
        self.actions.append(action)
        seen = self.env.step(action)
        if isinstance(action, np.ndarray):
            self.actions[-1] = action.copy()
            action[...] = 0
        return seen


def recorded(storage: FileStorage, which: int = -1) -> EpisodeData:
    headers = storage.episode_headers()
    return storage.read_episode(headers[which].id)[1]


def record(storage: FileStorage, env: Any, actions: Any = ACTIONS, **kw: Any) -> EpisodeData:
    """Store an environment, run one episode in it, and return what was recorded."""
    wrapped = stored(storage, env, **kw)
    play(wrapped, actions, seed=1)
    wrapped.close()
    return recorded(storage)


# ---- exact


def families() -> dict[str, Any]:
    return {
        "cartpole": make_env("CartPole-v1"),
        "pendulum": TimeLimit(make_env("Pendulum-v1").unwrapped, 30),
        "lake": make_env("FrozenLake-v1", is_slippery=True),
        "cards": make_env("Blackjack-v1"),
        "walk": Walk(9, dtype="float16", reuse=True),
        "thing": TimeLimit(Thing(), 4),
    }


def record_many(storage: FileStorage, env: Any, name: str) -> None:
    """Record four episodes: two with a seed and two without, the last one left in the middle."""
    wrapped = stored(storage, env, name=name)
    wrapped.action_space.seed(1)
    for seed, limit in ((5, 60), (None, 60), (6, 60), (None, 2)):
        wrapped.reset(seed=seed)
        for _ in range(limit):
            if any(wrapped.step(wrapped.action_space.sample())[2:4]):
                break
    wrapped.close()


def replayed_elsewhere(storage: FileStorage) -> list[dict[str, Any]]:
    """The reports of every episode, from another process."""
    code = """if True:
        import json, sys
        from tupli_repo import FileStorage
        from tupli_repo.replaying import replay_stored
        with FileStorage(sys.argv[1]) as storage:
            ids = [header.id for header in storage.list_episodes()]
            print(json.dumps([r.model_dump(mode="json") for _, r in replay_stored(storage, ids)]))
    """
    done = subprocess.run(
        [sys.executable, "-c", code, str(storage.storage_dir)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    reports: list[dict[str, Any]] = json.loads(done.stdout)
    return reports


def test_episodes_replay_exactly_in_another_process(storage):
    for name, env in families().items():
        record_many(storage, env, name)
    found = replayed_elsewhere(storage)
    assert [(report["verdict"], report["note"].replace(LEFT, "")) for report in found] == [
        ("exact", "")
    ] * 24
    assert [report["n_steps"] for report in found] == [
        header.n_tuples for header in storage.list_episodes()
    ]


@pytest.mark.parametrize("name", ["LunarLander-v3", "CarRacing-v3"])
def test_box2d_replays_exactly_in_another_process(storage, name):
    pytest.importorskip("Box2D")
    record_many(storage, make_env(name), name)
    assert {report["verdict"] for report in replayed_elsewhere(storage)} == {"exact"}


def test_mujoco_replays_exactly_in_another_process(storage):
    pytest.importorskip("mujoco")
    pytest.importorskip("imageio")
    record_many(storage, make_env("Hopper-v5"), "hopper")
    assert {report["verdict"] for report in replayed_elsewhere(storage)} == {"exact"}


def test_minigrid_replays_exactly(storage):
    wrappers = pytest.importorskip("minigrid.wrappers")
    record_many(storage, wrappers.ImgObsWrapper(make_env("MiniGrid-DoorKey-5x5-v0")), "grid")
    ids = [header.id for header in storage.list_episodes()]
    found = replay_stored(storage, ids, trust=["minigrid.*"])
    assert {report.verdict for _, report in found} == {"exact"}


def test_a_seedless_reset_is_replayed_from_the_generators_state(storage):
    episode = record_seedless(storage, Walk())
    assert episode.record["seed"] is None
    assert replay(episode, Walk()) == ReplayReport(verdict="exact", n_steps=5)


def record_seedless(storage: FileStorage, env: Any, **kw: Any) -> EpisodeData:
    wrapped = stored(storage, env, **kw)
    for _ in range(2):
        play(wrapped, ACTIONS)
    return recorded(storage)


def test_an_episode_that_got_its_seed_from_the_wrapper_replays(storage):
    episode = record_seedless(storage, Walk(), seed_episodes=True)
    assert episode.record["rng"] is None
    assert replay(episode, Walk()).verdict == "exact"


def test_without_seed_and_generator_the_report_says_so(storage):
    episode = record_seedless(storage, Walk())
    episode.record = {**episode.record, "rng": None}
    report = replay(episode, Walk())
    assert (report.verdict, report.first_step) == ("different", 0)
    assert report.note == "neither a seed nor a generator state was recorded"


def test_a_generator_of_another_kind_is_told(storage):
    env = Walk()
    episode = record_seedless(storage, Walk())
    env.np_random = np.random.Generator(np.random.MT19937(1))
    report = replay(episode, env, copy=False)
    assert "generator state has no place" in report.note


def test_a_malformed_generator_state_is_damage(storage):
    episode = record_seedless(storage, Walk())
    episode.record = {**episode.record, "rng": {"bit_generator": "PCG64", "state": {}}}
    with pytest.raises(CorruptObjectError, match="generator state is malformed"):
        replay(episode, Walk())


def test_options_are_given_again(storage):
    env = stored(storage, Thing())
    env.reset(seed=1, options={"start": 7.5})
    env.step(1)
    env.close()
    episode = recorded(storage)
    assert replay(episode, Thing()).verdict == "exact"
    episode.record = {**episode.record, "options": None}
    report = replay(episode, Thing())
    assert (report.verdict, report.first_step, report.max_abs_difference) == ("different", 0, 7.5)


def test_an_episode_left_in_the_middle_replays_exactly_and_the_report_says_so(storage):
    episode = record(storage, Walk(), ACTIONS[:3])
    assert episode.truncated.tolist() == [False, False, True]
    report = replay(episode, Walk())
    assert (report.verdict, report.n_steps, report.note) == ("exact", 3, LEFT)


def held_by(env: Any) -> list[Any]:
    walk = env.unwrapped
    return [walk.t, walk.position.tolist(), str(env.np_random.bit_generator.state)]


def test_the_environment_and_the_repository_stay_as_they_are(storage):
    env = stored(storage, Walk())
    play(env, ACTIONS, seed=1)
    env.reset(seed=8)
    env.step(1)
    before = (
        env.unwrapped.t,
        env.unwrapped.position.tolist(),
        str(env.np_random.bit_generator.state),
    )
    for around in (env, TimeLimit(env, 2)):
        assert replay(recorded(storage, 0), around).verdict == "exact"
    after = (
        env.unwrapped.t,
        env.unwrapped.position.tolist(),
        str(env.np_random.bit_generator.state),
    )
    assert before == after
    assert len(env.tuple_buffer) == 1
    assert len(storage.list_episodes()) == 1


def test_without_a_copy_the_environment_itself_is_run(storage):
    class Local(Walk):
        pass

    episode = record(storage, Walk())
    env = Local()
    with pytest.raises(EncodingError, match="no fresh copy") as caught:
        replay(episode, env)
    assert "copy=False" in caught.value.hint
    assert replay(episode, env, copy=False).verdict == "exact"
    assert env.t == 5


def test_hidden_state_begins_anew(storage):
    with pytest.warns(UserWarning, match="'/base/count' depends on how"):
        env = stored(storage, Thing(keeps=True))
    for _ in range(2):
        play(env, ACTIONS, seed=1)
    env.close()
    ids = [header.id for header in storage.list_episodes()]
    first, second = [report for _, report in replay_stored(storage, ids)]
    assert first.verdict == "exact"
    assert (second.verdict, second.first_step) == ("different", 0)


def test_statistics_begin_anew_and_the_report_says_so(storage):
    env = stored(storage, NormalizeObservation(make_env("CartPole-v1")))
    for seed in (1, 2):
        play(env, [0, 1] * 300, seed=seed)
    env.close()
    assert replay(recorded(storage, 0), env).verdict == "exact"
    report = replay(recorded(storage, 1), env)
    assert report.verdict == "different"
    assert "statistics carry over" in report.note


# ---- every space


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(episodes())
def test_actions_and_observations_of_every_space_replay_exactly(made: Generated):
    found = encode(made.steps, observation_space=made[1], action_space=made[2])
    episode = decode(found.record, decode_layout(found.layout), found.data)
    steps = made.steps
    more = [*steps.observations, steps.observations[-1]]
    env = Noting(Replay(Steps(**{**as_dict(steps), "observations": more}), made[1], made[2]))
    report = replay(episode, env, copy=False)
    assert report.verdict == "exact", report
    assert same(env.actions, list(episode.actions))


def as_dict(steps: Steps) -> dict[str, Any]:
    return {name: getattr(steps, name) for name in Steps.__dataclass_fields__}


POINT = spaces.Box(-1.0, 1.0, (2,), np.float32)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Dict({"go": spaces.Discrete(3), "a/b": POINT}),
        spaces.Tuple([spaces.Discrete(2), spaces.Text(4)]),
        spaces.Text(6),
        spaces.Sequence(spaces.Text(3)),
        spaces.Sequence(POINT, stack=True),
        spaces.Graph(POINT, spaces.Discrete(3)),
        spaces.OneOf([POINT, spaces.Text(3)]),
        spaces.MultiDiscrete([2, 3]),
        spaces.MultiBinary([2, 2]),
        POINT,
    ],
    ids=str,
)
def test_actions_come_in_the_form_of_their_space(storage, space):
    space.seed(3)
    samples = [space.sample() for _ in range(5)]
    script = Steps(
        observations=[*samples, space.sample()],
        actions=samples,
        rewards=[0.5] * 5,
        terminated=[False] * 4 + [True],
        truncated=[False] * 5,
        infos=[{}] * 5,
    )
    env = TupliEnvWrapper(Replay(script, space, space), storage)
    env.id = storage.store_benchmark(query()).id
    play(env, samples, seed=1)
    env.close()
    noting = Noting(Replay(script, space, space))
    assert replay(recorded(storage), noting, copy=False).verdict == "exact"
    assert all(space.contains(action) for action in noting.actions)
    assert same(noting.actions, samples)


def test_pythons_numbers_and_numpys_are_both_tried(storage):
    plain = record(storage, Single(), [1, 5, 3, 2])
    scalars = record(storage, Single(), list(map(np.int64, (1, 5, 3, 2))))
    assert not same(plain.columns["observations"], scalars.columns["observations"])
    assert [replay(episode, Single()).verdict for episode in (plain, scalars)] == ["exact"] * 2


def test_an_episode_of_ready_tuples_replays_exactly(storage):
    env = make_env("MountainCarContinuous-v0")
    benchmark_id = stored(storage, env).id
    seen, _ = env.reset(seed=4)
    tuples = []
    for push in (0.5, -0.3, 0.1):
        action = np.array([push], np.float32)
        after, *rest = env.step(action)
        tuples.append(RLTuple.from_env_step(seen, action, *rest))
        seen = after
    storage.record_episode(Episode(benchmark_id=benchmark_id, metadata={}, tuples=tuples, seed=4))
    episode = recorded(storage)
    assert episode.columns["observations"].dtype == np.float64
    noting = Noting(make_env("MountainCarContinuous-v0"))
    assert replay(episode, noting, copy=False).verdict == "exact"
    assert {action.dtype for action in noting.actions} == {np.dtype("f4")}


# ---- close, and different


def test_another_gravity_differs_at_the_first_step(storage):
    episode = record(storage, make_env("CartPole-v1"), [1, 0, 1, 1])
    other = make_env("CartPole-v1")
    other.unwrapped.gravity = 5.0
    report = replay(episode, other)
    assert (report.verdict, report.first_step, report.column) == ("different", 1, "observations")
    (element,) = report.element
    assert report.recorded == episode.columns["observations"][1][element]
    assert report.replayed not in (None, report.recorded)
    assert 0 < report.max_abs_difference < np.inf


@pytest.mark.parametrize(
    ("offset", "verdict"), [(1e-12, "close"), (1e-8, "close"), (1e-3, "different")]
)
def test_noise_is_close_and_more_is_different(storage, offset, verdict):
    report = replay(record(storage, Thing()), Thing(offset=offset))
    assert (report.verdict, report.first_step, report.column) == (verdict, 2, "observations")
    assert report.max_abs_difference == pytest.approx(offset, rel=1e-2)
    assert report.n_steps == 6


def test_an_environment_without_a_fixed_course_is_different(storage):
    with pytest.warns(UserWarning, match="cannot be replayed"):
        data = record(storage, Thing(chance=True))
    report = replay(data, Thing(chance=True))
    assert (report.verdict, report.first_step) == ("different", 0)


@pytest.mark.parametrize(
    ("recorded_horizon", "horizon", "step", "note"),
    [
        (5, 3, 3, "the environment ended after 3 of 5 steps"),
        (3, 5, 3, "the episode ended after 3 steps, the environment did not"),
    ],
    ids=["earlier", "later"],
)
def test_another_end_is_told_at_its_step(storage, recorded_horizon, horizon, step, note):
    report = replay(record(storage, Walk(recorded_horizon)), Walk(horizon))
    assert (report.verdict, report.first_step, report.column) == ("different", step, "terminated")
    assert (report.n_steps, report.note) == (step, note)


def test_an_end_of_another_kind_is_different(storage):
    report = replay(record(storage, Walk(4)), Walk(4, ends="both"))
    assert (report.verdict, report.first_step, report.column) == ("different", 4, "truncated")


@pytest.mark.parametrize(
    ("fails", "note"), [(0, "reset raised RuntimeError: no start"), (3, "step 3 raised ValueError")]
)
def test_an_environment_that_raises_is_different_at_that_step(storage, fails, note):
    report = replay(record(storage, Thing()), Thing(fails=fails), copy=False)
    assert (report.verdict, report.first_step, report.column) == ("different", fails, None)
    assert report.note.startswith(note)
    assert report.n_steps == max(0, fails - 1)


def test_an_environment_that_would_end_the_process_is_different_at_that_step(storage):
    class Quits(Thing):
        def step(self, action):
            if self.t == 2:
                sys.exit(5)
            return super().step(action)

    report = replay(record(storage, Thing()), Quits(), copy=False)
    assert (report.verdict, report.first_step) == ("different", 3)
    assert report.note.startswith("step 3 raised SystemExit: 5")


def test_what_differs_before_it_raises_comes_first(storage):
    report = replay(record(storage, Thing()), Thing(offset=1e-9, fails=5), copy=False)
    assert (report.verdict, report.first_step, report.column) == ("different", 2, "observations")
    assert "step 5 raised" in report.note


def test_observations_that_do_not_fit_are_different_at_their_step(storage):
    report = replay(record(storage, Thing()), Thing(shape=3), copy=False)
    assert (report.verdict, report.first_step, report.column) == ("different", 2, None)
    assert "shape" in report.note


def test_another_dtype_is_different(storage):
    report = replay(record(storage, Walk(dtype="float32")), Walk(dtype="float64"))
    assert (report.verdict, report.first_step) == ("different", 0)
    assert report.note == "'observations' had dtype float32 and has float64"


# ---- what is stored, and what is handed in


def test_an_environment_is_completed_by_its_wrapper_class(storage, tmp_path, monkeypatch):
    env = stored(storage, Windy(np.linspace(0, 1, 9)), cls=WindyWrapper)
    play(env, [0, 1, 0])
    env.close()
    (header,) = storage.list_episodes()
    ((_, own),) = replay_stored(storage, [header.id])
    assert own.verdict == "exact"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "of-another-user"))
    with pytest.raises(UntrustedCodeError) as caught:
        list(replay_stored(storage, [header.id]))
    assert "tests.envs.WindyWrapper" in caught.value.names
    trust = ["tests.envs.WindyWrapper"]
    ((found, report),) = replay_stored(storage, [header.id], trust=trust)
    assert (found, report.verdict) == (header, "exact")


def test_an_environment_whose_code_changed_is_different_and_the_report_says_so(tmp_path):
    code = """if True:
        import sys
        from tupli_repo import FileStorage, TupliEnvWrapper
        from tupli_repo.replaying import replay_stored
        import road
        with FileStorage("lab") as storage:
            if not storage.list_benchmarks():
                env = TupliEnvWrapper(road.Road(), storage)
                env.store("road")
                env.reset(seed=1)
                env.step(1)
                env.close()
            ids = [header.id for header in storage.list_episodes()]
            print(*[f"{r.verdict} {r.first_step} {r.note}" for _, r in replay_stored(storage, ids)])
    """
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    said = []
    for speed in (1.0, 2.0):
        source = (
            f"from tests.test_replaying import Thing\nclass Road(Thing):\n    speed = {speed}\n"
        )
        source += "    def step(self, action):\n        return super().step(action * self.speed)\n"
        (tmp_path / "road.py").write_text(source)
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=True,
            env=env,
        )
        said.append(done.stdout.strip())
    assert said[0] == f"exact None {LEFT}"
    assert said[1].startswith(f"different 1 {LEFT}; stored with other code: ")


@pytest.mark.parametrize(
    ("wrapper", "error"),
    [
        ("nonsuch_package.Wrapper", UntrustedCodeError),
        ("os.system", UntrustedCodeError),
        ("__main__.Wrapper", InvalidInputError),
        ("tests.x.<locals>.Wrapper", InvalidInputError),
        ("gymnasium.wrappers.common.TimeLimit", CorruptObjectError),
    ],
)
def test_the_class_a_benchmark_names_is_not_believed(storage, wrapper, error):
    env = stored(storage, Walk())
    text = storage.load_benchmark(env.id).serialized  # which this user is known to have stored
    odd = query().model_copy(update={"serialized": text, "wrapper": wrapper, "hash": "7" * 64})
    env.id = storage.store_benchmark(odd).id
    play(env, ACTIONS, seed=1)
    (header,) = storage.list_episodes()
    with pytest.raises(error):
        list(replay_stored(storage, [header.id]))
    assert "nonsuch_package" not in sys.modules


def test_a_benchmark_that_is_no_environment_cannot_be_replayed(storage):
    env = TupliEnvWrapper(Walk(), storage, storage.store_benchmark(query()).id)
    play(env, ACTIONS, seed=1)
    (header,) = storage.list_episodes()
    with pytest.raises(InvalidInputError, match="not an environment"):
        list(replay_stored(storage, [header.id]))
    storage.delete_benchmark(env.id)
    with pytest.raises(NotFoundError):
        list(replay_stored(storage, [header.id]))


def test_what_is_no_episode_or_no_environment_is_told(storage):
    episode = record(storage, Walk())
    pair: Any = storage.read_episode(storage.list_episodes()[0].id)
    thing: Any = object()
    with pytest.raises(InvalidInputError, match="'tuple' is not an episode") as caught:
        replay(pair, Walk())
    assert "read_episode(ID)[1]" in caught.value.hint
    with pytest.raises(InvalidInputError, match="not an environment"):
        replay(episode, thing)
    (_, part) = storage.load_episodes([pair[0].id], only=["observations"])[0]
    with pytest.raises(InvalidInputError, match="without 'actions'"):
        replay(part, Walk())


def test_a_report_with_infinite_numbers_becomes_json(storage):
    report = replay(record(storage, Thing()), Thing(offset=np.inf))
    assert (report.replayed, report.max_abs_difference) == (np.inf, np.inf)
    plain = report.model_dump(mode="json")
    assert (plain["replayed"], plain["max_abs_difference"]) == ("inf", "inf")


def test_another_time_limit_is_different_where_the_recorded_one_ended_the_episode(storage):
    short, longer = (TimeLimit(Walk(horizon=0), steps) for steps in (5, 50))
    report = replay(record(storage, short), longer)
    assert (report.verdict, report.first_step, report.column) == ("different", 5, "truncated")
    assert LEFT not in report.note


def test_the_programs_generators_stay_as_they_were(storage):
    env = stored(storage, Thing())
    play(env, ACTIONS, seed=1)
    env.close()
    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    for copy in (True, False):
        replay(recorded(storage, 0), Drawing(Thing()), copy=copy)
    after = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    assert after == before


class Drawing(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Draws from what belongs to the program."""

    def step(self, action: Any) -> Any:
        random.random(), np.random.random()
        return super().step(action)
