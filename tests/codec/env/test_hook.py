"""The hook: a private copy is handed out, and what it sets is what the document says."""

import copy
import random
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers

from tests.codec.env import faulty_envs, sample_envs
from tests.codec.env.families import trajectory
from tests.codec.env.test_round_trip import OURS
from tupli_repo.codec.env import decode, encode, parse
from tupli_repo.errors import EncodingError, InvalidInputError

make_env: Any = gymnasium.make
decoded: Any = decode

WIND = np.linspace(-0.5, 0.5, 5000)
ARTIFACT = "ab" * 32


def store_wind(env):
    env.unwrapped.wind = None
    return env, [ARTIFACT]


def windy():
    return wrappers.TimeLimit(sample_envs.WindyMountainCar(WIND), 30)


def test_the_series_is_not_in_the_document_and_the_environment_runs_once_it_is_back():
    env = windy()
    document = encode(env, prepare=store_wind)
    assert document.artifacts == (ARTIFACT,)
    assert parse(document.text).artifacts == (ARTIFACT,)
    assert len(document.text) < 3000
    assert env.unwrapped.wind is WIND
    loaded = decoded(document, OURS)
    assert loaded.unwrapped.related_artifacts == [ARTIFACT]
    assert loaded.unwrapped.wind is None
    loaded.unwrapped.wind = WIND
    assert trajectory(loaded) == trajectory(windy())
    assert encode(loaded, prepare=store_wind).text == document.text


def test_use_does_not_change_the_text_behind_a_hook():
    env = windy()
    text = encode(env, prepare=store_wind).text
    trajectory(env, steps=40)
    assert encode(env, prepare=store_wind).text == text
    other = sample_envs.WindyMountainCar(np.zeros(7))
    assert encode(wrappers.TimeLimit(other, 30), prepare=store_wind).text == text


def test_artifacts_are_part_of_what_the_document_is():
    one = encode(windy(), prepare=lambda env: (store_wind(env)[0], ["one"]))
    two = encode(windy(), prepare=lambda env: (store_wind(env)[0], ["two"]))
    none = encode(windy(), prepare=lambda env: (store_wind(env)[0], []))
    assert len({one.text, two.text, none.text}) == 3
    assert "artifacts" not in none.text


def test_a_hook_that_changes_nothing_changes_nothing():
    for make in (windy, sample_envs.Everything, lambda: make_env("CartPole-v1")):
        assert encode(make(), prepare=lambda env: (env, [])).text == encode(make()).text


def test_a_hook_may_take_out_what_cannot_be_stored():
    def drop(env):
        env.unwrapped.thing = None
        return env, []

    env = sample_envs.Holder(lambda: 1)
    loaded = decoded(encode(env, prepare=drop), OURS)
    assert loaded.thing is None
    assert env.thing() == 1


def test_a_hook_may_work_on_a_copy_of_its_own():
    def copied(env):
        env = copy.deepcopy(env)
        return store_wind(env)

    assert encode(windy(), prepare=copied).text == encode(windy(), prepare=store_wind).text


def test_an_argument_follows_the_attribute_the_hook_took_out():
    def drop_size(env):
        env.unwrapped.size = None
        return env, [ARTIFACT]

    big = sample_envs.Recorded(list(range(10_000)), speed=3.0)
    document = encode(big, prepare=drop_size)
    assert len(document.text) < 400
    loaded = decoded(document, OURS)
    assert loaded.size is None
    assert loaded.speed == 3.0
    loaded.size = big.size
    assert encode(loaded, prepare=drop_size).text == document.text


def test_the_word_of_the_hook_wins_over_what_episodes_change():
    def set_state(env):
        env.unwrapped.state = None
        return env, []

    loaded = decoded(encode(make_env("CartPole-v1"), prepare=set_state), OURS)
    assert loaded.unwrapped.state is None
    windy_loaded = decoded(encode(windy(), prepare=lambda e: set_state(store_wind(e)[0])), OURS)
    assert windy_loaded.unwrapped.state is None


def test_overrides_reach_the_hook():
    seen = []
    env = make_env("CartPole-v1")
    env.unwrapped.gravity = 5.0

    def look(private):
        seen.append(private.unwrapped.gravity)
        private.unwrapped.gravity = 6.0
        return private, []

    assert decoded(encode(env, prepare=look), OURS).unwrapped.gravity == 6.0
    assert seen == [5.0]
    assert env.unwrapped.gravity == 5.0


def test_a_hook_must_return_the_layers_it_was_given():
    with pytest.raises(EncodingError, match="layers"):
        encode(windy(), prepare=lambda env: (env.unwrapped, []))


@pytest.mark.parametrize("artifact", ["", "a b", "../x", "é"])
def test_an_artifact_is_named_by_an_id(artifact):
    with pytest.raises(EncodingError):
        encode(windy(), prepare=lambda env: (store_wind(env)[0], [artifact]))


def nothing(env):
    return None


def without_artifacts(env):
    return env


def one_text(env):
    return env, ARTIFACT


def no_texts(env):
    return env, [1]


def swapped(env):
    return [ARTIFACT], env


@pytest.mark.parametrize("hook", [nothing, without_artifacts, one_text, no_texts, swapped])
def test_a_hook_that_returns_something_else_is_named(hook):
    with pytest.raises(InvalidInputError, match=f"'{hook.__name__}' returned") as caught:
        encode(windy(), prepare=hook)
    assert "return env, []" in caught.value.hint
    assert "\n" not in caught.value.message


def test_what_a_hook_draws_is_not_the_programs():
    def draws(env):
        random.random()
        np.random.random()
        return env, []

    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    encode(windy(), prepare=draws)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before  # type: ignore[index]


def test_a_hook_may_take_out_a_view():
    def drop(env):
        env.unwrapped.row = None
        return env, []

    env = faulty_envs.SharesMemory(faulty_envs.first_row)
    with pytest.warns(UserWarning, match="depends on how"):
        assert decoded(encode(env, prepare=drop), OURS).row is None
