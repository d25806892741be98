"""Which episodes are members of the episode sets that are published.

A set is known by its id and never changes, so that it is read from the repository once.

Invariant: `are_members` tells what the sets hold, whatever became of their files.
"""

import re
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from tupli_repo.catalog.columns import Mask
from tupli_repo.odb import frames

_ID_BYTES = 32
_MAX_BYTES = 64 << 20
_MAGIC = b"TUPLISET"
_ID = re.compile("[0-9a-f]{64}")

Ids = NDArray[np.uint8]
ReadSet = Callable[[str], Iterable[bytes]]


def dump_members(oid: str, ids: Iterable[bytes]) -> bytes:
    """Return the ids of a set's episodes, 32 bytes each, as the bytes of a file."""
    return frames.compress(b"".join([_MAGIC, bytes.fromhex(oid), *sorted(ids)]))


def parse_members(oid: str, data: bytes) -> Ids:
    """Return the ids of a set's episodes, sorted, shape (n, 32).

    Raises:
        ValueError: It is not what `dump_members` made.
    """
    raw = frames.decompress(data, max_bytes=_MAX_BYTES)
    head = _MAGIC + bytes.fromhex(oid)
    if not raw.startswith(head):
        raise ValueError("it is not that set, or of another version")
    return np.frombuffer(raw, np.uint8, offset=len(head)).reshape(-1, _ID_BYTES)


def ids_of(texts: Iterable[str]) -> Ids:
    """Return ids, sorted, shape (n, 32), of their 64 hex digits; what is no id is left out."""
    raw = sorted(bytes.fromhex(text) for text in texts if _ID.fullmatch(text))
    return np.frombuffer(b"".join(raw), np.uint8).reshape(-1, _ID_BYTES)


def are_members(ids: Ids, members: Ids) -> Mask:
    """Return which of some ids are among others that are sorted; both of shape (n, 32)."""
    found = np.zeros(len(ids), np.bool_)
    if not len(ids) or not len(members):
        return found
    keys, wanted = prefixes(members), prefixes(ids)
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


def prefixes(ids: Ids) -> NDArray[np.uint64]:
    """Return the first 8 bytes of each id as a number; they are in the order of the ids."""
    return np.ascontiguousarray(ids[:, :8]).view(">u8").ravel().astype(np.uint64)
