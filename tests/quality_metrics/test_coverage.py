"""Coverage: pairs of every kind of space, counted once each."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from tests.quality_metrics.samples import ARM, GRID, POLE, Listed, Spaces, sample, stored
from tupli_repo import TupliEnvWrapper
from tupli_repo.dataset import TupliDataset
from tupli_repo.errors import InvalidInputError, UnfitDataError
from tupli_repo.quality_metrics import Bins, SACoMetric
from tupli_repo.schema import FilterEQ

LAKE = Spaces(spaces.Discrete(16), spaces.Discrete(4))
PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=40)


def listed(states: Any, actions: Any) -> Listed:
    """One episode that went through these states."""
    observations = np.array([*states, states[-1]])
    return Listed([(observations, np.array(actions), np.zeros(len(actions)))], [True])


def count(pairs: list[tuple[int, int]]) -> float:
    states, actions = zip(*pairs, strict=True)
    return SACoMetric(LAKE, use_hyperloglog=False).evaluate(listed(states, actions))


@given(PAIRS)
def test_each_distinct_pair_of_discrete_states_counts_once(pairs):
    assert count(pairs) == len(set(pairs))


@given(PAIRS, st.randoms())
def test_neither_order_nor_repetition_matters(pairs, random):
    assert count(random.sample(pairs, len(pairs)) + pairs[:5]) == count(pairs)


@given(PAIRS, PAIRS)
def test_more_data_never_cover_less(one, other):
    assert count(one + other) >= max(count(one), count(other))


@given(PAIRS, PAIRS)
def test_a_part_of_the_reference_covers_at_most_all_of_it(one, other):
    states, actions = map(np.array, zip(*(one + other), strict=True))
    metric = SACoMetric(LAKE, states, actions, use_hyperloglog=False)
    part = metric.evaluate(listed(*zip(*one, strict=True)))
    assert 0 < part <= 1
    assert metric.evaluate(listed(states.tolist(), actions.tolist())) == 1


@given(st.lists(st.sampled_from([0.0, -0.0, 1.5, float("nan"), float("inf")]), min_size=1))
def test_one_zero_and_one_nan_are_counted(values):
    metric = SACoMetric(POLE, use_hyperloglog=False, discretiser=lambda states: states)
    distinct = {str(value).replace("-0.0", "0.0") for value in values}
    assert metric.evaluate(listed([[v] * 4 for v in values], [0] * len(values))) == len(distinct)


@pytest.mark.parametrize("dtype", ["u1", "i8", "f2", "f4", "f8", "?"])
def test_rows_are_compared_whole_in_every_dtype(dtype: str):
    rng = np.random.default_rng(0)
    states = rng.integers(0, 2, (300, 3)).astype(dtype)
    actions = rng.integers(0, 2, 300)
    expected = len({(*row, a) for row, a in zip(states.tolist(), actions.tolist(), strict=True)})
    metric = SACoMetric(GRID, use_hyperloglog=False)
    assert metric.evaluate(listed(states.tolist(), actions)) == expected
    assert metric._count_exact(states) == len({tuple(row) for row in states.tolist()})


def test_large_whole_numbers_are_told_apart_beside_float_actions():
    states = np.array([[2**53], [2**53 + 1], [2**53]])
    metric = SACoMetric(GRID, use_hyperloglog=False)
    assert metric.evaluate(listed(states.tolist(), [0.5, 0.5, 0.5])) == 2


def test_frames_are_counted_block_by_block():
    frames = np.zeros((40, 1024, 1024), "u1")
    frames[::2, 1023, 1023] = 1
    metric = SACoMetric(Spaces(spaces.Box(0, 255, (1024, 1024), np.uint8), spaces.Discrete(2)))
    assert metric._count_unique_state_actions(frames, np.zeros(40, int), False) == 2


@pytest.mark.parametrize("game", ["FrozenLake-v1", "Blackjack-v1"], ids=["Discrete", "Tuple"])
def test_tabular_environments_are_counted_as_they_were_recorded(storage, game: str):
    env = TupliEnvWrapper(gymnasium.make(game), storage)
    env.store("table")
    env.action_space.seed(1)
    seen = set()
    for seed in range(8):
        state, _ = env.reset(seed=seed)
        for _ in range(25):
            action = int(env.action_space.sample())
            key = tuple(map(int, state)) if isinstance(state, tuple) else int(state)
            seen.add((key, action))
            state, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                break
    env.close()
    metric = SACoMetric(env, use_hyperloglog=False)
    dataset = TupliDataset(storage)
    assert metric.evaluate(dataset) == len(seen)
    assert metric.evaluate(dataset.with_tuple_filter(lambda _: True)) == len(seen)


def test_actions_of_several_numbers_are_pairs_too():
    where = Spaces(spaces.Discrete(2), spaces.MultiDiscrete([2, 3]))
    data = listed([0, 0, 0, 1], [[0, 1], [0, 2], [0, 1], [0, 1]])
    assert SACoMetric(where, use_hyperloglog=False).evaluate(data) == 3


def test_an_estimate_is_near(storage):
    pytest.importorskip("hyperloglog")
    states = np.arange(20_000).repeat(2)
    data = listed(states.tolist(), np.zeros(40_000, int))
    assert SACoMetric(LAKE).evaluate(data) == pytest.approx(20_000, rel=0.03)


def test_continuous_actions_are_refused_and_continuous_states_warned_of():
    with pytest.raises(UnfitDataError, match="counts discrete actions"):
        SACoMetric(ARM)
    with pytest.raises(AssertionError):  # as PyTupli's users catch it
        SACoMetric(ARM)
    with pytest.warns(UserWarning, match="observations are continuous"):
        SACoMetric(POLE)


def test_a_discretiser_puts_states_together():
    bins = Bins(np.array([-1.0, 0.0]), np.array([1.0, 0.0]), 2)
    assert bins(np.array([[-9.0, 5.0], [0.0, np.nan], [np.inf, -np.inf]])).tolist() == [
        [0, 1], [1, 0], [1, 0],
    ]  # fmt: skip
    data = sample("pole")
    found = [
        SACoMetric(POLE, use_hyperloglog=False, discretiser=Bins(-3.0, 3.0, n)).evaluate(data)
        for n in (1, 2, 4, 1000)
    ]
    assert found == sorted(found)
    assert found[0] == 2
    assert found[-1] == 130


def test_a_preprocessor_gets_float32_tensors_and_a_module_stays_as_it_was():
    torch = pytest.importorskip("torch")
    given = []

    def rounded(states: Any) -> Any:
        given.append(states)
        return states.round()

    data = sample("pole")
    rows = np.array(data.observations).round()
    pairs = zip(rows.tolist(), data.actions, strict=True)
    metric = SACoMetric(POLE, use_hyperloglog=False, observation_preprocessor=rounded)
    assert metric.evaluate(data) == len({(*(x + 0.0 for x in row), a) for row, a in pairs})
    assert (given[0].dtype, tuple(given[0].shape)) == (torch.float32, (130, 4))

    module = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.BatchNorm1d(4))
    metric = SACoMetric(POLE, use_hyperloglog=False, observation_preprocessor=module)
    assert metric.evaluate(data) == metric.evaluate(data) == 130
    assert module.training
    assert int(module[1].num_batches_tracked) == 0


def test_half_a_reference_is_an_error():
    states = np.zeros((3, 2))
    with pytest.raises(InvalidInputError, match="lacks its states or its actions"):
        SACoMetric(GRID, states)
    with pytest.raises(AssertionError, match="3 states and 2 actions"):
        SACoMetric(GRID, states, np.zeros(2))
    with pytest.raises(InvalidInputError, match="both a preprocessor and a discretiser"):
        SACoMetric(POLE, observation_preprocessor=abs, discretiser=abs)


def test_references_of_one_dimension_become_columns():
    metric = SACoMetric(LAKE, np.arange(4), np.arange(4))
    assert metric.reference_states is not None
    assert metric.reference_states.shape == metric.reference_actions.shape == (4, 1)


def test_states_that_are_no_numbers_are_told(storage):
    with pytest.raises(UnfitDataError, match="the observations are '<U1', not numbers"):
        SACoMetric(LAKE).evaluate(listed(["a", "b"], [0, 1]))
    with pytest.raises(UnfitDataError, match="the dataset has no episodes"):
        SACoMetric(LAKE).evaluate(TupliDataset(storage))
    data = sample("grid")
    data.observations[3] = [1, 2, 3]
    with pytest.raises(UnfitDataError, match="the observations have different shapes"):
        SACoMetric(GRID).evaluate(data)


def test_steps_whose_last_observation_was_never_known_count(storage):
    data = sample("grid")
    whole = stored(storage, data, GRID)
    expected = SACoMetric(GRID, use_hyperloglog=False).evaluate(whole)
    data.arrays = [(o[:-1], a, r) for o, a, r in data.arrays[:2]] + data.arrays[2:]
    cut = FilterEQ(key="metadata.name", value="cut")
    mixed = stored(storage, data, GRID, name="cut").with_benchmark_filter(cut)
    assert SACoMetric(GRID, use_hyperloglog=False).evaluate(mixed) == expected
