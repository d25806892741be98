"""What is wanted of what is damaged or missing, and where it may be found.

Invariant: what was taken back is not wanted; what is found is followed to all that it links.
"""

from collections.abc import Generator, Iterable

from tupli_repo.odb.files import is_block_file_name
from tupli_repo.odb.maintenance.sources import Source
from tupli_repo.odb.objects import Encoded, Kind, ObjectId, decode
from tupli_repo.repository.health.checkup import Checkup

PACKED = (Kind.BLOB, Kind.EPISODE)
"""The kinds that lie in packs, in the order in which they are written."""


class Plan:
    """What is wanted, and where it may be found.

    Args:
        checkup: What is damaged and missing.
        sources: Where to look, in this order.
        given_up: What was found nowhere before.
    """

    def __init__(
        self, checkup: Checkup, sources: Iterable[Source], given_up: Iterable[ObjectId]
    ) -> None:
        self._checkup = checkup
        self._sources = list(sources)
        self._given_up = set(given_up)
        self._at: list[dict[ObjectId, Kind]] = [{} for _ in self._sources]
        self.kinds: dict[ObjectId, Kind] = {}
        self.lost: dict[ObjectId, None] = {}
        self._linked_as: dict[ObjectId, set[Kind]] = {}
        self._in_packs: set[ObjectId] = set()
        self.find()

    def find(self) -> None:
        """Look for what is wanted, and for what that links in turn."""
        front = self._wanted()
        while front:
            left = dict.fromkeys(front)
            for source, there in zip(self._sources, self._at, strict=True):
                found = source.kinds(list(left)) if left else {}
                there.update(found)
                for oid, kind in found.items():
                    self.kinds.setdefault(oid, kind)
                    left.pop(oid, None)
            self.lost.update(left)
            front = self._linked_by([oid for oid in front if oid in self.kinds])

    def _wanted(self) -> list[ObjectId]:
        wanted: dict[ObjectId, None] = {}
        for cause in self._checkup.links.causes:
            if cause.missing is None:
                wanted.update(dict.fromkeys(cause.held))
                self._in_packs.update(oid for oid, kind in cause.held.items() if kind is not None)
            elif self._checkup.is_lost(cause):
                wanted[cause.missing] = None
                self._linked_as[cause.missing] = set(cause.linked_as)
        for damage in self._checkup.damage:
            name = damage.path.name
            if is_block_file_name(name):  # whoever has one of this name knows what it held
                held = [oid for one in self._sources for oid in one.ids_in(name)]
                wanted.update(dict.fromkeys(oid for oid in held if not self._is_here(oid)))
                self._in_packs.update(held)
        taken_back = self._checkup.taken_back
        return [
            oid
            for oid in wanted
            if oid not in self._given_up and bytes.fromhex(oid) not in taken_back
        ]

    def _linked_by(self, ids: list[ObjectId]) -> list[ObjectId]:
        """What some of the objects that were found link, and is not here either."""
        records = [oid for oid in ids if not self.kinds[oid].is_data]
        found: dict[ObjectId, None] = {}
        for oid, kind, encoded in self.read(records):
            for link in decode(encoded).links:
                self._linked_as.setdefault(link, set()).add(kind)
                is_known = link in self.kinds or link in self.lost or link in self._given_up
                is_wanted = bytes.fromhex(link) not in self._checkup.taken_back
                if link != oid and is_wanted and not is_known and not self._is_here(link):
                    found[link] = None
        return list(found)

    def _is_here(self, oid: ObjectId) -> bool:
        return self._checkup.survey.contains(oid)

    def read(self, ids: Iterable[ObjectId]) -> Generator[Encoded, None, None]:
        """Iterate over those of some objects that can be read somewhere, each once."""
        for _, item in self.read_from(ids):
            yield item

    def read_from(self, ids: Iterable[ObjectId]) -> Generator[tuple[str, Encoded], None, None]:
        """Iterate as `read` does, with the names of the sources."""
        left = dict.fromkeys(ids)
        for source, there in zip(self._sources, self._at, strict=True):
            for item in source.read_encoded([oid for oid in left if oid in there]):
                left.pop(item[0], None)
                yield source.name, item

    def is_packed(self, oid: ObjectId) -> bool:
        """Whether an object goes into a pack; else it gets a file of its own."""
        kind = self.kinds[oid]
        if kind not in PACKED or oid in self._checkup.survey.names.loose:
            return False
        linked_as = self._linked_as.get(oid, set())
        is_document = kind is Kind.BLOB and linked_as and Kind.EPISODE not in linked_as
        return oid in self._in_packs or not is_document
