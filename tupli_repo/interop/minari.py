"""Minari's datasets in HDF5, in.

Minari itself is not needed: it asks for versions of other packages. Its metadata is kept with the
benchmark, so that a dataset goes back out as it came in.

Invariant: an episode has the values and dtypes that Minari reads of it.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.episode import Steps
from tupli_repo.codec.infos import InfoColumns
from tupli_repo.errors import UnsupportedFormatError
from tupli_repo.interop.importing import (
    OnProgress,
    Source,
    benchmark_for,
    checked_name,
    existing,
    hdf5,
    record_all,
    store_source,
)
from tupli_repo.interop.minari_layout import (
    DATA,
    METADATA,
    ODD,
    Reader,
    malformed,
    nested,
    space_of_json,
    without,
)
from tupli_repo.repository import Repository
from tupli_repo.schema.interop import ImportReport

_COUNTS = {"total_episodes", "total_steps", "dataset_size"}
_LARGE = {"observation_space", "action_space", "env_spec", "eval_env_spec", "description"}
_TOLD = {"id", "total_steps"}


def import_minari(
    repository: Repository,
    path: str | Path,
    *,
    name: str | None = None,
    benchmark_id: str | None = None,
    on_progress: OnProgress | None = None,
) -> ImportReport:
    """Record the episodes of a Minari dataset; durable when this returns.

    The metadata of the dataset and the specification of its environment become the text of a
    benchmark; no environment is made. Infos with T+1 rows are what ``reset`` returned and the T
    infos; infos of infos have keys like ``a/b``. Images that Minari keeps as JPEG are decoded.

    Args:
        repository: Where they go.
        path: The dataset's folder, with ``data`` in it or ``metadata.json``.
        name: What the benchmark is called; the dataset's id where None.
        benchmark_id: A benchmark that is here already; none is made then, and the dataset's own
            metadata is not kept.
        on_progress: Told how many episodes are done, of how many.

    Raises:
        NotFoundError: There is nothing at ``path``, or ``benchmark_id`` is not here.
        UnsupportedFormatError: It is in Arrow, or does not tell its spaces.
        CorruptObjectError: It is no such dataset.
        MissingDependencyError: h5py is not installed; Pillow, where there are images as JPEG.
        StorageIOError: The disk refused.
    """
    h5py = hdf5("importing from Minari")
    folder = existing(path)
    folder = folder if (folder / METADATA).exists() else existing(folder / "data")
    raw = _read_metadata(folder)
    observation_space = space_of_json(raw["observation_space"])
    action_space = space_of_json(raw["action_space"])
    kept = {key: value for key, value in raw.items() if key not in _COUNTS}
    oid = benchmark_for(
        repository,
        benchmark_id,
        lambda: store_source(
            repository,
            checked_name(name or raw["dataset_id"]),
            description=str(raw.get("description", "")),
            extra={"source": "minari", "minari": without(kept, _LARGE)},
            text={"format": "minari", "metadata": kept},
        ),
    )
    source = Source(
        format="minari",
        path=str(path),
        benchmark_id=oid,
        n_episodes=int(raw["total_episodes"]),
        observation_space=observation_space,
        action_space=action_space,
    )
    left_out: list[str] = []
    if benchmark_id is not None:
        left_out.append("the dataset's metadata, as the episodes are of a benchmark of yours")
    reader = Reader(h5py, jpeg=bool(raw.get("jpeg_encoding", True)))
    episodes = _Episodes(reader, source, left_out)
    try:
        with h5py.File(folder / DATA, "r") as file:
            return record_all(repository, episodes.read(file.id), source, left_out, on_progress)
    except (KeyError, OSError) as err:
        raise malformed(folder / DATA, err) from err


class _Episodes:
    """The episodes of a file that have steps, one after the other."""

    def __init__(self, reader: Reader, source: Source, left_out: list[str]) -> None:
        self._reader = reader
        self._source = source
        self._left_out = left_out

    def read(self, file: Any) -> Iterator[Steps]:
        """Iterate over them."""
        for i in range(self._source.n_episodes):
            group = self._reader.group(file, f"episode_{i}")
            rewards = self._reader.array(group, "rewards")
            if len(rewards):
                yield self._episode(group, rewards)
            else:
                self._left_out.append(f"episode {i}, which has no steps")

    def _episode(self, group: Any, rewards: NDArray[Any]) -> Steps:
        reader, source = self._reader, self._source
        assert source.observation_space is not None
        assert source.action_space is not None
        attributes = reader.attributes(group, _TOLD)
        seed = attributes.pop("seed", None)
        told = nested({key: _plain(value) for key, value in attributes.items()})
        options = told.pop("options", None)
        flat = reader.infos(reader.group(group, "infos")) if reader.has(group, "infos") else {}
        infos, reset_info, odd = _infos(flat, len(rewards))
        return Steps(
            observations=reader.samples(group, "observations", source.observation_space),
            actions=reader.samples(group, "actions", source.action_space),
            rewards=rewards,
            terminated=reader.array(group, "terminations"),
            truncated=reader.array(group, "truncations"),
            infos=infos,
            reset_info=reset_info,
            metadata=told | ({ODD: odd} if odd else {}),
            seed=None if seed is None else int(seed),
            options=options,
        )


def _read_metadata(folder: Path) -> dict[str, Any]:
    try:
        raw = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        dataset_id, data_format = raw["dataset_id"], raw.get("data_format", "hdf5")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise malformed(folder, err) from None
    if data_format != "hdf5":
        raise UnsupportedFormatError(
            f"dataset '{dataset_id}' is in '{data_format}', and only 'hdf5' is read",
            hint="write it anew with Minari, with data_format='hdf5'",
        )
    if not {"observation_space", "action_space", "total_episodes"} <= raw.keys():
        raise UnsupportedFormatError(
            f"dataset '{dataset_id}' does not tell its spaces",
            hint="write it anew with Minari 0.5",
        )
    found: dict[str, Any] = raw
    return found


def _infos(
    flat: Mapping[str, Any], n_steps: int
) -> tuple[list[dict[str, Any]] | InfoColumns, dict[str, Any], dict[str, Any]]:
    """The infos of the steps, what ``reset`` returned, and what has rows for neither."""
    if not flat:
        return [{}] * n_steps, {}, {}
    typed: dict[str, NDArray[Any]] = {}
    texts: dict[str, list[str]] = {}
    reset_info: dict[str, Any] = {}
    odd: dict[str, Any] = {}
    for key, values in flat.items():
        is_array = isinstance(values, np.ndarray) and values.dtype.kind in "biufc"
        is_text = isinstance(values, list) and {*map(type, values)} == {str}
        extra = len(values) - n_steps if np.ndim(values) and (is_array or is_text) else -1
        if extra not in (0, 1):
            odd[key] = values
            continue
        if extra:
            reset_info[key] = values[0]
        if is_array:
            typed[key] = values[extra:]
        else:
            texts[key] = values[extra:]
    keys = list(texts)
    rows = [dict(zip(keys, row, strict=True)) for row in zip(*texts.values(), strict=True)]
    return InfoColumns(typed, rows or [{}] * n_steps), reset_info, odd


def _plain(value: Any) -> Any:
    """An attribute's value; Python's own where HDF5 made numpy's of it."""
    is_own = isinstance(value, (np.bool_, np.float64, np.int64, np.uint64))
    return value.item() if is_own else value
