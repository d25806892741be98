"""The small records of a repository, parsed once: benchmarks, artifacts, and what is said of them.

Objects never change, so what was parsed stays true; only the set of ids is looked at anew.

Invariant: what is hidden is exactly what some tombstone of this repository hides that no other of
its tombstones revokes.
"""

import platform
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from secrets import token_hex
from typing import Any, Generic, NamedTuple, TypeVar

from tupli_repo.catalog import Labels
from tupli_repo.codec.records import (
    AnnotationBody,
    Body,
    ProvenanceBody,
    TombstoneBody,
    parse_body,
)
from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.odb.store import ObjectStore
from tupli_repo.schema import utc_now
from tupli_repo.schema.items import a_moment_later

_MAX_SUBJECTS = 1 << 15  # of one annotation: 2 MiB of ids
_BodyT = TypeVar("_BodyT", bound=Body)


class Record(NamedTuple, Generic[_BodyT]):
    """A parsed object."""

    links: tuple[ObjectId, ...]
    body: _BodyT


class Records(Generic[_BodyT]):
    """The objects of one kind, by id.

    Args:
        store: Where they are.
        kind: Their kind.
        model: Their body's model.
    """

    def __init__(self, store: ObjectStore, kind: Kind, model: type[_BodyT]) -> None:
        self._store = store
        self._kind = kind
        self._model = model
        self._parsed: dict[ObjectId, Record[_BodyT]] = {}

    def all(self) -> Mapping[ObjectId, Record[_BodyT]]:
        """Return every record that is here, as of the store's last refresh.

        Raises:
            CorruptObjectError: One is malformed.
        """
        known = self._parsed
        present = self._store.loose_ids(self._kind)
        new = self._store.read_many([oid for oid in present if oid not in known])
        parsed = {oid: self._parse(oid, obj) for oid, obj in new}
        self._parsed = {oid: known[oid] for oid in present if oid in known} | parsed
        return self._parsed

    def add(self, body: _BodyT, links: Iterable[ObjectId] = ()) -> ObjectId:
        """Store a record; durable when this returns."""
        obj = Object(kind=self._kind, links=tuple(links), body=body.dump())
        return self._store.write(obj)

    def _parse(self, oid: ObjectId, obj: Object) -> Record[_BodyT]:
        if self._kind is Kind.BENCHMARK and not obj.links:
            raise CorruptObjectError(f"{self._kind} '{oid[:12]}': it has no environment")
        try:
            return Record(obj.links, parse_body(self._model, obj.body))
        except CorruptObjectError as err:
            raise CorruptObjectError(f"{self._kind} '{oid[:12]}': {err.reason}") from None


class Tombstones(Records[TombstoneBody]):
    """What is hidden in this repository.

    A tombstone of another one, which came when somebody copied files by hand, hides nothing.

    Args:
        store: Where they lie.
        repository: The id of the repository.
    """

    def __init__(self, store: ObjectStore, repository: str) -> None:
        super().__init__(store, Kind.TOMBSTONE, TombstoneBody)
        self._repository = repository

    def hidden(self) -> set[str]:
        """Return the ids that are hidden, as of the store's last refresh."""
        return {oid for body in self._in_force().values() for oid in body.hides}

    def hide(self, ids: Iterable[ObjectId], *, user: str, why: str = "") -> None:
        """Hide objects from now on."""
        self.add(self._made(user, hides=sorted(ids), why=why))

    def reveal(self, ids: Collection[ObjectId], *, user: str) -> None:
        """Stop hiding some objects; what else their tombstones hide stays hidden."""
        affected = {
            oid: body
            for oid, body in self._in_force().items()
            if not set(ids).isdisjoint(body.hides)
        }
        if not affected:
            return
        still = {oid for body in affected.values() for oid in body.hides} - set(ids)
        if still:
            self.add(self._made(user, hides=sorted(still)))
        self.add(self._made(user, revokes=sorted(affected)))

    def _in_force(self) -> dict[ObjectId, TombstoneBody]:
        return in_force({oid: body for oid, (_, body) in self.all().items()}, self._repository)

    def _made(
        self, user: str, *, hides: Sequence[str] = (), revokes: Sequence[str] = (), why: str = ""
    ) -> TombstoneBody:
        return TombstoneBody(
            repository=self._repository,
            hides=list(hides),
            revokes=list(revokes),
            why=why,
            created_by=user,
            created_at=utc_now(),
            nonce=token_hex(8),
        )


class Provenances(Records[ProvenanceBody]):
    """Who stored what, and when."""

    def __init__(self, store: ObjectStore) -> None:
        super().__init__(store, Kind.PROVENANCE, ProvenanceBody)

    def first(self) -> dict[str, ProvenanceBody]:
        """Return the earliest provenance of each subject, as of the store's last refresh."""
        found: dict[str, ProvenanceBody] = {}
        for _, (_, body) in sorted(self.all().items()):
            known = found.get(body.subject)
            if known is None or body.created_at < known.created_at:
                found[body.subject] = body
        return found

    def of(self, subject: str) -> list[ProvenanceBody]:
        """Return what is noted of a subject, the earliest first."""
        found = [body for _, body in self.all().values() if body.subject == subject]
        return sorted(found, key=lambda body: (body.created_at, body.created_by))

    def note(
        self,
        subject: ObjectId,
        *,
        user: str,
        packages: Mapping[str, str] | None = None,
        sources: Mapping[str, str] | None = None,
    ) -> ProvenanceBody:
        """Note that ``user`` stored ``subject`` now, on this machine; return the first note.

        The same user with the same code on the same machine is noted once.
        """
        made = ProvenanceBody(
            subject=subject,
            created_by=user,
            created_at=utc_now(),
            python=platform.python_version(),
            platform=f"{platform.system()} {platform.machine()}",
            packages=dict(packages or {}),
            sources=dict(sources or {}),
        )
        known = self.of(subject)
        if all(made != body.model_copy(update={"created_at": made.created_at}) for body in known):
            self.add(made)
        return known[0] if known else made


class Annotations(Records[AnnotationBody]):
    """What is said of episodes after they were recorded.

    Args:
        store: Where it lies.
        named: Gives the ids of those that count; all do where None.
    """

    def __init__(
        self, store: ObjectStore, named: Callable[[], Collection[ObjectId]] | None = None
    ) -> None:
        super().__init__(store, Kind.ANNOTATION, AnnotationBody)
        self._named = named
        self._known: tuple[frozenset[ObjectId], Labels] = (frozenset(), Labels())

    def say(self, ids: Iterable[ObjectId], metadata: Mapping[str, Any], *, user: str) -> None:
        """Say something of episodes; durable when this returns.

        It is later than all that was said of them before, also where that was said on a machine
        whose clock is ahead of ours: who looked at it and says otherwise is right.

        Raises:
            CorruptObjectError: An annotation is malformed; nothing is said.
            EncodingError: Something in it cannot be stored; nothing is said.
        """
        left = sorted(ids)
        now = self._after(frozenset(left))
        for at in range(0, len(left), _MAX_SUBJECTS):
            some: list[str] = [*left[at : at + _MAX_SUBJECTS]]
            said = dict(metadata)
            body = AnnotationBody(subjects=some, metadata=said, created_by=user, created_at=now)
            self.add(body)

    def labels(self) -> Labels:
        """Return what is said of each episode, as of the store's last refresh.

        Raises:
            CorruptObjectError: An annotation is malformed.
        """
        present = self.all()
        counting = frozenset(present)
        if present and self._named is not None:
            counting = counting.intersection(self._named())
        seen, labels = self._known  # both at once: other threads look too
        if counting != seen:
            said: defaultdict[str, dict[str, Any]] = defaultdict(dict)
            bodies = sorted((present[oid].body.created_at, oid) for oid in counting)
            for _, oid in bodies:
                body = present[oid].body
                for subject in body.subjects:
                    said[subject].update(body.metadata)
            shown = {oid: _without_none(metadata) for oid, metadata in said.items()}
            labels = Labels(shown)
            self._known = counting, labels
        return labels

    def _after(self, ids: frozenset[str]) -> str:
        """The time, or the moment after the last thing that was said of any of some episodes."""
        now = utc_now()
        ahead = (body for _, body in self.all().values() if body.created_at >= now)
        said_at = [body.created_at for body in ahead if not ids.isdisjoint(body.subjects)]
        return max([now, *map(a_moment_later, said_at)])

    def of_any(
        self, episodes: Sequence[Collection[bytes]], known: Collection[ObjectId]
    ) -> frozenset[ObjectId]:
        """Return the ids of the annotations that say something of one of some episodes.

        Args:
            episodes: Sets of raw ids.
            known: What is left out.
        """
        return frozenset(
            oid
            for oid, (_, body) in self.all().items()
            if oid not in known
            and any(bytes.fromhex(one) in some for one in body.subjects for some in episodes)
        )


def _without_none(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if value is not None}


def in_force(
    tombstones: Mapping[ObjectId, TombstoneBody], repository: str
) -> dict[ObjectId, TombstoneBody]:
    """Return the tombstones that speak for a repository and are not revoked."""
    own = {oid: body for oid, body in tombstones.items() if body.repository == repository}
    revoked = {oid for body in own.values() for oid in body.revokes}
    return {oid: body for oid, body in own.items() if oid not in revoked}
