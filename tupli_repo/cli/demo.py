"""`tupli demo`: the tour a newcomer runs first.

Records real episodes of two environments, then reloads both in a process of their own and shows
that what comes back is what the loop saw, bit for bit.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import gymnasium
import numpy as np
from gymnasium.wrappers import TimeLimit
from numpy.typing import NDArray

from tupli_repo import FileStorage, TupliDataset, TupliEnvWrapper
from tupli_repo.cli.app import App, json_option
from tupli_repo.replaying import replay_stored
from tupli_repo.repository import Repository
from tupli_repo.schema import FilterEQ

_ENV_MODULE = "windy_mountain_car"
_PENDULUM_EPISODES = 30
_CAR_EPISODES = 25
_CAR_STEPS = 150

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """One benchmark, and what the loop saw while it was recorded."""

    name: str
    benchmark_id: str
    episodes: int
    arrays: Arrays


@click.command(
    "demo",
    short_help="Take the tour: real episodes, recorded and loaded back",
    epilog="Exit status: 0 all came back as it was, 1 something did not, or FOLDER is in use",
)
@click.argument("folder", required=False, type=click.Path(file_okay=False))
@json_option
@click.pass_obj
def demo_command(app: App, folder: str | None) -> int:
    """Record episodes in FOLDER (a temporary one by default), load them back, compare."""
    home = Path(folder) if folder is not None else Path(tempfile.mkdtemp(prefix="tupli-demo-"))
    project = home.resolve() / "anna"

    _say(app, f"Anna's project is '{project}'", "tupli init anna")
    app.keep(Repository.init(project))
    shutil.copy(Path(__file__).with_name(f"{_ENV_MODULE}.py"), project)
    storage = FileStorage(project)
    app.keep(storage)

    with _importable(project):
        seen = [_record_pendulum(app, storage), _record_car(app, storage)]
        storage.close()
        _say(
            app,
            "Another process loads both again; what Anna stored herself is trusted for her here",
            "env = TupliEnvWrapper.load(storage, PENDULUM)",
            "env = WindyWrapper.load(storage, CAR)",
            "TupliDataset(storage).convert_to_d4rl_format()",
            "tupli replay --all PENDULUM",
        )
        reloaded = [_reload(project, one) for one in seen]
    checks = [
        {
            "benchmark": one.name,
            "id": one.benchmark_id,
            "episodes": one.episodes,
            "steps": len(one.arrays["rewards"]),
            "data_equal": _equal(one.arrays, {k: v for k, v in back.items() if k in one.arrays}),
            "environment_equal": bool(back["environment_equal"]),
        }
        for one, back in zip(seen, reloaded, strict=True)
    ]
    good = all(check["data_equal"] and check["environment_equal"] for check in checks)
    for check in checks:
        _say(app, _verdict(check))
    _say(app, "Look around", f"tupli -C {project} list", f"tupli -C {project} list artifacts")
    app.emit({"folder": str(home), "equal": good, "benchmarks": checks}, "")
    return 0 if good else 1


def _record_pendulum(app: App, storage: FileStorage) -> _Seen:
    env = TupliEnvWrapper(gymnasium.make("Pendulum-v1"), storage)
    _say(
        app,
        "She stores Gymnasium's pendulum and records a random policy",
        'env = TupliEnvWrapper(gymnasium.make("Pendulum-v1"), storage)',
        'env.store("pendulum", difficulty="easy")',
    )
    return _record(env, "pendulum", _PENDULUM_EPISODES, difficulty="easy")


def _record_car(app: App, storage: FileStorage) -> _Seen:
    cars = import_module(_ENV_MODULE)
    wind = np.random.default_rng(0).normal(0.0, 0.3, size=500)
    env = cars.WindyWrapper(TimeLimit(cars.WindyMountainCar(wind), _CAR_STEPS), storage)
    _say(
        app,
        "Her own environment is in windy_mountain_car.py; its wind is kept as a CSV artifact",
        "env = WindyWrapper(TimeLimit(WindyMountainCar(wind), 150), storage)",
        'env.store("windy-car", difficulty="hard")',
    )
    return _record(env, "windy-car", _CAR_EPISODES, difficulty="hard")


def _record(env: TupliEnvWrapper, name: str, episodes: int, *, difficulty: str) -> _Seen:
    """Record episodes of a random policy, and note by other means what the loop saw."""
    benchmark_id = env.store(name, description="from 'tupli demo'", difficulty=difficulty)
    env.action_space.seed(1)
    rows: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    for episode in range(episodes):
        observation, _ = env.reset(seed=episode)
        done = False
        while not done:
            action = env.action_space.sample()
            following, reward, terminated, truncated, _ = env.step(action)
            values = (observation, action, following, float(reward), terminated, truncated)
            for column, value in zip(_COLUMNS, values, strict=True):
                rows[column].append(value)
            observation, done = following, terminated or truncated
    arrays = {name: np.asarray(values) for name, values in rows.items()}
    env.close()
    return _Seen(name=name, benchmark_id=benchmark_id, episodes=episodes, arrays=arrays)


_COLUMNS = ("observations", "actions", "next_observations", "rewards", "terminals", "timeouts")


def _reload(project: Path, seen: _Seen) -> Arrays:
    """Load a benchmark and its episodes in a new process and return what it found."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.npz"
        arguments = [str(project), seen.benchmark_id, str(found)]
        subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-m", "tupli_repo.cli.demo", *arguments], check=True
        )
        with np.load(found) as arrays:
            return dict(arrays)


def _look(project: Path, benchmark_id: str, found: Path) -> None:
    """What the new process does: load the environment and the dataset; write what they give."""
    with _importable(project), FileStorage(project) as storage:
        is_car = storage.benchmark(benchmark_id).wrapper != ""
        wrapper = import_module(_ENV_MODULE).WindyWrapper if is_car else TupliEnvWrapper
        wrapper.load(storage, benchmark_id).close()
        of_it = FilterEQ(key="benchmark_id", value=benchmark_id)
        arrays = TupliDataset(storage).with_episode_filter(of_it).convert_to_d4rl_format()
        ids = [header.id for header in storage.episode_headers(of_it)]
        reports = replay_stored(storage, ids)
        verdict = np.asarray(all(report.verdict == "exact" for _, report in reports))
        np.savez(found, allow_pickle=False, environment_equal=verdict, **arrays)


def _equal(one: Arrays, other: Arrays) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and np.array_equal(one[name], other[name])
        for name in one
    )


def _verdict(check: dict[str, Any]) -> str:
    data = "the same, bit for bit" if check["data_equal"] else "DIFFERENT"
    env = "replays them exactly" if check["environment_equal"] else "steps DIFFERENTLY"
    return (
        f"{check['benchmark']}: {check['episodes']} episodes, {check['steps']} steps: {data};"
        f" the loaded environment {env}"
    )


def _say(app: App, text: str, *commands: str) -> None:
    """Print a step of the tour, with what one would type."""
    if not app.as_json:
        click.echo(text)
        for command in commands:
            prompt = "$" if command.startswith("tupli ") else ">>>"
            click.echo(click.style(f"    {prompt} {command}", dim=True))


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let modules in ``folder`` be imported."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


if __name__ == "__main__":
    _look(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
