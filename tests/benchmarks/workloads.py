"""The workloads, made from seeds: synthetic, from real environments, and real frames.

Invariant: the same name, scale and packages give the same arrays.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from shutil import rmtree
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.contender import NotOfferedError
from tests.benchmarks.episodes import Columns, Episodes
from tests.benchmarks.playback import REAL_ENVIRONMENTS

_STATES = 12
_MIN_EPISODES = 4
_VERSION = 1

Make = Callable[[float], Episodes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Episodes to be measured with.

    Attributes:
        make: Makes them, by scale.
        operations: What is measured with them unless more is asked for.
        contenders: Who takes part unless others are asked for; all where empty.
        column: The one column that is loaded by itself.
    """

    make: Make
    operations: tuple[str, ...]
    contenders: tuple[str, ...] = ()
    column: str = "actions"


def smooth(
    n_episodes: int, length: int, observation: int, action: int, dtype: str
) -> Callable[[float], Episodes]:
    """Return what makes trajectories of a stable linear system with noise: smooth, as joints are.

    Args:
        n_episodes: How many at scale 1.
        length: The steps of each.
        observation: The number of observations.
        action: The number of actions, float32.
        dtype: Of the observations.
    """

    def make(scale: float) -> Episodes:
        n = _scaled(n_episodes, scale)
        rng = np.random.default_rng([n, length, observation])
        rotation = np.linalg.qr(rng.normal(size=(_STATES, _STATES)))[0]
        seen = rng.normal(size=(_STATES, observation))
        steered = rng.normal(size=(action, _STATES)) * 0.1
        done = rng.normal(size=(_STATES, action)) * 0.3
        observations = np.empty((n, length + 1, observation), dtype)
        actions = np.empty((n, length, action), np.float32)
        rewards = np.empty((n, length))
        state = rng.normal(size=(n, _STATES))
        turn = 0.97 * (0.95 * np.eye(_STATES) + 0.05 * rotation)
        for t in range(length + 1):
            noise = rng.normal(size=(n, observation)) * 1e-3
            observations[:, t] = np.tanh(state @ seen * 0.3) * 3 + noise
            if t < length:
                actions[:, t] = np.tanh(state @ done + rng.normal(size=(n, action)) * 0.1)
                state = state @ turn + actions[:, t] @ steered + rng.normal(size=state.shape) * 0.05
                rewards[:, t] = state[:, 0] - 0.1 * np.square(actions[:, t]).sum(axis=1)
        truncated = np.zeros((n, length), bool)
        truncated[:, -1] = True
        columns = {
            "observations": observations.reshape(-1, observation),
            "actions": actions.reshape(-1, action),
            "rewards": rewards.reshape(-1),
            "terminated": np.zeros(n * length, bool),
            "truncated": truncated.reshape(-1),
        }
        return Episodes(np.full(n, length, np.int64), columns)

    return make


def real(name: str, n_episodes: int) -> Callable[[float], Episodes]:
    """Return what plays a real environment at random.

    Args:
        name: The workload's name.
        n_episodes: How many at scale 1; episode i is reset with seed i.
    """

    def make(scale: float) -> Episodes:
        env = gymnasium.make(REAL_ENVIRONMENTS[name])
        env.action_space.seed(0)
        played = [_played(env, seed) for seed in range(_scaled(n_episodes, scale))]
        env.close()
        columns = {name: np.concatenate([one[name] for one in played]) for name in played[0]}
        return Episodes(np.array([len(one["rewards"]) for one in played], np.int64), columns)

    return make


def _played(env: gymnasium.Env[Any, Any], seed: int) -> Columns:
    observations = [env.reset(seed=seed)[0]]
    steps: list[tuple[Any, ...]] = []
    while not steps or not any(steps[-1][2:]):
        action = env.action_space.sample()
        observation, reward, terminated, truncated, _ = env.step(action)
        observations.append(observation)
        steps.append((action, reward, terminated, truncated))
    actions, rewards, terminations, truncations = zip(*steps, strict=True)
    return {
        "observations": np.stack(observations),
        "actions": np.stack(actions),
        "rewards": np.array(rewards, np.float64),
        "terminated": np.array(terminations, np.bool_),
        "truncated": np.array(truncations, np.bool_),
    }


def frames(n_episodes: int, length: int, *, small: bool) -> Callable[[float], Episodes]:
    """Return what plays Atari's Breakout at random: real frames, lives and noise of the game.

    Args:
        n_episodes: How many.
        length: The steps of each at scale 1; a game that ends is begun anew within the episode.
        small: Whether frames are 84x84x1, grey, cut and thinned out, in place of 210x160x3.
    """

    def make(scale: float) -> Episodes:
        try:
            gymnasium.register_envs(import_module("ale_py"))
        except ModuleNotFoundError as err:
            raise NotOfferedError(f"'{err.name}' is not installed") from None
        steps = _scaled(length, scale)
        kind = "grayscale" if small else "rgb"
        env = gymnasium.make("ALE/Breakout-v5", obs_type=kind)
        rng = np.random.default_rng(length)
        shape = (84, 84, 1) if small else (210, 160, 3)
        observations = np.empty((n_episodes * (steps + 1), *shape), np.uint8)
        actions = rng.integers(0, int(env.action_space.n), n_episodes * steps)  # type: ignore[attr-defined]
        rewards = np.zeros(n_episodes * steps)
        row = 0
        for episode in range(n_episodes):
            frame, _ = env.reset(seed=episode)
            observations[row] = _shrunk(frame) if small else frame
            for step in range(episode * steps, (episode + 1) * steps):
                frame, reward, terminated, lost, _ = env.step(actions[step])
                if terminated or lost:
                    frame, _ = env.reset()
                row, rewards[step] = row + 1, reward
                observations[row] = _shrunk(frame) if small else frame
            row += 1
        env.close()
        truncated = np.zeros((n_episodes, steps), bool)
        truncated[:, -1] = True
        columns: Columns = {
            "observations": observations,
            "actions": actions,
            "rewards": rewards,
            "terminated": np.zeros(n_episodes * steps, bool),
            "truncated": truncated.reshape(-1),
        }
        return Episodes(np.full(n_episodes, steps, np.int64), columns)

    return make


def _shrunk(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """84x84x1 of a grey frame of 210x160: every other pixel of the field, and a black border."""
    small = np.zeros((84, 84, 1), np.uint8)
    small[:, 2:82, 0] = frame[34:202:2, ::2]
    return small


def _scaled(number: int, scale: float) -> int:
    return max(_MIN_EPISODES, round(number * scale))


_FULL = (
    "record", "write", "load", "load-cold", "load-known", "load-again", "column", "episodes",
    "transitions", "transitions-again", "list", "list-cold", "size", "memory",
)  # fmt: skip
_LARGE = ("write", "load", "load-cold", "load-known", "load-again", "column", "size", "memory")
_IMAGES = (
    "write", "load", "load-cold", "load-known", "load-again", "transitions", "transitions-again",
    "size", "memory",
)  # fmt: skip

WORKLOADS = {
    "halfcheetah": Workload(make=smooth(2000, 200, 17, 6, "f4"), operations=_FULL),
    "pendulum": Workload(make=real("pendulum", 500), operations=_FULL),
    "cartpole": Workload(make=real("cartpole", 5000), operations=_FULL),
    "short": Workload(make=smooth(5000, 20, 17, 6, "f4"), operations=_FULL),
    "short-many": Workload(make=smooth(50_000, 20, 17, 6, "f4"), operations=("write", "size")),
    "images-small": Workload(
        make=frames(10, 6500, small=True),
        operations=_IMAGES,
        contenders=("ours", "minari-hdf5", "npz", "npz-compressed", "hdf5", "parquet"),
        column="rewards",
    ),
    "images": Workload(
        make=frames(10, 6500, small=False),
        operations=_IMAGES,
        contenders=("ours", "minari-hdf5", "npz", "npz-compressed", "hdf5", "parquet"),
        column="rewards",
    ),
    "large": Workload(
        make=smooth(1000, 1000, 29, 8, "f8"),
        operations=_LARGE,
        contenders=("ours", "minari-hdf5", "npz", "hdf5", "parquet", "parquet-split"),
    ),
    "larger": Workload(
        make=smooth(1000, 1000, 348, 17, "f8"),
        operations=_LARGE,
        contenders=("ours", "minari-hdf5", "npz", "hdf5", "parquet", "parquet-split"),
    ),
    "many": Workload(
        make=smooth(10_000, 200, 3, 1, "f4"),
        operations=("list", "list-cold", "push", "push-again", "clone"),
        contenders=("ours", "pytupli", "minari-hdf5", "minari-arrow", "npz", "copy"),
    ),
}
"""The issue's workloads; ``short-many`` is its short one for writing, ``many`` its 10,000."""


def episodes_of(name: str, scale: float, cache: Path) -> Path:
    """Return the folder with a workload's episodes; made where it is not there yet.

    Raises:
        NotOfferedError: A package it needs is not installed.
    """
    key = hashlib.sha256(f"{_VERSION} {name} {scale} {gymnasium.__version__}".encode())
    folder = cache / f"{name}-{key.hexdigest()[:12]}"
    if not folder.exists():
        scratch = folder.with_suffix(".making")
        rmtree(scratch, ignore_errors=True)
        WORKLOADS[name].make(scale).save(scratch)
        scratch.rename(folder)
    return folder
