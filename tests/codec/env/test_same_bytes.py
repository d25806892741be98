"""One configuration is one text; another configuration is another."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import wrappers

from tests.codec.env import sample_envs
from tupli_repo.codec.env import decode, encode
from tupli_repo.codec.env.document import EnvDocument
from tupli_repo.codec.trust import TrustPolicy

make_env: Any = gymnasium.make


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


def test_parts_are_numbered_in_the_order_of_their_keys():
    shared = [1]
    things = {"c": shared, 1: [3], "b": [2], (1, 2): shared, "a": shared}
    env, twin = sample_envs.Holder(things), sample_envs.Holder(dict(reversed(things.items())))
    document = encode(env)
    assert document.text == encode(twin).text
    loaded: Any = decode(document, TrustPolicy())
    assert loaded.thing == things
    assert loaded.thing["a"] is loaded.thing["c"] is loaded.thing[1, 2]


def test_a_document_names_its_own_hash():
    document = encode(sample_envs.Base())
    again = EnvDocument(text=document.text)
    assert again == document
    assert len(document.sha256) == 64
    assert again.sha256 == document.sha256
