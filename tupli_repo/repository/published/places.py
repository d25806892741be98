"""Where what is published lies: what is asked of the objects and of the records.

A repository here, one on the other side of an exchange, and several put together all answer it.

Invariant: what is read is the object that was asked for; who answers has verified it.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from tupli_repo.odb.objects import Object, ObjectId
from tupli_repo.odb.refs import Record, RefName, Yank

Members = Callable[[], Collection[bytes]]
"""Gives the raw ids of the members of a set."""


class ReleaseObjects(Protocol):
    """Where releases and what they name lie; `ObjectStore` is one."""

    def read(self, oid: ObjectId) -> Object:
        """Return one object, verified."""

    def write(self, obj: Object) -> ObjectId:
        """Store one object; durable when this returns."""

    def contains(self, oid: ObjectId) -> bool:
        """Return whether an object is here."""

    def missing(self, raw_ids: Iterable[bytes]) -> set[bytes]:
        """Return which of many ids are not here."""

    def missing_of(self, oid: ObjectId, members: Members) -> set[bytes]:
        """Return which members of a set are not here; they are given where they are asked for."""

    def refresh(self) -> None:
        """Look for what others have added or removed since."""


class ReleaseRefs(Protocol):
    """Where records lie; `RefStore` is one."""

    def refresh(self) -> None:
        """Look for what others have put since."""

    def names(self) -> list[RefName]:
        """Return the names that have records, sorted."""

    def records(self, name: RefName) -> dict[str, Record]:
        """Return the records of a name by their hashes."""

    def yanks(self, name: RefName) -> dict[str, Yank]:
        """Return the yanks of a name by the hashes of their records."""

    def put(self, record: Record) -> None:
        """Keep a record."""

    def put_yank(self, record: Record, yank: Yank) -> None:
        """Advise against a record."""
