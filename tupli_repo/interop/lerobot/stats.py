"""What LeRobot keeps of each feature: min, max, mean, std, count and five quantiles.

LeRobot makes them for each episode and adds the episodes up. Its quantiles are those of a histogram
of 5000 bins per episode, and the dataset's are the mean of the episodes', weighed by their counts.
These are the same numbers, of many episodes at once and by sorting, so that no histogram is made;
means and deviations are summed as doubles.

Invariant: an episode's numbers do not depend on the episodes they are computed together with.

Source: lerobot 0.4.4 and 0.6.1, ``datasets/compute_stats.py``.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
NAMES = ("min", "max", "mean", "std", "count", *QUANTILES)

Stats = dict[str, NDArray[Any]]
"""Arrays by the names above, a row per episode: shape (E, D), that of ``count`` (E, 1)."""

_N_BINS = 5000
_PADDING = 1e-10
_FEWEST, _MOST, _POWER = 100, 10_000, 0.75
_LARGE, _WANTED = 300, 150


def stats_of_rows(rows: NDArray[Any], counts: NDArray[np.int64]) -> Stats:
    """Return what there is to say of the columns of some episodes.

    Args:
        rows: The episodes' rows end to end, of numbers or flags; shape (N, ..., D), where all axes
            but the last are taken together.
        counts: The number of rows of each episode, none 0; shape (E,), with the sum N.

    Returns:
        ``min`` and ``max`` in the dtype of the rows, the rest as doubles; where numbers are not
        finite, neither are these.
    """
    flat = rows.reshape(-1, rows.shape[-1])
    sizes = counts * (len(flat) // len(rows))
    starts = np.cumsum(sizes) - sizes
    n = sizes[:, None].astype(np.float64)
    with np.errstate(all="ignore"):
        doubles = flat.astype(np.float64)
        mean = np.add.reduceat(doubles, starts) / n
        squares = (doubles - np.repeat(mean, sizes, axis=0)) ** 2
        found: Stats = {
            "min": np.minimum.reduceat(flat, starts),
            "max": np.maximum.reduceat(flat, starts),
            "mean": mean,
            "std": np.sqrt(np.add.reduceat(squares, starts) / n),
            "count": counts[:, None],
        }
        return found | _quantiles(doubles, sizes, starts)


def _quantiles(
    rows: NDArray[np.float64], sizes: NDArray[np.int64], starts: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """The quantiles of the columns in each episode, as from histograms between their ends."""
    ordered = np.ascontiguousarray(rows.T)  # (D, N); all that follows is (D, E), or 5 of them
    ends = starts + sizes
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        ordered[:, start:end].sort(axis=1)
    low = ordered[:, starts] - _PADDING
    step = (ordered[:, ends - 1] + _PADDING - low) / _N_BINS
    wanted = np.array(list(QUANTILES.values()))[:, None] * sizes
    values = ordered[:, starts + np.ceil(wanted).astype(np.int64) - 1].swapaxes(0, 1)
    bins = np.clip(np.nan_to_num(np.floor((values - low) / step)), 0, _N_BINS - 1)
    bins -= values < bins * step + low  # division rounds otherwise than the edges do
    bins += (values >= (bins + 1) * step + low) & (bins < _N_BINS - 1)
    before = _counts_below(bins * step + low, ordered, starts, sizes)
    upto = _counts_below((bins + 1) * step + low, ordered, starts, sizes)
    upto[bins == _N_BINS - 1] = np.broadcast_to(sizes, upto.shape)[bins == _N_BINS - 1]
    part = (wanted[:, None] - before) / np.maximum(upto - before, 1)  # edges may fall together
    found = np.where(bins == 0, low, (bins + np.clip(part, 0, 1)) * step + low)
    found = np.where(sizes == 1, ordered[:, starts], found)
    return {name: one.T for name, one in zip(QUANTILES, found, strict=True)}


def _counts_below(
    edges: NDArray[np.float64],
    ordered: NDArray[np.float64],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
) -> NDArray[np.int64]:
    """How many values of each episode's columns lie below edges of shape (..., D, E)."""
    column = np.arange(len(ordered))[:, None]
    low = np.zeros(edges.shape, np.int64)
    high = np.broadcast_to(sizes, edges.shape).copy()
    for _ in range(int(sizes.max()).bit_length()):  # halving all of them at once
        middle = (low + high) // 2
        is_below = ordered[column, starts + np.minimum(middle, sizes - 1)] < edges
        is_open = low < high
        low = np.where(is_open & is_below, middle + 1, low)
        high = np.where(is_open & ~is_below, middle, high)
    return low


def stats_of_bytes(frames: NDArray[np.uint8]) -> Stats:
    """Return what there is to say of the channels of one episode's bytes.

    Args:
        frames: Shape (T, ..., C).

    Returns:
        The same as `stats_of_rows`, of one episode; it takes counting instead of sorting.
    """
    flat = frames.reshape(-1, frames.shape[-1])
    levels = np.arange(256.0)
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    for channel in range(flat.shape[1]):
        counts = np.bincount(np.ascontiguousarray(flat[:, channel]), minlength=256)
        ends, n = np.cumsum(counts), len(flat)
        seen = np.flatnonzero(counts)
        low, high = float(seen[0]), float(seen[-1])
        mean = float(counts @ levels) / n
        found["min"].append(low)
        found["max"].append(high)
        found["mean"].append(mean)
        found["std"].append(float(np.sqrt(counts @ (levels - mean) ** 2 / n)))
        step = (high - low + 2 * _PADDING) / _N_BINS
        for name, share in QUANTILES.items():
            wanted = share * n
            level = int(np.searchsorted(ends, wanted))  # bins are narrower than levels
            place = min(int((level - low + _PADDING) / step), _N_BINS - 1)
            part = (wanted - (ends[level] - counts[level])) / counts[level]
            value = (place + part) * step + low - _PADDING if place else low - _PADDING
            found[name].append(mean if n == 1 else value)
    found["count"].append(len(frames))
    told = {name: np.array([values], np.float64) for name, values in found.items()}
    whole = {name: told[name].astype(frames.dtype) for name in ("min", "max")}
    return {**told, **whole, "count": told["count"].astype(np.int64)}


def stats_of_images(images: NDArray[np.uint8]) -> Stats:
    """Return what there is to say of the images of one episode, between 0 and 1.

    As LeRobot does, some images stand for all, and of large ones some pixels.

    Args:
        images: Shape (T, H, W, 3).

    Returns:
        Shape (1, 3) each; ``count`` is the number of images that were looked at.
    """
    total, (height, width) = len(images), images.shape[1:3]
    n = max(min(_FEWEST, total), min(int(total**_POWER), _MOST))
    every = 1
    if max(height, width) >= _LARGE:
        every = int(max(height, width) / _WANTED)
    chosen = np.round(np.linspace(0, total - 1, n)).astype(int)
    found = stats_of_bytes(images[chosen, ::every, ::every])
    return {name: one if name == "count" else one / 255.0 for name, one in found.items()}


def joined(parts: Sequence[Stats]) -> Stats:
    """Return the stats of some episodes in one."""
    return {name: np.concatenate([part[name] for part in parts]) for name in NAMES}


class Total:
    """The stats of all episodes, from the stats of some at a time.

    Source: Chan, Golub & LeVeque, Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances (1979).
    """

    def __init__(self) -> None:
        self._found: Stats = {}

    def add(self, stats: Stats) -> None:
        """Add the stats of some episodes."""
        parts = joined([self._found, stats]) if self._found else stats
        counts = parts["count"].astype(np.float64)
        n = counts.sum(axis=0)
        with np.errstate(all="ignore"):
            mean = (parts["mean"] * counts).sum(axis=0) / n
            squares = (parts["std"] ** 2 + (parts["mean"] - mean) ** 2) * counts
            found = {
                "min": parts["min"].min(axis=0),
                "max": parts["max"].max(axis=0),
                "mean": mean,
                "std": np.sqrt(squares.sum(axis=0) / n),
                "count": parts["count"].sum(axis=0),
            }
            found |= {name: (parts[name] * counts).sum(axis=0) / n for name in QUANTILES}
        self._found = {name: one[None] for name, one in found.items()}

    def stats(self) -> Stats:
        """Return the stats of all that was added, shape (D,) each, (1,) of ``count``."""
        return {name: one[0] for name, one in self._found.items()}
