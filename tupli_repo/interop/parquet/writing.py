"""Datasets as folders of Parquet files with RLlib's column names.

Invariant: `import_parquet` of what is written gives the episodes back, equal in observations,
actions, rewards, flags, infos and what was told of them; no row holds steps of two episodes.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.episode import EpisodeData, Layout
from tupli_repo.codec.infos import INFO_PREFIX, INFO_TEXT
from tupli_repo.codec.samples import OFFSETS, unescape
from tupli_repo.codec.values import dump_json
from tupli_repo.curation import CuratedEpisodes
from tupli_repo.errors import InvalidInputError
from tupli_repo.interop.exporting import outgoing, read_all
from tupli_repo.interop.parquet import layout as layout_
from tupli_repo.interop.parquet.values import (
    arrow,
    arrow_of,
    has_numbers_for,
    numbers_of,
    type_of_numbers,
)
from tupli_repo.interop.placing import placed
from tupli_repo.interop.progress import OnProgress
from tupli_repo.optional import require
from tupli_repo.schema import EpisodeHeader
from tupli_repo.schema.interop import ExportReport

_GROUP_ROWS, _GROUP_BYTES = 1 << 16, 8 << 20
_FILE_BYTES, _FILE_TEXT_BYTES = 512 << 20, 4 << 20
_SHOWN = 12


def export_parquet(
    dataset: CuratedEpisodes, path: str | Path, *, on_progress: OnProgress | None = None
) -> ExportReport:
    """Write the steps of a dataset as Parquet files that RLlib reads, whole or not at all.

    A row is a step, in canonical order, in the columns that `layout` tells. A file ends
    between two episodes, at 512 MiB or 4 MiB of what is told of episodes. One episode and one row
    group, of 8 MiB or 65536 steps, are in memory at once.

    ``new_obs`` is written where every episode has its last observation: pyarrow before 24 reads no
    arrays of which one is missing. The environment is not written. In observations that are a Dict
    or Tuple, RLlib sees arrays of two axes and more flat, and a Tuple as a dictionary.

    Args:
        dataset: The episodes, all of the same spaces.
        path: A folder that is not there yet.
        on_progress: Told how many episodes are done, of how many.

    Raises:
        InvalidInputError: There are no episodes, a step filter is set, their spaces, shapes or
            dtypes differ, or Parquet has nothing for them (complex numbers, graphs); there is
            something at ``path``.
        MissingDependencyError: pyarrow is not installed.
        StorageIOError: The disk refused.
    """
    pyarrow = arrow("exporting to Parquet")
    repository, headers = outgoing(dataset)
    ids = [header.id for header in headers]
    described = [data for _, data in repository.read_episodes(ids, only="rewards")]
    left_out = []
    n_lacking = sum(not data.record["final_observation"] for data in described)
    if n_lacking:
        left_out.append(
            f"new_obs, as {n_lacking} episodes lack their last observation; RLlib reads such files"
            " with ignore_final_observation=True"
        )
    if len(dataset.benchmarks) > 1:
        left_out.append(f"which of the {len(dataset.benchmarks)} benchmarks an episode is of")
    layouts = [data.layout for data in described]
    _check_spaces(ids, layouts)
    rows = _Rows(pyarrow, layouts, with_next=not n_lacking)
    words = dataset.benchmarks[0].metadata.model_dump() if dataset.benchmarks else {}
    about = layout_.about_text((layouts[0].observation, layouts[0].action), words)
    del described, layouts
    with placed(Path(path)) as made:
        made.mkdir()
        files = _Files(pyarrow, made, about)
        try:
            for header, data in read_all(repository, headers, on_progress):
                files.add(header.id, rows.table(header, data), data.record)
        finally:
            files.close()
    return ExportReport(
        format="parquet",
        path=str(path),
        n_episodes=len(ids),
        n_steps=files.n_rows,
        left_out=tuple(left_out),
    )


class _Rows:
    """Makes the rows of episodes, all with the same columns.

    Args:
        pyarrow: The package.
        layouts: The layouts of the episodes.
        with_next: Whether all have their last observation, and rows what followed.
    """

    def __init__(self, pyarrow: ModuleType, layouts: list[Layout], *, with_next: bool) -> None:
        self._pyarrow, self._with_next = pyarrow, with_next
        self._kinds, has_text = _info_kinds(layouts)
        fields = [
            pyarrow.field(unescape(name.removeprefix(INFO_PREFIX)), self._type(name))
            for name in self._kinds
        ]
        if has_text:
            fields.append(pyarrow.field(layout_.OTHER_INFO, pyarrow.string()))
        self._info_fields = fields
        self._schema: Any = None

    def table(self, header: EpisodeHeader, data: EpisodeData) -> Any:
        """Return the rows of an episode as a table.

        Raises:
            InvalidInputError: Parquet has nothing for them, or they are not as those before.
        """
        pyarrow, columns, n = self._pyarrow, data.columns, data.n_steps
        trees, has_final = data.layout, data.record["final_observation"]
        seen = arrow_of(pyarrow, trees.observation, columns, "observations", n + has_final)
        found = {
            layout_.EPISODE: pyarrow.repeat(header.id, n),
            layout_.STEP: pyarrow.array(np.arange(n)),
            layout_.OBSERVATION: seen.slice(0, n),
            layout_.ACTION: arrow_of(pyarrow, trees.action, columns, "actions", n),
            layout_.REWARD: numbers_of(pyarrow, data.rewards, "rewards"),
            layout_.TERMINATED: pyarrow.array(data.terminated),
            layout_.TRUNCATED: pyarrow.array(data.truncated),
        }
        if self._with_next:
            found[layout_.NEXT] = seen.slice(1)
        if self._info_fields:
            found[layout_.INFO] = self._infos(data)
        table = pyarrow.table(found)
        self._schema = table.schema if self._schema is None else self._schema
        for field in table.schema:
            first = self._schema.field(field.name).type
            if field.type != first:
                raise InvalidInputError(
                    f"'{field.name}' is {field.type} in episode '{header.id[:_SHOWN]}' and {first}"
                    " before",
                    hint="choose the episodes of one benchmark",
                )
        return table

    def _type(self, name: str) -> Any:
        return type_of_numbers(self._pyarrow, *self._kinds[name])

    def _infos(self, data: EpisodeData) -> Any:
        """The infos of an episode as structs."""
        pyarrow, n = self._pyarrow, data.n_steps
        values, others = [], set()
        for name, column in data.columns.items():
            if name.startswith(INFO_PREFIX) and self._kinds.get(name) != _kind(column):
                others.add(unescape(name.removeprefix(INFO_PREFIX)))
        for name, field in zip(self._kinds, self._info_fields, strict=False):
            typed = data.columns.get(name)
            if typed is None or self._kinds[name] != _kind(typed):
                values.append(pyarrow.nulls(n, field.type))
            else:
                values.append(numbers_of(pyarrow, typed, name))
        if len(self._info_fields) > len(self._kinds):
            values.append(pyarrow.array(_other_infos(data, others), pyarrow.string()))
        return pyarrow.StructArray.from_arrays(values, fields=self._info_fields)


class _Files:
    """Files of a folder, one after the other, each with the metadata of its episodes.

    Args:
        pyarrow: The package.
        folder: Where they go.
        about: What the metadata of each tells.

    Attributes:
        n_rows: How many rows were added.
    """

    def __init__(self, pyarrow: ModuleType, folder: Path, about: Mapping[bytes, bytes]) -> None:
        self._pyarrow, self._folder, self._about = pyarrow, folder, about
        self._parquet = require("pyarrow.parquet", needed_for="exporting to Parquet")
        self._writer: Any = None
        self._pending: list[Any] = []
        self._texts: list[bytes] = []
        self._n_files = self._n_bytes = self._n_text_bytes = 0
        self._n_pending_rows = self._n_pending_bytes = 0
        self.n_rows = 0

    def add(self, oid: str, table: Any, record: Mapping[str, Any]) -> None:
        """Add the rows of an episode, and what is told of it."""
        text = dump_json(layout_.episode_fields(oid, record), name="episode")
        too_long = self._n_text_bytes + len(text) > _FILE_TEXT_BYTES
        if self._texts and (too_long or self._n_bytes >= _FILE_BYTES):
            self.close()
        self._texts.append(text)
        self._n_text_bytes += len(text)
        self.n_rows += table.num_rows
        self._n_bytes += table.nbytes
        self._n_pending_rows += table.num_rows
        self._n_pending_bytes += table.nbytes
        self._pending.append(table)
        if self._n_pending_rows >= _GROUP_ROWS or self._n_pending_bytes >= _GROUP_BYTES:
            self._write()

    def close(self) -> None:
        """Write what is left, and end the file."""
        self._write()
        if self._writer is not None:
            names = self._writer.schema.names
            told = layout_.episodes_text(self._about, names, self._texts)
            self._writer.add_key_value_metadata(told)
            self._writer.close()
        self._writer, self._texts = None, []
        self._n_bytes = self._n_text_bytes = 0

    def _write(self) -> None:
        if not self._pending:
            return
        table = self._pyarrow.concat_tables(self._pending)
        self._pending, self._n_pending_rows, self._n_pending_bytes = [], 0, 0
        if self._writer is None:
            self._writer = self._parquet.ParquetWriter(
                self._folder / f"part-{self._n_files:05d}{layout_.SUFFIX}",
                table.schema.with_metadata(self._about),
                compression="zstd",
                write_page_checksum=True,
            )
            self._n_files += 1
        per_group = max(1, min(_GROUP_ROWS, _GROUP_BYTES * table.num_rows // max(1, table.nbytes)))
        self._writer.write_table(table, row_group_size=per_group)


_Kind = tuple[np.dtype[Any], tuple[int, ...]]


def _check_spaces(ids: list[str], layouts: list[Layout]) -> None:
    first, seen = dump_json([layouts[0].observation, layouts[0].action]), {id(layouts[0])}
    for oid, layout in zip(ids, layouts, strict=True):
        if id(layout) in seen:
            continue
        if dump_json([layout.observation, layout.action]) != first:
            raise InvalidInputError(
                f"episode '{oid[:_SHOWN]}' has other spaces than the first",
                hint="choose the episodes of one benchmark",
            )
        seen.add(id(layout))


def _info_kinds(layouts: list[Layout]) -> tuple[dict[str, _Kind], bool]:
    """Of the columns of infos that become fields the dtype and shape; whether there is more."""
    kinds: dict[str, set[_Kind]] = {}
    has_text, different = False, {id(layout): layout for layout in layouts}.values()
    n_having = Counter(c.name for layout in different for c in layout.columns)
    for layout in different:
        for column in layout.columns:
            if column.name.startswith(INFO_PREFIX):
                kinds.setdefault(column.name, set()).add((column.dtype, column.shape))
            has_text |= column.name == INFO_TEXT
    found = {}
    for name in sorted(kinds):
        kind, *others = kinds[name]
        # many a pyarrow that writes lists of fixed size of which some are missing cannot read them
        can_miss = not kind[1] or n_having[name] == len(different)
        if not others and can_miss and has_numbers_for(*kind) and _is_field(name):
            found[name] = kind
    return found, has_text or len(found) < len(kinds)


def _is_field(name: str) -> bool:
    """Whether the key of an info's column can be the name of a field."""
    key = unescape(name.removeprefix(INFO_PREFIX))
    is_unicode = not any("\ud800" <= char <= "\udfff" for char in key)
    return bool(key) and key != layout_.OTHER_INFO and is_unicode


def _kind(column: NDArray[Any]) -> _Kind:
    return column.dtype, column.shape[1:]


def _other_infos(data: EpisodeData, keys: set[str]) -> list[str | None]:
    """Of each step the JSON of what has no field of its own: what had no column, and ``keys``."""
    if not keys:
        if INFO_TEXT not in data.columns:
            return [None] * data.n_steps
        text, ends = data.columns[INFO_TEXT].tobytes(), data.columns[INFO_TEXT + OFFSETS].tolist()
        starts = [0, *ends[:-1]]
        return [text[a:b].decode() or None for a, b in zip(starts, ends, strict=True)]
    typed = {
        unescape(name.removeprefix(INFO_PREFIX))
        for name in data.columns
        if name.startswith(INFO_PREFIX)
    }
    kept = [{k: v for k, v in info.items() if k not in typed - keys} for info in data.infos]
    return [dump_json(one, name="infos").decode() if one else None for one in kept]
