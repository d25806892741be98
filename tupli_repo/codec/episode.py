"""Episodes as record, layout and data, and back.

The *record* is the small body of an episode object; the *layout* tells spaces and columns and is
shared by the episodes of a benchmark; the *data* are the columns' blobs. An episode is decoded
from these alone.

Observations have T+1 rows where the last one is known (row 0 is what ``reset`` returned),
everything else has T. Infos become a typed column per key where every step has the key with one
dtype and shape; what is left is JSON text, one per step.

Invariant: `decode` gives back what `encode` was given: values, dtypes, missing things.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from gymnasium import Space
from numpy.typing import NDArray

from tupli_repo.codec.arrays import Items, stack
from tupli_repo.codec.columns import ColumnSpec, decode_columns, encode_columns
from tupli_repo.codec.episode_record import FORMAT, is_format
from tupli_repo.codec.infos import INFO_TEXT, info_columns, infos_from_columns, storable_items
from tupli_repo.codec.samples import (
    OFFSETS,
    Columns,
    column_names,
    columns_from_samples,
    free_columns,
    samples_from_columns,
)
from tupli_repo.codec.spaces import Described, Tree, build_space, described
from tupli_repo.codec.values import (
    SMALL_JSON_BYTES,
    dtype_name,
    dump_json,
    load_json,
    parse_dtype,
    size_bound,
)
from tupli_repo.codec.views import View
from tupli_repo.errors import CorruptObjectError, EncodingError, InvalidInputError
from tupli_repo.schema.display import card, shape_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """One episode as it was seen, step by step.

    Args:
        observations: T+1 samples, or T where the last is not known.
        actions: T samples; ``actions[t]`` was taken in ``observations[t]``.
        rewards: T numbers (or arrays), for ``actions[t]``.
        terminated: T flags.
        truncated: T flags.
        infos: T dictionaries, as the steps returned them.
        reset_info: What ``reset`` returned beside the observation.
        metadata: What the user says about the episode.
        seed: The seed handed to ``reset``, if one was.
        options: The options handed to ``reset``, if any were.
        rng: The state of the environment's generator before a seedless reset.
        abandoned: Whether it was left in the middle: the last ``truncated`` is the recorder's word,
            not the environment's.
        created_at: When it ended, in UTC, as `tupli_repo.schema.utc_now` writes it; now if empty.
        created_by: Who made it; the user of the repository it is recorded in, if empty.
        nonce: 16 hex digits that tell it from another episode that went the same way; random where
            empty. Recorded again with the same time and nonce, an episode is still one.
    """

    observations: Items
    actions: Items
    rewards: Items
    terminated: Items
    truncated: Items
    infos: Sequence[Mapping[Any, Any]]
    reset_info: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    options: Mapping[str, Any] | None = None
    rng: Mapping[str, Any] | None = None
    abandoned: bool = False
    created_at: str = ""
    created_by: str = ""
    nonce: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedEpisode:
    """What is stored of an episode, and what could not be.

    Args:
        record: The fields of the record, for `encode_record`.
        layout: The body of the layout blob.
        data: The bodies of the data blobs.
        problems: Items that cannot be stored and were left out.
    """

    record: dict[str, Any]
    layout: bytes
    data: list[bytes]
    problems: list[EncodingError]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The spaces and columns that the episodes of a benchmark share."""

    observation: Tree
    action: Tree
    columns: tuple[ColumnSpec, ...]

    @property
    def observation_space(self) -> Space[Any] | None:
        """The observation space, None where it is not known."""
        return build_space(self.observation)

    @property
    def action_space(self) -> Space[Any] | None:
        """The action space, None where it is not known."""
        return build_space(self.action)


def encode(
    steps: Steps,
    *,
    observation_space: Space[Any] | None = None,
    action_space: Space[Any] | None = None,
) -> EncodedEpisode:
    """Return what is to be stored of an episode.

    Args:
        steps: The episode.
        observation_space: The space of its observations, where it is known.
        action_space: The space of its actions, where it is known.

    Raises:
        InvalidInputError: It has no steps, or lists of different lengths.
        EncodingError: Observations, actions or rewards cannot be stored. What cannot be stored of
            infos, metadata and options is left out and reported in ``problems``.
    """
    n_steps = _check_lengths(steps)
    observations, actions = _unmapped(steps.observations), _unmapped(steps.actions)
    observation = described(observation_space, observations[0])
    action = described(action_space, actions[0])
    columns = columns_from_samples(observation.tree, observations, "observations")
    n_seen = dict.fromkeys(columns, len(observations))
    columns |= columns_from_samples(action.tree, actions, "actions")
    columns["rewards"] = stack(_unmapped(steps.rewards), "rewards", as_floats=True)
    columns["terminated"] = np.asarray(steps.terminated, dtype=bool)
    columns["truncated"] = np.asarray(steps.truncated, dtype=bool)
    problems: list[EncodingError] = []
    columns |= info_columns(steps.infos, problems)

    record: dict[str, Any] = {
        "abandoned": steps.abandoned,
        "final_observation": len(observations) == n_steps + 1,
        "format": FORMAT,
        "lengths": {
            name: len(column)
            for name, column in columns.items()
            if len(column) != n_seen.get(name, n_steps)
        },
        "metadata": storable_items(steps.metadata, "metadata", problems) or {},
        "n_steps": n_steps,
        "options": storable_items(steps.options, "options", problems),
        "reset_info": storable_items(steps.reset_info, "reset_info", problems) or {},
        "rng": storable_items(steps.rng, "rng", problems),
        "seed": None if steps.seed is None else int(steps.seed),
        "terminated": bool(columns["terminated"][-1]),
        "truncated": bool(columns["truncated"][-1]),
    }
    shapes = tuple([(name, column.dtype, column.shape[1:]) for name, column in columns.items()])
    is_known = observation.is_known and action.is_known
    layout = (_encode_layout if is_known else _encode_layout.__wrapped__)(
        observation, action, shapes
    )
    return EncodedEpisode(
        record=_of_storable_size(record, problems),
        layout=layout,
        data=encode_columns(list(columns.values())),
        problems=problems,
    )


def _of_storable_size(record: dict[str, Any], problems: list[EncodingError]) -> dict[str, Any]:
    """The record without its largest parts where it is too large; each alone can be stored."""
    parts = filter(None, (record[name] for name in ("metadata", "options", "reset_info", "rng")))
    if sum(map(size_bound, parts)) <= SMALL_JSON_BYTES:
        return record
    kept: dict[str, Any] = storable_items(record, "episode", problems)
    return kept


@lru_cache(maxsize=64)  # the episodes of a benchmark share one
def _encode_layout(
    observation: Described,
    action: Described,
    columns: tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...],
) -> bytes:
    layout = {
        "action_space": action.tree,
        "columns": [
            [name, dtype_name(dtype, name=name), list(shape)] for name, dtype, shape in columns
        ],
        "format": FORMAT,
        "observation_space": observation.tree,
    }
    return dump_json(layout, name="layout")


def decode_layout(body: bytes) -> Layout:
    """Return the layout of a layout blob's body.

    Raises:
        CorruptObjectError: It is no such body; the caller knows the object.
    """
    layout = load_json(body)
    try:
        columns = tuple(_column_spec(*column) for column in layout["columns"])
        found = Layout(
            observation=layout["observation_space"],
            action=layout["action_space"],
            columns=columns,
        )
        names = {column.name for column in columns}
        required = {"rewards", "terminated", "truncated"}
        required |= set(column_names(found.observation, "observations"))
        required |= set(column_names(found.action, "actions"))
    except (IndexError, KeyError, TypeError, ValueError, RecursionError):  # arrays may stand there
        raise CorruptObjectError("an episode's layout is malformed") from None
    by_name = {column.name: column for column in columns}
    flags = [by_name.get(name) for name in ("terminated", "truncated")]
    is_well_formed = (
        is_format(layout)
        and len(names) == len(columns)
        and required <= names
        and all(flag is not None and flag[1:] == (np.dtype(bool), ()) for flag in flags)
        and (INFO_TEXT in names) == (INFO_TEXT + OFFSETS in names)
    )
    if not is_well_formed:
        raise CorruptObjectError("an episode's layout is malformed")
    return found


class EpisodeData:
    """One recorded episode: its columns as exact arrays, and views of them step by step.

    Args:
        record: The decoded record.
        layout: The decoded layout.
        columns: The decoded columns, by name.

    Attributes:
        columns: Arrays by name: ``observations`` (T+1 rows where the last is known), ``actions``,
            ``rewards``, ``terminated``, ``truncated`` and ``infos/KEY`` (T rows); the parts of
            composite spaces are named ``observations/camera``.
    """

    def __init__(self, record: Mapping[str, Any], layout: Layout, columns: Columns) -> None:
        self.record = record
        self.layout = layout
        self.columns = columns

    def __len__(self) -> int:
        return self.n_steps

    @property
    def n_steps(self) -> int:
        """T, the number of actions."""
        n: int = self.record["n_steps"]
        return n

    @property
    def observations(self) -> View[Any]:
        """The observations: T+1 samples, or T where the last is not known."""
        length = self.n_steps + self.record["final_observation"]
        tree = self.layout.observation
        return samples_from_columns(tree, self.columns, "observations", length)

    @property
    def actions(self) -> View[Any]:
        """The T actions."""
        return samples_from_columns(self.layout.action, self.columns, "actions", self.n_steps)

    @property
    def rewards(self) -> NDArray[Any]:
        """The T rewards, in the dtype they had."""
        return self.columns["rewards"]

    @property
    def terminated(self) -> NDArray[np.bool_]:
        """T flags: the step reached a terminal state."""
        return self.columns["terminated"]

    @property
    def truncated(self) -> NDArray[np.bool_]:
        """T flags: the episode was cut off after the step."""
        return self.columns["truncated"]

    @property
    def infos(self) -> View[dict[str, Any]]:
        """The T info dictionaries."""
        return infos_from_columns(self.columns, self.n_steps)

    def _repr_html_(self) -> str:
        """Return it as a table, for a notebook."""
        facts: dict[str, object] = {"steps": self.n_steps}
        if self.rewards.ndim == 1:
            facts["return"] = float(self.rewards.sum())
        return card("EpisodeData", facts | {k: shape_of(v) for k, v in self.columns.items()})

    def __repr__(self) -> str:
        shapes = ", ".join(f"{k}: {v.dtype}{list(v.shape)}" for k, v in self.columns.items())
        return f"EpisodeData(n_steps={self.n_steps}, {shapes})"


def decode(record: Mapping[str, Any], layout: Layout, data: Sequence[bytes]) -> EpisodeData:
    """Return an episode from its parts.

    Args:
        record: What `decode_record` returned.
        layout: What `decode_layout` returned.
        data: The bodies of the data blobs, in order.

    Raises:
        CorruptObjectError: The parts do not belong together; the caller knows the object.
    """
    columns = decode_columns(layout.columns, rows_of(record, layout), data)
    return EpisodeData(record, layout, columns)


def rows_of(record: Mapping[str, Any], layout: Layout) -> list[int]:
    """Return how many rows each column of the layout has in an episode.

    Raises:
        CorruptObjectError: The record does not say so properly; the caller knows the object.
    """
    lengths, final = record["lengths"], record["final_observation"]
    rows = [
        lengths.get(name, _expected_rows(name, record["n_steps"], final_observation=final))
        for name, _, _ in layout.columns
    ]
    free = {INFO_TEXT} | free_columns(layout.observation, "observations")
    free |= free_columns(layout.action, "actions")
    if not lengths.keys() <= free or any(type(n) is not int for n in rows):
        raise CorruptObjectError("an episode's record has no proper 'lengths'")
    return rows


def _expected_rows(name: str, n_steps: int, *, final_observation: bool) -> int:
    is_observation = name.startswith(("observations/", "observations#")) or name == "observations"
    return n_steps + 1 if is_observation and final_observation else n_steps


def _check_lengths(steps: Steps) -> int:
    n_steps = len(steps.actions)
    if n_steps == 0:
        raise InvalidInputError(
            "the episode has no steps", hint="an episode is recorded from its first step on"
        )
    for name in ("rewards", "terminated", "truncated", "infos"):
        if len(getattr(steps, name)) != n_steps:
            raise InvalidInputError(
                f"the episode has {n_steps} actions and {len(getattr(steps, name))} {name}"
            )
    if len(steps.observations) not in (n_steps, n_steps + 1):
        raise InvalidInputError(
            f"the episode has {n_steps} actions and {len(steps.observations)} observations",
            hint="there is one before each action and, where it is known, one after the last",
        )
    return n_steps


def _unmapped(items: Items) -> Items:
    """The same items; each view of a mapped file would be one, too, and that takes long."""
    return np.asarray(items) if isinstance(items, np.memmap) else items


def _column_spec(name: Any, dtype: Any, shape: Any) -> ColumnSpec:
    if not isinstance(name, str) or any(type(n) is not int or not 0 <= n < 2**31 for n in shape):
        raise CorruptObjectError("an episode's layout is malformed")
    spec = ColumnSpec(name, parse_dtype(dtype), tuple(shape))
    np.empty((0, *spec.shape), spec.dtype)  # a ValueError where numpy has no such arrays
    return spec
