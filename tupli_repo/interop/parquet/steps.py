"""Rows of Parquet files, as Arrow holds them, as the steps of episodes.

Invariant: every row of an episode is a step of exactly one of what is made of it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tupli_repo.codec.arrays import Items
from tupli_repo.codec.episode import Steps
from tupli_repo.codec.episode_record import FORMAT, decode_record
from tupli_repo.codec.infos import InfoColumns
from tupli_repo.codec.samples import OFFSETS, free_columns
from tupli_repo.codec.spaces import Tree
from tupli_repo.codec.values import dump_json, load_json
from tupli_repo.errors import InvalidInputError
from tupli_repo.interop.flat import Flat, ends_of
from tupli_repo.interop.parquet.layout import (
    ACTION,
    AGENT,
    COLUMNS,
    DONE,
    EPISODE,
    INFO,
    NEXT,
    OBSERVATION,
    OTHER_INFO,
    REWARD,
    STEP,
    TERMINATED,
    TRUNCATED,
)
from tupli_repo.interop.parquet.values import (
    columns_of,
    rows_of,
    samples_of,
    shape_of_field,
    tree_of_type,
)

_KEPT = (
    "abandoned", "created_at", "created_by", "metadata", "nonce", "options", "reset_info", "rng",
    "seed",
)  # fmt: skip
_PACKED = "BCJNGG"  # how base64 of an lz4 frame begins


@dataclass(slots=True)
class Part:
    """Rows of one episode.

    Args:
        key: Its ``eps_id``, and its ``agent_id`` where there is one.
        batches: Record batches, in the order they were read.
        told: What the file tells of it; nothing where the file is not ours.
    """

    key: tuple[Any, ...]
    batches: list[Any] = field(default_factory=list)
    told: Mapping[str, Any] = field(default_factory=dict)


class Rows:
    """Makes steps of rows.

    Args:
        pyarrow: The package.
        schema: The schema of the rows, by RLlib's names.
        trees: The trees of the spaces of observations and actions, where the files tell them.
        left_out: What cannot be taken over is added.
    """

    def __init__(
        self, pyarrow: ModuleType, schema: Any, trees: tuple[Any, Any] | None, left_out: list[str]
    ) -> None:
        self._pyarrow, self._schema, self._left_out = pyarrow, schema, left_out
        self._is_ours = trees is not None
        self._observation: Tree
        self._action: Tree
        self._observation, self._action = trees or (
            tree_of_type(pyarrow, schema.field(OBSERVATION).type),
            tree_of_type(pyarrow, schema.field(ACTION).type),
        )
        self._shapes = {one.name: shape_of_field(one) for one in schema}
        self._others = [name for name in schema.names if name not in COLUMNS]
        self._refused: set[str] = set()

    def episodes(self, part: Part) -> Iterator[Steps]:
        """Iterate over what the rows of one episode make: one, or several where it is cut.

        Raises:
            InvalidInputError: A value is missing, or is none that can be.
            CorruptObjectError: What the file tells of the episode is malformed.
        """
        rows = self._sorted(part)
        n = rows.num_rows
        steps = self._numbers(rows, STEP) if STEP in rows.column_names else np.arange(n)
        if not np.all(np.isfinite(steps)):
            raise InvalidInputError(f"a value of '{STEP}' is not a number, and tells no order")
        told: dict[str, Any] = {}
        if part.told:
            fields = {key: value for key, value in part.told.items() if key != "id"}
            body = dump_json({**fields, "format": FORMAT}, name="episode")
            told = decode_record(body)
        if told and told["n_steps"] == n and np.array_equal(steps, np.arange(n)):
            yield self._steps(rows, 0, n, {name: told[name] for name in _KEPT})
            return
        metadata = {EPISODE: part.key[0]}
        if len(part.key) > 1 and part.key[1] is not None:
            metadata[AGENT] = part.key[1]
        if self._is_ours:
            metadata |= told.get("metadata", {})
            self._left_out.append(
                f"what was told of episode '{part.key[0]}' but its metadata, as it is not whole"
            )
        start = 0
        for end in self._ends(rows, steps).tolist():
            first = {STEP: int(steps[start])} if steps[start] else {}
            yield self._steps(rows, start, end, {"metadata": metadata | first})
            start = end

    def _sorted(self, part: Part) -> Any:
        rows = self._pyarrow.Table.from_batches(part.batches).combine_chunks()
        if STEP in rows.column_names:
            steps = self._numbers(rows, STEP)
            if np.any(steps[1:] < steps[:-1]):
                rows = rows.take(np.argsort(steps, kind="stable")).combine_chunks()
        return rows

    def _steps(self, rows: Any, start: int, end: int, told: dict[str, Any]) -> Steps:
        """Some rows of an episode as one."""
        some = rows.slice(start, end - start)
        return Steps(
            observations=self._observations(rows, start, end),
            actions=self._samples(self._action, _one(some, ACTION), ACTION),
            rewards=self._numbers(some, REWARD),
            terminated=self._flags(some, TERMINATED if TERMINATED in some.column_names else DONE),
            truncated=self._flags(some, TRUNCATED),
            infos=self._infos(some),
            **told,
        )

    def _observations(self, rows: Any, start: int, end: int) -> Items:
        """What was seen before each step, and after the last where that is known."""
        seen = _one(rows, OBSERVATION).slice(start, end - start)
        following = _one(rows, NEXT).slice(end - 1, 1) if NEXT in rows.column_names else None
        if following is not None and not following.null_count:
            if following.type != seen.type:
                raise InvalidInputError(
                    f"'{OBSERVATION}' is {seen.type} and '{NEXT}' is {following.type}"
                )
            seen = self._pyarrow.concat_arrays([seen, following])
        return self._samples(self._observation, seen, OBSERVATION)

    def _samples(self, tree: Tree, array: Any, name: str) -> Items:
        found = samples_of(tree, array, name, shape=self._shapes[name])
        if tree["type"] == "Text" and not self._is_ours and found[0].startswith(_PACKED):
            raise InvalidInputError(
                f"'{name}' is packed by RLlib with pickle, which is never read",
                hint="write it with output_compress_columns=[]",
            )
        return found

    def _numbers(self, rows: Any, name: str) -> NDArray[Any]:
        return rows_of(_one(rows, name), name, shape=self._shapes[name])

    def _flags(self, rows: Any, name: str) -> NDArray[np.bool_]:
        if name not in rows.column_names:
            return np.zeros(rows.num_rows, bool)
        found = self._numbers(rows, name)
        flags = found.astype(bool)
        if found.ndim != 1 or not np.array_equal(flags, found):
            raise InvalidInputError(f"'{name}' holds something else than one flag per step")
        return flags

    def _ends(self, rows: Any, steps: NDArray[Any]) -> NDArray[np.int64]:
        """Where each episode ends in the rows of one."""
        seen, following = self._comparable(rows, OBSERVATION), None
        if seen and NEXT in rows.column_names and not _one(rows, NEXT).null_count:
            following = self._comparable(rows, NEXT)
        flat = Flat(
            observations=seen,
            actions=steps,
            rewards=steps,
            terminals=self._flags(rows, TERMINATED if TERMINATED in rows.column_names else DONE),
            timeouts=self._flags(rows, TRUNCATED),
            next_observations=following,
            episode_ids=np.cumsum([0, *(np.diff(steps) != 1)]),
        )
        return ends_of(flat)

    def _comparable(self, rows: Any, name: str) -> dict[str, NDArray[Any]]:
        """The columns of observations that have a row per step, named alike for both."""
        tree = self._observation
        found = columns_of(tree, _one(rows, name), name, shape=self._shapes[name])
        free = free_columns(tree, name)
        return {
            k.removeprefix(name): v
            for k, v in found.items()
            if k not in free and not k.endswith(OFFSETS)
        }

    def _infos(self, rows: Any) -> InfoColumns:
        typed: dict[str, NDArray[Any]] = {}
        rest: list[dict[str, Any]] = [{} for _ in range(rows.num_rows)]
        for name in self._others:
            try:
                typed[name] = self._numbers(rows, name)
            except InvalidInputError as err:
                self._refuse(name, err.message)
        if INFO in rows.column_names:
            infos = _one(rows, INFO)
            if self._pyarrow.types.is_struct(infos.type):
                self._add_infos(infos, typed, rest)
            elif infos.null_count < len(infos):
                self._refuse(INFO, f"'{INFO}' is of type '{infos.type}', where a struct is due")
        return InfoColumns(typed, rest)

    def _add_infos(
        self, infos: Any, typed: dict[str, NDArray[Any]], rest: list[dict[str, Any]]
    ) -> None:
        for one, values in zip(infos.type, infos.flatten(), strict=True):
            if values.null_count == len(values):
                continue
            if one.name == OTHER_INFO and self._is_ours:
                for info, text in zip(rest, values.to_pylist(), strict=True):
                    info.update(load_json(text.encode()) if text else {})
                continue
            if not values.null_count:
                try:
                    typed[one.name] = rows_of(values, one.name, shape=shape_of_field(one))
                except InvalidInputError:  # no numbers: each by itself
                    pass
                else:
                    continue
            for info, value in zip(rest, values.to_pylist(), strict=True):
                if value is not None:
                    info[one.name] = value

    def _refuse(self, name: str, why: str) -> None:
        if name not in self._refused:
            self._refused.add(name)
            self._left_out.append(f"'{name}' of some episodes: {why}")


def _one(rows: Any, name: str) -> Any:
    """A column of a table in one chunk."""
    column = rows.column(name)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
