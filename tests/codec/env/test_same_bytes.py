"""One configuration is one text; another configuration is another."""

import copy
import functools
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers

from tests.codec.env import sample_envs
from tupli_repo.codec.env import encode
from tupli_repo.codec.env.document import EnvDocument

make_env: Any = gymnasium.make

IDS = [
    "CartPole-v1", "Pendulum-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Acrobot-v1",
    "FrozenLake-v1", "FrozenLake8x8-v1", "Taxi-v4", "Blackjack-v1", "CliffWalking-v1",
]  # fmt: skip

STACKS: dict[str, Any] = {
    **{env_id: functools.partial(make_env, env_id) for env_id in IDS},
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
    "stacked": lambda: wrappers.FrameStackObservation(
        wrappers.TimeAwareObservation(make_env("MountainCar-v0")), 3
    ),
    "actions": lambda: wrappers.ClipAction(
        wrappers.RescaleAction(make_env("Pendulum-v1", g=9.0), np.float32(-1), np.float32(1))
    ),
    "sticky": lambda: wrappers.Autoreset(wrappers.StickyAction(make_env("Taxi-v4"), 0.2)),
}


def play(env, steps=60):
    actions = copy.deepcopy(env.action_space)
    actions.seed(3)
    env.reset(seed=11)
    for _ in range(steps):
        *_, terminated, truncated, _ = env.step(actions.sample())
        if terminated or truncated:
            env.reset()


@pytest.mark.parametrize("name", STACKS)
def test_use_does_not_change_the_text(name):
    env = STACKS[name]()
    text = encode(env).text
    assert encode(env).text == text
    assert encode(STACKS[name]()).text == text
    env.reset(seed=5)
    assert encode(env).text == text
    play(env)
    assert encode(env).text == text
    env.action_space.seed(9)
    env.observation_space.seed(9)
    assert env.spec is None or env.spec.id
    assert encode(env).text == text
    assert text.isascii()


def test_another_process_with_another_hash_seed_writes_the_same():
    program = (
        "from tests.codec.env.test_same_bytes import STACKS\n"
        "from tupli_repo.codec.env import encode\n"
        "for name, make in STACKS.items(): print(name, encode(make()).sha256)"
    )
    found = []
    for seed in ("1", "77"):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(p for p in sys.path if p)},
            capture_output=True, text=True, check=True, cwd=sys.path[0] or None,
        )  # fmt: skip
        found.append(done.stdout)
    here = "".join(f"{name} {encode(make()).sha256}\n" for name, make in STACKS.items())
    assert found == [here, here]


@pytest.mark.parametrize(
    "env_id", [i for i in IDS if i not in ("FrozenLake8x8-v1", "Blackjack-v1")]
)
def test_made_by_id_and_built_directly_are_the_same(env_id):
    made = make_env(env_id).unwrapped
    assert encode(type(made)()).text == encode(made).text


def test_arguments_given_by_hand_are_the_same_as_through_make():
    made = make_env("Pendulum-v1", g=9.81)
    built = wrappers.TimeLimit(wrappers.OrderEnforcing(type(made.unwrapped)(g=9.81)), 200)
    assert encode(made).text == encode(built).text
    assert encode(make_env("Pendulum-v1", g=10.0)).text == encode(make_env("Pendulum-v1")).text


def test_positional_and_named_arguments_are_the_same():
    by_name = sample_envs.Recorded(size=3, speed=2.0)
    assert encode(sample_envs.Recorded(3, 2.0)).text == encode(by_name).text
    assert encode(sample_envs.Recorded(3)).text == encode(sample_envs.Recorded(3, speed=1.0)).text


def test_watching_and_checking_are_not_part_of_it():
    plain = make_env("CartPole-v1")
    unchecked = make_env("CartPole-v1", disable_env_checker=True)
    assert encode(plain).text == encode(unchecked).text
    watched = sample_envs.WindyMountainCar(np.ones(3), render_mode="rgb_array")
    assert encode(watched).text == encode(sample_envs.WindyMountainCar(np.ones(3))).text
    assert "render_mode" not in encode(make_env("CartPole-v1", render_mode="rgb_array")).text


DIFFERENT = [
    lambda: make_env("Pendulum-v1"),
    lambda: make_env("Pendulum-v1", g=9.0),
    lambda: make_env("Pendulum-v1", max_episode_steps=50),
    lambda: make_env("CartPole-v1"),
    lambda: make_env("CartPole-v1", sutton_barto_reward=True),
    lambda: make_env("CartPole-v1").unwrapped,
    lambda: make_env("FrozenLake-v1"),
    lambda: make_env("FrozenLake-v1", is_slippery=False),
    lambda: make_env("FrozenLake-v1", desc=["SF", "FG"]),
    lambda: sample_envs.WindyMountainCar(np.ones(4)),
    lambda: sample_envs.WindyMountainCar(np.ones(4, dtype=np.float32)),
    lambda: sample_envs.WindyMountainCar(np.ones(5)),
    lambda: sample_envs.WindyMountainCar(np.array([1.0, 1.0, 1.0, np.nextafter(1.0, 2)])),
    lambda: sample_envs.WindyMountainCar([1, 1]),
    lambda: sample_envs.WindyMountainCar([1.0, 1.0]),
    lambda: sample_envs.WindyMountainCar([True, True]),
    lambda: sample_envs.WindyMountainCar((1, 1)),
    lambda: sample_envs.WindyMountainCar({0: 1, 1: 1}),
    lambda: sample_envs.Holder({"0": 1, "1": 1}),
    lambda: sample_envs.Holder({0: 1, 1: 1}),
    lambda: sample_envs.Holder({True: 1, 1.5: 1}),
    lambda: sample_envs.Holder({1, 2}),
    lambda: sample_envs.Holder(frozenset({1, 2})),
    lambda: sample_envs.Scaled(sample_envs.Base(), 1.0),
    lambda: sample_envs.Scaled(sample_envs.Base(), 2.0),
    lambda: sample_envs.Counting(sample_envs.Base(), ["a"]),
    lambda: sample_envs.Counting(sample_envs.Base(), ["b"]),
]


def test_a_different_parameter_is_a_different_text():
    texts = [encode(make()).text for make in DIFFERENT]
    assert len(set(texts)) == len(texts)


def test_an_alias_is_not_the_same_as_an_equal_twin():
    shared = [1, 2]
    assert (
        encode(sample_envs.Holder([shared, shared])).text
        != encode(sample_envs.Holder([[1, 2], [1, 2]])).text
    )
    grid = np.zeros(3)
    assert (
        encode(sample_envs.Holder([grid, grid])).text
        != encode(sample_envs.Holder([grid, grid.copy()])).text
    )


def test_the_order_in_which_things_were_put_in_does_not_matter():
    one: Any = sample_envs.Holder({})
    two: Any = sample_envs.Holder({})
    one.thing = {"b": 1, "a": {9, 8, "x", "y"}, 3: 0, (1, 2): 0}
    two.thing = {(1, 2): 0, 3: 0, "a": {"y", "x", 8, 9}, "b": 1}
    two.later, two.earlier = 1, 2
    one.earlier, one.later = 2, 1
    assert encode(one).text == encode(two).text


def test_a_document_names_its_own_hash():
    document = encode(sample_envs.Base())
    again = EnvDocument(text=document.text)
    assert again == document
    assert len(document.sha256) == 64
    assert again.sha256 == document.sha256
