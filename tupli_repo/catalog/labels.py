"""What is said of episodes after they were recorded, laid over what their rows say.

Invariant: a row that nothing is said of is shown as it is.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cached_property
from types import MappingProxyType
from typing import Any

from tupli_repo.catalog.columns import Truth
from tupli_repo.catalog.members import Ids, are_members, ids_of
from tupli_repo.catalog.rows import EpisodeRow
from tupli_repo.schema import BaseFilter

_METADATA = "metadata"


class Labels:
    """What is said of some episodes.

    Args:
        said: By the ids of the episodes, the metadata that stand in place of their own, by key.
    """

    def __init__(self, said: Mapping[str, Mapping[str, Any]] = MappingProxyType({})) -> None:
        self._said = said

    def __bool__(self) -> bool:
        return bool(self._said)

    def metadata(self, oid: str, own: Mapping[str, Any]) -> dict[str, Any]:
        """Return the metadata of an episode that has some of its own; the caller's to change."""
        said = self._said.get(oid)
        return {**own, **deepcopy(said)} if said else {**own}

    def laid_over(self, row: EpisodeRow) -> EpisodeRow:
        """Return a row with what is said of its episode."""
        if row.id not in self._said:
            return row
        return row._replace(metadata=self.metadata(row.id, row.metadata), is_plain=False)

    def leave_open(self, truth: Truth, chosen: BaseFilter | None, ids: Ids) -> Truth:
        """Return what is known of rows, but for those that have to be looked at with their labels.

        Args:
            truth: What the rows say alone.
            chosen: The filter that was asked.
            ids: Of the rows, shape (n, 32).
        """
        if not self._said or not any(map(self._is_said, _keys_of(chosen))):
            return truth
        is_labelled = are_members(ids, self._ids)
        return Truth(truth.may | is_labelled, truth.must & ~is_labelled)

    def _is_said(self, path: str) -> bool:
        """Whether something under a path of a filter may be said, rather than recorded."""
        if path == _METADATA:
            return True
        first, _, rest = path.partition(".")
        return first == _METADATA and any(
            rest == key or rest.startswith(f"{key}.") for key in self._keys
        )

    @cached_property
    def _keys(self) -> frozenset[str]:
        return frozenset(key for said in self._said.values() for key in said)

    @cached_property
    def _ids(self) -> Ids:
        return ids_of(self._said)


def _keys_of(chosen: BaseFilter | None) -> Iterator[str]:
    left = [] if chosen is None else [chosen]
    while left:
        one = left.pop()
        if one.key is not None:
            yield one.key
        left.extend(one.filters or ())
