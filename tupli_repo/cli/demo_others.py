"""What others do in `tupli demo`, each in a process of their own, as on machines of their own.

Invariant: what a process has to tell goes through files alone: the repositories, and one of arrays.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tupli_repo import FileStorage, TupliDataset, TupliEnvWrapper
from tupli_repo.cli.demo_tour import CAR, ENV_MODULE, Arrays, importable, roll, settle_in
from tupli_repo.errors import UntrustedCodeError
from tupli_repo.replaying import replay_stored
from tupli_repo.repository import Repository
from tupli_repo.schema import FilterEQ

BENS_EPISODES = 20
_BENS_SEED = 200


def ask(task: str, *arguments: str) -> Arrays:
    """Run a task, one of `reload`, `ben` and `carla`, in a new process; return what it found."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.npz"
        program = [sys.executable, "-m", "tupli_repo.cli.demo_others"]
        subprocess.run([*program, str(found), task, *arguments], check=True)  # noqa: S603 - ours
        with np.load(found) as arrays:
            return dict(arrays)


def reload(project: str, benchmark_id: str) -> Arrays:
    """Load a benchmark's environment and episodes, and run the episodes again."""
    with importable(Path(project)), FileStorage(project) as storage:
        is_car = storage.benchmark(benchmark_id).wrapper != ""
        wrapper = import_module(ENV_MODULE).WindyWrapper if is_car else TupliEnvWrapper
        wrapper.load(storage, benchmark_id).close()
        of_it = FilterEQ(key="benchmark_id", value=benchmark_id)
        arrays: Arrays = TupliDataset(storage).with_episode_filter(of_it).convert_to_d4rl_format()
        ids = [header.id for header in storage.episode_headers(of_it)]
        reports = replay_stored(storage, ids)
        verdict = np.asarray(all(report.verdict == "exact" for _, report in reports))
        return {**arrays, "environment_equal": verdict}


def ben(drive: str, project: str) -> Arrays:
    """Clone, load the car once its code is trusted, record, publish what got there, push."""
    Repository.clone(drive, project).close()
    settle_in(Path(project), "Ben")
    with importable(Path(project)), FileStorage(project) as storage:
        cars = import_module(ENV_MODULE)
        (car,) = storage.list_benchmarks(FilterEQ(key="metadata.name", value=CAR))
        wanted: tuple[str, ...] = ()
        try:
            cars.WindyWrapper.load(storage, car.id)
        except UntrustedCodeError as err:
            wanted = err.names
        env = cars.WindyWrapper.load(storage, car.id, trust=wanted)
        first = range(_BENS_SEED, _BENS_SEED + BENS_EPISODES // 2)
        roll(env, first, _with_the_velocity)
        env = cars.WindyWrapper.load(storage, car.id, trust=wanted)
        roll(env, range(first.stop, _BENS_SEED + BENS_EPISODES))
        published = storage.publish(
            CAR, episodes=FilterEQ(key="terminated", value=True), message="follow the velocity"
        )
        pushed = storage.push()
        return {
            "wanted": np.asarray(wanted, dtype=str),
            "published": np.asarray(published.n_added),
            "pushed": np.asarray(pushed.n_episodes),
        }


def carla(drive: str, project: str, revision: str) -> Arrays:
    """Clone, and load a pin by its citable revision."""
    Repository.clone(drive, project).close()
    with FileStorage(project) as storage:
        dataset = TupliDataset.from_pin(storage, revision)
        arrays: Arrays = dataset.convert_to_d4rl_format()
        return {**arrays, "digest": np.asarray(dataset.digest)}


def _with_the_velocity(observation: NDArray[np.float32]) -> NDArray[np.float32]:
    """Push the way the car rolls, which gets it up the hill."""
    return np.asarray([1.0 if observation[1] >= 0 else -1.0], dtype=np.float32)


if __name__ == "__main__":
    _found, _task, *_arguments = sys.argv[1:]
    _tasks: dict[str, Callable[..., Arrays]] = {"reload": reload, "ben": ben, "carla": carla}
    np.savez(_found, allow_pickle=False, **_tasks[_task](*_arguments))
