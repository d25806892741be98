"""PyTupli's first tutorial in its own words: from an environment to a policy that others run.

An independent loop around the bare environment says what should have been recorded.
"""

import io
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit

from tests.envs import Seen, watch
from tests.programs import finished, start
from tests.windy_car import ReturnCallback, WindyCarEnv, WindyCarWrapper
from tupli_repo import NumpyTupleParser, Repository, TupliDataset
from tupli_repo.schema import ArtifactMetadata, FilterEQ, FilterGT
from tupli_repo.storage import FileStorage

HORIZON = 200
ALMOST_THERE = {"low": 0.4995, "high": 0.4999}
"""Where a reset puts the car so that it arrives in one step."""


class Drive(NamedTuple):
    """One episode that is recorded."""

    seed: int
    is_expert: bool
    options: dict[str, float] | None = None


DRIVES = [
    Drive(1, is_expert=False),
    Drive(2, is_expert=True),
    Drive(3, is_expert=False),
    Drive(4, is_expert=True),
    Drive(5, is_expert=True, options=ALMOST_THERE),
]


class Lab(NamedTuple):
    """A lab in which the tutorial was followed so far."""

    storage: FileStorage
    wind: Path
    benchmark_id: str
    truth: list[Seen]

    def dataset(self) -> TupliDataset:
        """The episodes of the benchmark."""
        return TupliDataset(storage=self.storage).with_benchmark_filter(
            FilterEQ(key="id", value=self.benchmark_id)
        )

    def wanted(self, name: str, *, is_expert: bool | None = None) -> Any:
        """A column of what should be there, of all episodes or those of one driver."""
        return np.array(
            [
                row
                for drive, seen in zip(DRIVES, self.truth, strict=True)
                if is_expert in (None, drive.is_expert)
                for row in getattr(seen, name)
            ]
        )


def car(wind: Path, **words: Any) -> Any:
    return TimeLimit(WindyCarEnv(wind, **words), max_episode_steps=HORIZON)


def drive(env: Any, one: Drive) -> list[Any]:
    """Drive an episode at random, or as who knows that one has to swing; return the actions."""
    rng = np.random.default_rng(one.seed)
    observation, _ = env.reset(seed=one.seed, options=one.options)
    actions: list[Any] = []
    done = truncated = False
    while not (done or truncated):
        swing = 2 if observation[1] >= 0 else 0
        actions.append(np.int64(swing if one.is_expert else rng.integers(3)))
        observation, _, done, truncated, _ = env.step(actions[-1])
    return actions


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The tutorial up to the recording of episodes."""
    folder = tmp_path_factory.mktemp("tutorial")
    wind = folder / "wind_data.csv"
    gusts = np.random.default_rng(0).integers(100, size=HORIZON) / 10_000
    wind.write_text("".join(f"{step},{gust!r}\n" for step, gust in enumerate(gusts.tolist())))

    storage = FileStorage(str(folder / "_local_storage"))
    tupli_env = WindyCarWrapper(car(wind), storage=storage)
    tupli_env.store(name="mountain-car-v0", description="Mountain Car v0 benchmark")
    env: Any = WindyCarWrapper.load(
        storage=storage, benchmark_id=tupli_env.id, metadata_callback=ReturnCallback()
    )
    truth = []
    for one in DRIVES:
        env.set_wrapper_attr("metadata_callback", ReturnCallback(is_expert=one.is_expert))
        actions = drive(env, one)
        bare, seen = car(wind), Seen()
        reset = bare.reset
        bare.reset = lambda seed, reset=reset, one=one: reset(seed=seed, options=one.options)
        watch(bare, seen, actions, seed=one.seed)
        truth.append(seen)
    env.close()
    yield Lab(storage, wind, env.id, truth)
    storage.close()


def test_the_benchmark_is_listed_and_its_wind_is_a_file_that_others_share(lab: Lab):
    (header,) = lab.storage.list_benchmarks(FilterEQ(key="metadata.name", value="mountain-car-v0"))
    assert header.id == lab.benchmark_id
    assert header.metadata.description == "Mountain Car v0 benchmark"
    assert "gymnasium" in lab.storage.load_benchmark(header.id).serialized
    (wind,) = lab.storage.list_artifacts(FilterEQ(key="name", value="wind"))
    env = WindyCarWrapper(car(lab.wind), storage=lab.storage)
    assert lab.storage.load_artifact(wind.id) == env.unwrapped.data.to_csv(header=False).encode()  # type: ignore[attr-defined]
    faster = WindyCarWrapper(car(lab.wind, max_speed=0.1), storage=lab.storage)
    assert faster.store(name="mountain-car-fast") != header.id
    assert len(lab.storage.list_artifacts(FilterEQ(key="name", value="wind"))) == 1
    faster.delete(delete_artifacts=True)  # the other one needs the wind
    assert lab.storage.list_artifacts(FilterEQ(key="name", value="wind")) == [wind]


def test_the_environment_that_is_loaded_drives_as_the_one_that_was_stored(lab: Lab):
    env: Any = WindyCarWrapper.load(storage=lab.storage, benchmark_id=lab.benchmark_id)
    env.deactivate_recording()
    before, again = env.unwrapped.data, Seen()
    assert before.equals(car(lab.wind).unwrapped.data)
    watch(env, again, lab.truth[0].actions, seed=DRIVES[0].seed)
    assert np.array_equal(again.next_observations, lab.truth[0].next_observations)
    assert len(lab.dataset().preview()) == len(DRIVES)


def test_the_arrays_are_what_happened_and_each_state_is_the_one_that_was_acted_in(lab: Lab):
    dataset = lab.dataset()
    dataset.load()
    obs, act, rew, terminal, truncated = dataset.convert_to_tensors(parser=NumpyTupleParser)
    assert np.array_equal(obs, lab.wanted("observations"))
    assert np.array_equal(act, lab.wanted("actions"))
    assert np.array_equal(rew, lab.wanted("rewards"))
    assert np.array_equal(terminal, lab.wanted("terminals"))
    assert np.array_equal(truncated, lab.wanted("timeouts"))
    lengths = [len(seen.actions) for seen in lab.truth]
    assert lengths[0] == lengths[2] == HORIZON > max(lengths[1], lengths[3]) > lengths[4] == 1
    assert (int(terminal.sum()), int(truncated.sum())) == (3, 2)


def test_episodes_are_chosen_by_who_drove_and_by_their_return(lab: Lab):
    dataset = lab.dataset()
    assert [header.n_tuples for header in dataset.preview()] == [len(s.actions) for s in lab.truth]
    told = [header.metadata for header in dataset.preview()]
    assert told == [
        {"cum_eps_reward": [-float(len(seen.actions))], "is_expert": one.is_expert}
        for one, seen in zip(DRIVES, lab.truth, strict=True)
    ]
    for is_expert in (False, True):
        chosen = dataset.with_episode_filter(FilterEQ(key="metadata.is_expert", value=is_expert))
        chosen.load()
        assert np.array_equal(chosen.observations, lab.wanted("observations", is_expert=is_expert))
    long = dataset.with_episode_filter(FilterGT(key="n_tuples", value=1))
    slow = long.with_tuple_filter(lambda step: abs(step.state[1]) < 0.01)
    speeds = np.abs(lab.wanted("observations")[:-1, 1])
    assert len(slow.tuples) == int((speeds < 0.01).sum()) > 0


@pytest.mark.filterwarnings("default")  # those of jsonpickle
def test_the_module_needs_other_imports_and_nothing_else_to_run_with_pytupli(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("pytupli.benchmark")
    ours = Path(__file__).with_name("windy_car.py").read_text()
    (tmp_path / "windy_car_of_pytupli.py").write_text(ours.replace("tupli_repo", "pytupli"))
    monkeypatch.syspath_prepend(tmp_path)
    theirs: Any = import_module("windy_car_of_pytupli")
    storage = import_module("pytupli.storage").FileStorage(str(tmp_path / "_local_storage"))
    bare = TimeLimit(theirs.WindyCarEnv(lab.wind), max_episode_steps=HORIZON)
    env = theirs.WindyCarWrapper(bare, storage=storage)
    env.store(name="mountain-car-v0", description="Mountain Car v0 benchmark")
    found: dict[str, Any] = {}
    for one, seen in zip(DRIVES, lab.truth, strict=True):
        callback = theirs.ReturnCallback(is_expert=one.is_expert)
        loaded = theirs.WindyCarWrapper.load(
            storage=storage, benchmark_id=env.id, metadata_callback=callback
        )
        assert drive(loaded, one) == seen.actions
        found |= {item.id: item for item in storage.list_episodes(include_tuples=True)}
        *_, last = found.values()
        assert [step.action for step in last.tuples] == [int(a) for a in seen.actions]
        states = [step.state for step in last.tuples]
        assert np.array_equal(states, seen.next_observations)  # one step late
        assert (last.terminated, last.timeout) == (seen.terminals[-1], seen.timeouts[-1])
    headers = lab.dataset().preview()
    assert [item.metadata for item in found.values()] == [h.metadata for h in headers]


# ---- a policy, and whoever else wants it

ACT = """
    import io, sys
    import numpy as np
    from tests.windy_car import WindyCarWrapper
    from tupli_repo.schema import FilterEQ
    from tupli_repo.storage import FileStorage

    storage = FileStorage(sys.argv[1])
    of_it = FilterEQ(key="benchmark_id", value=sys.argv[2])
    (policy,) = storage.list_artifacts(filter=of_it & FilterEQ(key="name", value=sys.argv[3]))
    env = WindyCarWrapper.load(
        storage=storage,
        benchmark_id=policy.benchmark_id,
        trust=["tests.windy_car.*"],
    )
    env.deactivate_recording()
    content = storage.load_artifact(policy.id)
    {load}
    obs, _ = env.reset(seed=42)
    for step in range(100):
        action = np.int64(predict(obs[None])[0])
        obs, *_ = env.step(action)
        print(action, *obs.tolist())
"""


def acts(env: Any, predict: Any) -> str:
    """What a policy does, and what comes of it, as the program above tells it."""
    obs, _ = env.reset(seed=42)
    lines = []
    for _ in range(100):
        action = np.int64(predict(obs[None])[0])
        obs, *_ = env.step(action)
        lines.append(" ".join(map(str, [action, *obs.tolist()])))
    return "\n".join(lines) + "\n"


def shared(lab: Lab, content: bytes, folder: Path, name: str) -> Path:
    """Store a policy with its benchmark, publish and push both, clone them; return the clone."""
    stored = lab.storage.store_artifact(
        artifact=content,
        metadata=ArtifactMetadata(
            name=name, description="a policy for the car", benchmark_id=lab.benchmark_id
        ),
    )
    chosen = FilterEQ(key="benchmark_id", value=lab.benchmark_id)
    assert lab.storage.list_artifacts(filter=chosen) == [stored]
    lab.storage.publish(lab.benchmark_id, episodes=True)
    lab.storage.publish_artifact(stored.id)
    Repository.init(folder / "drive", bare=True).close()
    lab.storage.add_remote(name, folder / "drive")
    lab.storage.push(name)
    Repository.clone(folder / "drive", folder / "clone").close()
    lab.storage.delete_artifact(stored.id)
    assert lab.storage.list_artifacts(filter=chosen) == []
    return folder / "clone"


def run_by_somebody_else(clone: Path, lab: Lab, name: str, load: str) -> str:
    """Run the policy of a clone in a process of a user who stored nothing of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(clone / "settings"))
        return finished(start(ACT.format(load=load), clone, lab.benchmark_id, name))


def test_a_policy_is_an_artifact_that_acts_alike_wherever_it_is_cloned(lab: Lab, tmp_path: Path):
    weights = np.array([[0.0, 0.1, 0.0], [-100.0, 0.0, 100.0]])
    file = io.BytesIO()
    np.save(file, weights)
    clone = shared(lab, file.getvalue(), tmp_path, "linear")
    load = "w = np.load(io.BytesIO(content)); predict = lambda obs: (obs @ w).argmax(-1)"
    told = run_by_somebody_else(clone, lab, "linear", load)
    assert told == acts(car(lab.wind), lambda obs: (obs @ weights).argmax(-1))
    assert {line.split()[0] for line in told.splitlines()} == {"0", "2"}
    with Repository(clone) as theirs:
        dataset = TupliDataset(theirs)
        assert np.array_equal(dataset.observations, lab.wanted("observations"))


@pytest.mark.filterwarnings("default")  # those of d3rlpy
def test_d3rlpy_learns_from_it_and_what_it_learned_is_kept(lab: Lab, tmp_path: Path):
    d3rlpy: Any = pytest.importorskip("d3rlpy", exc_type=ImportError)
    torch: Any = pytest.importorskip("torch")
    torch.set_num_threads(1)
    learned_from = lab.dataset().to_d3rlpy()
    assert learned_from.transition_count == len(lab.wanted("actions"))
    d3rlpy.seed(1)
    algo = d3rlpy.algos.DiscreteCQLConfig(batch_size=64, alpha=2.0).create(device="cpu:0")
    algo.fit(
        learned_from,
        n_steps=100,
        n_steps_per_epoch=100,
        logger_adapter=d3rlpy.logging.NoopAdapterFactory(),
        show_progress=False,
    )
    algo.save_model(str(tmp_path / "policy.pt"))
    clone = shared(lab, (tmp_path / "policy.pt").read_bytes(), tmp_path, "cql")
    load = """
    import d3rlpy, tempfile
    with tempfile.NamedTemporaryFile(suffix=".pt", delete=False) as file:
        file.write(content)
    algo = d3rlpy.algos.DiscreteCQLConfig().create(device="cpu:0")
    algo.build_with_env(env)
    algo.load_model(file.name)
    predict = algo.predict
    """
    told = run_by_somebody_else(clone, lab, "cql", load.strip())
    assert told == acts(car(lab.wind), algo.predict)


def test_deleting_the_benchmark_takes_its_episodes_and_its_wind_along(tmp_path: Path, lab: Lab):
    with FileStorage(tmp_path) as storage:
        env = WindyCarWrapper(car(lab.wind), storage=storage, metadata_callback=ReturnCallback())
        env.store(name="mountain-car-v0")
        drive(env, DRIVES[1])
        loaded = WindyCarWrapper.load(storage=storage, benchmark_id=env.id)
        loaded.delete(delete_artifacts=True)
        assert storage.list_benchmarks() == []
        assert storage.list_episodes() == []
        assert storage.list_artifacts() == []
