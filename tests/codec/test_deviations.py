"""Two runs compared: nothing is found where all bits agree, else the right step and column."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.strategies import Generated, episodes, same, samples
from tupli_repo.codec.deviations import Deviation, find_deviations
from tupli_repo.codec.episode import EpisodeData, Steps, decode, decode_layout, encode

few = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
point = spaces.Box(-1.0, 1.0, (2,))
RAGGED: list[Any] = [
    spaces.Text(5),
    spaces.Sequence(spaces.Discrete(3)),
    spaces.Sequence(point, stack=True),
    spaces.Sequence(spaces.Sequence(spaces.Text(3))),
    spaces.Sequence(spaces.Dict({"a/b": spaces.Text(3), "c": point})),
    spaces.Graph(point, spaces.Discrete(4)),
    spaces.Graph(point, None),
    spaces.OneOf([point, spaces.Text(3), spaces.Sequence(point)]),
    spaces.Dict({"x": spaces.Tuple([spaces.Text(2), spaces.OneOf([point, point])]), "y": point}),
]


def encoded(steps: Steps, observation_space: Any = None, action_space: Any = None) -> EpisodeData:
    made = encode(steps, observation_space=observation_space, action_space=action_space)
    return decode(made.record, decode_layout(made.layout), made.data)


def between(one: EpisodeData, other: EpisodeData, *, strict: bool = True) -> list[Deviation]:
    return find_deviations(
        one.layout.observation,
        one.columns,
        other.columns,
        n_observations=len(one.observations),
        strict=strict,
    )


def walk_of(observations: Any, rewards: Any = None) -> Steps:
    n = len(observations) - 1
    return Steps(
        observations=observations,
        actions=[0] * n,
        rewards=[1.0] * n if rewards is None else rewards,
        terminated=[False] * n,
        truncated=[False] * n,
        infos=[{}] * n,
    )


def walk(observations: Any, rewards: Any = None) -> EpisodeData:
    return encoded(walk_of(observations, rewards))


@few
@given(episodes())
def test_an_episode_does_not_deviate_from_itself(made: Generated):
    one, other = (encoded(*made) for _ in range(2))
    assert between(one, other) == []


@few
@given(episodes(), st.data())
def test_a_changed_observation_is_found_at_its_step(made: Generated, data: st.DataObject):
    steps = made.steps
    at = data.draw(st.integers(0, len(steps.observations) - 1))
    seen = list(steps.observations)
    seen[at] = data.draw(samples(made.observation_space))
    one = encoded(*made)
    other = encoded(replace(steps, observations=seen), *made[1:])
    found = between(one, other)
    if same(one.observations[at], other.observations[at]):
        assert found == []
    else:
        assert all(deviation.column.startswith("observations") for deviation in found)
        nan_alone = not found  # NaN equals NaN, whatever its bits are
        assert nan_alone or min(deviation.step for deviation in found) == at


@pytest.mark.parametrize("space", RAGGED, ids=str)
def test_what_is_ragged_deviates_at_its_step_too(space):
    space.seed(1)
    for at in range(6):
        seen = [space.sample() for _ in range(6)]
        changed = [*seen[:at], space.sample(), *seen[at + 1 :]]
        one, again, other = (
            encoded(replace(walk_of(seen), observations=observations), space)
            for observations in (seen, seen, changed)
        )
        assert between(one, again) == []
        found = between(one, other)
        if not same(one.observations[at], other.observations[at]):
            assert min(deviation.step for deviation in found) == at


@pytest.mark.parametrize(
    ("value", "close"),
    [
        (1.0 + 1e-12, True),
        (1.0 + 0.9e-6, True),
        (1.0 + 2e-6, False),
        (np.nan, False),
        (np.inf, False),
    ],
)
def test_numbers_are_close_within_a_millionth(value, close):
    other = np.array([[0, 1], [0, value], [0, 1]])
    (found,) = between(walk(np.array([[0.0, 1.0]] * 3)), walk(other))
    assert (found.step, found.column, found.element) == (1, "observations", (1,))
    assert found.recorded == 1.0
    assert str(found.replayed) == str(value)
    assert found.is_close is close
    assert found.largest == (abs(value - 1.0) if np.isfinite(value) else np.inf)


def test_large_numbers_are_close_relative_to_their_size():
    (found,) = between(walk(np.array([1e9, 1e9])), walk(np.array([1e9, 1e9 + 500])))
    assert found.is_close
    assert found.largest == 500
    (found,) = between(walk(np.array([np.inf, 1.0])), walk(np.array([7.0, 1.0])))
    assert not found.is_close


def test_half_precision_may_differ_in_its_last_bit():
    one = np.array([1.0, 1.0], np.float16)
    (found,) = between(walk(one), walk(np.nextafter(one, np.float16(2))))
    assert found.is_close


def test_zero_and_minus_zero_are_close_and_not_exact():
    (found,) = between(walk(np.array([0.0, 0.0])), walk(np.array([0.0, -0.0])))
    assert found.is_close
    assert found.largest == 0.0


def test_nan_equals_nan_whatever_its_bits():
    quiet = np.array([np.nan, 1.0])
    other = quiet.copy()
    other.view(np.uint64)[0] += 1
    assert np.isnan(other[0])
    assert between(walk(quiet), walk(other)) == []


def test_whole_numbers_are_never_close():
    (found,) = between(walk(np.array([1, 2, 3])), walk(np.array([1, 2, 4])))
    assert (found.step, found.recorded, found.replayed, found.is_close) == (2, 3, 4, False)


@pytest.mark.parametrize("strict", [True, False])
def test_another_dtype_is_a_deviation_where_the_space_is_known(strict):
    found = between(walk(np.zeros(3, "f8")), walk(np.zeros(3, "f4")), strict=strict)
    assert [(d.step, d.why) for d in found] == (
        [(0, "'observations' had dtype float64 and has float32")] if strict else []
    )


WHOLE: list[Any] = [
    (np.int64, 2**53 + 1, np.float64, 2.0**53),
    (np.int64, 2**53 + 1, np.float32, 2.0**53),
    (np.int64, 2**63 - 1, np.float64, 2.0**63),
    (np.uint64, 2**64 - 1, np.float64, 2.0**64),
    (np.uint64, 2**64 - 1, np.int64, -1),
    (np.uint64, 2**63, np.int64, -(2**63)),
    (np.uint64, 2**53 + 1, np.int64, 2**53),
    (np.int64, 2**53 + 1, np.complex128, complex(2**53)),
    (np.int8, -1, np.uint8, 255),
    (np.int64, 1, np.float64, 1.5),
]


@pytest.mark.parametrize(("dtype", "one", "other_dtype", "other"), WHOLE)
def test_numbers_of_two_kinds_are_compared_exactly(dtype, one, other_dtype, other):
    ours, theirs = np.array([0, one], dtype), np.array([0, other], other_dtype)
    for recorded, replayed in ((ours, theirs), (theirs, ours)):
        (found,) = between(walk(recorded), walk(replayed), strict=False)
        assert (found.step, found.column) == (1, "observations")
        assert found.recorded != found.replayed
        whole_alone = {recorded.dtype.kind, replayed.dtype.kind} <= set("iu")
        assert not (whole_alone and found.is_close)


@pytest.mark.parametrize("number", [0, 1, 2**53, 2**53 + 2, 2**62])
def test_equal_numbers_of_two_kinds_are_no_difference(number):
    kinds = [np.array([0, number], dtype) for dtype in (np.int64, np.uint64, np.float64)]
    for one in kinds:
        for other in kinds:
            assert between(walk(one), walk(other), strict=False) == []
    low = np.array([0, -(2**63)], np.int64)
    assert between(walk(low), walk(low.astype(float)), strict=False) == []
    assert between(walk(np.array([0, 1])), walk(np.array([False, True])), strict=False) == []


NAN = float("nan")


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (complex(1, NAN), complex(5, NAN), False),
        (complex(NAN, 1), complex(NAN, 5), False),
        (complex(NAN, 1), complex(1, NAN), False),
        (complex(0.0, 1), complex(-0.0, 1), False),
        (complex(1, NAN), complex(1, NAN), True),
        (complex(NAN, NAN), complex(NAN, NAN), True),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_a_complex_number_is_its_parts(one, other, alike, strict):
    found = between(walk(np.array([0j, one])), walk(np.array([0j, other])), strict=strict)
    assert [deviation.step for deviation in found] == ([] if alike else [1])


def test_another_shape_is_a_deviation():
    (found,) = between(walk(np.zeros((3, 2))), walk(np.zeros((3, 4))), strict=False)
    assert found.why == "'observations' had shape (2,) and has (4,)"


def test_a_reward_comes_one_step_after_the_observation_it_was_given_for():
    one, other = walk([0, 0, 0], [1.0, 2.0]), walk([0, 0, 0], [1.0, 2.5])
    (found,) = between(one, other)
    assert (found.step, found.column) == (2, "rewards")


def test_a_text_deviates_at_its_step():
    (text,) = between(walk(["ab", "cd", "ef"]), walk(["ab", "cX", "ef"]))
    assert (text.step, text.column) == (1, "observations")
    longer = between(walk(["ab", "cd", "ef"]), walk(["ab", "cd", "efg"]))
    assert [(d.step, d.column) for d in longer] == [(2, "observations#offsets")]
