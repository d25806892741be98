"""Which objects are here: what lies in loose files, sealed packs and journals, as last looked.

Nothing of it is believed to last: packs are merged and journals sealed by other processes while
they are looked at, and a listing may miss what comes while something else goes.

Invariant: an object that was here when `refresh` began, and was not removed, is here when it ends.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from tupli_repo.errors import CorruptObjectError, InvalidInputError, NotFoundError, StorageIOError
from tupli_repo.odb.block_file import BlockFile
from tupli_repo.odb.failures import ask_again, is_stale
from tupli_repo.odb.files import RepositoryFiles, disk_errors, is_block_file_name
from tupli_repo.odb.journal import JournalFile
from tupli_repo.odb.locks import ThreadLock
from tupli_repo.odb.objects import Kind, ObjectId, parse_object_id
from tupli_repo.odb.pack import PACK_SUFFIX, VerifiedMemory
from tupli_repo.odb.trashed import LastingJournal, LastingPack, loose_kind
from tupli_repo.odb.writer import Writer

_FAN_OUT_NAME = re.compile(r"[0-9a-f]{2}")
_LOOKS = 20


class PresentObjects:
    """The objects of one repository, as of the last `refresh`.

    Args:
        files: The repository's files.
        writer: What this process writes, whose journals need not be read.
        memory: What of sealed packs need not be hashed again; everything is where None.
    """

    def __init__(
        self, files: RepositoryFiles, writer: Writer, memory: VerifiedMemory | None = None
    ) -> None:
        self._files = files
        self._writer = writer
        self._memory = memory
        self._lock = ThreadLock()
        self._block_files: dict[str, BlockFile] = {}
        self._loose: dict[ObjectId, Kind] = {}
        self._fan_out: dict[str, Path] = {}  # 256 of them, looked into again and again

    def refresh(self) -> None:
        """Look for what other processes have added or superseded since.

        Raises:
            CorruptObjectError: A file is damaged, so that what it holds cannot be told.
            StorageIOError: The repository is gone.
        """
        with self._lock:
            self._refresh_block_files()
            if not self._block_files and self._files.status(self._files.packs) is None:
                raise StorageIOError(
                    f"the repository '{self._files.root}' is gone",
                    hint="is the drive it is on still there?",
                )
            self._refresh_loose()

    def contains(self, oid: ObjectId) -> bool:
        """Return whether an object is here, as of the last `refresh`.

        Raises:
            CorruptObjectError: A file is damaged, so that it cannot be told.
        """
        with self._lock:
            if oid in self._loose:
                return True
            files, damage = self._healthy()
            if any(oid in file.directory for file in files):
                return True
        if damage is not None:  # it may be in there
            raise damage
        return False

    def missing(self, raw_ids: Iterable[bytes]) -> set[bytes]:
        """Return which of many ids (32 bytes each) are not here, as of the last `refresh`.

        Raises:
            CorruptObjectError: A file is damaged, so that it cannot be told of one.
        """
        left = set(raw_ids)
        with self._lock:
            files, damage = self._healthy()
            for file in files:
                left.difference_update(file.directory.raw_ids() & left)
            left.difference_update([raw for raw in left if ObjectId(raw.hex()) in self._loose])
        if left and damage is not None:  # it may be in there
            raise damage
        return left

    def ids(self, *kinds: Kind) -> Iterator[ObjectId]:
        """Iterate over the ids of the objects of some kinds (all where none is named), each once.

        What other processes did since the last `refresh` is not seen.
        """
        seen: set[ObjectId] = set()
        with self._lock:
            loose = [oid for oid, kind in self._loose.items() if not kinds or kind in kinds]
        for source in (loose, *(file.directory.ids(*kinds) for file in self.block_files())):
            for oid in source:
                if oid not in seen:
                    seen.add(oid)
                    yield oid

    def pack_names(self) -> list[str]:
        """Return the file names of the sealed packs, as of the last `refresh`."""
        return [name for name, _ in self._block_items() if name.endswith(PACK_SUFFIX)]

    def pack(self, name: str) -> BlockFile:
        """Return one sealed pack by its file's name."""
        return dict(self._block_items())[name]

    def journals(self) -> list[BlockFile]:
        """Return the journals of all writers, as of the last `refresh`."""
        return [file for name, file in self._block_items() if not name.endswith(PACK_SUFFIX)]

    def block_files(self) -> list[BlockFile]:
        """Return the packs and journals, with their directories read, as of the last `refresh`.

        Raises:
            CorruptObjectError: A directory is damaged.
            NotFoundError: They are replaced faster than they can be read.
        """
        files, damage = self._healthy()
        if damage is not None:
            raise damage
        return files

    def loose(self) -> Mapping[ObjectId, Kind]:
        """Return the loose objects and their kinds, as of the last `refresh`."""
        return self._loose

    def loose_ids(self, kind: Kind) -> list[ObjectId]:
        """Return the ids of the loose objects of one kind, as of the last `refresh`.

        Benchmarks, artifacts, provenance and tombstones are always loose.
        """
        with self._lock:
            return [oid for oid, found in self._loose.items() if found is kind]

    def _refresh_block_files(self) -> None:
        gone: set[str] = set()
        while True:
            present: dict[str, BlockFile] = {}
            lost: set[str] = set()
            for name in self._block_file_names() - gone:
                try:
                    present[name] = self._refreshed(name)
                except FileNotFoundError as err:  # superseded: by what may be newer
                    if is_stale(err):  # or it is there, and would be passed over
                        with disk_errors("read", self._files.packs / name):
                            raise err.__cause__ or err from None
                    lost.add(name)
            if not lost:
                break
            gone |= lost
        self._block_files = dict(sorted(present.items()))

    def _block_file_names(self) -> set[str]:
        """The names of packs and journals; another name belongs to somebody else.

        Listed until nothing has come or gone meanwhile: between a pack's coming and the going of
        what it replaces, a listing may miss both.
        """
        before, found = None, set[str]()
        for _ in range(_LOOKS):
            names = self._files.list_folder(self._files.packs)
            found.update(filter(is_block_file_name, names))
            if names == before:
                break
            before = names
        return found

    def _refreshed(self, name: str) -> BlockFile:
        """The pack or journal of that name with everything that is in it now."""
        file, path = self._block_files.get(name), self._files.packs / name
        if path.suffix == PACK_SUFFIX:
            return file or LastingPack(self._files, path, self._memory)
        journal = file if isinstance(file, JournalFile) else LastingJournal(self._files, path)
        own = self._writer.journal(name)
        ask_again(journal.refresh if own is None else partial(journal.follow, own))
        return journal

    def _refresh_loose(self) -> None:
        present: dict[ObjectId, Kind] = {}
        for oid in self._loose_ids():
            kind = self._loose.get(oid) or self._loose_kind(oid)
            if kind is not None:
                present[oid] = kind
        self._loose = present

    def _loose_ids(self) -> Iterator[ObjectId]:
        """The ids of the loose files; a name that is none belongs to somebody else."""
        for name in self._files.list_folder(self._files.objects):
            if _FAN_OUT_NAME.fullmatch(name):
                folder = self._fan_out.get(name)
                if folder is None:
                    folder = self._fan_out[name] = self._files.objects / name
                for rest in self._files.list_folder(folder):
                    with suppress(InvalidInputError):
                        yield parse_object_id(name + rest)

    def _loose_kind(self, oid: ObjectId) -> Kind | None:
        """The kind of a loose object, found without reading the whole of a large blob."""
        with suppress(FileNotFoundError):
            return loose_kind(self._files, self._loose_path(oid), oid)
        return None

    def _loose_path(self, oid: ObjectId) -> Path:
        return self._files.objects / oid[:2] / oid[2:]

    def _healthy(self) -> tuple[list[BlockFile], CorruptObjectError | None]:
        """The packs and journals whose directories can be read, and why the others cannot."""
        with self._lock:
            for _ in range(_LOOKS):
                found: list[BlockFile] = []
                damage: CorruptObjectError | None = None
                try:
                    for file in self._block_files.values():
                        try:
                            _ = file.directory  # read now, where it is not yet
                        except CorruptObjectError as err:
                            damage = err
                        else:
                            found.append(file)
                except FileNotFoundError:  # superseded since the last refresh
                    self._refresh_block_files()
                else:
                    return found, damage
            raise NotFoundError(
                f"the packs in '{self._files.packs}' are replaced faster than they can be read",
                hint="try again",
            )

    def _block_items(self) -> list[tuple[str, BlockFile]]:
        with self._lock:
            return list(self._block_files.items())
