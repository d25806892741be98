"""D4RL's flat HDF5 files, in and out: one array per field, with a row per step.

Episodes end where ``terminals`` or ``timeouts`` is set. Where the file has no
``next_observations``, the last observation of an episode is not in it: T rows, not T+1.

Invariant: what `export_d4rl` wrote of an imported file has its arrays, equal in values and dtypes;
``timeouts`` is set besides where an episode ended without a flag before the last row.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.env.document import one_line
from tupli_repo.codec.episode import EpisodeData
from tupli_repo.codec.infos import INFO_PREFIX, INFO_TEXT
from tupli_repo.codec.samples import unescape
from tupli_repo.curation import CuratedEpisodes
from tupli_repo.errors import CorruptObjectError, InvalidInputError, TupliError
from tupli_repo.interop.exporting import outgoing, read_all
from tupli_repo.interop.flat import Flat, episodes_of_pieces
from tupli_repo.interop.importing import (
    Source,
    benchmark_for,
    checked_name,
    existing,
    hdf5,
    record_all,
    reference_scores,
    store_source,
)
from tupli_repo.interop.placing import placed
from tupli_repo.interop.progress import OnProgress
from tupli_repo.repository import Repository
from tupli_repo.runs import are_last, with_cuts
from tupli_repo.schema.interop import ExportReport, ImportReport

_NEEDED = ("observations", "actions", "rewards", "terminals")
_FLAGS = ("terminals", "timeouts")
_FIELDS = {*_NEEDED, "timeouts", "next_observations"}
_METADATA = "metadata/"
_NOT_WRITTEN = {
    "seed": "the seeds",
    "options": "the options of reset",
    "reset_info": "what reset returned beside the observation",
    "metadata": "the metadata",
}
"""What a record tells that the file has no place for."""
_BUFFERED_ROWS = 1 << 15


def import_d4rl(
    repository: Repository,
    path: str | Path,
    *,
    name: str | None = None,
    benchmark_id: str | None = None,
    piece_bytes: int = 64 << 20,
    on_progress: OnProgress | None = None,
) -> ImportReport:
    """Record the episodes of a D4RL file; durable when this returns.

    What lies below ``infos`` with a row per step becomes infos; ``metadata`` and the file's
    attributes become the benchmark's text, and reference scores its ``extra``. An episode also ends
    where the next row does not go on from ``next_observations``; what is left behind the last flag
    is an episode of its own, without one.

    Args:
        repository: Where they go.
        path: The file.
        name: What the benchmark is called; the file's name where None.
        benchmark_id: A benchmark that is here already; none is made then, and the file's own
            metadata is not kept.
        piece_bytes: About how much is read at once; no more is held than this and an episode.
        on_progress: Told how many episodes are done, of how many.

    Raises:
        NotFoundError: There is no such file, or ``benchmark_id`` is not here.
        CorruptObjectError: It is no file of D4RL's.
        InvalidInputError: Its arrays have different numbers of rows, or none.
        MissingDependencyError: h5py is not installed.
        StorageIOError: The disk refused.
    """
    h5py = hdf5("importing from D4RL")
    try:
        file = h5py.File(existing(path), "r")
    except OSError as err:
        raise CorruptObjectError(f"'{path}' is no HDF5 file: {one_line(err)}") from None
    with file:
        with _readable(f"'{path}'"):
            found = _File(h5py, file, path)
        oid = benchmark_for(
            repository,
            benchmark_id,
            lambda: store_source(
                repository,
                checked_name(Path(path).stem if name is None else name),
                extra={"source": "d4rl", **reference_scores(found.about)},
                text={"format": "d4rl", "metadata": found.about},
            ),
        )
        left_out = found.left_out
        if benchmark_id is not None and found.about:
            left_out.append("the file's metadata, as the episodes are of a benchmark of yours")
        n_rows = max(1, piece_bytes // found.row_bytes)
        source = Source(
            format="d4rl", path=str(path), benchmark_id=oid, n_episodes=found.count(n_rows)
        )
        episodes = episodes_of_pieces(found.pieces(n_rows))
        return record_all(repository, episodes, source, left_out, on_progress)


class _File:
    """What a file holds: arrays with a row per step, read by pieces, and words about them."""

    def __init__(self, h5py: Any, file: Any, path: str | Path) -> None:
        arrays: dict[str, Any] = {}

        def note(key: str | bytes, node: Any) -> None:
            if isinstance(node, h5py.Dataset):
                arrays[key if isinstance(key, str) else key.decode(errors="replace")] = node

        file.visititems(note)
        missing = [field for field in _NEEDED if field not in arrays]
        if missing:
            raise CorruptObjectError(f"'{path}' is no file of D4RL's: it lacks '{missing[0]}'")
        self._path = path
        self._n = arrays["rewards"].shape[0] if arrays["rewards"].ndim else 0
        self._arrays = {key: node for key, node in arrays.items() if key in _FIELDS}
        self.left_out: list[str] = []
        for key, node in arrays.items():
            is_row = node.ndim > 0 and node.shape[0] == self._n and node.dtype.kind in "biufc"
            if key.startswith(INFO_PREFIX) and is_row:
                self._arrays[key] = node
            elif key not in _FIELDS and not key.startswith(_METADATA):
                self.left_out.append(f"'{key}', which is none of D4RL's arrays of numbers")
        self.about = {key: _plain(value) for key, value in file.attrs.items()} | {
            key.removeprefix(_METADATA): _plain(node[()])
            for key, node in arrays.items()
            if key.startswith(_METADATA)
        }
        for key, node in self._arrays.items():
            rows = node.shape[0] if node.ndim else "no"
            if rows != self._n or (key in _FLAGS and node.size != self._n):
                raise InvalidInputError(f"there are {self._n} rewards and {rows} rows of '{key}'")
        if not self._n:
            raise InvalidInputError("there are no steps")
        self.row_bytes = sum(node.nbytes for node in self._arrays.values()) // self._n + 1

    def count(self, n_rows: int) -> int:
        """How many episodes there are at least, by the flags."""
        n = 0
        last = False
        for rows in self._cuts(n_rows):
            flags = self._flags("terminals", rows) | self._flags("timeouts", rows)
            n += int(np.count_nonzero(flags))
            last = bool(flags[-1])
        return n + (not last)

    def pieces(self, n_rows: int) -> Iterator[Flat]:
        """Iterate over the steps, some at a time."""
        for rows in self._cuts(n_rows):
            rewards = self._read("rewards", rows)
            yield Flat(
                observations=self._read("observations", rows),
                actions=self._read("actions", rows),
                rewards=rewards.reshape(-1) if rewards.shape[1:] == (1,) else rewards,
                terminals=self._flags("terminals", rows),
                timeouts=self._flags("timeouts", rows),
                next_observations=(
                    self._read("next_observations", rows)
                    if "next_observations" in self._arrays
                    else None
                ),
                infos={
                    key.removeprefix(INFO_PREFIX): self._read(key, rows)
                    for key in self._arrays
                    if key.startswith(INFO_PREFIX)
                },
            )

    def _cuts(self, n_rows: int) -> Iterator[slice]:
        return (slice(at, min(at + n_rows, self._n)) for at in range(0, self._n, n_rows))

    def _flags(self, key: str, rows: slice) -> NDArray[np.bool_]:
        if key not in self._arrays:
            return np.zeros(rows.stop - rows.start, bool)
        return self._read(key, rows).astype(bool).reshape(-1)

    def _read(self, key: str, rows: slice) -> NDArray[Any]:
        with _readable(f"'{key}' of '{self._path}'"):
            found: NDArray[Any] = self._arrays[key][rows]
        return found


def export_d4rl(
    dataset: CuratedEpisodes, path: str | Path, *, on_progress: OnProgress | None = None
) -> ExportReport:
    """Write the steps of a dataset as a D4RL file, in canonical order, whole or not at all.

    ``terminals`` and ``timeouts`` are what was recorded; an episode that ended without either has
    its last ``timeouts`` set unless it is the last, or the next one would run into it.
    ``next_observations`` is written where every episode has its last observation. Where a step
    filter leaves out what follows a step, ``timeouts`` is set, too: no reader goes across a gap.

    Args:
        dataset: The episodes, or the steps of them that pass its filters.
        path: A file that is not there yet.
        on_progress: Told how many episodes are done, of how many.

    Raises:
        InvalidInputError: There are no steps, their spaces are composite, or they have different
            shapes or dtypes; there is something at ``path``.
        MissingDependencyError: h5py is not installed.
        StorageIOError: The disk refused.
    """
    h5py = hdf5("exporting to D4RL")
    repository, headers = outgoing(dataset, in_steps=True)
    ids = [header.id for header in headers]
    kept = dataset.kept_steps
    if not kept.any():
        raise InvalidInputError("there are no steps to export", hint="preview() shows the episodes")
    described = [data for _, data in repository.read_episodes(ids, only="rewards")]
    n_lacking = sum(not data.record["final_observation"] for data in described)
    infos = set.intersection(*map(_info_names, described))
    left_out = []
    if n_lacking:
        left_out.append(f"next_observations, as {n_lacking} episodes lack their last observation")
    others = set().union(*map(_info_names, described)) - infos
    left_out += (
        f"info '{unescape(one[len(INFO_PREFIX) :])}', which not all have" for one in sorted(others)
    )
    if any(INFO_TEXT in {c.name for c in data.layout.columns} for data in described):
        left_out.append("infos that not every step has as a number")
    for key, what in _NOT_WRITTEN.items():
        n = sum(data.record[key] not in (None, {}) for data in described)
        left_out += [f"{what}, of {n} episodes"] if n else []
    n_cut = 0
    with placed(Path(path)) as made, h5py.File(made, "w") as file:
        columns = _Columns(file)
        for i, (header, data) in enumerate(read_all(repository, headers, on_progress)):
            rows = _rows(header.id, data, infos, with_next=not n_lacking)
            n_cut += bool(np.any((rows["terminals"] | rows["timeouts"])[:-1]))
            own, kept = np.flatnonzero(kept[: data.n_steps]), kept[data.n_steps :]
            last = are_last(own, np.array([data.n_steps]))
            if i == len(ids) - 1 and own.size and own[-1] == data.n_steps - 1:
                last[-1] = False  # nothing follows
            rows = {name: array[own] for name, array in rows.items()}
            rows["timeouts"] = with_cuts(rows["timeouts"], rows["terminals"], last)
            columns.add(header.id, rows)
        n_steps = columns.close()
    if n_cut:
        left_out.append(f"that {n_cut} episodes go on behind a flag, where a reader cuts them")
    return ExportReport(
        format="d4rl",
        path=str(path),
        n_episodes=len(ids),
        n_steps=n_steps,
        left_out=tuple(left_out),
    )


class _Columns:
    """Datasets that grow by the rows of episodes, some thousands at once."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._pending: dict[str, list[NDArray[Any]]] = {}
        self._kinds: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        self._n_pending = self._n_written = 0

    def add(self, oid: str, rows: Mapping[str, NDArray[Any]]) -> None:
        """Add an episode's rows."""
        for name, array in rows.items():
            kind = array.dtype, array.shape[1:]
            first = self._kinds.setdefault(name, kind)
            if kind != first:
                raise InvalidInputError(
                    f"'{name}' is {kind[0]}{list(kind[1])} in episode '{oid[:12]}' and"
                    f" {first[0]}{list(first[1])} before",
                    hint="choose the episodes of one benchmark",
                )
            self._pending.setdefault(name, []).append(array)
        self._n_pending += len(rows["rewards"])
        if self._n_pending >= _BUFFERED_ROWS:
            self._write()

    def close(self) -> int:
        """Write what is left; return how many rows there are."""
        self._write()
        return self._n_written

    def _write(self) -> None:
        end = self._n_written + self._n_pending
        for name, arrays in self._pending.items():
            joined = np.concatenate(arrays)
            if not self._n_written:
                shape = (None, *joined.shape[1:])
                self._file.create_dataset(name, data=joined, maxshape=shape, chunks=True)
            else:
                self._file[name].resize(end, axis=0)
                self._file[name][self._n_written :] = joined
        self._pending.clear()
        self._n_written, self._n_pending = end, 0


def _rows(
    oid: str, data: EpisodeData, infos: set[str], *, with_next: bool
) -> dict[str, NDArray[Any]]:
    """The arrays of one episode, T rows each."""
    columns, n = data.columns, data.n_steps
    for name in ("observations", "actions"):
        if name not in columns or f"{name}#offsets" in columns:
            raise InvalidInputError(
                f"'{name}' of episode '{oid[:12]}' is no array, and D4RL has nothing else",
                hint="'tupli export NAME minari PATH' keeps composite spaces",
            )
    observations = columns["observations"]
    found = {
        "observations": observations[:n],
        "actions": columns["actions"],
        "rewards": columns["rewards"],
        "terminals": columns["terminated"],
        "timeouts": columns["truncated"],
    }
    if with_next:
        found["next_observations"] = observations[1:]
    return found | {
        INFO_PREFIX + unescape(name[len(INFO_PREFIX) :]): columns[name] for name in infos
    }


def _info_names(data: EpisodeData) -> set[str]:
    return {c.name for c in data.layout.columns if c.name.startswith(INFO_PREFIX)}


@contextmanager
def _readable(what: str) -> Iterator[None]:
    """Tell in one line what h5py says of damage, for which it has errors of many types."""
    try:
        yield
    except TupliError:
        raise
    except (KeyError, OSError, RuntimeError, TypeError, ValueError) as err:
        raise CorruptObjectError(f"{what} cannot be read: {one_line(err)}") from None


def _plain(value: Any) -> Any:
    """A value of the file's metadata that can be stored."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [_plain(item) for item in value.tolist()]
    return value
