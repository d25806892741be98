"""Git for offline reinforcement learning: benchmarks, episodes and artifacts.

A `Repository` is a `.tupli` folder of content-addressed objects. `TupliEnvWrapper` stores a
Gymnasium environment in one and records what happens in it; `TupliDataset` loads it back, exactly.

    >>> import gymnasium, tempfile
    >>> from tupli_repo import FileStorage, TupliDataset, TupliEnvWrapper
    >>> storage = FileStorage(tempfile.mkdtemp())
    >>> env = TupliEnvWrapper(gymnasium.make("CartPole-v1"), storage)
    >>> benchmark_id = env.store("cartpole", difficulty="easy")
    >>> observation, info = env.reset(seed=1)
    >>> while not any(env.step(0)[2:4]):
    ...     pass
    >>> env.close()
    >>> TupliDataset(storage).columns()["observations"].shape
    (11, 4)

The public names are imported when they are first used: the command line starts without numpy and
gymnasium. Their types stand in `__init__.pyi`.
"""

from importlib import import_module
from importlib.metadata import version

_HOMES = {
    "BaseTupleParser": "dataset",
    "EpisodeData": "codec.episode",
    "FileStorage": "storage",
    "NumpyTupleParser": "dataset",
    "Repository": "repository",
    "Steps": "codec.episode",
    "TensorflowTupleParser": "dataset",
    "TorchTupleParser": "dataset",
    "TupliDataset": "dataset",
    "TupliEnvWrapper": "benchmark",
    "TupliError": "errors",
    "TupliParallelEnvWrapper": "multiagent",
    "TupliStorage": "storage",
    "TupliStorageError": "storage",
    "TupliVectorEnvWrapper": "vector",
    "agent_episode": "multiagent",
    "replay": "replaying",
    "untrusted_names": "codec.env",
}

__version__ = version("tupli-repo")
__all__ = ["__version__", *_HOMES]  # noqa: PLE0604, RUF100 - names of strings


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'tupli_repo' has no attribute '{name}'")
    value: object = getattr(import_module(f"tupli_repo.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
