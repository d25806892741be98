"""Datasets for Minari, in HDF5, Arrow or Parquet.

Minari itself is not needed.

Invariant: Minari finds in what is written of an imported dataset the episodes, spaces, seeds,
options, infos and metadata that were in the original, equal in values and dtypes.
"""

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.episode import EpisodeData, Layout
from tupli_repo.codec.infos import INFO_PREFIX, INFO_TEXT
from tupli_repo.codec.samples import unescape
from tupli_repo.curation import CuratedEpisodes
from tupli_repo.errors import InvalidInputError
from tupli_repo.evaluation import evaluation_text
from tupli_repo.interop.exporting import outgoing, read_all
from tupli_repo.interop.minari.about import metadata_of
from tupli_repo.interop.minari.arrow import ArrowWriter
from tupli_repo.interop.minari.hdf5 import HDF5Writer
from tupli_repo.interop.minari.layout import (
    METADATA,
    ODD,
    Lose,
    Outgoing,
    Writer,
    hidden,
    is_name,
    without,
)
from tupli_repo.interop.paths import flattened, unkept
from tupli_repo.interop.placing import placed
from tupli_repo.interop.progress import OnProgress
from tupli_repo.repository import Repository
from tupli_repo.schema import EpisodeHeader
from tupli_repo.schema.interop import ExportReport


def export_minari(
    dataset: CuratedEpisodes,
    path: str | Path,
    *,
    dataset_id: str | None = None,
    data_format: str = "hdf5",
    on_progress: OnProgress | None = None,
) -> ExportReport:
    """Write the episodes of a dataset as Minari does, in canonical order, whole or not at all.

    Minari loads it by its id where ``path`` is that id in its folder (``MINARI_DATASETS_PATH``);
    ``minari.MinariDataset(path / "data")`` loads it anywhere. Images are kept as they are, not as
    JPEG, which takes Minari 0.5.4. The specifications of the environment, and of the one to
    evaluate in, go along where the benchmark says them; no code that they name is run.

    Args:
        dataset: The episodes, all of the same known spaces.
        path: A folder that is not there yet.
        dataset_id: What Minari shall call it; what it was called when it was imported, else the
            last part of ``path``.
        data_format: ``hdf5``, ``arrow`` or ``parquet``.
        on_progress: Told how many episodes are done, of how many.

    Raises:
        InvalidInputError: There are no episodes, a step filter is set, their spaces differ, are not
            known, or are such that Minari has none; there is something at ``path``, or the id or
            format is none of Minari's.
        MissingDependencyError: h5py is not installed; or pyarrow, for ``arrow`` and ``parquet``.
        StorageIOError: The disk refused.
    """
    repository, headers = outgoing(dataset)
    (_, first) = repository.read_episode(headers[0].id)
    observation_space, action_space = first.layout.observation_space, first.layout.action_space
    if observation_space is None or action_space is None:
        raise InvalidInputError(
            "the spaces of the episodes are not known, and Minari needs them",
            hint="record or import them with observation_space and action_space",
        )
    left_out: list[str] = []
    benchmarks = {header.benchmark_id for header in headers}
    benchmark = repository.load_benchmark(benchmarks.pop()) if len(benchmarks) == 1 else None
    evaluation = ""
    if benchmark is not None and benchmark.evaluation:
        evaluation = evaluation_text(repository, benchmark)
    metadata = metadata_of(
        benchmark,
        observation_space,
        action_space,
        evaluation=evaluation,
        dataset_id=dataset_id,
        default_id=Path(path).name,
        data_format=data_format,
        left_out=left_out,
    )
    lost: dict[str, int] = {}
    with placed(Path(path)) as made:
        data = made / "data"
        data.mkdir(parents=True)
        writer: Writer
        writer = HDF5Writer(data) if data_format == "hdf5" else ArrowWriter(data, data_format)
        with closing(writer):
            infos = None if data_format == "hdf5" else _common_infos(repository, headers)
            _write_all(repository, headers, first.layout, infos, writer, lost, on_progress)
        size = sum(file.stat().st_size for file in data.rglob("*"))
        metadata |= {
            "total_episodes": len(headers),
            "total_steps": sum(header.n_tuples for header in headers),
            "dataset_size": round(size / 1e6, 1),
        }
        with (data / METADATA).open("w", encoding="utf-8") as text:
            json.dump(metadata, text)
    return ExportReport(
        format="minari",
        path=str(path),
        n_episodes=metadata["total_episodes"],
        n_steps=metadata["total_steps"],
        left_out=(*left_out, *(f"{what}, of {n} episodes" for what, n in lost.items())),
    )


def _write_all(
    repository: Repository,
    headers: list[EpisodeHeader],
    layout: Layout,
    infos: set[str] | None,
    writer: Writer,
    lost: dict[str, int],
    on_progress: OnProgress | None,
) -> None:
    """Write the episodes; ``lost`` takes what was not written, and of how many.

    Of ``infos``, those of these names are written; all where None.
    """

    def lose(what: str) -> None:
        lost[what] = lost.get(what, 0) + 1

    for i, (header, data) in enumerate(read_all(repository, headers, on_progress)):
        if data.layout is not layout and not _are_same(data.layout, layout):
            raise InvalidInputError(
                f"episode '{header.id[:12]}' has other spaces than the first",
                hint="choose the episodes of one benchmark",
            )
        writer.write(_outgoing(i, header, data, infos, lose), lose)


def _common_infos(repository: Repository, headers: list[EpisodeHeader]) -> set[str]:
    """The infos that all episodes have alike: in tables, Minari takes others for missing."""
    ids = [header.id for header in headers]
    found: set[tuple[str, object]] | None = None
    for header, data in repository.read_episodes(ids, only="infos"):
        infos = _infos(data, lambda _: None) | _odd(header.metadata)
        kinds = {(path, _kind(values)) for path, values in infos.items()}
        found = kinds if found is None else found & kinds
    return {path for path, _ in found or ()}


def _kind(values: Any) -> object:
    """What two infos of a name have in common where Minari reads both."""
    is_array = isinstance(values, np.ndarray)
    return (values.dtype.str, values.shape[1:]) if is_array else type(values)


def _outgoing(
    number: int, header: EpisodeHeader, data: EpisodeData, kept: set[str] | None, lose: Lose
) -> Outgoing:
    """An episode with all that Minari is told of it."""
    about = dict(header.metadata)
    odd = _odd(about)
    if odd:
        del about[ODD]
    own = {"id": number, "total_steps": data.n_steps}
    own |= {key: data.record[key] for key in ("seed", "options") if data.record[key] is not None}
    for key in sorted(own.keys() & about.keys()):
        lose(f"'{key}' of the metadata, where Minari has its own")
    about |= own
    infos = _infos(data, lose) | odd
    odd_names = [path for path in infos if not is_name(path)]
    faults = dict.fromkeys(odd_names, "which is no name in every storage")
    if kept is not None:
        others = [path for path in infos if path not in kept]
        faults |= dict.fromkeys(others, "which not all episodes have alike")
    faults |= dict.fromkeys(hidden(infos), "as there are infos below that name")
    for path, why in faults.items():
        lose(f"info '{path}', {why}")
    infos = without(infos, faults)
    return Outgoing(number=number, data=data, infos=infos, about=about)


def _infos(data: EpisodeData, lose: Lose) -> dict[str, Any]:
    """What each step has as a number, an array or a text, by path, with what ``reset`` returned."""
    reset_info = flattened(data.record["reset_info"])
    found: dict[str, Any] = {
        unescape(name.removeprefix(INFO_PREFIX)): column
        for name, column in data.columns.items()
        if name.startswith(INFO_PREFIX)
    }
    if INFO_TEXT in data.columns:
        typed = set(found)
        others = [without(info, typed) for info in data.infos]
        for key, why in {k: why for info in others for k, why in unkept(info).items()}.items():
            lose(f"info '{key}', {why}")
        rows = [flattened(info) for info in others]
        for key in dict.fromkeys(key for row in rows for key in row):
            values = [row.get(key) for row in rows]
            if key in typed:
                lose(f"info '{key}', which there is twice")
            elif {*map(type, values)} == {str}:
                found[key] = values
            else:
                lose(f"info '{key}', which not every step has as a number or text")
    for key, why in unkept(data.record["reset_info"]).items():
        lose(f"'{key}' of what reset returned, {why}")
    for key in sorted(reset_info.keys() - found.keys()):
        lose(f"'{key}' of what reset returned, which no step has")
    return {key: _with_first(key, column, reset_info, lose) for key, column in found.items()}


def _with_first(key: str, column: Any, reset_info: Mapping[str, Any], lose: Lose) -> Any:
    """A column with the row of ``reset`` before it, where there is one."""
    if key not in reset_info:
        return column
    first = reset_info[key]
    if isinstance(column, list):
        if isinstance(first, str):
            return [first, *column]
    else:
        row = _array(first)
        if (
            row is not None
            and row.shape == column.shape[1:]
            and np.can_cast(row.dtype, column.dtype)
        ):
            return np.concatenate([row[None].astype(column.dtype), column])
    lose(f"'{key}' of what reset returned, which is of another kind than later")
    return column


def _array(value: Any) -> NDArray[Any] | None:
    try:
        return np.asarray(value)
    except ValueError:  # rows of different lengths
        return None


def _odd(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What an import kept of infos that are not of the steps; the name may be the user's own."""
    found = metadata.get(ODD)
    return found if isinstance(found, dict) else {}


def _are_same(one: Layout, other: Layout) -> bool:
    pairs = ((one.observation, other.observation), (one.action, other.action))
    return all(_comparable(ours) == _comparable(theirs) for ours, theirs in pairs)


def _comparable(tree: Any) -> object:
    """A space's tree in such a form that two compare."""
    if isinstance(tree, Mapping):
        return {key: _comparable(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_comparable(value) for value in tree]
    return (tree.dtype.str, tree.tolist()) if isinstance(tree, (np.ndarray, np.generic)) else tree
