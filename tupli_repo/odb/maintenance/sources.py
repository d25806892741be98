"""Where objects that are damaged or missing may be found: the trash, and other repositories.

Invariant: what a source gives is the object that was asked for, hashed on the way; what it cannot
give it leaves out.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from tupli_repo.errors import CorruptObjectError, NotFoundError, StorageIOError
from tupli_repo.odb.block_file import BlockFile
from tupli_repo.odb.files import RepositoryFiles, is_block_file_name
from tupli_repo.odb.journal import JournalFile
from tupli_repo.odb.maintenance.check import read_loose
from tupli_repo.odb.maintenance.salvage import scan
from tupli_repo.odb.objects import Encoded, Kind, ObjectId
from tupli_repo.odb.pack import PACK_SUFFIX, PackFile
from tupli_repo.odb.remote import RemoteObjects

_LOOSE = re.compile(r"(?:.*/)?([0-9a-f]{2})/?([0-9a-f]{62})")
_FAILURES = (CorruptObjectError, NotFoundError, StorageIOError, FileNotFoundError)


class Source(Protocol):
    """A place where objects may be found."""

    name: str

    def kinds(self, ids: Iterable[ObjectId]) -> dict[ObjectId, Kind]:
        """Return which of some objects are said to be there, and what they are."""

    def read_encoded(self, ids: Iterable[ObjectId]) -> Iterator[Encoded]:
        """Iterate over those of some objects that can be read, verified."""

    def ids_in(self, name: str) -> list[ObjectId]:
        """Return what a pack or journal of that file name holds there, as far as it is whole."""


class TrashSource:
    """What was superseded in a repository and is still in its trash.

    Args:
        files: The repository's files.
    """

    name = "trash"

    def __init__(self, files: RepositoryFiles) -> None:
        self._files = files
        self._loose: dict[ObjectId, Path] = {}
        self._block_files: list[BlockFile] | None = None

    def kinds(self, ids: Iterable[ObjectId]) -> dict[ObjectId, Kind]:
        """Return which of some objects are said to be there, and what they are."""
        found: dict[ObjectId, Kind] = {}
        block_files = self._opened()
        for oid in ids:
            if oid in self._loose:
                with suppress(*_FAILURES):
                    found[oid] = read_loose(self._files, oid, self._loose[oid]).kind
                    continue
            for file in block_files:
                entry = file.directory.get(oid)
                if entry is not None:
                    found[oid] = entry.kind
                    break
        return found

    def read_encoded(self, ids: Iterable[ObjectId]) -> Iterator[Encoded]:
        """Iterate over those of some objects that can be read, verified."""
        left = dict.fromkeys(ids)
        block_files = self._opened()
        for oid in [oid for oid in left if oid in self._loose]:
            with suppress(*_FAILURES):
                found = read_loose(self._files, oid, self._loose[oid])
                del left[oid]
                yield oid, found.kind, found.encoded
        for file in block_files:
            for oid in [oid for oid in left if oid in file.directory]:
                with suppress(*_FAILURES):
                    for item in file.read_encoded([oid]):
                        del left[oid]
                        yield item

    def ids_in(self, name: str) -> list[ObjectId]:
        """Return what a pack or journal of that file name holds there, as far as it is whole."""
        found = [file for file in self._opened() if file.path.name == name]
        return list(dict.fromkeys(oid for file in found for oid in file.directory.ids()))

    def _opened(self) -> list[BlockFile]:
        """The packs and journals there; what can be read of those that are damaged."""
        if self._block_files is None:
            self._block_files = []
            for path in self._below(self._files.root / "trash"):
                with suppress(*_FAILURES):
                    self._take(path)
        return self._block_files

    def _take(self, path: Path) -> None:
        assert self._block_files is not None
        loose = _LOOSE.fullmatch(path.relative_to(self._files.root).as_posix())
        if is_block_file_name(path.name):
            self._block_files.append(self._block_file(path))
        elif loose is not None:
            self._loose[ObjectId(loose[1] + loose[2])] = path

    def _block_file(self, path: Path) -> BlockFile:
        with suppress(CorruptObjectError):
            if path.name.endswith(PACK_SUFFIX):
                pack = PackFile(self._files, path)
                _ = pack.directory  # read now
                return pack
            journal = JournalFile(self._files, path)
            journal.refresh()
            return journal
        return scan(self._files, path).file

    def _below(self, folder: Path) -> Iterator[Path]:
        folders = [folder]
        while folders:
            folder = folders.pop()
            with suppress(StorageIOError):
                for name in self._files.list_folder(folder):
                    status = self._files.status(folder / name)
                    if status is not None and status.is_folder:
                        folders.append(folder / name)
                    elif status is not None and status.is_file:
                        yield folder / name


class RemoteSource:
    """Another repository.

    Args:
        name: What it is called.
        objects: What it holds.
    """

    def __init__(self, name: str, objects: RemoteObjects) -> None:
        self.name = name
        self._objects = objects

    def kinds(self, ids: Iterable[ObjectId]) -> dict[ObjectId, Kind]:
        """Return which of some objects are said to be there, and what they are."""
        asked = list(ids)
        try:
            return {oid: found.kind for oid, found in self._objects.look_up(asked).items()}
        except CorruptObjectError:  # one of them, loose
            found: dict[ObjectId, Kind] = {}
            for oid in asked:
                with suppress(*_FAILURES):
                    found[oid] = self._objects.kind_of(oid)
            return found

    def read_encoded(self, ids: Iterable[ObjectId]) -> Iterator[Encoded]:
        """Iterate over those of some objects that can be read, verified."""
        left = dict.fromkeys(ids)
        with suppress(CorruptObjectError, NotFoundError):
            for item in self._objects.read_encoded(list(left)):
                del left[item[0]]
                yield item
            return
        for oid in list(left):  # what is beside the damage
            with suppress(CorruptObjectError, NotFoundError):
                yield from self._objects.read_encoded([oid])

    def ids_in(self, name: str) -> list[ObjectId]:
        """Return what a pack or journal of that file name holds there, as far as it is whole."""
        with suppress(*_FAILURES):
            for file in self._objects.files():
                if file.name == f"packs/{name}":
                    return list(file.directory.ids())
        return []
