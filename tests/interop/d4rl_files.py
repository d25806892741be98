"""Files of D4RL's form for tests."""

from pathlib import Path

import numpy as np
import pytest


def flat_file(path: Path, *, with_next: bool) -> dict[str, np.ndarray]:
    """A file of four episodes: terminated, cut off, terminated and cut off, left in the middle."""
    h5py = pytest.importorskip("h5py")
    generator = np.random.default_rng(1)
    n, ends = 12, {2: (1, 0), 6: (0, 1), 9: (1, 1)}
    observations = generator.normal(size=(n, 3)).astype(np.float32)
    arrays = {
        "observations": observations,
        "actions": generator.normal(size=(n, 2)).astype(np.float32),
        "rewards": generator.normal(size=n).astype(np.float32),
        "terminals": np.array([ends.get(i, (0, 0))[0] for i in range(n)], bool),
        "timeouts": np.array([ends.get(i, (0, 0))[1] for i in range(n)], bool),
        "infos/qpos": generator.normal(size=(n, 4)),
        "infos/action_log_probs": generator.normal(size=n),
    }
    if with_next:
        following = np.roll(observations, -1, axis=0)
        following[[*ends, n - 1]] += 5
        arrays["next_observations"] = following
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
        file["metadata/algorithm"] = "SAC"
        file["metadata/policy/weight"] = np.ones((2, 2), np.float32)
    return arrays


def read(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file."""
    h5py = pytest.importorskip("h5py")
    found = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, node: (
                found.update({name: node[()]}) if isinstance(node, h5py.Dataset) else None
            )
        )
    return found


def assert_same_arrays(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    """Check that two files hold the same arrays, in values and dtypes."""
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype, name
        np.testing.assert_array_equal(one[name], other[name], name)
