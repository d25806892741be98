"""What objects need: links followed to their end, in a repository on the other side.

Invariant: what is linked comes before what links it; nothing is called missing that a damaged file
may hold.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple

from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb.objects import Kind, Object, ObjectId
from tupli_repo.odb.remote import Found, RemoteObjects

_RANKS = {
    Kind.BLOB: 0,
    Kind.PROVENANCE: 1,
    Kind.ARTIFACT: 2,
    Kind.BENCHMARK: 3,
    Kind.EPISODE: 4,
    Kind.EPISODES: 5,
    Kind.RELEASE: 6,
    Kind.TOMBSTONE: 7,
    Kind.ANNOTATION: 1,
}
_DEPTH = len(_RANKS) + 1


class Closure(NamedTuple):
    """Objects with all that they need: what is linked comes first, and what was not found."""

    found: Mapping[ObjectId, Found]
    missing: frozenset[ObjectId]

    @property
    def ids(self) -> tuple[ObjectId, ...]:
        """The ids of what was found, what is linked first."""
        return tuple(self.found)


def closure_of(
    source: RemoteObjects,
    roots: Iterable[ObjectId],
    *,
    known: Callable[[Collection[ObjectId]], Collection[ObjectId]] = lambda _: (),
    spread: Collection[ObjectId] = (),
    see: Callable[[ObjectId, Object], None] = lambda *_: None,
) -> Closure:
    """Follow the links of objects; those that are linked come before those that link them.

    Args:
        source: Where they are.
        roots: Where to begin: releases, most often.
        known: Which of some need not be found, the target's `held` for one: they are left out,
            and followed no further unless they are roots or a release links them (what a set
            links is looked at all the same). Objects that are promised rather than there may
            count as known.
        spread: What all that it links, as far as it is wanted, is among the roots, too: it is
            not read. A set may link a million episodes.
        see: Told each object that is read on the way and not known.

    Raises:
        CorruptObjectError: A file is damaged, and no other has what is in it.
    """
    found: dict[ObjectId, Found] = {}
    seen: set[ObjectId] = set()
    missing: set[ObjectId] = set()
    asked = list(dict.fromkeys(roots))
    settled = frozenset(known(asked))
    front = {oid: oid in settled for oid in asked}  # whether it is known
    for _ in range(_DEPTH):
        seen.update(front)
        here = source.look_up(front)
        follow: list[ObjectId] = []
        for oid, is_known in front.items():
            one = here.get(oid)
            if one is None:
                if not is_known:
                    missing.add(oid)
                continue
            if not is_known:
                found[oid] = one
            is_read = one.kind is not Kind.BLOB and oid not in spread
            if is_read and (not is_known or one.kind is not Kind.EPISODE):
                follow.append(oid)
        links: dict[ObjectId, bool] = {}  # whether it is looked at even where it is known
        for oid, obj in source.read_many(follow):
            if not front[oid]:
                see(oid, obj)
            always = obj.kind is Kind.RELEASE
            for link in obj.links:
                if link not in seen:
                    links[link] = always or links.get(link, False)
        settled = frozenset(known(links))
        nearer = {
            link: link in settled for link, always in links.items() if always or link not in settled
        }
        if not nearer:
            if missing and source.damage:
                raise source.damage[0]
            order = sorted(found, key=lambda oid: (_RANKS[found[oid].kind], oid))
            return Closure({oid: found[oid] for oid in order}, frozenset(missing))
        front = nearer
    raise CorruptObjectError("objects link each other deeper than their kinds allow")


def rank(kind: Kind) -> int:
    """Return a number that is lower for what others link."""
    return _RANKS[kind]
