"""What a document leaves at zero, a reset sets anew; where it does not, nothing is stored."""

import warnings

import numpy as np
import pytest
from gymnasium import wrappers

from tests.codec.env import faulty_envs, mixed_envs, sample_envs
from tests.codec.env.families import play
from tupli_repo.codec.env import check_round_trip, decode, encode
from tupli_repo.codec.trust import TrustPolicy
from tupli_repo.errors import EncodingError


def check(env, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what encode has to say is not what is looked at
        document = encode(env, **options)
    check_round_trip(document, env, **options)
    return document


@pytest.mark.parametrize("is_used", [False, True])
@pytest.mark.parametrize(
    ("env", "name"),
    [
        (lambda: mixed_envs.MarkedGrid(5), "grid"),
        (lambda: mixed_envs.MarkedCells(5), "cells"),
        (lambda: mixed_envs.WalkingPrice(100.0), "price"),
        (lambda: wrappers.TimeLimit(mixed_envs.MarkedGrid(5), 9), "grid"),
        (lambda: mixed_envs.Shuffles([*range(9)]), "cards"),
        (lambda: mixed_envs.Shuffles([sample_envs.Wheel(n / 4) for n in range(9)]), "cards"),
    ],
    ids=["array", "set", "number", "wrapped", "list", "objects"],
)
def test_configuration_that_a_reset_changes_in_place_is_refused(env, name, is_used):
    made = env()
    if is_used:
        play(made)
    with pytest.raises(EncodingError, match=f"'/base/{name}' does not come back: reset") as caught:
        check(made)
    assert f"volatile=['{name}']" in caught.value.hint


def test_a_user_may_say_that_zero_stands_for_it():
    one, other = mixed_envs.WalkingPrice(100.0), mixed_envs.WalkingPrice(200.0)
    assert check(one, volatile=["price"]).text == check(other, volatile=["price"]).text
    check(mixed_envs.MarkedGrid(5), volatile=["gr*"])


def test_where_the_parts_have_places_of_their_own_they_are_told_apart():
    one, other = (mixed_envs.MarkedGrid(wall, list) for wall in (5, 6))
    document = check(one)
    assert document.text != check(other).text
    loaded = decode(document, TrustPolicy())
    for env in (one, loaded):
        env.reset(seed=7)
    assert loaded.grid == one.grid  # type: ignore[attr-defined]


@pytest.mark.parametrize("is_used", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        mixed_envs.DrawsTwice,
        faulty_envs.CountsEpisodes,
        faulty_envs.CopiesItsDictionary,
        faulty_envs.Slow,
        pytest.param(lambda: sample_envs.Counting(sample_envs.Base(), ["a"]), id="Counting"),
        pytest.param(lambda: sample_envs.WindyMountainCar(np.linspace(-0.5, 0.5, 9)), id="Windy"),
    ],
)
def test_what_an_episode_draws_or_counts_is_no_false_alarm(make, is_used):
    env = make()
    if is_used:
        play(env)
    check(env)


def test_nothing_is_reset_without_probing():
    check(mixed_envs.WalkingPrice(100.0), probe=False, volatile=["price", "position", "steps"])
