"""Disks that lie: what they do is not what they say, or not when they say it.

No code can undo a lie. It must never pass one on: what is read is what was written, or an error.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from tests.faults.failing import Call, RecordingFileSystem
from tupli_repo.odb.files import FileSystem

Lie = Literal["lost", "torn", "zeros", "flipped"]


class LyingFileSystem(RecordingFileSystem):
    """Says done, and it is not so; or reads other bytes, once.

    Args:
        step: Which of the primitives, counted from 1: of the reads for a read that lies, else of
            the writes.
        lie: ``lost``: none of the bytes are there; ``torn``: the first half; ``zeros``: zeros in
            their place; ``flipped``: one bit is another.
        on_read: Whether it is a read that lies.
        inner: The file system that does the work.

    Attributes:
        lied: The file; None where it has not come to it.
    """

    def __init__(
        self, step: int, lie: Lie, *, on_read: bool = False, inner: FileSystem | None = None
    ) -> None:
        super().__init__(inner)
        self.lied: Path | None = None
        self._left, self._lie, self._on_read = step, lie, on_read

    def write(self, descriptor: int, data: bytes) -> None:
        super().write(descriptor, data if self._on_read else self._heard(descriptor, data))

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        data = super().read(descriptor, size, offset)
        return self._heard(descriptor, data) if self._on_read else data

    def _heard(self, descriptor: int, data: bytes) -> bytes:
        self._left -= 1
        if self._left or not data:
            return data
        self.lied = self._paths[descriptor]
        match self._lie:
            case "lost":
                return b""
            case "torn":
                return data[: len(data) // 2]
            case "zeros":
                return bytes(len(data))
        middle = len(data) // 2
        return data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :]


class DelayingFileSystem(RecordingFileSystem):
    """A slow disk: waits before each primitive.

    Args:
        delay_s: Tells how long, in seconds.
        inner: The file system that does the work.
    """

    def __init__(
        self, delay_s: Callable[[Call], float], *, inner: FileSystem | None = None
    ) -> None:
        super().__init__(inner)
        self._delay_s = delay_s

    def before(self, call: Call) -> None:
        super().before(call)
        if seconds := self._delay_s(call):
            time.sleep(seconds)


class ForgetfulFileSystem(RecordingFileSystem):
    """A network drive that remembers listings: for a while a folder looks as it did.

    Args:
        times: How often a listing is given again before the folder is looked at anew.
        inner: The file system that does the work.
    """

    def __init__(self, times: int, *, inner: FileSystem | None = None) -> None:
        super().__init__(inner)
        self._times = times
        self._known: dict[Path, tuple[list[str], int]] = {}

    def list_folder(self, path: Path) -> list[str]:
        names, left = self._known.get(path, ([], 0))
        if not left:
            names, left = super().list_folder(path), self._times + 1
        self._known[path] = (names, left - 1)
        return list(names)
