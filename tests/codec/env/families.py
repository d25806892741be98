"""The environment families that documents are proved on: gymnasium's, minigrid's, highway-env's.

Each is a name and a call that makes the environment; a family whose package is missing is empty.
"""

import copy
import functools
import hashlib
import importlib
import importlib.util
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import wrappers

from tests.codec.env import sample_envs
from tupli_repo.codec.trust import TrustPolicy

Make = Callable[[], Any]

make_env: Any = gymnasium.make

PACKAGES = {
    "classic-control": "gymnasium",
    "toy-text": "gymnasium",
    "box2d": "Box2D",
    "mujoco": "mujoco",
    "phys2d": "jax",
    "tabular": "jax",
    "minigrid": "minigrid",
    "highway-env": "highway_env",
}
"""Family -> the package without which it is empty; ``stacks`` is the ninth."""

_ENTRY_POINTS = {
    "classic-control": "gymnasium.envs.classic_control.",
    "toy-text": "gymnasium.envs.toy_text.",
    "box2d": "gymnasium.envs.box2d.",
    "mujoco": "gymnasium.envs.mujoco.",
    "phys2d": "gymnasium.envs.phys2d.",
    "tabular": "gymnasium.envs.tabular.",
    "minigrid": "minigrid.",
    "highway-env": "highway_env.",
}

GRANTS = TrustPolicy(
    [
        "highway_env.*",
        "minigrid.*",
        "tests.codec.*",
        "tests.codec.env.sample_envs.double",
        "tests.codec.env.sample_envs.shaped",
    ]
)
"""What somebody who loads them from elsewhere would grant; gymnasium's own need nothing."""


def is_installed(family: str) -> bool:
    return importlib.util.find_spec(PACKAGES[family]) is not None


def ids_of(family: str) -> list[str]:
    """The registered ids of one family, sorted; empty where its package is missing."""
    if not is_installed(family):
        return []
    if family in ("minigrid", "highway-env"):
        gymnasium.register_envs(importlib.import_module(PACKAGES[family]))
    found = []
    for env_id, spec in gymnasium.registry.items():
        entry_point = spec.entry_point
        if env_id == "highway-v0":  # a second per step; highway-fast-v0 has fewer cars
            continue
        if env_id.startswith("MiniGrid-WFC-"):  # the wheel lacks the pictures that they read
            continue
        if isinstance(entry_point, str) and entry_point.startswith(_ENTRY_POINTS[family]):
            found.append(env_id)
    return sorted(found)


def made(env_id: str, **kwargs: Any) -> Any:
    """What ``gymnasium.make`` returns, without its word on newer versions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make_env(env_id, **kwargs)


def built(env_id: str) -> Any:
    """The environment of an id, from its class and registered arguments, without a spec."""
    spec = gymnasium.spec(env_id)
    module, _, name = str(spec.entry_point).partition(":")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(importlib.import_module(module), name)(**spec.kwargs)


def keeps_record(name: str) -> bool:
    """Whether an instance itself tells its arguments: gymnasium's do, minigrid's do not."""
    if name not in gymnasium.registry:
        return False
    return not str(gymnasium.spec(name).entry_point).startswith(("minigrid.", "highway_env."))


STACKS: dict[str, Make] = {
    "windy": lambda: sample_envs.WindyMountainCar(np.linspace(-1, 1, 50)),
    "windy-limited": lambda: wrappers.TimeLimit(sample_envs.WindyMountainCar(np.ones(9)), 20),
    "everything": sample_envs.Everything,
    "recorded": lambda: sample_envs.Recorded(3, speed=2.0),
    "counting": lambda: sample_envs.Counting(sample_envs.Recorded(3), ["a", "b"]),
    "counting-snapshot": lambda: sample_envs.Counting(sample_envs.Base(), ["a", "b"]),
    "scaled": lambda: sample_envs.Scaled(sample_envs.Base(), 3.0),
    "doubled": lambda: sample_envs.Doubled(make_env("CartPole-v1")),
    "function": lambda: wrappers.TransformReward(sample_envs.Base(), sample_envs.double),
    "statistics": lambda: wrappers.NormalizeObservation(
        wrappers.RecordEpisodeStatistics(make_env("CartPole-v1"))
    ),
    "rewards": lambda: wrappers.ClipReward(
        wrappers.NormalizeReward(make_env("Acrobot-v1"), gamma=0.9), -1.0, 1.0
    ),
    "stacked": lambda: wrappers.FrameStackObservation(
        wrappers.TransformReward(make_env("MountainCar-v0"), sample_envs.double), 3
    ),
    "timed": lambda: wrappers.TimeAwareObservation(make_env("MountainCar-v0")),
    "actions": lambda: wrappers.ClipAction(
        wrappers.RescaleAction(make_env("Pendulum-v1", g=9.0), np.float32(-1), np.float32(1))
    ),
    "sticky": lambda: wrappers.Autoreset(
        wrappers.StickyAction(make_env("FrozenLake-v1"), repeat_action_probability=0.2)
    ),
    "delayed": lambda: wrappers.DelayObservation(make_env("Pendulum-v1"), 2),
    "skipping": lambda: wrappers.MaxAndSkipObservation(make_env("MountainCar-v0"), 2),
    "reshaped": lambda: wrappers.ReshapeObservation(make_env("CartPole-v1"), (2, 2)),
    "rescaled": lambda: wrappers.RescaleObservation(
        make_env("MountainCar-v0"), np.float32(-1), np.float32(1)
    ),
    "flat": lambda: wrappers.FlattenObservation(make_env("Blackjack-v1")),
    "limited-twice": lambda: wrappers.TimeLimit(
        wrappers.TimeLimit(make_env("CartPole-v1"), 40), 20
    ),
    "changed": lambda: with_gravity(make_env("CartPole-v1"), 5.0),
}
"""Wrapper stacks and environments of a user's own; they need nothing but gymnasium."""


def with_gravity(env: Any, gravity: float) -> Any:
    env.unwrapped.gravity = gravity
    return env


def environments(families: list[str]) -> dict[str, Make]:
    """Every environment of the families, by name."""
    found: dict[str, Make] = {}
    for family in families:
        if family == "stacks":
            found.update(STACKS)
        else:
            found.update({env_id: functools.partial(made, env_id) for env_id in ids_of(family)})
    return found


def play(env: Any, *, steps: int = 60) -> None:
    """Use an environment, as a user would before storing it."""
    actions = copy.deepcopy(env.action_space)
    actions.seed(3)
    env.reset(seed=11)
    for _ in range(steps):
        *_, terminated, truncated, _ = env.step(actions.sample())
        if terminated or truncated:
            env.reset()


def trajectory(env: Any, *, steps: int = 200, seed: int = 5) -> list[str]:
    """A fingerprint of each step: observation, reward and flags to the last bit."""
    observation, _ = env.reset(seed=seed)
    actions = copy.deepcopy(env.action_space)
    actions.seed(1)
    seen = [_digest(observation)]
    for _ in range(steps):
        observation, reward, terminated, truncated, _ = env.step(actions.sample())
        seen.append(_digest([observation, reward, bool(terminated), bool(truncated)]))
        if terminated or truncated:
            observation, _ = env.reset()
            seen.append(_digest(observation))
    return seen


def _digest(value: Any) -> str:
    found = hashlib.sha256()
    for part in _parts(value):
        found.update(part)
    return found.hexdigest()


def _parts(value: Any) -> Any:
    if isinstance(value, dict):
        for key in sorted(value):
            yield repr(key).encode()
            yield from _parts(value[key])
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _parts(part)
    elif value is None or isinstance(value, str):
        yield repr(value).encode()
    else:
        array = np.asarray(value)
        assert not array.dtype.hasobject, f"cannot compare {value!r}"
        yield f"{array.dtype.str}{array.shape}".encode() + array.tobytes()
