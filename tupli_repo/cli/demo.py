"""`tupli demo`: the tour a newcomer runs first.

Records real episodes of two environments, then reloads both in a process of their own and shows
that what comes back is what the loop saw, bit for bit. Then others come in: see `demo_sharing`.
"""

import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import gymnasium
import numpy as np
from gymnasium.wrappers import TimeLimit

from tupli_repo import FileStorage, TupliEnvWrapper
from tupli_repo.cli.app import App, json_option
from tupli_repo.cli.demo_others import ask
from tupli_repo.cli.demo_sharing import share
from tupli_repo.cli.demo_tour import (
    CAR,
    ENV_MODULE,
    PENDULUM,
    Arrays,
    are_equal,
    importable,
    roll,
    say,
    settle_in,
)
from tupli_repo.repository import Repository

_PENDULUM_EPISODES = 30
_CAR_EPISODES = 25
_CAR_STEPS = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """One benchmark, and what the loop saw while it was recorded."""

    name: str
    benchmark_id: str
    episodes: int
    arrays: Arrays


@click.command(
    "demo",
    short_help="Take the tour: real episodes, recorded, loaded back and shared",
    epilog="Exit status: 0 all came back as it was, 1 something did not, or FOLDER is in use",
)
@click.argument("folder", required=False, type=click.Path(file_okay=False))
@json_option
@click.pass_obj
def demo_command(app: App, folder: str | None) -> int:
    """Record episodes in FOLDER (a temporary one by default), load them back, share, compare."""
    home = Path(folder) if folder is not None else Path(tempfile.mkdtemp(prefix="tupli-demo-"))
    project = home.resolve() / "anna"

    say(app, f"Anna's project is '{project}'", "tupli init anna")
    Repository.init(project).close()
    settle_in(project, "Anna")
    with importable(project):
        with FileStorage(project) as storage:
            seen = [_record_pendulum(app, storage), _record_car(app, storage)]
        checks = _load_back(app, project, seen)
        sharing = share(app, project.parent)
    equal = all(check["data_equal"] and check["environment_equal"] for check in checks)
    good = equal and sharing["equal"]
    say(app, "Look around", f"tupli -C {project} list", f"tupli -C {project} log {CAR}")
    document = {"folder": str(home), "equal": good, "benchmarks": checks, "sharing": sharing}
    app.emit(document, "")
    return 0 if good else 1


def _record_pendulum(app: App, storage: FileStorage) -> _Seen:
    env = TupliEnvWrapper(gymnasium.make("Pendulum-v1"), storage)
    say(
        app,
        "She stores Gymnasium's pendulum and records a random policy",
        'env = TupliEnvWrapper(gymnasium.make("Pendulum-v1"), storage)',
        'env.store("pendulum", difficulty="easy")',
    )
    return _record(env, PENDULUM, _PENDULUM_EPISODES, difficulty="easy")


def _record_car(app: App, storage: FileStorage) -> _Seen:
    cars = import_module(ENV_MODULE)
    wind = np.random.default_rng(0).normal(0.0, 0.3, size=500)
    env = cars.WindyWrapper(TimeLimit(cars.WindyMountainCar(wind), _CAR_STEPS), storage)
    say(
        app,
        "Her own environment is in windy_mountain_car.py; its wind is kept as a CSV artifact",
        "env = WindyWrapper(TimeLimit(WindyMountainCar(wind), 150), storage)",
        'env.store("windy-car", difficulty="hard")',
    )
    return _record(env, CAR, _CAR_EPISODES, difficulty="hard")


def _record(env: TupliEnvWrapper, name: str, episodes: int, *, difficulty: str) -> _Seen:
    """Record episodes of a random policy, and note by other means what the loop saw."""
    benchmark_id = env.store(name, description="from 'tupli demo'", difficulty=difficulty)
    arrays = roll(env, range(episodes))
    return _Seen(name=name, benchmark_id=benchmark_id, episodes=episodes, arrays=arrays)


def _load_back(app: App, project: Path, seen: list[_Seen]) -> list[dict[str, Any]]:
    """Load everything in another process, and compare."""
    say(
        app,
        "Another process loads both again; what Anna stored herself is trusted for her here",
        "env = TupliEnvWrapper.load(storage, PENDULUM)",
        "env = WindyWrapper.load(storage, CAR)",
        "TupliDataset(storage).convert_to_d4rl_format()",
        "tupli replay --all PENDULUM",
    )
    checks = []
    for one in seen:
        back = ask("reload", str(project), one.benchmark_id)
        checks.append(
            {
                "benchmark": one.name,
                "id": one.benchmark_id,
                "episodes": one.episodes,
                "steps": len(one.arrays["rewards"]),
                "data_equal": are_equal(
                    one.arrays, {k: v for k, v in back.items() if k in one.arrays}
                ),
                "environment_equal": bool(back["environment_equal"]),
            }
        )
        say(app, _verdict(checks[-1]))
    return checks


def _verdict(check: dict[str, Any]) -> str:
    data = "the same, bit for bit" if check["data_equal"] else "DIFFERENT"
    env = "replays them exactly" if check["environment_equal"] else "steps DIFFERENTLY"
    return (
        f"{check['benchmark']}: {check['episodes']} episodes, {check['steps']} steps: {data};"
        f" the loaded environment {env}"
    )
