"""The tables of a LeRobot dataset as they grow: frames, some thousands at once, and episodes.

Invariant: an episode's frames lie in one file, and its row tells in which; what waits to be written
is bounded by `BUFFERED_BYTES` or one episode, whatever the dataset's size.
"""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.episode import EpisodeData
from tupli_repo.codec.samples import OFFSETS
from tupli_repo.errors import InvalidInputError
from tupli_repo.interop.lerobot.layout import (
    CHUNK_SIZE,
    FLAGS,
    FRAME,
    Feature,
    arrow_array,
    arrow_type,
    nested,
    stats_shape,
)
from tupli_repo.interop.lerobot.stats import (
    NAMES,
    Stats,
    joined,
    stats_of_bytes,
    stats_of_images,
    stats_of_rows,
)
from tupli_repo.interop.png import png

BUFFERED_BYTES = 16 << 20
_BUFFERED_EPISODES = 4096
_MOST_NUMBERS = 1 << 28  # in an array: Arrow counts those of lists in 31 bits


class NumberedFiles:
    """Parquet files of one table, of about the same size, numbered as LeRobot numbers them.

    Args:
        pyarrow: The package; ``pyarrow.parquet`` has been imported.
        root: The folder of the dataset.
        pattern: Where a file is, by ``chunk_index`` and ``file_index``.
        schema: The table's schema.
        limit_bytes: How large a file may become.
    """

    def __init__(
        self, pyarrow: Any, root: Path, pattern: str, schema: Any, *, limit_bytes: int
    ) -> None:
        self._pyarrow, self._root, self._pattern = pyarrow, root, pattern
        self.schema = schema
        self.limit_bytes = limit_bytes
        self._number = -1
        self._sink: Any = None
        self._writer: Any = None
        self._n_given = self._n_written = 0

    def place_for(self, n_bytes: int) -> tuple[int, int]:
        """Return the chunk and file that so many bytes in memory shall go to."""
        ratio = self._n_written / self._n_given if self._n_given else 1.0
        if self._sink is None or self._sink.tell() + n_bytes * ratio > self.limit_bytes:
            self.close()
            self._number += 1
            chunk_index, file_index = divmod(self._number, CHUNK_SIZE)
            path = self._root / self._pattern.format(chunk_index=chunk_index, file_index=file_index)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._sink = self._pyarrow.OSFile(str(path), "wb")
            self._writer = self._pyarrow.parquet.ParquetWriter(self._sink, self.schema)
        return divmod(self._number, CHUNK_SIZE)

    def write(self, table: Any) -> None:
        """Write rows to the file that is open."""
        before = self._sink.tell()
        self._writer.write_table(table)
        self._n_given += table.nbytes
        self._n_written += self._sink.tell() - before

    def close(self) -> None:
        """Finish the file that is open."""
        sink, self._sink = self._sink, None
        if sink is not None:
            with closing(sink):
                self._writer.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What is to be told of episodes whose frames were written.

    Args:
        lengths: The number of frames of each; shape (E,).
        first_frame: The number of their first frame, of all.
        place: The chunk and file they are in.
        tasks: The number of each episode's task; shape (E,).
        stats: By feature, with E rows.
        finals: By feature, the last observation of each; None where it is not known.
    """

    lengths: NDArray[np.int64]
    first_frame: int
    place: tuple[int, int]
    tasks: NDArray[np.int64]
    stats: Mapping[str, Stats]
    finals: Mapping[str, Sequence[Any]]


@dataclass(slots=True)
class _Waiting:
    """Episodes that are not written yet."""

    lengths: list[int] = field(default_factory=list)
    tasks: list[int] = field(default_factory=list)
    items: dict[str, list[Any]] = field(default_factory=dict)
    stats: dict[str, list[Stats]] = field(default_factory=dict)
    finals: dict[str, list[Any]] = field(default_factory=dict)
    n_bytes: int = 0


class Frames:
    """The frames of a dataset.

    Args:
        pyarrow: The package.
        files: Where they go.
        features: What of an episode's columns goes into them.
        fps: How many there are in a second.
    """

    def __init__(
        self, pyarrow: Any, files: NumberedFiles, features: Sequence[Feature], *, fps: int
    ) -> None:
        self._pyarrow, self._files, self._features, self._fps = pyarrow, files, features, fps
        self._waiting = _Waiting()
        self._n_frames = self._n_episodes = 0

    def add(self, oid: str, data: EpisodeData, task: int) -> bool:
        """Add an episode; return whether there is enough to be written.

        Raises:
            InvalidInputError: A text of it is not Unicode.
        """
        waiting, n = self._waiting, data.n_steps
        for feature in self._features:
            column = data.columns[feature.column]
            items: Any
            if feature.kind == "text":
                items = _texts(column, data.columns[feature.column + OFFSETS], oid, feature.column)
                waiting.n_bytes += len(column)
            elif feature.kind == "image":
                waiting.stats.setdefault(feature.name, []).append(stats_of_images(column[:n]))
                items = [png(image) for image in column]
                waiting.n_bytes += sum(map(len, items))
            else:
                items = column.astype(feature.dtype, copy=False)
                waiting.n_bytes += items.nbytes
                if _is_counted(feature):
                    waiting.stats.setdefault(feature.name, []).append(stats_of_bytes(items[:n]))
            waiting.items.setdefault(feature.name, []).append(items[:n])
            if feature.column.startswith("observations"):
                last = items[n] if data.record["final_observation"] else None
                waiting.finals.setdefault(feature.name, []).append(last)
        flags = data.terminated, data.truncated, data.terminated | data.truncated
        for feature, items in zip(FLAGS, flags, strict=True):
            waiting.items.setdefault(feature.name, []).append(items)
        waiting.lengths.append(n)
        waiting.tasks.append(task)
        is_enough = waiting.n_bytes >= min(BUFFERED_BYTES, self._files.limit_bytes // 4)
        return is_enough or len(waiting.lengths) >= _BUFFERED_EPISODES

    def write(self) -> Written | None:
        """Write what was added since; None where that is nothing."""
        waiting, self._waiting = self._waiting, _Waiting()
        if not waiting.lengths:
            return None
        lengths, tasks = np.array(waiting.lengths), np.array(waiting.tasks)
        n = int(lengths.sum())
        columns: dict[str, Any] = {}
        for feature in (*self._features, *FLAGS):
            parts = waiting.items[feature.name]
            is_number = feature.kind == "number"
            columns[feature.name] = np.concatenate(parts) if is_number else list(chain(*parts))
        columns |= self._added(lengths, tasks)
        stats: dict[str, Stats] = {}
        for feature in (*self._features, *FLAGS, *FRAME):
            if feature.name in waiting.stats:
                stats[feature.name] = joined(waiting.stats[feature.name])
            elif feature.kind == "number":
                rows = columns[feature.name].reshape(n, *feature.shape)
                stats[feature.name] = stats_of_rows(rows, lengths)
        place = self._files.place_for(waiting.n_bytes)
        self._write(columns, n)
        written = Written(
            lengths=lengths,
            first_frame=self._n_frames,
            place=place,
            tasks=tasks,
            stats=stats,
            finals=waiting.finals,
        )
        self._n_frames += n
        self._n_episodes += len(lengths)
        return written

    def _added(
        self, lengths: NDArray[np.int64], tasks: NDArray[np.int64]
    ) -> dict[str, NDArray[Any]]:
        """The columns that LeRobot adds to each frame."""
        index = np.arange(self._n_frames, self._n_frames + lengths.sum())
        starts = self._n_frames + np.cumsum(lengths) - lengths
        frame = index - np.repeat(starts, lengths)
        episodes = np.arange(self._n_episodes, self._n_episodes + len(lengths))
        return {
            "timestamp": (frame / self._fps).astype(np.float32),
            "frame_index": frame,
            "episode_index": np.repeat(episodes, lengths),
            "index": index,
            "task_index": np.repeat(tasks, lengths),
        }

    def _write(self, columns: Mapping[str, Any], n: int) -> None:
        features = (*self._features, *FLAGS, *FRAME)
        step = max(1, _MOST_NUMBERS // max(int(np.prod(one.shape)) for one in features))
        for start in range(0, n, step):
            arrays = [
                arrow_array(self._pyarrow, one, columns[one.name][start : start + step])
                for one in features
            ]
            schema = self._files.schema
            self._files.write(self._pyarrow.Table.from_arrays(arrays, schema=schema))


def _is_counted(feature: Feature) -> bool:
    """Whether its stats come from counting bytes: of those there are many."""
    return feature.dtype == np.uint8 and len(feature.shape) > 1


def _texts(values: NDArray[np.uint8], ends: NDArray[np.int64], oid: str, name: str) -> list[str]:
    whole, starts = values.tobytes(), [0, *ends.tolist()]
    try:
        return [whole[i:j].decode() for i, j in pairwise(starts)]
    except UnicodeDecodeError:
        raise InvalidInputError(
            f"a text of '{name}' of episode '{oid[:12]}' is not Unicode, which LeRobot needs"
        ) from None


class Episodes:
    """The episodes of a dataset, with their stats and where their frames are.

    Args:
        pyarrow: The package.
        features: The features of the frames, all of them.
        tasks: The texts of the tasks.
        told: By name, what is known of each episode besides: Arrow arrays with a row per episode.
    """

    def __init__(
        self,
        pyarrow: Any,
        features: Sequence[Feature],
        tasks: Sequence[str],
        told: Mapping[str, Any],
    ) -> None:
        self._pyarrow, self._tasks, self._told = pyarrow, tasks, told
        self._features = features
        self._finals = [one for one in features if one.column.startswith("observations")]
        self._n = 0

    @property
    def schema(self) -> Any:
        """The schema of the table."""
        pa = self._pyarrow
        fields = [("episode_index", pa.int64()), ("tasks", pa.list_(pa.string()))]
        fields += [(name, pa.int64()) for name in ("length", *_PLACE)]
        for one in self._features:
            for stat in NAMES if one.kind != "text" else ():
                kind = pa.from_numpy_dtype(_stat_dtype(one, stat))
                for _ in stats_shape(one, stat):
                    kind = pa.list_(kind)
                fields.append((f"stats/{one.name}/{stat}", kind))
        fields += [(name, array.type) for name, array in self._told.items()]
        fields += [(f"final/{one.name}", arrow_type(pa, one)) for one in self._finals]
        return pa.schema([*fields, *((name, pa.int64()) for name in _OWN_PLACE)])

    def write(self, files: NumberedFiles, written: Written) -> None:
        """Write the rows of some episodes, those that come next."""
        pa, n = self._pyarrow, len(written.lengths)
        ends = written.first_frame + np.cumsum(written.lengths)
        columns: dict[str, Any] = {
            "episode_index": pa.array(np.arange(self._n, self._n + n)),
            "tasks": pa.array([[self._tasks[task]] for task in written.tasks]),
            "length": pa.array(written.lengths),
            "data/chunk_index": pa.array(np.full(n, written.place[0])),
            "data/file_index": pa.array(np.full(n, written.place[1])),
            "dataset_from_index": pa.array(ends - written.lengths),
            "dataset_to_index": pa.array(ends),
        }
        kinds = {one.name: one for one in self._features}
        for name, stats in written.stats.items():
            for stat, rows in stats.items():
                shaped = rows.reshape(n, *stats_shape(kinds[name], stat))
                wide = shaped.astype(_stat_dtype(kinds[name], stat), copy=False)
                columns[f"stats/{name}/{stat}"] = nested(pa, wide)
        columns |= {name: array.slice(self._n, n) for name, array in self._told.items()}
        for one in self._finals:
            items = [_as_python(one, item) for item in written.finals[one.name]]
            columns[f"final/{one.name}"] = pa.array(items, arrow_type(pa, one))
        n_bytes = sum(array.nbytes for array in columns.values())
        for name, number in zip(_OWN_PLACE, files.place_for(n_bytes), strict=True):
            columns[name] = pa.array(np.full(n, number))
        arrays = [columns[name] for name in files.schema.names]
        files.write(pa.Table.from_arrays(arrays, schema=files.schema))
        self._n += n


_PLACE = ("data/chunk_index", "data/file_index", "dataset_from_index", "dataset_to_index")
_OWN_PLACE = ("meta/episodes/chunk_index", "meta/episodes/file_index")


def _stat_dtype(feature: Feature, stat: str) -> np.dtype[Any]:
    """The widest of its kind, as LeRobot has it."""
    if stat == "count":
        return np.dtype(np.int64)
    kind = feature.dtype.kind if stat in ("min", "max") and feature.kind == "number" else "f"
    if kind == "u" and feature.dtype != np.uint64:
        kind = "i"
    return np.dtype({"b": "bool", "i": "int64", "u": "uint64", "f": "float64"}[kind])


def _as_python(feature: Feature, item: Any) -> Any:
    if item is None or feature.kind == "text":
        return item
    if feature.kind == "image":
        return {"bytes": item, "path": None}
    return item.item() if feature.shape == (1,) else item.tolist()
