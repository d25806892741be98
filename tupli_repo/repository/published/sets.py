"""Sets of episodes: what a release links, few and large, and the digest of what they hold.

Invariant: sets depend on the episodes and on the sets that are stored already, on nothing else.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import NamedTuple

from tupli_repo.odb.objects import MAX_LINKS, Kind, Object, ObjectId


class EpisodeSet(NamedTuple):
    """A set of episodes: its id where it is stored already, and its members' raw ids."""

    id: ObjectId | None
    members: frozenset[bytes]


def sets_of(
    episodes: frozenset[bytes], old: Mapping[ObjectId, frozenset[bytes]]
) -> list[EpisodeSet]:
    """Return episodes as few sets, as many of them old ones as can be; the largest first.

    Each is at least twice as large as the next, so that there are at most log2 n + 1 (more where
    one would be larger than an object may be). They depend on the arguments alone.

    Args:
        episodes: Raw ids.
        old: Sets that are stored already, by their ids.
    """
    left, found = set(episodes), list[EpisodeSet]()
    for oid, members in sorted(old.items(), key=lambda pair: (-len(pair[1]), pair[0])):
        if members and members <= left:
            left -= members
            found.append(EpisodeSet(oid, members))
    rest = sorted(left)
    for at in range(0, len(rest), MAX_LINKS):
        found.append(EpisodeSet(None, frozenset(rest[at : at + MAX_LINKS])))
    merged: list[EpisodeSet] = []
    for one in sorted(found, key=lambda one: (len(one.members), min(one.members))):
        last = merged[-1] if merged else None
        if (
            last is not None
            and len(one.members) < 2 * len(last.members)
            and len(one.members) + len(last.members) <= MAX_LINKS
        ):
            merged[-1] = EpisodeSet(None, last.members | one.members)
        else:
            merged.append(one)
    return merged[::-1]


def set_object(members: Iterable[bytes]) -> Object:
    """Return the object of a set of episodes."""
    links = tuple(ObjectId(raw.hex()) for raw in sorted(members))
    return Object(kind=Kind.EPISODES, links=links)


def digest_of(episodes: Iterable[bytes]) -> str:
    """Return what a paper cites of a set of episodes: SHA-256 over their raw ids, sorted."""
    return sha256(b"".join(sorted(episodes))).hexdigest()
