"""What every part of `tupli demo` uses: how it speaks, how it records, how it compares."""

import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from tupli_repo import TupliEnvWrapper
from tupli_repo.cli.app import App
from tupli_repo.config import SettingsFile
from tupli_repo.odb.files import replace_file

ENV_MODULE = "windy_mountain_car"
CAR = "windy-car"
PENDULUM = "pendulum"

Arrays = dict[str, NDArray[Any]]
Policy = Callable[[NDArray[Any]], Any]

_COLUMNS = ("observations", "actions", "next_observations", "rewards", "terminals", "timeouts")


def say(app: App, text: str, *commands: str) -> None:
    """Print a step of the tour, with what one would type."""
    if not app.as_json:
        click.echo(text)
        for command in commands:
            prompt = "$" if command.startswith("tupli ") else ">>>"
            click.echo(click.style(f"    {prompt} {command}", dim=True))


def settle_in(project: Path, user: str) -> None:
    """Give a project the module of the car, and its user's name."""
    shutil.copy(Path(__file__).with_name(f"{ENV_MODULE}.py"), project)
    settings = SettingsFile(project / ".tupli" / "config.toml")
    replace_file(settings.path, settings.changed("user.name", user))


def roll(env: TupliEnvWrapper, seeds: Iterable[int], policy: Policy | None = None) -> Arrays:
    """Run an episode for each seed, and return what the loop itself saw, column by column.

    Args:
        env: What is run; it is closed.
        seeds: What each ``reset`` is called with.
        policy: The action for an observation; where None, the action space is sampled.
    """
    env.action_space.seed(1)
    rows: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    for seed in seeds:
        observation, _ = env.reset(seed=seed)
        done = False
        while not done:
            action = env.action_space.sample() if policy is None else policy(observation)
            following, reward, terminated, truncated, _ = env.step(action)
            values = (observation, action, following, float(reward), terminated, truncated)
            for column, value in zip(_COLUMNS, values, strict=True):
                rows[column].append(value)
            observation, done = following, terminated or truncated
    env.close()
    return {name: np.asarray(values) for name, values in rows.items()}


def are_equal(one: Arrays, other: Arrays) -> bool:
    """Return whether two sets of arrays are the same, bit for bit."""
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and np.array_equal(one[name], other[name])
        for name in one
    )


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Let modules in ``folder`` be imported."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
