"""A specification of gymnasium's makes the environment of a document, or there is none."""

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.envs.registration import EnvSpec

from tests.envs import Walk
from tupli_repo.codec.env import EnvDocument, encode, specification_of
from tupli_repo.errors import CorruptObjectError, InvalidInputError

make: Any = gymnasium.make
any_wrappers: Any = wrappers
ENVS: dict[str, Any] = {
    "as it is registered": lambda: make("CartPole-v1"),
    "with arguments": lambda: make("FrozenLake-v1", is_slippery=False, map_name="8x8"),
    "another limit": lambda: make("Pendulum-v1", g=9.5, max_episode_steps=7),
    "bare": lambda: make("MountainCar-v0").unwrapped,
    "more wrappers": lambda: wrappers.ClipReward(
        wrappers.TimeLimit(wrappers.FlattenObservation(make("Acrobot-v1")), 9), -1, 1
    ),
    "limited from inside": lambda: wrappers.OrderEnforcing(
        wrappers.TimeLimit(make("CartPole-v1").unwrapped, 5), disable_render_order_enforcing=True
    ),
    "one's own": lambda: make("tests/Walk-v3", horizon=3, ends="both"),
}


@pytest.fixture(autouse=True)
def own_environment() -> Iterator[None]:
    """An environment of one's own, registered for a test alone."""
    gymnasium.register("tests/Walk-v3", "tests.envs:Walk", max_episode_steps=8)
    yield
    gymnasium.registry.pop("tests/Walk-v3", None)


@pytest.mark.parametrize("name", ENVS)
def test_what_it_makes_is_described_by_the_same_text(name: str):
    env = ENVS[name]()
    text = encode(env).text
    made = make(EnvSpec.from_json(specification_of(text)))
    assert encode(made).text == text


def test_its_id_is_the_one_that_gymnasium_knows_it_by():
    found = {
        name: EnvSpec.from_json(specification_of(encode(ENVS[name]()).text)).id for name in ENVS
    }
    assert found["as it is registered"] == "CartPole-v1"
    assert found["another limit"] == "Pendulum-v1"
    assert found["one's own"] == "tests/Walk-v3"
    text = encode(ENVS["one's own"]()).text
    gymnasium.registry.pop("tests/Walk-v3")
    assert EnvSpec.from_json(specification_of(text)).id == "Walk"


def changed() -> Any:
    env = make("CartPole-v1")
    env.unwrapped.gravity = 3.7
    return env


@pytest.mark.parametrize(
    ("make_env", "why"),
    [
        (changed, "told by its attributes"),
        (
            lambda: any_wrappers.TransformReward(make("CartPole-v1"), np.negative),
            "'func' of 'gymnasium.wrappers",
        ),
        (lambda: wrappers.ReshapeObservation(make("CartPole-v1"), (2, 2)), "'shape' of"),
        (lambda: Walk(horizon=3), "told by its attributes"),
    ],
)
def test_what_no_specification_says_is_refused(make_env: Any, why: str):
    with pytest.raises(InvalidInputError, match=why):
        specification_of(encode(make_env()).text)


@pytest.mark.parametrize("text", ["", "{}", '{"base":{},"format":"tupli.env/1"}'])
def test_a_text_that_is_no_document_is_told(text: str):
    with pytest.raises(CorruptObjectError):
        specification_of(text)


def test_an_environment_that_needs_artifacts_has_none():
    document = encode(make("CartPole-v1"), prepare=lambda env: (env, ["a" * 64]))
    assert isinstance(document, EnvDocument)
    with pytest.raises(InvalidInputError, match="needs artifacts"):
        specification_of(document.text)
