"""Sets of episodes: what a release links, few and large, and the digest of what they hold.

Invariant: sets depend on the episodes and on the sets that are stored already, on nothing else.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb.objects import MAX_LINKS, Kind, Object, ObjectId

_RAW_ID_BYTES = 32
_MAX_CACHED_MEMBERS = 4_000_000


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
    return grown(found, left)


def grown(kept: Iterable[EpisodeSet], new: Collection[bytes]) -> list[EpisodeSet]:
    """Return some sets and further episodes as few sets, as `sets_of` does.

    Args:
        kept: Sets that are stored already and have no episode in common.
        new: Raw ids of episodes that are in none of them.
    """
    rest = sorted(new)
    found = [one for one in kept if one.members]
    found += [
        EpisodeSet(None, frozenset(rest[at : at + MAX_LINKS]))
        for at in range(0, len(rest), MAX_LINKS)
    ]
    sizes = Counter(len(one.members) for one in found)

    def rank(one: EpisodeSet) -> tuple[int, bytes]:
        size = len(one.members)
        return size, min(one.members) if sizes[size] > 1 else b""

    merged: list[EpisodeSet] = []
    for one in sorted(found, key=rank):
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


def digest_of_parts(parts: Sequence[bytes]) -> str:
    """Return the digest of episodes that are given in parts.

    Args:
        parts: The raw ids of some episodes each, sorted, end to end; none is in two of them.
    """
    if len(parts) < 2:
        return sha256(b"".join(parts)).hexdigest()
    ids = np.frombuffer(b"".join(parts), np.uint8).reshape(-1, _RAW_ID_BYTES)
    keys = _prefixes(ids)
    order = np.argsort(keys, kind="stable")  # which merges what is sorted
    keys = keys[order]
    if (keys[1:] == keys[:-1]).any():  # two begin alike: which is the first?
        return digest_of(one.tobytes() for one in ids)
    return sha256(ids[order].data).hexdigest()


def is_sorted(joined: bytes) -> bool:
    """Return whether raw ids, end to end, are known to be sorted, each of them once."""
    keys = _prefixes(np.frombuffer(joined, np.uint8).reshape(-1, _RAW_ID_BYTES))
    return bool((keys[1:] > keys[:-1]).all())


def _prefixes(ids: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The first 8 bytes of each id as a number; they are in the order of the ids."""
    return np.ascontiguousarray(ids[:, :8]).view(">u8").ravel().astype(np.uint64)


class KnownSets:
    """The members of episode sets that were read; what has an id is the same everywhere."""

    def __init__(self) -> None:
        self._members: dict[ObjectId, frozenset[bytes]] = {}
        self._joined: dict[ObjectId, bytes] = {}
        self._n_members = 0

    def members(self, oid: ObjectId, read: Callable[[ObjectId], Object]) -> frozenset[bytes]:
        """Return the raw ids of the episodes of a set, which is read where it is not known.

        Raises:
            CorruptObjectError: It is not a set of episodes.
        """
        known = self._members.get(oid)
        if known is not None:
            return known
        found = read(oid)
        if found.kind is not Kind.EPISODES:
            raise CorruptObjectError(
                f"object '{oid[:12]}' is a {found.kind}, not a set of episodes"
            )
        joined = bytes.fromhex("".join(found.links))
        members = frozenset(raw_ids_in(joined))
        self._n_members += len(members)
        if self._n_members > _MAX_CACHED_MEMBERS:
            self._members.clear()
            self._joined.clear()
            self._n_members = len(members)
        self._members[oid] = members
        self._joined[oid] = joined if is_sorted(joined) else b"".join(sorted(members))
        return members

    def joined(self, oid: ObjectId, read: Callable[[ObjectId], Object]) -> bytes:
        """Return the raw ids of the episodes of a set, sorted, end to end; see `members`."""
        self.members(oid, read)
        return self._joined[oid]


def raw_ids_in(joined: bytes) -> list[bytes]:
    """Return raw ids that lie end to end, one by one."""
    return [joined[at : at + _RAW_ID_BYTES] for at in range(0, len(joined), _RAW_ID_BYTES)]
