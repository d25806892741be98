"""Checking that every link leads somewhere, and following upwards what depends on what does not.

Invariant: what is handed in comes in the order of `IN_ORDER`, so that one pass over the records
tells everything that depends on what is missing.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from tupli_repo.odb.objects import Kind, Object, ObjectId

_NO_CAUSES: frozenset[int] = frozenset()


@dataclass(slots=True, kw_only=True)
class Cause:
    """Something that is damaged or missing, and what depends on it.

    Attributes:
        missing: The object that is missing; None where it is a damaged file.
        held: What the damaged file held and nothing else has, with its kinds where known.
        is_needed: Whether something depends on it that was not removed or taken back.
        linked_as: The kinds of the objects that link it.
        records: The objects that depend on it, of each kind: benchmarks, artifacts, releases.
        episodes: How many episodes of each benchmark depend on it.
        names: The names whose revisions depend on it.
    """

    missing: ObjectId | None = None
    held: dict[ObjectId, Kind | None] = field(default_factory=dict)
    is_needed: bool = False
    linked_as: set[Kind] = field(default_factory=set)
    records: dict[Kind, set[ObjectId]] = field(default_factory=dict)
    episodes: dict[ObjectId, int] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)


class Links:
    """Follows links, record by record.

    Args:
        present: The raw ids of the objects that can be read.
        damaged: The damaged files: what each held, where nothing else has it.
        taken_back: Raw ids of episodes that were taken back: nothing need have them.
        hidden: Raw ids of what was removed here: what it lacks nobody may miss.

    Attributes:
        causes: The damaged files, in the order given, then what is missing.
        lost_episodes: The episodes whose record is here and that lack something: the id of the
            benchmark of each, and the numbers of the causes.
    """

    def __init__(
        self,
        present: Collection[bytes],
        damaged: list[Cause],
        *,
        taken_back: Collection[bytes] = (),
        hidden: Collection[bytes] = (),
    ) -> None:
        self.causes = list(damaged)
        self.lost_episodes: dict[bytes, tuple[ObjectId, frozenset[int]]] = {}
        self._present = present
        self._taken_back = taken_back
        self._hidden = hidden
        self._affected: dict[bytes, frozenset[int]] = {}
        self._gone: dict[bytes, int] = {
            bytes.fromhex(oid): number for number, cause in enumerate(damaged) for oid in cause.held
        }
        self._missing: dict[bytes, int] = {}

    def look(self, oid: ObjectId, obj: Object) -> None:
        """Follow the links of a record."""
        raw_id = bytes.fromhex(oid)
        if raw_id in self._taken_back:
            return
        causes: set[int] = set()
        for link in obj.links:
            raw_link = bytes.fromhex(link)
            if obj.kind is Kind.EPISODES and raw_link in self._taken_back:
                continue
            found = self.causes_of(link)
            causes |= found
            if raw_link not in self._present:
                (number,) = found
                self.causes[number].linked_as.add(obj.kind)
        if causes:
            self._affect(oid, obj, frozenset(causes))

    def _affect(self, oid: ObjectId, obj: Object, causes: frozenset[int]) -> None:
        raw_id = bytes.fromhex(oid)
        self._affected[raw_id] = causes
        benchmark = obj.links[0]
        if obj.kind is Kind.EPISODE:
            self.lost_episodes[raw_id] = (benchmark, causes)
        for number in causes:
            cause = self.causes[number]
            cause.is_needed = cause.is_needed or raw_id not in self._hidden
            if obj.kind is Kind.EPISODE:
                cause.episodes[benchmark] = cause.episodes.get(benchmark, 0) + 1
            elif obj.kind is not Kind.EPISODES:
                cause.records.setdefault(obj.kind, set()).add(oid)

    def look_at_name(self, name: str, release: ObjectId) -> None:
        """Follow a record of a name to its release."""
        for number in self.causes_of(release):
            self.causes[number].names.add(name)
            self.causes[number].is_needed = True

    def causes_of(self, oid: ObjectId) -> frozenset[int]:
        """Return the numbers of the causes why an object cannot be read with all it needs."""
        raw_id = bytes.fromhex(oid)
        if raw_id in self._present:
            return self._affected.get(raw_id, _NO_CAUSES)
        number = self._gone.get(raw_id, self._missing.get(raw_id))
        if number is None:
            number = self._missing[raw_id] = len(self.causes)
            self.causes.append(Cause(missing=oid))
        return frozenset([number])
