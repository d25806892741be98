"""Datasets for Minari, in HDF5.

Minari itself is not needed. What Minari said of a dataset that was imported is said again.

Invariant: Minari finds in what is written of an imported dataset the episodes, spaces, seeds,
options, infos and metadata that were in the original, equal in values and dtypes.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tupli_repo.codec.episode import EpisodeData
from tupli_repo.codec.samples import unescape
from tupli_repo.codec.values import load_json
from tupli_repo.dataset import TupliDataset
from tupli_repo.errors import CorruptObjectError, InvalidInputError
from tupli_repo.interop.importing import OnProgress, hdf5
from tupli_repo.interop.minari_layout import (
    DATA,
    METADATA,
    ODD,
    flattened,
    has_images,
    json_of_space,
    space_of_json,
    without,
    write_array,
    write_samples,
    write_texts,
)
from tupli_repo.interop.placing import placed
from tupli_repo.repository import Repository
from tupli_repo.schema import EpisodeHeader
from tupli_repo.schema.interop import ExportReport

_VERSION = "0.5.4"
_DATASET_ID = re.compile(r"(?:[-_\w][-_\w/]*[-_\w]+/)?[-_\w]+?(?:-v\d+)?")
_INFO_COLUMN = "infos/"
_TELL_EVERY = 64


def export_minari(
    dataset: TupliDataset,
    path: str | Path,
    *,
    dataset_id: str | None = None,
    on_progress: OnProgress | None = None,
) -> ExportReport:
    """Write the episodes of a dataset as Minari does, in canonical order, whole or not at all.

    Minari loads it by its id where ``path`` is that id in its folder (``MINARI_DATASETS_PATH``);
    ``minari.MinariDataset(path / "data")`` loads it anywhere. Images are kept as they are, not as
    JPEG, which takes Minari 0.5.4.

    Args:
        dataset: The episodes, all of the same known spaces; step filters do not count.
        path: A folder that is not there yet.
        dataset_id: What Minari shall call it; what it was called when it was imported, else the
            last part of ``path``.
        on_progress: Told how many episodes are done, of how many.

    Raises:
        InvalidInputError: There are no episodes, their spaces differ, are not known, or are such
            that Minari has none; there is something at ``path``, or the id is none of Minari's.
        MissingDependencyError: h5py is not installed.
        StorageIOError: The disk refused.
    """
    h5py = hdf5("exporting to Minari")
    repository = dataset.storage
    headers = dataset.with_episode_filter(None).preview()
    if not isinstance(repository, Repository) or not headers:
        raise InvalidInputError("there are no episodes to export")
    (_, first) = repository.read_episode(headers[0].id)
    metadata = _metadata_for(dataset, first, dataset_id or "", Path(path).name)
    writer = _Writer(first)
    with placed(Path(path)) as made:
        (made / "data").mkdir(parents=True)
        with h5py.File(made / "data" / DATA, "w", track_order=True) as file:
            ids = [header.id for header in headers]
            for i, (header, data) in enumerate(repository.read_episodes(ids)):
                writer.write(file.create_group(f"episode_{i}", track_order=True), i, header, data)
                if on_progress is not None and i % _TELL_EVERY == 0:
                    on_progress(i, len(ids))
        size = (made / "data" / DATA).stat().st_size
        metadata |= {
            "total_episodes": len(headers),
            "total_steps": sum(header.n_tuples for header in headers),
            "dataset_size": round(size / 1e6, 1),
        }
        with (made / "data" / METADATA).open("w", encoding="utf-8") as text:
            json.dump(metadata, text)
    if on_progress is not None:
        on_progress(len(headers), len(headers))
    return ExportReport(
        format="minari",
        path=str(path),
        n_episodes=metadata["total_episodes"],
        n_steps=metadata["total_steps"],
        left_out=writer.left_out(),
    )


class _Writer:
    """Writes episodes, and notes what Minari has no place for."""

    def __init__(self, first: EpisodeData) -> None:
        self._layout = first.layout
        self._lost: dict[str, int] = {}

    def left_out(self) -> tuple[str, ...]:
        """What was not written, and of how many episodes."""
        return tuple(f"{what}, of {n} episodes" for what, n in self._lost.items())

    def write(self, group: Any, i: int, header: EpisodeHeader, data: EpisodeData) -> None:
        """Write one episode."""
        layout, columns, n = data.layout, data.columns, data.n_steps
        ours = layout.observation, layout.action
        if layout is not self._layout and not _are_same(ours, self._layout):
            raise InvalidInputError(
                f"episode '{header.id[:12]}' has other spaces than the first",
                hint="choose the episodes of one benchmark",
            )
        final = data.record["final_observation"]
        if not final:
            self._lose("the last observation, which is not known")
        write_samples(group, "observations", ours[0], columns, "observations", n + final)
        write_samples(group, "actions", ours[1], columns, "actions", n)
        for name, column in _FLAGS.items():
            write_array(group, name, columns[column])
        metadata = dict(header.metadata)
        self._write_infos(group, data, metadata.pop(ODD, {}))
        told = flattened(metadata)
        told |= flattened({"options": data.record["options"] or {}})
        seed = data.record["seed"]
        if seed is not None:  # one that no integer of HDF5 holds is a text, which Minari reads
            told["seed"] = seed if -(2**63) <= seed < 2**64 else str(seed)
        for key, value in (told | {"id": i, "total_steps": n}).items():
            try:
                group.attrs[key] = value
            except (TypeError, ValueError, RuntimeError, OSError):  # None, objects, 64 KiB
                self._lose(f"'{key}' of the metadata, which HDF5 cannot hold")

    def _write_infos(self, group: Any, data: EpisodeData, odd: Mapping[str, Any]) -> None:
        reset_info = flattened(data.record["reset_info"])
        found: dict[str, Any] = {
            unescape(name.removeprefix(_INFO_COLUMN)): column
            for name, column in data.columns.items()
            if name.startswith(_INFO_COLUMN)
        }
        if "infos#json" in data.columns:
            typed = set(found)
            rows = [flattened(without(info, typed)) for info in data.infos]
            for key in dict.fromkeys(key for row in rows for key in row):
                values = [row.get(key) for row in rows]
                if {*map(type, values)} == {str}:
                    found[key] = values
                else:
                    self._lose(f"info '{key}', which not every step has as a number or text")
        for key in reset_info.keys() - found.keys():
            self._lose(f"'{key}' of what reset returned, which no step has")
        if found or odd:
            into = group.create_group("infos", track_order=True)
            for key, values in ({**found, **odd}).items():
                self._write_info(into, key, values, reset_info)

    def _write_info(
        self,
        group: Any,
        key: str,
        values: Any,
        reset_info: Mapping[str, Any],
    ) -> None:
        if isinstance(values, list) and {*map(type, values)} == {str}:
            first = [reset_info[key]] if isinstance(reset_info.get(key), str) else []
            write_texts(group, key, first + values)
            return
        column = np.asarray(values)
        if key in reset_info:
            first_row = np.asarray(reset_info[key])
            if first_row.shape == column.shape[1:] and np.can_cast(first_row.dtype, column.dtype):
                column = np.concatenate([first_row[None].astype(column.dtype), column])
            else:
                self._lose(f"'{key}' of what reset returned, which is of another kind than later")
        if column.ndim:
            write_array(group, key, column)
        else:
            group.create_dataset(key, data=column)

    def _lose(self, what: str) -> None:
        self._lost[what] = self._lost.get(what, 0) + 1


_FLAGS = {"rewards": "rewards", "terminations": "terminated", "truncations": "truncated"}


def _metadata_for(
    dataset: TupliDataset, first: EpisodeData, dataset_id: str, folder: str
) -> dict[str, Any]:
    """What Minari shall say of the dataset: what it said when it came, where that still goes."""
    observation, action = first.layout.observation_space, first.layout.action_space
    if observation is None or action is None:
        raise InvalidInputError(
            "the spaces of the episodes are not known, and Minari needs them",
            hint="record or import them with observation_space and action_space",
        )
    kept: dict[str, Any] = {}
    header = dataset.storage.load_benchmark(dataset.benchmarks[0].id)
    if header.env_format == "opaque" and len(dataset.benchmarks) == 1:
        kept = _imported(header.serialized)
    chosen = dataset_id or kept.get("dataset_id") or folder
    if not _DATASET_ID.fullmatch(chosen):
        raise InvalidInputError(
            f"'{chosen}' is no name for a Minari dataset", hint="for example 'cartpole/expert-v0'"
        )
    made: dict[str, Any] = {
        "minari_version": _VERSION,
        "data_format": "hdf5",
        "jpeg_encoding": True,
    }
    if not kept and header.metadata.description:
        made["description"] = header.metadata.description
    found = made | kept | {"dataset_id": chosen}
    for name, space in (("observation_space", observation), ("action_space", action)):
        if name not in kept or space_of_json(kept[name]) != space:
            found[name] = json_of_space(space)
        if has_images(space):
            found["jpeg_encoding"] = False
    return found


def _imported(text: str) -> dict[str, Any]:
    """The metadata in a benchmark's text; nothing where it was not imported from Minari."""
    try:
        document = load_json(text.encode())
    except (CorruptObjectError, ValueError):
        return {}
    if not isinstance(document, dict) or document.get("format") != "minari":
        return {}
    found: dict[str, Any] = document["metadata"]
    return found


def _are_same(ours: tuple[Any, Any], first: Any) -> bool:
    return _comparable(ours) == _comparable((first.observation, first.action))


def _comparable(tree: Any) -> object:
    """A space's tree in such a form that two compare."""
    if isinstance(tree, Mapping):
        return {key: _comparable(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_comparable(value) for value in tree]
    return (tree.dtype.str, tree.tolist()) if isinstance(tree, (np.ndarray, np.generic)) else tree
