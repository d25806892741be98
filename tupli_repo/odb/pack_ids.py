"""The ids of a pack's objects, sorted, in a file of the cache that is looked into and not read.

A directory has to be decoded whole before one id is found in it, which takes ten times as long as
to hold a file against its checksum and look into it for some ids.

Invariant: what is among a pack's ids is in its directory, and nothing else; a file that is not what
was written, or of another pack, is none.
"""

import mmap
from bisect import bisect_left
from collections.abc import Collection, Iterable, KeysView
from pathlib import Path
from struct import Struct
from zlib import crc32

import numpy as np

_MAGIC = b"TUPLIID\x01"
_HEAD = Struct("<8s32sQQ")  # the pack's name, its size, how many ids
_CRC = Struct("<I")  # at the end, of all before
_PREFIX_BYTES = 8
_ID_BYTES = 32
_RAW_ID = np.dtype((np.void, _ID_BYTES))


class DirectoryIds:
    """The ids in a directory that was read.

    Args:
        ids: The ids, as they are at any time.
    """

    def __init__(self, ids: KeysView[bytes]) -> None:
        self._ids = ids

    def __contains__(self, raw_id: bytes) -> bool:
        return raw_id in self._ids

    def among(self, raw_ids: set[bytes]) -> set[bytes]:
        """Return which of some ids are there."""
        return self._ids & raw_ids


class PackIds:
    """The ids of a pack, as `dump_ids` wrote them.

    Args:
        path: The file.
        pack: The hash that is the pack's name, raw.
        size_bytes: The size of the pack.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not what was written, or of another pack.
    """

    def __init__(self, path: Path, pack: bytes, size_bytes: int) -> None:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if len(data) < _HEAD.size + _CRC.size:
            raise ValueError("it is cut off")
        magic, name, size, n_ids = _HEAD.unpack_from(data)
        if (magic, name, size) != (_MAGIC, pack, size_bytes):
            raise ValueError("it is of another pack, or version")
        end = _HEAD.size + n_ids * (_PREFIX_BYTES + _ID_BYTES)
        if len(data) != end + _CRC.size:
            raise ValueError("it is cut off")
        if data[end:] != _CRC.pack(crc32(memoryview(data)[:end])):
            raise ValueError("it is not what was written")
        self._data = data
        self._ids_at = _HEAD.size + n_ids * _PREFIX_BYTES
        # native integers, so that they can be searched where they lie
        self._prefixes = memoryview(data)[_HEAD.size : self._ids_at].cast("Q")

    def __contains__(self, raw_id: bytes) -> bool:
        prefix = int.from_bytes(raw_id[:_PREFIX_BYTES], "big")
        return self._has(raw_id, bisect_left(self._prefixes, prefix))

    def among(self, raw_ids: Collection[bytes]) -> set[bytes]:
        """Return which of some ids are there."""
        if not raw_ids or not len(self._prefixes):
            return set()
        wanted = list(raw_ids)
        joined = b"".join(wanted)
        keys = _prefixes(joined)
        prefixes = np.frombuffer(self._prefixes, np.uint64)
        ids = np.frombuffer(self._data, _RAW_ID, len(prefixes), self._ids_at)
        at = np.minimum(np.searchsorted(prefixes, keys), len(prefixes) - 1)
        are_same = ids[at] == np.frombuffer(joined, _RAW_ID)
        found = {wanted[n] for n in np.flatnonzero(are_same).tolist()}
        others = np.flatnonzero((prefixes[at] == keys) & ~are_same)  # they begin alike
        found.update(wanted[n] for n in others.tolist() if wanted[n] in self)
        return found

    def _has(self, raw_id: bytes, at: int) -> bool:
        """Whether an id is among those that begin as it does; the first of them is the ``at``th."""
        prefix = int.from_bytes(raw_id[:_PREFIX_BYTES], "big")
        while at < len(self._prefixes) and self._prefixes[at] == prefix:
            start = self._ids_at + at * _ID_BYTES
            if self._data[start : start + _ID_BYTES] == raw_id:
                return True
            at += 1
        return False


def dump_ids(raw_ids: Iterable[bytes], pack: bytes, size_bytes: int) -> bytes:
    """Return the ids of a pack's objects as the bytes of a file.

    Args:
        raw_ids: The ids, 32 bytes each.
        pack: The hash that is the pack's name, raw.
        size_bytes: The size of the pack.
    """
    joined = b"".join(raw_ids)
    keys = _prefixes(joined)
    order = np.argsort(keys, kind="stable")
    ids = np.frombuffer(joined, np.uint8).reshape(-1, _ID_BYTES)[order]
    head = _HEAD.pack(_MAGIC, pack, size_bytes, len(ids))
    found = b"".join([head, keys[order].tobytes(), ids.tobytes()])
    return found + _CRC.pack(crc32(found))


def _prefixes(joined: bytes) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    """The first 8 bytes of each of many ids as a number, in the order of the ids."""
    ids = np.frombuffer(joined, np.uint8).reshape(-1, _ID_BYTES)
    return np.ascontiguousarray(ids[:, :_PREFIX_BYTES]).view(">u8").ravel().astype(np.uint64)
