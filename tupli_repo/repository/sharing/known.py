"""What takes part in an exchange: the two sides, their revisions, and what these need.

Invariant: a name of which something is damaged takes no part, and that is told.
"""

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import NamedTuple

from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb.closure import closure_of
from tupli_repo.odb.objects import ObjectId
from tupli_repo.odb.refs import RefName
from tupli_repo.odb.remote import RemoteObjects
from tupli_repo.odb.remote_refs import RemoteRefs
from tupli_repo.repository.published.places import ReleaseRefs
from tupli_repo.repository.published.publishing import Publisher
from tupli_repo.repository.published.releases import Releases
from tupli_repo.repository.published.sets import KnownSets
from tupli_repo.repository.sharing.joined import JoinedObjects, JoinedRefs
from tupli_repo.schema.transfers import NameTransfer


class Side(NamedTuple):
    """One of the two repositories: its objects and its records."""

    objects: RemoteObjects
    refs: ReleaseRefs

    def refresh(self) -> None:
        """Look at it anew: first at the refs, which are written last."""
        self.refs.refresh()
        self.objects.refresh()

    def damage(self) -> dict[RefName, CorruptObjectError]:
        """Return what is wrong with the names of which a record is damaged."""
        return self.refs.damage if isinstance(self.refs, RemoteRefs) else {}


class _Needs(NamedTuple):
    """What the revisions of a name need: objects, and the members of episode sets.

    Of the objects, those that are spread link nothing that is not told here.
    """

    objects: frozenset[ObjectId]
    spread: frozenset[ObjectId]
    sets: frozenset[ObjectId]


class Known:
    """The revisions that take part, put together in memory.

    Args:
        refs: Their records.
        objects: What they name.
        source: Where benchmarks and artifacts are followed to what they need.
        sides: Where the records are from; a name of which one is damaged is left out.
        sets: The episode sets that were read before.
        unite: Which names are united; all where None.
        needy: Which revisions count where it is asked what is needed, by their hashes.

    Attributes:
        taken_back: Raw ids of the episodes that were taken back and that no name has kept.
        damaged: One line for each name that was left out because something is damaged.
    """

    def __init__(
        self,
        refs: JoinedRefs,
        objects: JoinedObjects,
        source: RemoteObjects,
        *sides: Side,
        sets: KnownSets | None = None,
        unite: Collection[RefName] | None,
        needy: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self.refs = refs
        self.objects = objects
        self.releases = Releases(objects, refs, sets)
        self._source = source
        self.damaged: list[str] = []
        self._needs: dict[RefName, _Needs] = {}
        for side in sides:
            for name, err in side.damage().items():
                self.leave_out(name, err)
        publisher = Publisher(objects, refs, self.releases)
        for name in refs.names():
            try:
                if unite is None or name in unite:
                    publisher.unite(name)
                self._needs[name] = self._needs_of(name, needy)
            except CorruptObjectError as err:
                self.leave_out(name, err)
        self.taken_back = self.releases.taken_back()

    def names(self) -> list[RefName]:
        """Return the names that take part."""
        return list(self._needs)

    def leave_out(self, name: RefName, err: CorruptObjectError | None = None) -> None:
        """Let a name take no part; where something of it is damaged that is told."""
        self._needs.pop(name, None)
        self.refs.leave_out(name)
        if err is not None:
            self.damaged.append(f"'{name}' was left out: {err.message}")

    def episodes(self, names: Iterable[RefName]) -> frozenset[bytes]:
        """Return the raw ids of all episodes that some names have had."""
        sets = {oid for name in names for oid in self._needs[name].sets}
        return frozenset[bytes]().union(*map(self.releases.members, sets))

    def lacking(
        self, place: RemoteObjects, names: Iterable[RefName], *, but: Collection[bytes] = ()
    ) -> set[bytes]:
        """Return the raw ids of what some names need and a repository has not.

        Args:
            place: The repository.
            names: The names.
            but: Episodes that do not count, by their raw ids.
        """
        return self._lacking((self._needs[name] for name in names), place, but)

    def lacking_of(
        self, name: RefName, revision: str, place: RemoteObjects, but: Collection[bytes]
    ) -> set[bytes]:
        """Return what one revision needs and a repository has not, as `lacking` does."""
        return self._lacking([self._needs_of(name, lambda one: one == revision)], place, but)

    def everything(self, names: Iterable[RefName]) -> set[bytes]:
        """Return the raw ids of what some names need, wherever it is."""
        found: set[bytes] = set()
        for name in names:
            found.update(map(bytes.fromhex, self._needs[name].objects), self.episodes([name]))
        return found

    def spread(self, names: Iterable[RefName]) -> frozenset[ObjectId]:
        """Return the releases and sets of some names: what they link, these names need."""
        return frozenset[ObjectId]().union(*(self._needs[name].spread for name in names))

    def transfer(
        self, name: RefName, n_revisions: int, lacking: frozenset[bytes], place: RemoteObjects
    ) -> NameTransfer:
        """Return what there is to tell of a name that is brought.

        Args:
            name: The name.
            n_revisions: How many of its records are brought.
            lacking: The raw ids of what is brought.
            place: Where it goes.
        """
        episodes = set[bytes]()
        for oid in self._needs[name].sets:
            episodes |= lacking & place.missing_of(oid, partial(self.releases.members, oid))
        bodies = [view.body for view in self.releases.views(name).values()]
        return NameTransfer(
            **name._asdict(),
            title=max(bodies, key=lambda body: body.created_at).name if bodies else name.name,
            n_revisions=n_revisions,
            n_episodes=len(episodes),
        )

    def diverged(self) -> list[RefName]:
        """Return the names that went two ways, and nobody said which comes next."""
        return [
            name
            for name in self._needs
            if len({head.subject for head in self.releases.heads(name)}) > 1
        ]

    def _needs_of(self, name: RefName, needy: Callable[[str], bool]) -> _Needs:
        named, source = self.releases.named(name, needy), self._source
        below = closure_of(source, (oid for oid in named.documents if source.contains(oid)))
        objects = named.documents | named.others | set(below.ids) | below.missing
        return _Needs(objects, named.spread, named.sets)

    def _lacking(
        self, needs: Iterable[_Needs], place: RemoteObjects, but: Collection[bytes]
    ) -> set[bytes]:
        """Look at one set after the other: together they may be a million episodes."""
        found: set[bytes] = set()
        for one in needs:
            for oid in one.sets:
                found |= place.missing_of(oid, partial(self.releases.members, oid)).difference(but)
            found |= place.missing(map(bytes.fromhex, one.objects))
        return found
