"""Headers of episodes, and what the catalog keeps of them.

Invariant: a header says what its episode's record says.
"""

from collections.abc import Mapping
from sys import intern
from typing import Any

from tupli_repo.catalog import EpisodeRow
from tupli_repo.schema import EpisodeHeader

_FIELDS = set(EpisodeHeader.model_fields)  # one for all: there may be a million headers


def row_of(oid: str, benchmark_id: str, fields: Mapping[str, Any]) -> EpisodeRow:
    """Return an episode's row, made of the fields of its record; `missing` is not known."""
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
    """Return the header of a row; the row was checked, so that pydantic need not do it again."""
    return EpisodeHeader.model_construct(
        _FIELDS,
        id=row.id,
        created_by=intern(row.created_by),
        published_in=list(row.published_in),
        created_at=row.created_at,
        benchmark_id=intern(row.benchmark_id),
        metadata=row.metadata,
        n_tuples=row.n_tuples,
        terminated=row.terminated,
        timeout=row.timeout,
        seed=row.seed,
    )
