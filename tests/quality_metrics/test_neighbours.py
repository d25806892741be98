"""Nearest neighbours: as by comparing all with all, in less memory."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tupli_repo.quality_metrics import neighbours
from tupli_repo.quality_metrics.neighbours import nearest_distances

WAYS = ["trees", "blocks"]
CLOUDS = st.tuples(st.integers(1, 25), st.integers(1, 14)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.integers(-3, 3).map(lambda x: x / 2))
)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest):
    """Trees where there are few dimensions, or blocks always, of a few rows."""
    if request.param == "trees":
        pytest.importorskip("scipy")
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_MAX_TREE_DIMENSIONS", 0)
        patch.setattr(neighbours, "_BLOCK_BYTES", 2000)
        yield


def by_all_pairs(points: np.ndarray, k: int) -> np.ndarray:
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    return np.sort(distances, axis=1)[:, :k]


@pytest.mark.parametrize("of_both", WAYS)
@given(CLOUDS, st.integers(1, 30))
def test_distances_are_those_of_all_pairs(of_both: str, points, k):
    with pytest.MonkeyPatch.context() as patch:
        if of_both == "blocks":
            patch.setattr(neighbours, "_MAX_TREE_DIMENSIONS", 0)
            patch.setattr(neighbours, "_BLOCK_BYTES", 2000)
        found = nearest_distances(points, k)
    np.testing.assert_allclose(found, by_all_pairs(points, k), rtol=1e-9, atol=1e-12)


def test_clouds_of_all_sizes_have_the_right_neighbours(way):
    rng = np.random.default_rng(0)
    for n, d in ((1, 3), (2, 1), (500, 4), (300, 12)):
        points = rng.normal(size=(n, d)) + 1000
        np.testing.assert_allclose(nearest_distances(points, 7), by_all_pairs(points, 7), rtol=1e-9)


def test_tight_clusters_far_from_the_origin_keep_their_digits(way):
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(size=(50, 3)) * 1e-4 + at for at in (-1e3, 1e3)])
    np.testing.assert_allclose(nearest_distances(points, 4), by_all_pairs(points, 4), rtol=1e-6)


def test_many_equal_points_are_found_at_once(way):
    points = np.repeat([[0.0, 1.0], [3.0, 5.0]], [60_000, 5], axis=0)
    found = nearest_distances(points, 10)
    assert not found[:60_000].any()
    assert found[-1].tolist() == [0.0] * 5 + [5.0] * 5


MEASURE = """
import numpy as np, resource, sys
from tupli_repo.quality_metrics import neighbours
if sys.argv[2] == "blocks":
    neighbours._MAX_TREE_DIMENSIONS = 0
points = np.random.default_rng(0).normal(size=(int(sys.argv[1]), 8))
neighbours.nearest_distances(points[:50], 10)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert neighbours.nearest_distances(points, 10).shape == (len(points), 10)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def grown_bytes(n: int, how: str) -> int:
    """By how much a process grows that finds the neighbours of n points of 8 dimensions."""
    command = [sys.executable, "-c", MEASURE, str(n), how]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout) * 1024


@pytest.mark.parametrize("how", WAYS)
def test_memory_stays_far_below_that_of_all_pairs(how: str):
    if how == "trees":
        pytest.importorskip("scipy")
    n = 8_000  # all pairs: 512 MB
    assert grown_bytes(n, how) < 150 << 20


@pytest.mark.slow
@pytest.mark.parametrize("how", WAYS)
def test_a_hundred_thousand_points_fit_in_two_gigabytes(how: str):
    if how == "trees":
        pytest.importorskip("scipy")
    assert grown_bytes(100_000, how) < 500 << 20
