"""The private folder in which things are tried, and the shape of what trying them shows.

Invariant: what is made is noted before it comes to be, so that `Ground.clean` leaves nothing.
"""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from tupli_repo.odb.filesystem import FileSystem
from tupli_repo.schema.doctor import State

_FIRST = "first"
_READ_BYTES = 100


class Found(NamedTuple):
    """What one attempt has shown; see `ProbeItem`."""

    state: State
    found: str
    follows: str = ""


class Ground:
    """Makes scratch files and folders beside what is looked at, and removes them.

    Args:
        place: The folder, or the `.tupli` of a repository.
        fs: The primitives.
        is_repository: Which of both.

    Attributes:
        folder: Where everything is tried.
        first: A file in it, once `prepare` has made it.
    """

    def __init__(self, place: Path, fs: FileSystem, *, is_repository: bool) -> None:
        self.place, self.fs, self.is_repository = place, fs, is_repository
        private = f".tupli-doctor-{uuid4().hex}"
        self.folder = place / ("staging" if is_repository else "") / private
        self.first = self.folder / _FIRST
        self._files: list[Path] = []
        self._folders: list[Path] = []

    def prepare(self) -> None:
        """Make the folder, with a file in it; everything else is tried there."""
        self.make_folder(self.folder, 0o700)
        self.make_file(_FIRST, b"some bytes")

    def make_folder(self, path: Path, mode: int = 0o777) -> Path:
        """Make one folder."""
        self._folders.append(path)
        self.fs.make_folder(path, mode=mode)
        return path

    def make_file(self, name: str, data: bytes = b"") -> Path:
        """Make one file."""
        path = self.name(name)
        descriptor = self.fs.create(path, mode=0o666)
        try:
            if data:
                self.fs.write(descriptor, data)
        finally:
            self.fs.close(descriptor)
        return path

    def name(self, name: str) -> Path:
        """Return the path of a file that the caller makes."""
        path = self.folder / name
        self._files.append(path)
        return path

    def is_there(self, path: Path) -> bool:
        """Return whether there is something under a name."""
        try:
            self.fs.status(path)
        except (OSError, UnicodeError):
            return False
        return True

    def read(self, path: Path) -> bytes:
        """Return the beginning of a file."""
        descriptor = self.fs.open_read(path)
        try:
            return self.fs.read(descriptor, _READ_BYTES, 0)
        finally:
            self.fs.close(descriptor)

    def clean(self) -> None:
        """Remove what was made, what is inside first; each as far as the disk lets us."""
        for path in reversed(self._files):
            with suppress(OSError):
                self.fs.remove(path)
        for path in reversed(self._folders):
            with suppress(OSError):
                self.fs.remove_folder(path)


def reason(err: OSError) -> str:
    """Return what the operating system says of a refusal, within a line."""
    return (err.strerror or str(err)).lower()
