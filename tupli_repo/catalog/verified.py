"""Which blocks of sealed packs this user's processes have held against their SHA-256s.

Hashing takes longer than decompressing. A pack never changes; as long as its file has the size,
times and inode it had when a block was verified, that block is not hashed again: its two checksums
are looked at all the same. What changes the file in any way brings every hash back.

Invariant: a block counts as verified only while its file is the one whose bytes were hashed.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path
from struct import Struct
from uuid import uuid4
from zlib import crc32

from tupli_repo.odb.filesystem import FileStatus

_MAGIC = b"TUPLIVB\x01"
_HEAD = Struct("<8sQQQQ")  # and the file's size, times and inode
_CRC = Struct("<I")
_OTHERS = 0o022
_MANY_BYTES = 1 << 20  # to write it down takes as long as hashing some of that
_MASK = (1 << 64) - 1


class VerifiedBlocks:
    """The blocks of a repository's packs that were verified.

    What can neither be written nor read is forgotten.

    Args:
        folder: Where it is noted for other processes of this user; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._packs: dict[str, tuple[bytes, bytearray]] = {}

    def of(self, pack: str, status: FileStatus, n_blocks: int) -> bytearray:
        """Return a flag for each block of a pack: whether it was verified.

        Args:
            pack: The name of its file.
            status: What the file system says of the file now.
            n_blocks: How many blocks it has.
        """
        stamp = _stamp(status)
        known = self._packs.get(pack)
        if known is None:
            known = self._packs[pack] = self._read(pack, n_blocks)
        if known[0] != stamp or len(known[1]) != n_blocks:
            known = self._packs[pack] = (stamp, bytearray(n_blocks))
        return known[1]

    def note(self, pack: str, n_bytes: int) -> None:
        """Keep what was verified of a pack for other processes, where it is much.

        Args:
            pack: The name of its file.
            n_bytes: How much was verified just now.
        """
        if n_bytes < _MANY_BYTES or pack not in self._packs:
            return
        stamp, flags = self._packs[pack]
        data = stamp + flags
        scratch = self._folder / f"{uuid4().hex}.tmp"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            scratch.write_bytes(data + _CRC.pack(crc32(data)))
            scratch.replace(self._path(pack))
        except OSError:
            with suppress(OSError):
                scratch.unlink()

    def _read(self, pack: str, n_blocks: int) -> tuple[bytes, bytearray]:
        """What is kept of a pack; a stamp that none has where nothing is, or others might write."""
        nothing = b"", bytearray()
        try:
            if not _is_private(self._folder):
                return nothing
            data = self._path(pack).read_bytes()
        except OSError:
            return nothing
        body, end = data[: -_CRC.size], data[-_CRC.size :]
        if len(body) != _HEAD.size + n_blocks or end != _CRC.pack(crc32(body)):
            return nothing
        return body[: _HEAD.size], bytearray(body[_HEAD.size :])

    def _path(self, pack: str) -> Path:
        return self._folder / f"{pack}.verified"


def _is_private(folder: Path) -> bool:
    """Whether nobody else can put anything into a folder."""
    if sys.platform == "win32":
        return True
    status = folder.stat()
    return not status.st_mode & _OTHERS and status.st_uid == os.getuid()


def _stamp(status: FileStatus) -> bytes:
    values = (status.size_bytes, status.mtime_ns, status.ctime_ns, status.inode)
    return _HEAD.pack(_MAGIC, *(value & _MASK for value in values))
