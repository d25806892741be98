"""Every parameter counts: changing one changes the document's id, and loading brings it back."""

import functools
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers

from tests.codec.env import sample_envs
from tests.codec.env.families import GRANTS, made, trajectory
from tupli_repo.codec.env import check_round_trip, decode, encode
from tupli_repo.codec.env.attributes import raw_attributes

make_env: Any = gymnasium.make


def by_hand(make: Callable[[], Any], **attributes: Any) -> dict[str, Callable[[], Any]]:
    """One environment for each attribute, with that one changed on the live object."""

    def changed(name: str, value: Any) -> Any:
        env = make()
        assert name in raw_attributes(env.unwrapped)
        setattr(env.unwrapped, name, value)
        return env

    return {f"{n}={v!r}": functools.partial(changed, n, v) for n, v in attributes.items()}


def by_argument(env_id: str, **arguments: Any) -> dict[str, Callable[[], Any]]:
    """One environment for each argument of ``gymnasium.make``."""
    return {f"{n}={v!r}": functools.partial(made, env_id, **{n: v}) for n, v in arguments.items()}


def windy() -> Any:
    return sample_envs.WindyMountainCar(np.linspace(-0.2, 0.2, 9))


def recorded(**arguments: Any) -> Any:
    return wrappers.TimeLimit(sample_envs.Recorded(**{"size": 3, **arguments}), 20)


def stack(**arguments: Any) -> Any:
    asked: dict[str, Any] = {
        "limit": 30,
        "low": -1.0,
        "gamma": 0.99,
        "frames": 2,
        "mass": 1.0,
        "stack": True,
    }
    asked.update(arguments)
    env = wrappers.TimeLimit(make_env("Pendulum-v1", disable_env_checker=True).env, asked["limit"])
    with_attribute(env, "m", asked["mass"])
    scaled = wrappers.RescaleAction(env, np.float32(asked["low"]), np.float32(1.0))
    rewarded = wrappers.NormalizeReward(scaled, gamma=asked["gamma"])
    framed = wrappers.FrameStackObservation(rewarded, asked["frames"])
    return framed if asked["stack"] else rewarded


CHANGES: dict[str, dict[str, Callable[[], Any]]] = {
    "CartPole-v1": {
        "as it is": functools.partial(made, "CartPole-v1"),
        **by_hand(
            functools.partial(made, "CartPole-v1"),
            gravity=5.0,
            masscart=2.0,
            length=0.7,
            force_mag=8.0,
            tau=0.01,
            x_threshold=1.0,
            kinematics_integrator="semi-implicit",
        ),
        **by_argument("CartPole-v1", sutton_barto_reward=True, max_episode_steps=77),
    },
    "Pendulum-v1": {
        "as it is": functools.partial(made, "Pendulum-v1"),
        **by_hand(
            functools.partial(made, "Pendulum-v1"),
            max_speed=4,
            max_torque=1.0,
            dt=0.1,
            m=2.0,
            l=0.5,
        ),
        **by_argument("Pendulum-v1", g=3.0, max_episode_steps=50),
    },
    "MountainCar-v0": {
        "as it is": functools.partial(made, "MountainCar-v0"),
        **by_hand(
            functools.partial(made, "MountainCar-v0"),
            min_position=-1.0,
            max_position=0.55,
            max_speed=0.05,
            force=0.002,
            gravity=0.002,
        ),
        **by_argument("MountainCar-v0", goal_velocity=0.01, max_episode_steps=50),
    },
    "MountainCarContinuous-v0": {
        "as it is": functools.partial(made, "MountainCarContinuous-v0"),
        **by_hand(
            functools.partial(made, "MountainCarContinuous-v0"),
            min_action=-0.5,
            max_action=0.5,
            max_speed=0.05,
            goal_position=0.4,
            power=0.002,
        ),
        **by_argument("MountainCarContinuous-v0", goal_velocity=0.01, max_episode_steps=50),
    },
    "Acrobot-v1": {
        "as it is": functools.partial(made, "Acrobot-v1"),
        **by_argument("Acrobot-v1", max_episode_steps=50),
        **{
            f"{name}={value!r}": functools.partial(
                lambda name, value: with_attribute(made("Acrobot-v1"), name, value), name, value
            )
            for name, value in {
                "LINK_LENGTH_1": 2.0,
                "LINK_MASS_1": 2.0,
                "LINK_COM_POS_1": 0.4,
                "LINK_MOI": 0.8,
                "MAX_VEL_1": 3.0,
                "book_or_nips": "nips",
                "torque_noise_max": 0.5,
            }.items()
        },
    },
    "FrozenLake-v1": {
        "as it is": functools.partial(made, "FrozenLake-v1"),
        **by_argument(
            "FrozenLake-v1",
            is_slippery=False,
            map_name="8x8",
            desc=["SF", "FG"],
            max_episode_steps=9,
        ),
        **by_hand(
            functools.partial(made, "FrozenLake-v1"),
            reward_range=(0, 2),
            initial_state_distrib=np.eye(16)[4],
        ),
    },
    "Blackjack-v1": {
        "as it is": functools.partial(made, "Blackjack-v1"),
        **by_argument("Blackjack-v1", natural=True, max_episode_steps=3),
        "neither": functools.partial(made, "Blackjack-v1", natural=False, sab=False),
        "natural alone": functools.partial(made, "Blackjack-v1", natural=True, sab=False),
        "actions": lambda: with_attribute(
            made("Blackjack-v1"), "action_space", gymnasium.spaces.Discrete(3)
        ),
        "more": lambda: with_attribute(made("Blackjack-v1"), "house_rules", ["double"]),
        "other rules": lambda: with_attribute(made("Blackjack-v1"), "house_rules", ["split"]),
    },
    "a class of one's own": {
        "as it is": windy,
        **by_hand(
            windy,
            wind=np.zeros(9),
            power=0.002,
            max_speed=0.05,
            goal_position=0.4,
            min_position=-1.1,
        ),
        "float32": lambda: sample_envs.WindyMountainCar(np.linspace(-0.2, 0.2, 9, dtype="f4")),
        "a list": lambda: sample_envs.WindyMountainCar(np.linspace(-0.2, 0.2, 9).tolist()),
        "one bit": lambda: sample_envs.WindyMountainCar(np.nextafter(windy().wind, 1)),
    },
    "a class that records": {
        "as it is": recorded,
        "size": functools.partial(recorded, size=4),
        "speed": functools.partial(recorded, speed=2.0),
        "both": functools.partial(recorded, size=4, speed=2.0),
        **by_hand(recorded, area=np.ones((3, 3)), observation_space=gymnasium.spaces.Discrete(3)),
        "limit": lambda: wrappers.TimeLimit(recorded(), 5),
        "text": functools.partial(recorded, size="3"),
    },
    "a stack of wrappers": {
        "as it is": stack,
        "limit": functools.partial(stack, limit=31),
        "low": functools.partial(stack, low=-0.5),
        "gamma": functools.partial(stack, gamma=0.9),
        "frames": functools.partial(stack, frames=3),
        "mass": functools.partial(stack, mass=2.0),
        "without frames": functools.partial(stack, stack=False),
    },
}


def with_attribute(env: Any, name: str, value: Any) -> Any:
    setattr(env.unwrapped, name, value)
    return env


@pytest.mark.parametrize("subject", CHANGES)
def test_each_change_has_a_document_of_its_own(subject):
    changes = CHANGES[subject]
    by_hash: dict[str, str] = {}
    for change, make in changes.items():
        assert by_hash.setdefault(encode(make()).sha256, change) == change
    assert len(by_hash) >= 7


@pytest.mark.parametrize("subject", CHANGES)
def test_each_change_is_there_after_loading(subject):
    for change, make in CHANGES[subject].items():
        document = encode(make())
        loaded: Any = decode(document, GRANTS)
        assert encode(loaded).text == document.text, change
        name, equals, _ = change.partition("=")
        if equals and name in raw_attributes(make().unwrapped):
            found = getattr(loaded.unwrapped, name)
            assert repr(found) == repr(getattr(make().unwrapped, name)), change
        if "reward_range" not in change and "observation_space" not in change:
            assert trajectory(loaded, steps=60) == trajectory(make(), steps=60), change


def test_a_simulators_parameters_are_arguments():
    pytest.importorskip("mujoco")
    pytest.importorskip("imageio")
    asked = {
        "forward_reward_weight": 2.0,
        "ctrl_cost_weight": 0.1,
        "healthy_reward": 0.5,
        "terminate_when_unhealthy": False,
        "healthy_z_range": (0.6, 2.0),
        "reset_noise_scale": 0.01,
        "frame_skip": 2,
        "exclude_current_positions_from_observation": False,
    }
    envs = [made("Hopper-v5"), *(made("Hopper-v5", **{n: v}) for n, v in asked.items())]
    assert len({encode(env).sha256 for env in envs}) == len(envs)
    for env in envs:
        check_round_trip(encode(env), env)
