"""What two repositories hold together, in memory: where an exchange is planned.

The union of names that went two ways is made here first, as `Publisher` makes it in a repository;
what it writes stays in memory until it is brought to where it belongs.

Invariant: nothing here writes to either side.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from tupli_repo.odb.objects import Object, ObjectId, encode, object_id
from tupli_repo.odb.refs import LOCAL, Record, RefName, Yank
from tupli_repo.repository.published.places import Members, ReleaseRefs


class Readable(Protocol):
    """Where objects can be read; an `ObjectStore` and `RemoteObjects` are."""

    def contains(self, oid: ObjectId) -> bool:
        """Return whether an object is there."""

    def missing(self, raw_ids: Iterable[bytes]) -> set[bytes]:
        """Return which of many ids are not there."""

    def missing_of(self, oid: ObjectId, members: Members) -> set[bytes]:
        """Return which members of a set are not there."""

    def read(self, oid: ObjectId) -> Object:
        """Return one object, verified."""


class JoinedObjects:
    """The objects of some repositories, and those that were made since, in memory.

    Args:
        sides: The repositories; what the first has is read there.
        nearer: Where something that one of them has is read if it is there, too.

    Attributes:
        made: What was written here, by id, in the order of writing.
    """

    def __init__(self, sides: Sequence[Readable], nearer: Readable | None = None) -> None:
        self.made: dict[ObjectId, Object] = {}
        self._sides = sides
        self._nearer = [] if nearer is None else [nearer]

    def contains(self, oid: ObjectId) -> bool:
        """Return whether one of them has an object."""
        return oid in self.made or any(side.contains(oid) for side in self._sides)

    def missing(self, raw_ids: Iterable[bytes]) -> set[bytes]:
        """Return which of many ids none of them has."""
        first, *others = self._sides
        left = first.missing(raw_ids)
        for side in others:
            left = side.missing(left)
        left.difference_update(map(bytes.fromhex, self.made))
        return left

    def missing_of(self, oid: ObjectId, members: Members) -> set[bytes]:
        """Return which members of a set none of them has."""
        first, *others = self._sides
        left = first.missing_of(oid, members)
        for side in others if left else ():
            left &= side.missing_of(oid, members)
        left.difference_update(map(bytes.fromhex, self.made))
        return left

    def read(self, oid: ObjectId) -> Object:
        """Return one object, verified.

        Raises:
            NotFoundError: None of them has it.
            CorruptObjectError: It is damaged.
        """
        if oid in self.made:
            return self.made[oid]
        for side in (*self._nearer, *self._sides):
            if side.contains(oid):
                return side.read(oid)
        return self._sides[-1].read(oid)

    def write(self, obj: Object) -> ObjectId:
        """Keep an object in memory."""
        oid = object_id(encode(obj))
        self.made[oid] = obj
        return oid

    def refresh(self) -> None:
        """Do nothing: the sides are looked at anew by whoever holds them."""


class JoinedRefs:
    """The records of some repositories that others may see, in memory.

    Args:
        sides: Where they are.
        is_wanted: Which names and records of the first side count; all where None.
    """

    def __init__(
        self, *sides: ReleaseRefs, is_wanted: Callable[[RefName, str], bool] | None = None
    ) -> None:
        self._records: dict[RefName, dict[str, Record]] = {}
        self._yanks: dict[RefName, dict[str, Yank]] = {}
        for n, side in enumerate(sides):
            for name in side.names():
                if name.group == LOCAL:
                    continue
                records = {
                    one: record
                    for one, record in side.records(name).items()
                    if n or is_wanted is None or is_wanted(name, one)
                }
                yanks = {one: yank for one, yank in side.yanks(name).items() if one in records}
                if records:
                    self._records.setdefault(name, {}).update(records)
                    self._yanks[name] = yanks | self._yanks.get(name, {})

    def refresh(self) -> None:
        """Do nothing: they are as they were when this was made."""

    def names(self) -> list[RefName]:
        """Return the names that have records, sorted."""
        return sorted(self._records)

    def records(self, name: RefName) -> dict[str, Record]:
        """Return the records of a name by their hashes."""
        return dict(self._records.get(name, {}))

    def yanks(self, name: RefName) -> dict[str, Yank]:
        """Return the yanks of a name by the hashes of their records."""
        return dict(self._yanks.get(name, {}))

    def put(self, record: Record) -> None:
        """Keep a record in memory."""
        self._records.setdefault(record.name, {})[record.hash] = record

    def put_yank(self, record: Record, yank: Yank) -> None:
        """Keep a yank in memory."""
        self._yanks.setdefault(record.name, {}).setdefault(record.hash, yank)

    def leave_out(self, name: RefName) -> None:
        """Forget a name."""
        self._records.pop(name, None)
        self._yanks.pop(name, None)
