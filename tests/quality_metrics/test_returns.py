"""Returns: what is guarded, what is the same whoever asks, and what a metric must not keep."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.quality_metrics.samples import POLE, Listed, sample, stored
from tupli_repo import TupliDataset
from tupli_repo.errors import InvalidInputError, UnfitDataError
from tupli_repo.quality_metrics import AverageReturnMetric, EstimatedReturnImprovementMetric

NUMBERS = st.floats(-100, 100).map(lambda x: round(x, 3))
RETURNS = st.lists(st.lists(NUMBERS, min_size=1, max_size=6), min_size=1, max_size=6)


def rewarded(episodes: list[list[float]]) -> Listed:
    """Episodes of which only the rewards matter."""
    made = [(np.zeros((len(r) + 1, 1)), np.zeros(len(r)), np.array(r)) for r in episodes]
    return Listed(made, [True] * len(made))


@given(RETURNS, st.sampled_from([0.0, 0.5, 0.99, 1.0]))
def test_a_return_is_the_discounted_sum_of_an_episode(episodes, gamma):
    expected = np.mean([sum(gamma**t * r for t, r in enumerate(e)) for e in episodes])
    found = AverageReturnMetric(gamma).evaluate(rewarded(episodes))
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(RETURNS, st.randoms())
def test_the_order_of_episodes_does_not_matter(episodes, random):
    shuffled = random.sample(episodes, len(episodes))
    for metric in (AverageReturnMetric(), EstimatedReturnImprovementMetric(min_return=-601.0)):
        one, other = metric.evaluate(rewarded(episodes)), metric.evaluate(rewarded(shuffled))
        assert one == pytest.approx(other, rel=1e-9, abs=1e-9)


@given(RETURNS)
def test_an_improvement_is_never_negative_and_needs_no_unit(episodes):
    metric = EstimatedReturnImprovementMetric()
    found = metric.evaluate(rewarded(episodes))
    doubled = metric.evaluate(rewarded([[2 * r for r in e] for e in episodes]))
    assert found >= 0
    assert doubled == pytest.approx(found, rel=1e-6, abs=1e-6)


def test_a_metric_that_was_asked_before_says_what_a_new_one_says():
    metric = EstimatedReturnImprovementMetric(1.0)
    metric.evaluate(rewarded([[-100.0], [5.0]]))
    assert metric.evaluate(rewarded([[1.0], [2.0], [3.0]])) == 1.0
    assert metric.min_return is None


def test_equal_returns_leave_nothing_to_improve():
    assert EstimatedReturnImprovementMetric().evaluate(rewarded([[1.0, 2.0]] * 3)) == 0.0


def test_a_least_return_that_was_undercut_is_an_error():
    metric = EstimatedReturnImprovementMetric(1.0, min_return=2.0)
    with pytest.raises(UnfitDataError, match="a return is 1, which is below the 'min_return' of 2"):
        metric.evaluate(rewarded([[1.0], [5.0]]))
    tenths = rewarded([[0.1] * 3, [1.0]])
    assert EstimatedReturnImprovementMetric(1.0, min_return=0.3).evaluate(tenths) == 1.0


@pytest.mark.parametrize("metric", [AverageReturnMetric(), EstimatedReturnImprovementMetric()])
def test_without_episodes_there_is_no_return(storage, metric):
    for data in (rewarded([]), TupliDataset(storage)):
        with pytest.raises(UnfitDataError, match="the dataset has no episodes"):
            metric.evaluate(data)
    with pytest.raises(AssertionError):  # as PyTupli's users catch it
        metric.evaluate(rewarded([]))


def test_returns_are_of_whole_episodes_whatever_step_filter_is_set(storage):
    dataset = stored(storage, sample("pole"), POLE)
    some = dataset.with_tuple_filter(lambda step: step.reward > 1.0)
    assert AverageReturnMetric().evaluate(some) == AverageReturnMetric().evaluate(dataset)


def test_what_is_no_reward_or_no_setting_is_told():
    with pytest.raises(UnfitDataError, match="not finite"):
        AverageReturnMetric().evaluate(rewarded([[1.0, np.nan]]))
    vectors = Listed([(np.zeros((3, 1)), np.zeros(2), np.zeros((2, 2)))], [True])
    with pytest.raises(UnfitDataError, match="not one number a step"):
        AverageReturnMetric().evaluate(vectors)
    with pytest.raises(InvalidInputError, match=r"a discount of '1\.1' is not possible"):
        AverageReturnMetric(1.1)
    with pytest.raises(InvalidInputError, match="a least return of nan is not possible"):
        EstimatedReturnImprovementMetric(min_return=float("nan"))
    for metric in (AverageReturnMetric(), EstimatedReturnImprovementMetric()):
        for huge in ([[1e308, 1e308]], [[1e308], [1e308]]):
            with pytest.raises(UnfitDataError, match="too large to be summed"):
                metric.evaluate(rewarded(huge))
    with pytest.raises(InvalidInputError, match="normalises nothing"):
        AverageReturnMetric(normalization_range=(2.0, 2.0))


def test_integer_rewards_are_numbers_too():
    assert AverageReturnMetric(1.0).evaluate(rewarded([[1, 2], [3]])) == 3.0
