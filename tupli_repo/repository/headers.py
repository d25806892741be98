"""Headers of episodes, and what the catalog keeps of them.

Invariant: a header says what its episode's record says.
"""

import gc
from collections.abc import Iterable, Mapping
from sys import intern
from typing import Any

from tupli_repo.catalog import EpisodeRow
from tupli_repo.schema import EpisodeHeader

_FIELDS = set(EpisodeHeader.model_fields)  # one for all: there may be a million headers
_new, _set = EpisodeHeader.__new__, object.__setattr__


def row_of(oid: str, benchmark_id: str, fields: Mapping[str, Any]) -> EpisodeRow:
    """Return an episode's row, made of the fields of its record.

    Args:
        oid: The episode's id.
        benchmark_id: The benchmark it was made in.
        fields: What `decode_record` returned.
    """
    return EpisodeRow(
        id=oid,
        benchmark_id=benchmark_id,
        created_at=fields["created_at"],
        created_by=fields["created_by"],
        n_tuples=fields["n_steps"],
        terminated=fields["terminated"],
        timeout=fields["truncated"],
        seed=fields["seed"],
        metadata=fields["metadata"],
        missing=(),
    )


def header_of(row: EpisodeRow) -> EpisodeHeader:
    """Return the header of a row; the row was checked, so that pydantic need not do it again.

    It is put together by hand: `model_construct` takes five times as long.
    """
    header = _new(EpisodeHeader)
    fields = {
        "id": row.id,
        "created_by": intern(row.created_by),
        "published_in": list(row.published_in),
        "created_at": row.created_at,
        "benchmark_id": intern(row.benchmark_id),
        "metadata": row.metadata,
        "n_tuples": row.n_tuples,
        "terminated": row.terminated,
        "timeout": row.timeout,
        "seed": row.seed,
    }
    _set(header, "__dict__", fields)
    _set(header, "__pydantic_fields_set__", _FIELDS)
    _set(header, "__pydantic_extra__", None)
    _set(header, "__pydantic_private__", None)
    return header


def listed(headers: Iterable[EpisodeHeader]) -> list[EpisodeHeader]:
    """Return headers as a list.

    Meanwhile no garbage is looked for: there is none among them, and looking through all of them
    again and again takes as long as making them.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        return list(headers)
    finally:
        if was_on:
            gc.enable()
