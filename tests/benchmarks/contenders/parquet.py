"""One Parquet file with a row per step, compressed by zstd, and a small one with a row per episode.

Arrays are fixed-size lists, and dictionaries are made of nothing but integers and flags: floats
hardly repeat. Observations have N rows; the one after the last action of each episode is in the
small file, beside the metadata, so that nothing is lost and nothing is padded. A row group has
about 2 MiB: smaller ones make random reads faster, and everything larger.

- write: `pyarrow.parquet.write_table`; not fsynced.
- load: `read_table` in its threads, then each column's chunks into one array.
- episodes, transitions: the row groups they are in.
"""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tests.benchmarks.contender import TRANSITION_COLUMNS, Contender, Spaces
from tests.benchmarks.episodes import STEP_COLUMNS, Columns, Episode, Kept

_GROUP_BYTES = 2 << 20
FINAL = "final_observations"


class Parquet(Contender):
    """Parquet with plain floats."""

    packages = ("pyarrow", "numpy")
    kept = Kept(observations="first")
    splits_floats: ClassVar[bool] = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._file: Any = None
        self._ends = np.zeros(1, np.int64)
        self._starts_of_groups = np.zeros(1, np.int64)

    def order(self) -> Sequence[int]:
        """As written."""
        self.ready()
        return range(len(self._ends) - 1)

    def write(self, episodes: Sequence[Episode], spaces: Spaces) -> None:
        """Two tables."""
        columns = {
            name: np.concatenate([episode.columns[name][: len(episode)] for episode in episodes])
            for name in ("observations", *STEP_COLUMNS)
        }
        row_bytes = sum(column.nbytes for column in columns.values()) // len(columns["rewards"])
        self._write("steps", columns, max(1, _GROUP_BYTES // row_bytes))
        metadata = [episode.metadata for episode in episodes]
        described = {name: np.array([item[name] for item in metadata]) for name in metadata[0]}
        described["length"] = np.array([len(episode) for episode in episodes])
        described[FINAL] = np.stack([episode.columns["observations"][-1] for episode in episodes])
        self._write("episodes", described, len(episodes))

    def open(self) -> None:
        """Open the large file."""
        self._file = pq.ParquetFile(self.folder / "steps.parquet")

    def ready(self) -> None:
        """Read how long episodes are, and where row groups begin."""
        lengths = pq.read_table(self.folder / "episodes.parquet", columns=["length"])["length"]
        self._ends = np.cumsum([0, *lengths.to_pylist()])
        told = self._file.metadata
        rows = [told.row_group(i).num_rows for i in range(told.num_row_groups)]
        self._starts_of_groups = np.cumsum([0, *rows])

    def load_all(self) -> Columns:
        """Both tables."""
        columns = _arrays(self._file.read())
        return columns | _arrays(pq.read_table(self.folder / "episodes.parquet", columns=[FINAL]))

    def load_column(self, name: str) -> Columns:
        """One column."""
        return _arrays(self._file.read(columns=[name]))

    def load_episodes(self, indices: Sequence[int]) -> Columns:
        """The row groups the episodes are in."""
        spans = [np.arange(self._ends[i], self._ends[i + 1]) for i in indices]
        return self._rows(np.concatenate(spans), ("observations", *STEP_COLUMNS))

    def load_transitions(self, steps: NDArray[np.int64]) -> Columns:
        """The row groups the steps are in."""
        return self._rows(steps, TRANSITION_COLUMNS)

    def list_where(self, *, policy: str, score: float) -> list[int]:
        """`read_table` with filters."""
        found = pq.read_table(
            self.folder / "episodes.parquet",
            columns=["index"],
            filters=[("policy", "=", policy), ("score", ">=", score)],
        )
        listed: list[int] = found["index"].to_pylist()
        return listed

    def _rows(self, rows: NDArray[np.int64], names: Sequence[str]) -> Columns:
        starts = self._starts_of_groups
        in_group = np.searchsorted(starts[1:], rows, side="right")
        groups = np.unique(in_group)
        sizes = np.diff(starts)[groups]
        begins = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        places = rows - starts[in_group] + begins[np.searchsorted(groups, in_group)]
        table = self._file.read_row_groups(groups.tolist(), columns=list(names))
        return {name: column[places] for name, column in _arrays(table).items()}

    def _write(self, name: str, columns: Columns, rows: int) -> None:
        arrays, fields = [], []
        for key, column in columns.items():
            array = pa.array(column.reshape(-1))
            if column.ndim > 1:
                array = pa.FixedSizeListArray.from_arrays(array, column[0].size)
            shape = ",".join(map(str, column.shape[1:]))
            arrays.append(array)
            fields.append(pa.field(key, array.type, metadata={"shape": shape}))
        table = pa.Table.from_arrays(arrays, schema=pa.schema(fields))
        leaves = {
            key: f"{key}.list.element" if column.ndim > 1 else key
            for key, column in columns.items()
        }
        floats = [leaf for key, leaf in leaves.items() if columns[key].dtype.kind == "f"]
        pq.write_table(
            table,
            self.folder / f"{name}.parquet",
            compression="zstd",
            row_group_size=rows,
            use_dictionary=[leaf for leaf in leaves.values() if leaf not in floats],
            use_byte_stream_split=floats if self.splits_floats else False,
        )


class ParquetSplit(Parquet):
    """Parquet with the bytes of floats in streams of their own: smaller, at the caller's choice."""

    splits_floats = True


def _import_everything() -> None:
    """Read and write a little: pyarrow imports half of itself, and pandas, when it is used."""
    file = BytesIO()
    pq.write_table(pa.table({"index": [1, 2]}), file)
    pq.read_table(file, filters=[("index", ">=", 1)])["index"].to_numpy()


def _arrays(table: Any) -> Columns:
    """The columns of a table, each as one array."""
    return {field.name: _array(table[field.name], field) for field in table.schema}


def _array(column: Any, field: Any) -> NDArray[Any]:
    shape = tuple(int(n) for n in field.metadata[b"shape"].split(b",") if n)
    if not shape:
        found: NDArray[Any] = column.to_numpy()
        return found
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    joined = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return joined.reshape(-1, *shape)


_import_everything()
