"""Distances to nearest neighbours, without an array of N by N.

Equal points are put together first: a grid world has few of them, and trees are slow where many
coincide. With scipy, and in few dimensions, a k-d tree finds the rest; otherwise blocks of rows are
compared with all points. Either way the distances are computed from the differences.

Invariant: memory grows with N, not with N * N.
"""

from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from tupli_repo.optional import require

_BLOCK_BYTES = 64 << 20
_MAX_TREE_DIMENSIONS = 12  # beyond, a tree looks at nearly everything, one point at a time


def nearest_distances(points: NDArray[np.floating], k: int) -> NDArray[np.float64]:
    """Return the distances of each point to its k nearest, the point itself among them.

    Args:
        points: Shape (N, D), finite.
        k: How many, at least 1; N where there are fewer.

    Returns:
        Shape (N, min(k, N)), Euclidean, ascending: the first column is 0.

    >>> nearest_distances(np.array([[0.0], [1.0], [3.0]]), 2).tolist()
    [[0.0, 1.0], [0.0, 1.0], [0.0, 2.0]]
    """
    points = np.asarray(points, dtype=np.float64) + 0.0  # -0.0 is 0.0
    distinct, places, counts = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    places = places.reshape(-1)
    k_distinct = min(k, len(distinct))
    tree_fits = points.shape[1] <= _MAX_TREE_DIMENSIONS and find_spec("scipy") is not None
    search = _by_tree if tree_fits else _by_blocks
    distances, members = search(distinct, k_distinct)
    if len(distinct) == len(points):
        return distances[places]
    reached = np.cumsum(counts[members], axis=1)  # how many points are no further away
    columns = np.stack([(reached <= j).sum(axis=1) for j in range(min(k, len(points)))], axis=1)
    return np.take_along_axis(distances, columns, axis=1)[places]


_Found = tuple[NDArray[np.float64], NDArray[np.int64]]


def _by_tree(points: NDArray[np.float64], k: int) -> _Found:
    """Distances and numbers of the k nearest of distinct points, shape (N, k) each."""
    spatial = require("scipy.spatial", needed_for="a search by trees")
    distances, members = spatial.KDTree(points).query(points, k=np.arange(1, k + 1), workers=-1)
    return distances, members


def _by_blocks(points: NDArray[np.float64], k: int) -> _Found:
    """As `_by_tree`; which are nearest is found by scalar products, how near by differences.

    Where rounding may have hidden a nearer one, all that may be it are compared by differences.
    """
    n, n_dims = points.shape
    centred = points - points.mean(axis=0)  # or the products lose digits
    squares = np.einsum("ij,ij->i", centred, centred)
    rounding = 8 * (n_dims + 4) * np.finfo(np.float64).eps * float(squares.max())
    distances, members = np.empty((n, k)), np.empty((n, k), dtype=np.int64)
    n_rows = max(1, min(_BLOCK_BYTES // (24 * n), _BLOCK_BYTES // (16 * k * n_dims)))
    for start in range(0, n, n_rows):
        rows = slice(start, min(start + n_rows, n))
        near = centred[rows] @ centred.T
        near *= -2
        near += squares
        near += squares[rows, None]
        own = np.arange(rows.start, rows.stop)
        near[own - start, own] = -1  # itself, whatever rounding says
        found = np.argpartition(near, k - 1, axis=1)[:, :k]
        exact = np.linalg.norm(points[found] - points[rows, None], axis=2)
        order = np.argsort(exact, axis=1)
        distances[rows] = np.take_along_axis(exact, order, axis=1)
        members[rows] = np.take_along_axis(found, order, axis=1)
        may_be_nearer = near <= distances[rows, -1:] ** 2 + rounding
        for row in own[may_be_nearer.sum(axis=1) > k]:
            candidates = np.flatnonzero(may_be_nearer[row - start])
            exact = np.linalg.norm(points[candidates] - points[row], axis=1)
            order = np.argsort(exact)[:k]
            distances[row], members[row] = exact[order], candidates[order]
    return distances, members
