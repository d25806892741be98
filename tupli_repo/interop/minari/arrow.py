"""Minari's Arrow and Parquet storages: a folder for each episode, with a table and its metadata.

The folder ``N`` has ``part-0.arrow`` (or ``.parquet``) and ``metadata.json``. A table has T+1 rows,
as there are T+1 observations: in the last, actions, rewards and flags are zeros that nobody reads.
Dict, Tuple and infos are structs, arrays lists of a fixed size.

Where something has no T+1 values, zeros stand in for what is missing, as Minari does it, and the
field says so (``tupli_repo``), so that it is not there when it comes back.

Invariant: what is read of a dataset that `ArrowWriter` wrote is what was written.

Source: minari 0.5.4, ``dataset/_storages/arrow_storage.py``.
"""

import json
from collections.abc import Generator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import Space, spaces
from numpy.typing import NDArray

from tupli_repo.codec.arrays import Items
from tupli_repo.codec.samples import Parted, escape, samples_from_columns
from tupli_repo.codec.spaces import Tree
from tupli_repo.errors import InvalidInputError
from tupli_repo.interop.minari.layout import (
    FLAGS,
    METADATA,
    Incoming,
    Lose,
    Outgoing,
    decoded,
    is_image,
    malformed,
)
from tupli_repo.interop.paths import nested
from tupli_repo.optional import require

_MARK = b"tupli_repo"
_NO_FIRST, _NO_LAST = b"no first", b"no last"
_SHAPE = b"shape"
_MOST_ROWS = 1 << 17
"""What Minari reads of a table at once, which it takes for the whole episode."""
_HINT = "write it as HDF5"


def read_arrow(
    folder: Path,
    n_episodes: int,
    observation_space: Space[Any],
    action_space: Space[Any],
    *,
    jpeg: bool,
    data_format: str = "arrow",
) -> Generator[Incoming, None, None]:
    """Iterate over the episodes of a dataset.

    Args:
        folder: Where the episodes' folders are.
        n_episodes: How many there are.
        observation_space: The space of the observations.
        action_space: The space of the actions.
        jpeg: Whether images are JPEG.
        data_format: ``arrow`` or ``parquet``.

    Raises:
        CorruptObjectError: It is not as Minari writes it.
        MissingDependencyError: pyarrow is not installed; Pillow, where there are images as JPEG.
    """
    pa = require("pyarrow", needed_for="reading Minari's Arrow")
    require("pyarrow.parquet", needed_for="reading Minari's Parquet")
    reader = _Reader(pa, jpeg=jpeg)
    for number in range(n_episodes):
        place = folder / str(number)
        try:
            table = _table(pa, place, data_format)
            table.validate(full=True)  # numbers are read from buffers, which damage may shorten
            about = json.loads((place / METADATA).read_text(encoding="utf-8"))
            episode = reader.episode(table, about, observation_space, action_space)
        except (KeyError, OSError, RuntimeError, ValueError, TypeError, AttributeError) as err:
            raise malformed(place, err) from None
        yield episode


def _table(pa: Any, place: Path, data_format: str) -> Any:
    """The table in an episode's folder, as one batch."""
    names = [entry.name for entry in place.iterdir() if entry.suffix == f".{data_format}"]
    if len(names) != 1:
        raise KeyError(f"it has {len(names)} files of '{data_format}' where one is due")
    content = pa.py_buffer((place / names[0]).read_bytes())
    if data_format == "parquet":
        table = pa.parquet.ParquetFile(pa.BufferReader(content)).read()
    else:
        reader = pa.ipc.open_file(content)
        if reader.num_record_batches == 1:
            return reader.get_batch(0)
        table = reader.read_all()
    (batch,) = table.combine_chunks().to_batches()
    return batch


class _Reader:
    """Takes episodes out of tables.

    Args:
        pa: The package.
        jpeg: Whether images are JPEG.
    """

    def __init__(self, pa: Any, *, jpeg: bool) -> None:
        self._pa = pa
        self._jpeg = jpeg

    def episode(
        self, table: Any, about: Any, observation_space: Space[Any], action_space: Space[Any]
    ) -> Incoming:
        """Return what lies in an episode's table.

        Raises:
            KeyError: It lacks something.
        """
        schema = table.schema
        columns = dict(zip(schema.names, table.columns, strict=True))
        has_last = _mark(schema.field("observations")) != _NO_LAST
        seen = columns["observations"]
        infos = {}
        if "infos" in columns:
            infos = self._infos(columns["infos"], schema.field("infos").type)
        return Incoming(
            observations=self._samples(
                seen if has_last else seen[:-1], observation_space, "observations"
            ),
            actions=self._samples(columns["actions"][:-1], action_space, "actions"),
            flags={name: _numbers(columns[name][:-1]) for name in FLAGS},
            infos=infos,
            about={key: value for key, value in about.items() if key not in ("id", "total_steps")},
        )

    def _samples(self, column: Any, space: Space[Any], name: str) -> Items:
        if isinstance(space, spaces.Dict):
            parts = {k: self._samples(column.field(k), s, k) for k, s in space.spaces.items()}
            return Parted(parts)
        if isinstance(space, spaces.Tuple):
            some = enumerate(space.spaces)
            return Parted([self._samples(column.field(str(i)), s, f"{i}") for i, s in some])
        if self._jpeg and is_image(space):
            return decoded(column.to_pylist())
        if isinstance(space, spaces.Text):
            texts: list[str] = column.to_pylist()
            return texts
        if self._pa.types.is_fixed_size_list(column.type):
            assert space.shape is not None
            return _rows(column, space.shape)
        return _numbers(column)

    def _infos(self, column: Any, kind: Any, parent: str = "") -> dict[str, Any]:
        """The infos in a struct by path: arrays where they can be, else lists."""
        found: dict[str, Any] = {}
        for i in range(kind.num_fields):
            field, values = kind.field(i), column.field(i)
            path = parent + field.name
            if self._pa.types.is_struct(field.type):
                found |= self._infos(values, field.type, f"{path}/")
                continue
            first = 1 if _mark(field) == _NO_FIRST else 0
            found[path] = self._info(values[first:], field)
        return found

    def _info(self, values: Any, field: Any) -> Any:
        types = self._pa.types
        if types.is_fixed_size_list(field.type) and not values.null_count:
            shape = (field.metadata or {}).get(_SHAPE)
            if shape is None:
                return _rows(values, (field.type.list_size,))
            return _rows(values, tuple(int(n) for n in shape.split(b",") if n))
        is_number = types.is_integer(field.type) or types.is_floating(field.type)
        if (is_number or types.is_boolean(field.type)) and not values.null_count:
            return _numbers(values)
        items = values.to_pylist()
        if types.is_list(field.type) and len({len(item or ()) for item in items}) == 1:
            array = np.array(values.to_numpy(zero_copy_only=False).tolist())
            return array if array.dtype.kind in "biuf" else items
        return items


class ArrowWriter:
    """Writes an episode's folder after the other.

    Args:
        folder: Where they shall be.
        data_format: ``arrow`` or ``parquet``.

    Raises:
        MissingDependencyError: pyarrow is not installed.
    """

    def __init__(self, folder: Path, data_format: str = "arrow") -> None:
        self._pa = require("pyarrow", needed_for="exporting to Minari in Arrow")
        self._parquet = require("pyarrow.parquet", needed_for="exporting to Minari in Parquet")
        self._folder = folder
        self._format = data_format

    def write(self, episode: Outgoing, lose: Lose) -> None:
        """Write one episode; what Arrow has no place for is told.

        Raises:
            InvalidInputError: Minari would not read it whole, or Arrow has no such arrays.
        """
        data = episode.data
        n, layout = data.n_steps, data.layout
        if n >= _MOST_ROWS:
            raise InvalidInputError(
                f"episode {episode.number} has {n} steps, and Minari reads no more than"
                f" {_MOST_ROWS - 1} from Arrow",
                hint=_HINT,
            )
        final: bool = data.record["final_observation"]
        if not final:
            lose("the last observation, which is not known: zeros stand in its place")
        try:
            seen = self._samples(layout.observation, data.columns, "observations", n + final, n + 1)
            arrays = {
                "observations": seen,
                "actions": self._samples(layout.action, data.columns, "actions", n, n + 1),
                **{name: self._array(_padded(data.columns[FLAGS[name]], n + 1)) for name in FLAGS},
            }
            infos = self._infos(episode.infos, n, lose)
            if infos:
                arrays["infos"] = self._struct(nested(infos))
        except (TypeError, ValueError, NotImplementedError) as err:
            raise InvalidInputError(
                f"Arrow has no place for episode {episode.number}: {err}", hint=_HINT
            ) from None
        marks = {} if final else {"observations": {_MARK: _NO_LAST}}
        field, schema = self._pa.field, self._pa.schema
        fields = [field(k, a.type, metadata=marks.get(k)) for k, a in arrays.items()]
        table = self._pa.Table.from_arrays(list(arrays.values()), schema=schema(fields))
        self._place(episode, table, lose)

    def close(self) -> None:
        """Finish: nothing is left to do."""

    def _place(self, episode: Outgoing, table: Any, lose: Lose) -> None:
        place = self._folder / str(episode.number)
        place.mkdir()
        file = place / f"part-0.{self._format}"
        if self._format == "parquet":
            self._parquet.write_table(table, file)
        else:
            with self._pa.ipc.new_file(str(file), table.schema) as sink:
                sink.write_table(table)
        about = {}
        for key, value in episode.about.items():
            try:
                about[key] = json.loads(json.dumps(value, default=_plain))
            except (TypeError, ValueError):
                lose(f"'{key}' of the metadata, which JSON cannot hold")
        (place / METADATA).write_text(json.dumps(about), encoding="utf-8")

    def _samples(
        self, tree: Tree, columns: Mapping[str, NDArray[Any]], name: str, length: int, rows: int
    ) -> Any:
        """The samples of columns as an array of ``rows``; what is missing is zeros."""
        if tree["type"] in ("Dict", "Tuple"):
            if not tree["spaces"]:
                raise ValueError(f"'{name}' has no parts")
            some = tree["spaces"] if tree["type"] == "Dict" else enumerate(tree["spaces"])
            parts = {
                str(key): self._samples(sub, columns, f"{name}/{escape(str(key))}", length, rows)
                for key, sub in some
            }
            return self._pa.StructArray.from_arrays(list(parts.values()), names=list(parts))
        if tree["type"] == "Text":
            texts = list(samples_from_columns(tree, columns, name, length))
            return self._pa.array(texts + [""] * (rows - length), self._pa.string())
        values = _padded(columns[name], rows)
        return self._array(values) if tree["type"] == "Discrete" else self._lists(values)

    def _infos(self, infos: Mapping[str, Any], n_steps: int, lose: Lose) -> dict[str, Any]:
        """By path, what Arrow can hold: arrays and what their fields say."""
        arrays: dict[str, tuple[Any, dict[bytes, bytes]]] = {}
        for path, values in infos.items():
            if not isinstance(values, list | np.ndarray) or len(values) not in (
                n_steps,
                n_steps + 1,
            ):
                lose(f"info '{path}', which has rows for something else than the steps")
                continue
            try:
                arrays[path] = self._info(values, n_steps)
            except (TypeError, ValueError, NotImplementedError, OverflowError):
                lose(f"info '{path}', which Arrow cannot hold")
        return arrays

    def _info(self, values: Any, n_steps: int) -> tuple[Any, dict[bytes, bytes]]:
        """The values of one info as an array of T+1 rows, and what its field says."""
        marks = {}
        if len(values) == n_steps:
            marks[_MARK] = _NO_FIRST
            if isinstance(values, list):
                is_text = {*map(type, values)} == {str}
                values = ["" if is_text else None, *values]
            else:
                values = np.concatenate([np.zeros_like(values[:1]), values])
        if isinstance(values, np.ndarray) and values.ndim > 1:
            marks[_SHAPE] = ",".join(map(str, values.shape[1:])).encode()
            return self._lists(values), marks
        return self._array(values), marks

    def _struct(self, tree: Mapping[str, Any]) -> Any:
        """Arrays in dictionaries as structs in structs."""
        arrays, fields = [], []
        for key, part in tree.items():
            array, marks = (self._struct(part), {}) if isinstance(part, dict) else part
            arrays.append(array)
            fields.append(self._pa.field(key, array.type, metadata=marks or None))
        return self._pa.StructArray.from_arrays(arrays, fields=fields)

    def _array(self, values: Any) -> Any:
        return self._pa.array(values)

    def _lists(self, values: NDArray[Any]) -> Any:
        size = prod(values.shape[1:])
        return self._pa.FixedSizeListArray.from_arrays(self._array(values.reshape(-1)), size)


def _mark(field: Any) -> bytes | None:
    found: bytes | None = (field.metadata or {}).get(_MARK)
    return found


def _rows(column: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    """Lists of a fixed size as rows of an array."""
    if column.null_count:
        raise ValueError(f"{column.null_count} rows are missing")
    size, start = column.type.list_size, column.offset
    values = column.values[start * size : (start + len(column)) * size]
    return _numbers(values).reshape(len(column), *shape)


def _numbers(column: Any) -> NDArray[Any]:
    if column.null_count:
        raise ValueError(f"{column.null_count} values are missing")
    dtype, start, n = np.dtype(column.type.to_pandas_dtype()), column.offset, len(column)
    content = column.buffers()[1]
    if content is None:
        return np.empty(0, dtype)
    if dtype == np.bool_:  # eight in a byte
        bits = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")
        return bits[start : start + n].view(np.bool_)
    return np.frombuffer(content, dtype, n, start * dtype.itemsize)  # to_numpy() loads pandas


def _padded(values: NDArray[Any], rows: int) -> NDArray[Any]:
    """Rows, followed by zeros where there are fewer."""
    lacking = rows - len(values)
    if not lacking:
        return values
    return np.concatenate([values, np.zeros((lacking, *values.shape[1:]), values.dtype)])


def _plain(value: Any) -> Any:
    """What of numpy's JSON has no word for."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(type(value).__name__)
