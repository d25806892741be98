"""Stats are LeRobot's: those of a histogram per episode, added up over the episodes."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tupli_repo.interop.lerobot.stats import (
    NAMES,
    QUANTILES,
    Stats,
    Total,
    joined,
    stats_of_bytes,
    stats_of_images,
    stats_of_rows,
)


def by_histogram(column: NDArray[Any]) -> dict[str, float]:
    """What is said of one column of one episode, written down as LeRobot describes it."""
    values = column.astype(np.float64)
    found = {
        "min": values.min(), "max": values.max(), "mean": values.mean(), "std": values.std(),
        "count": len(values),
    }  # fmt: skip
    edges = np.linspace(values.min() - 1e-10, values.max() + 1e-10, 5001)
    ends = np.cumsum(np.histogram(values, edges)[0])
    for name, share in QUANTILES.items():
        wanted = share * len(values)
        at = int(np.searchsorted(ends, wanted))
        before = ends[at - 1] if at else 0
        part = (wanted - before) / (ends[at] - before)
        found[name] = edges[at] + part * (edges[at + 1] - edges[at]) if at else edges[0]
        if len(values) == 1:
            found[name] = values[0]
    return {name: float(one) for name, one in found.items()}


def assert_by_histogram(stats: Stats, episodes: list[NDArray[Any]]) -> None:
    for i, episode in enumerate(episodes):
        flat = episode.reshape(-1, episode.shape[-1])
        for column in range(flat.shape[1]):
            for name, due in by_histogram(flat[:, column]).items():
                if name == "count":
                    assert stats[name][i].tolist() == [len(episode)]
                else:
                    spread = float(np.ptp(flat[:, column].astype(float)))
                    close = 1e-9 * (1 + abs(due)) + spread * 1e-9
                    assert float(stats[name][i, column]) == pytest.approx(due, abs=close), name


NUMBERS = st.floats(-1e6, 1e6, allow_subnormal=False)


@st.composite
def some_episodes(draw: st.DrawFn) -> list[NDArray[np.float64]]:
    width = draw(st.integers(1, 3))
    lengths = draw(st.lists(st.integers(1, 25), min_size=1, max_size=6))
    few = st.sampled_from([0.0, 1.0, -2.5, 1e5])
    return [
        draw(hnp.arrays(np.float64, (n, width), elements=draw(st.sampled_from([NUMBERS, few]))))
        for n in lengths
    ]


@given(some_episodes())
def test_stats_of_episodes_are_those_of_a_histogram_of_each(episodes: list[NDArray[np.float64]]):
    # of bins narrower than a double's last digits nobody can say where a value lies
    rounded = [np.round(episode, 3) for episode in episodes]
    lengths = np.array(list(map(len, rounded)))
    assert_by_histogram(stats_of_rows(np.concatenate(rounded), lengths), rounded)


@pytest.mark.parametrize("values", [(0.2, 0.5, 0.8), (0.03, 0.48, 0.93)])
def test_a_value_on_the_edge_of_a_bin_is_in_the_one_above(values: tuple[float, ...]):
    # dividing by the width of a bin would put the one in the middle into another
    episode = np.array(values)[:, None]
    assert_by_histogram(stats_of_rows(episode, np.array([3])), [episode])


@given(some_episodes())
def test_stats_of_an_episode_do_not_depend_on_the_others(episodes: list[NDArray[np.float64]]):
    together = stats_of_rows(np.concatenate(episodes), np.array(list(map(len, episodes))))
    alone = [stats_of_rows(one, np.array([len(one)])) for one in episodes]
    for name, column in joined(alone).items():
        np.testing.assert_allclose(together[name], column, rtol=1e-12, atol=1e-9)


@given(some_episodes(), st.integers(1, 5))
def test_the_total_is_that_of_all_steps(episodes: list[NDArray[np.float64]], cut: int):
    total = Total()
    for part in filter(None, (episodes[:cut], episodes[cut:])):
        total.add(stats_of_rows(np.concatenate(part), np.array(list(map(len, part)))))
    stats, steps = total.stats(), np.concatenate(episodes)
    due = {
        "min": steps.min(0), "max": steps.max(0), "mean": steps.mean(0), "std": steps.std(0),
        "count": [len(steps)],
    }  # fmt: skip
    for name, values in due.items():
        np.testing.assert_allclose(stats[name], values, rtol=1e-7, atol=1e-5)
    lengths = np.array(list(map(len, episodes)))
    each = stats_of_rows(steps, lengths)
    for name in QUANTILES:
        mean = np.average(each[name], axis=0, weights=lengths)
        np.testing.assert_allclose(stats[name], mean, rtol=1e-7, atol=1e-5)


def test_flags_and_integers_keep_their_ends_exactly():
    flags = stats_of_rows(np.array([[False], [True], [False]]), np.array([2, 1]))
    assert flags["min"].tolist() == [[False], [False]]
    assert flags["max"].tolist() == [[True], [False]]
    large = np.array([[2**62 + 1], [2**62 + 3]])
    assert stats_of_rows(large, np.array([2]))["max"].tolist() == [[2**62 + 3]]


def test_rows_of_arrays_are_taken_by_their_last_axis():
    rows = np.random.default_rng(0).normal(size=(7, 4, 2))
    stats = stats_of_rows(rows, np.array([5, 2]))
    assert stats["mean"].shape == (2, 2)
    assert stats["count"].tolist() == [[5], [2]]
    assert_by_histogram(stats, [rows[:5], rows[5:]])


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 4), st.just(3))))
def test_counting_bytes_gives_the_same_as_sorting_them(frames: NDArray[np.uint8]):
    counted, sorted_ = stats_of_bytes(frames), stats_of_rows(frames, np.array([len(frames)]))
    for name in NAMES:
        assert counted[name].dtype == sorted_[name].dtype
        np.testing.assert_allclose(counted[name], sorted_[name], rtol=1e-9, atol=1e-9)


def test_of_many_and_large_images_some_stand_for_all():
    images = np.zeros((600, 4, 4, 3), np.uint8)
    chosen = np.round(np.linspace(0, 599, int(600**0.75))).astype(int)
    images[chosen] = 255
    stats = stats_of_images(images)
    assert stats["count"].tolist() == [[len(chosen)]]
    assert stats["min"].tolist() == stats["q50"].round(9).tolist() == [[1.0] * 3]
    large = np.zeros((1, 300, 450, 3), np.uint8)
    large[:, ::3, ::3] = 51
    assert stats_of_images(large)["mean"].tolist() == [[0.2] * 3]


def test_numbers_that_are_not_finite_warn_nobody():
    rows = np.array([[np.nan, np.inf], [1.0, -np.inf], [2.0, 0.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        total = Total()
        total.add(stats_of_rows(rows, np.array([2, 1])))
    assert np.isnan(total.stats()["mean"]).all()
    assert total.stats()["max"][1] == np.inf
