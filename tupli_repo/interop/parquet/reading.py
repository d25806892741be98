"""Parquet files with RLlib's column names, in: what `export_parquet` wrote, and others' files.

Only ``eps_id``, ``obs``, ``actions``, ``rewards`` and ``terminateds`` are needed. The rows of an
episode need not stand together; where they do, one episode is in memory at once.

Invariant: every row is a step of exactly one episode, with its values and dtype.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from gymnasium import Space

from tupli_repo.codec.episode import Steps
from tupli_repo.codec.spaces import UNKNOWN, build_space
from tupli_repo.codec.values import dump_json
from tupli_repo.errors import CorruptObjectError, InvalidInputError, NotFoundError
from tupli_repo.interop.importing import (
    Source,
    benchmark_for,
    checked_name,
    existing,
    record_all,
    store_source,
)
from tupli_repo.interop.parquet.layout import (
    ACTION,
    AGENT,
    COLUMNS,
    DONE,
    EPISODE,
    MODULE,
    OBSERVATION,
    REWARD,
    SUFFIX,
    TERMINATED,
    read_about,
    read_episodes,
)
from tupli_repo.interop.parquet.steps import Part, Rows
from tupli_repo.interop.parquet.values import arrow, may_be_numbers
from tupli_repo.interop.progress import OnProgress
from tupli_repo.optional import require
from tupli_repo.repository import Repository
from tupli_repo.schema.interop import ImportReport

_BATCH_ROWS, _BATCH_BYTES = 1 << 14, 8 << 20
_KEYS_AT_ONCE = 1 << 16
_ITEM_HINT = "these are RLlib's episodes in msgpack: write them with output_write_episodes=False"
_Key = tuple[Any, ...]


def import_parquet(
    repository: Repository,
    path: str | Path,
    *,
    name: str | None = None,
    benchmark_id: str | None = None,
    columns: Mapping[str, str] | None = None,
    observation_space: Space[Any] | None = None,
    action_space: Space[Any] | None = None,
    on_progress: OnProgress | None = None,
) -> ImportReport:
    """Record the episodes of Parquet files with RLlib's column names; durable when this returns.

    The rows of an episode have the same ``eps_id`` (and ``agent_id``), and are ordered by ``t``, or
    stand in order where there is none. It also ends where a flag is set, where ``t`` jumps, and
    where the next row does not go on from ``new_obs``; without that column, its last observation is
    not known. Columns of numbers that RLlib does not know become infos.

    What `export_parquet` wrote comes back as it was: with its spaces, seeds, options, metadata,
    infos, times, authors. In the same benchmark, they are the same episodes.

    Args:
        repository: Where they go.
        path: A file, or a folder with files that end with ``.parquet``, in it and below.
        name: What the benchmark is called; as it was, or as the file or folder, where None.
        benchmark_id: A benchmark that is here already; none is made then.
        columns: What RLlib's columns are called in the files, as in ``input_read_schema``, for
            example ``{"obs": "state"}``.
        observation_space: The space of the observations; what the files tell where None.
        action_space: The space of the actions; what the files tell where None.
        on_progress: Told how many episodes are done, of how many.

    Raises:
        NotFoundError: There are no such files, or ``benchmark_id`` is not here.
        CorruptObjectError: One is no Parquet file, or is damaged.
        InvalidInputError: A column is missing, or holds what it cannot.
        MissingDependencyError: pyarrow is not installed.
        StorageIOError: The disk refused.
    """
    pyarrow = arrow("importing from Parquet")
    files = _Files(pyarrow, _paths(existing(path)), columns or {})
    counts = files.counts()
    if not counts:
        raise InvalidInputError(f"'{path}' has no rows")
    trees = None if files.about is None else files.about[:2]
    words = {} if files.about is None else files.about[2]
    oid = benchmark_for(
        repository,
        benchmark_id,
        lambda: store_source(
            repository,
            checked_name((words.get("name") or Path(path).stem) if name is None else name),
            description=words.get("description") or "",
            extra={"source": "parquet"},
            text={"format": "parquet", "benchmark": words},
        ),
    )
    left_out = files.left_out
    if benchmark_id is not None and words:
        left_out.append("the words of its benchmark, as the episodes are of a benchmark of yours")
    known = [build_space(tree) for tree in trees or (UNKNOWN, UNKNOWN)]
    source = Source(
        format="parquet",
        path=str(path),
        benchmark_id=oid,
        n_episodes=len(counts),
        observation_space=known[0] if observation_space is None else observation_space,
        action_space=known[1] if action_space is None else action_space,
    )
    rows = Rows(pyarrow, files.schema, trees, left_out)
    return record_all(repository, _episodes(files, counts, rows), source, left_out, on_progress)


def _episodes(files: "_Files", counts: Counter[_Key], rows: Rows) -> Iterator[Steps]:
    """The episodes, each when its last row was read."""
    begun: dict[_Key, Part] = {}
    for key, batch, told in files.runs():
        part = begun.setdefault(key, Part(key))
        part.batches.append(batch)
        part.told = part.told or told
        if sum(one.num_rows for one in part.batches) == counts[key]:
            del begun[key]
            yield from rows.episodes(part)


class _Files:
    """The files of a dataset, in order.

    Args:
        pyarrow: The package.
        paths: Where they are.
        columns: What RLlib's columns are called in them.

    Attributes:
        schema: Of what is read of them, by RLlib's names.
        about: Both trees and the words of the benchmark; None where they are not ours.
        left_out: What of the columns is not read.

    Raises:
        CorruptObjectError: One is no Parquet file, or is damaged.
        InvalidInputError: A column is missing, or of another type in another file.
    """

    def __init__(self, pyarrow: ModuleType, paths: list[Path], columns: Mapping[str, str]) -> None:
        for ours in columns:
            if ours not in COLUMNS:
                raise InvalidInputError(
                    f"RLlib has no column '{ours}'", hint=f"it has {', '.join(COLUMNS)}"
                )
        self._pyarrow, self._paths, self._theirs = pyarrow, paths, columns
        self._parquet = require("pyarrow.parquet", needed_for="importing from Parquet")
        self.left_out: list[str] = []
        with self._opened(paths[0]) as file:
            raw = file.schema_arrow
            self.about = self._read(paths[0], read_about, file)
        self._names = self._chosen(paths[0], raw)
        self.schema = pyarrow.schema(
            [raw.field(theirs).with_name(ours) for theirs, ours in self._names.items()]
        )
        for path in paths[1:]:
            self._check(path)
        types = {name: self.schema.field(name).type for name in (EPISODE, AGENT) if self._has(name)}
        self._keys = [name for name, kind in types.items() if not pyarrow.types.is_null(kind)]
        for name in self._keys:
            if pyarrow.types.is_nested(types[name]):
                raise InvalidInputError(f"'{name}' is of type '{types[name]}', which is no name")

    def counts(self) -> Counter[_Key]:
        """Return how many rows each episode has, by its key, in order."""
        found: Counter[_Key] = Counter()
        for path in self._paths:
            with self._opened(path) as file:
                for batch in self._batches(path, file, self._keys, _KEYS_AT_ONCE):
                    for key, start, stop in self._runs_of(batch):
                        found[key] += stop - start
        return found

    def runs(self) -> Iterator[tuple[_Key, Any, dict[str, Any]]]:
        """Iterate over rows of one episode that stand together, and what is told of it."""
        for path in self._paths:
            with self._opened(path) as file:
                names = file.schema_arrow.names
                episodes = self._read(path, lambda told: read_episodes(told, names), file)  # noqa: B023 - called at once
                about = file.metadata
                size = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
                at_once = max(1, min(_BATCH_ROWS, _BATCH_BYTES * about.num_rows // max(1, size)))
                for batch in self._batches(path, file, self.schema.names, at_once):
                    for key, start, stop in self._runs_of(batch):
                        yield key, batch.slice(start, stop - start), episodes.get(key[0], {})

    def _runs_of(self, batch: Any) -> Iterator[tuple[_Key, int, int]]:
        """The keys of rows that stand together, and where they begin and end."""
        if not batch.num_rows:
            return
        changes = np.zeros(batch.num_rows - 1, bool)
        columns = []
        for name in self._keys:
            column = batch.column(name)
            if self._pyarrow.types.is_dictionary(column.type):
                column = column.dictionary_decode()
            encoded = column.dictionary_encode("encode")
            codes = encoded.indices.to_numpy()
            changes |= codes[1:] != codes[:-1]
            values = encoded.dictionary.to_pylist()
            if any(value != value for value in values):  # NaN
                raise InvalidInputError(f"a value of '{name}' is not a number, and tells nothing")
            columns.append((codes, values))
        starts = [0, *(np.flatnonzero(changes) + 1).tolist()]
        for start, stop in zip(starts, [*starts[1:], batch.num_rows], strict=True):
            key = tuple(values[codes[start]] for codes, values in columns)
            if key[0] is None:
                raise InvalidInputError(f"a value of '{EPISODE}' is missing")
            yield key, start, stop

    def _batches(self, path: Path, file: Any, wanted: list[str], n_rows: int) -> Iterator[Any]:
        """Some columns of a file, so many rows at once, by RLlib's names."""
        theirs = {ours: theirs for theirs, ours in self._names.items()}
        columns = [theirs[ours] for ours in wanted]
        for group in range(file.metadata.num_row_groups):  # of all at once, it would read ahead
            found = file.iter_batches(
                n_rows, row_groups=[group], columns=columns, use_threads=False
            )
            while (batch := self._guarded(path, lambda: next(found, None))) is not None:  # noqa: B023
                arrays = [batch.column(name) for name in columns]
                yield self._pyarrow.RecordBatch.from_arrays(arrays, names=wanted)

    def _opened(self, path: Path) -> Any:
        return self._guarded(
            path, lambda: self._parquet.ParquetFile(path, page_checksum_verification=True)
        )

    def _guarded(self, path: Path, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except (OSError, ValueError, self._pyarrow.ArrowException) as err:
            why = str(err).partition("\n")[0]
            raise CorruptObjectError(
                f"it is no Parquet file, or damaged: {why}", path=path
            ) from None

    def _read(self, path: Path, read: Callable[[Any], Any], file: Any) -> Any:
        """What the metadata of a file tells."""
        try:
            return read(file.metadata.metadata)
        except CorruptObjectError as err:
            raise CorruptObjectError(err.message, path=path) from None

    def _chosen(self, path: Path, raw: Any) -> dict[str, str]:
        """Which columns are read, and what they are called here."""
        if len(set(raw.names)) < len(raw.names):
            raise InvalidInputError(f"'{path}' has two columns of one name")
        found: dict[str, str] = {}
        ours = {theirs: ours for ours, theirs in self._theirs.items()}
        for name in raw.names:
            named = ours.get(name, name)
            if name not in ours and name in self._theirs:
                self.left_out.append(f"'{name}', as '{self._theirs[name]}' is read for it")
            elif named == MODULE:
                self.left_out.append(f"'{name}', the policy that acted")
            elif named not in COLUMNS and not may_be_numbers(self._pyarrow, raw.field(name).type):
                self.left_out.append(f"'{name}', which holds no numbers")
            else:
                found[name] = named
        there = set(found.values())
        flag = DONE if DONE in there else TERMINATED
        for needed in (EPISODE, OBSERVATION, ACTION, REWARD, flag):
            if needed not in there:
                raise InvalidInputError(
                    f"'{path}' has no column '{self._theirs.get(needed, needed)}'",
                    hint=_ITEM_HINT if raw.names == ["item"] else f"it has {', '.join(raw.names)}",
                )
        return found

    def _check(self, path: Path) -> None:
        """Check that a file has what the first has."""
        with self._opened(path) as file:
            raw = file.schema_arrow
            is_same = dump_json(self._read(path, read_about, file)) == dump_json(self.about)
        for theirs, ours in self._names.items():
            kind = self.schema.field(ours).type
            if theirs not in raw.names or raw.field(theirs).type != kind:
                there = raw.field(theirs).type if theirs in raw.names else "not"
                raise InvalidInputError(
                    f"'{theirs}' is {there} in '{path}' and {kind} in '{self._paths[0]}'"
                )
        if not is_same:
            raise InvalidInputError(
                f"'{path}' and '{self._paths[0]}' have other spaces or benchmarks",
                hint="import them one by one",
            )

    def _has(self, name: str) -> bool:
        return name in self.schema.names


def _paths(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    found = sorted(p for p in path.rglob(f"*{SUFFIX}") if p.is_file())
    if not found:
        raise NotFoundError(f"there are no files '*{SUFFIX}' in '{path}'")
    return found
