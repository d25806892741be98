"""Datasets for tests, written by Minari itself."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

SPACES = {
    "box": spaces.Box(-1, np.inf, (3,), np.float32),
    "wide": spaces.Box(np.array([[-2.5, 0]]), np.array([[1, 1e300]]), dtype=np.float64),
    "discrete": spaces.Discrete(5, start=-2),
    "multi_discrete": spaces.MultiDiscrete([3, 4], dtype=np.int32, start=[1, 2]),
    "multi_binary": spaces.MultiBinary(4),
    "text": spaces.Text(6, charset="abcé", min_length=0),
    "dict": spaces.Dict(
        z=spaces.Discrete(3), a=spaces.Dict(b=spaces.Box(0, 1, (2, 2)), t=spaces.Text(4))
    ),
    "tuple": spaces.Tuple([spaces.Text(3), spaces.Tuple([spaces.Box(0, 255, (2,), np.uint8)])]),
    "image": spaces.Box(0, 255, (36, 40, 3), np.uint8),
}


def samples(space: Any, n: int) -> Any:
    """N samples of a space as Minari's buffers hold them."""
    if isinstance(space, spaces.Dict):
        return {key: samples(part, n) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(samples(part, n) for part in space.spaces)
    return [space.sample() for _ in range(n)]


def make(
    dataset_id: str,
    observation: Any,
    action: Any,
    lengths: tuple[int, ...],
    monkeypatch: Any,
    root: Path,
    **options: Any,
) -> Any:
    """A dataset that Minari made of random episodes, with all that Minari keeps of them."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    import minari
    from minari.data_collector import EpisodeBuffer

    generator = np.random.default_rng(7)
    buffers = []
    for i, n in enumerate(lengths):
        observation.seed(i)
        action.seed(i)
        infos: dict[str, Any] = {
            "speed": generator.normal(size=n + 1).astype(np.float32),
            "hit": generator.random(n + 1) < 0.5,
            "deep": {"er": {"count": np.arange(n + 1)}, "pose": generator.normal(size=(n + 1, 2))},
            "word": ["wörd", *(f"w{k}" for k in range(n))],
            "only_steps": np.arange(n, dtype=np.int16),
            "odd": np.arange(n + 3),
        }
        if options.get("data_format", "hdf5") != "hdf5":  # of which Minari reads no more than this
            infos = {
                "speed": list(infos["speed"]), "hit": infos["hit"].tolist(), "word": infos["word"],
                "pose": generator.normal(size=(n + 1, 2, 3)).astype(np.float32),
                "deep": {"er": {"count": list(range(n + 1))}}, "pair": [[1, 2]] * (n + 1),
            }  # fmt: skip
        flags = np.zeros(n, bool)
        flags[-1] = True
        buffers.append(
            EpisodeBuffer(
                seed=[3, 2**63 + 5, None][i % 3],
                options={"low": 0.5, "more": {"n": 3}} if i % 2 else None,
                observations=samples(observation, n + 1),
                actions=samples(action, n),
                rewards=generator.normal(size=n).tolist(),
                terminations=flags if i % 2 else np.zeros(n, bool),
                truncations=np.zeros(n, bool) if i % 2 else flags,
                infos=None if i % 3 == 1 and "odd" in infos else infos,
            )
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = minari.create_dataset_from_buffers(
            dataset_id, buffers, observation_space=observation, action_space=action, **options
        )
    found.storage.update_episode_metadata(
        [{"score": float(i), "kind": "easy", "nested/x": i} for i in range(len(lengths))]
    )
    return found


def assert_equal(one: Any, other: Any, where: str = "") -> None:
    """Check that two values are equal: in values, types, dtypes and keys."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for i, pair in enumerate(zip(one, other, strict=True)):
            assert_equal(*pair, f"{where}/{i}")
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape), where
        np.testing.assert_array_equal(one, other, where)
    else:
        assert one == other, where


def assert_same_dataset(one: Any, other: Any) -> None:
    """Check that two Minari datasets hold the same, episode by episode."""
    assert one.observation_space == other.observation_space
    assert one.action_space == other.action_space
    assert (one.total_episodes, one.total_steps) == (other.total_episodes, other.total_steps)
    for ours, theirs in zip(one.iterate_episodes(), other.iterate_episodes(), strict=True):
        assert_equal(vars(ours), vars(theirs), f"episode {ours.id}")
    ids = range(one.total_episodes)
    told = [list(dataset.storage.get_episode_metadata(ids)) for dataset in (one, other)]
    assert_equal(told[0], told[1])
    assert one.env_spec == other.env_spec
    raw = [dict(dataset.storage.metadata) for dataset in (one, other)]
    for metadata in raw:
        metadata.pop("dataset_size")
    assert_equal(raw[0], raw[1])
