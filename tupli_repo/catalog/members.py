"""Which episodes are members of the episode sets that are published.

A set is known by its id and never changes, so that it is read from the repository once.

Invariant: `are_members` tells what the sets hold, whatever became of their files.
"""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tupli_repo.catalog.columns import Mask
from tupli_repo.odb import frames

_ID_BYTES = 32
_MAX_BYTES = 64 << 20
_MAGIC = b"TUPLISET"
_ID = re.compile("[0-9a-f]{64}")

Ids = NDArray[np.uint8]
Keys = NDArray[np.uint64]
ReadSet = Callable[[str], Iterable[bytes]]


class SetIds(NamedTuple):
    """A set of episodes.

    Attributes:
        oid: Its id.
        ids: The ids of its episodes, sorted, shape (n, 32).
        keys: Their first 8 bytes as numbers.
    """

    oid: str
    ids: Ids
    keys: Keys


def dump_members(oid: str, ids: Iterable[bytes]) -> bytes:
    """Return the ids of a set's episodes, 32 bytes each, as the bytes of a file."""
    return frames.compress(b"".join([_MAGIC, bytes.fromhex(oid), *sorted(ids)]))


def parse_members(oid: str, data: bytes) -> SetIds:
    """Return a set of episodes.

    Raises:
        ValueError: It is not what `dump_members` made.
    """
    raw = frames.decompress(data, max_bytes=_MAX_BYTES)
    head = _MAGIC + bytes.fromhex(oid)
    if not raw.startswith(head):
        raise ValueError("it is not that set, or of another version")
    ids = np.frombuffer(raw, np.uint8, offset=len(head)).reshape(-1, _ID_BYTES)
    return SetIds(oid, ids, prefixes(ids))


def ids_of(texts: Iterable[str]) -> Ids:
    """Return ids, sorted, shape (n, 32), of their 64 hex digits; what is no id is left out."""
    raw = sorted(bytes.fromhex(text) for text in texts if _ID.fullmatch(text))
    return np.frombuffer(b"".join(raw), np.uint8).reshape(-1, _ID_BYTES)


def are_members(ids: Ids, members: Ids, keys: Keys | None = None) -> Mask:
    """Return which of some ids are among others that are sorted; both of shape (n, 32).

    Args:
        ids: The ids.
        members: The others.
        keys: The first 8 bytes of these as numbers, where they are at hand.
    """
    found = np.zeros(len(ids), np.bool_)
    if not len(ids) or not len(members):
        return found
    keys, wanted = prefixes(members) if keys is None else keys, prefixes(ids)
    at = np.searchsorted(keys, wanted)
    left = np.flatnonzero(at < len(keys))
    while left.size:  # once; again for ids that begin alike and are not the same
        left = left[keys[at[left]] == wanted[left]]
        are_same = (members[at[left]] == ids[left]).all(axis=1)
        found[left[are_same]] = True
        left = left[~are_same]
        at[left] += 1
        left = left[at[left] < len(keys)]
    return found


def prefixes(ids: Ids) -> Keys:
    """Return the first 8 bytes of each id as a number; they are in the order of the ids."""
    return np.ascontiguousarray(ids[:, :8]).view(">u8").ravel().astype(np.uint64)
