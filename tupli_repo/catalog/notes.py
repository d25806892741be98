"""What was found of episode sets, noted in the user's cache for other processes.

Invariant: what is read is what was written of that set, or nothing.
"""

from contextlib import suppress
from pathlib import Path
from struct import Struct
from uuid import uuid4
from zlib import crc32

_SUFFIX = ".held"
_SCRATCH = ".tmp"
_HEAD = Struct("<8s32sI")
_MAGIC = b"TUPLIHD\x01"


class SetNotes:
    """A note for each of some sets; what can neither be written nor read is forgotten.

    Args:
        folder: Where they are; it need not exist, and may vanish.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, oid: str) -> bytes | None:
        """Return what is noted of a set; None where nothing is, or not what was written."""
        with suppress(OSError):
            data = self._path(oid).read_bytes()
            body = data[_HEAD.size :]
            if data[: _HEAD.size] == _head(oid, body):
                return body
        return None

    def write(self, oid: str, body: bytes) -> None:
        """Note something of a set."""
        scratch = self._folder / f"{uuid4().hex}{_SCRATCH}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            scratch.write_bytes(_head(oid, body) + body)
            scratch.replace(self._path(oid))
        except OSError:
            with suppress(OSError):
                scratch.unlink()

    def _path(self, oid: str) -> Path:
        return self._folder / f"{oid}{_SUFFIX}"


def _head(oid: str, body: bytes) -> bytes:
    raw_id = bytes.fromhex(oid)
    return _HEAD.pack(_MAGIC, raw_id, crc32(raw_id + body))
