"""An object store that knows in which of its files the members of published sets lie.

Invariant: `missing_of` tells what `missing` would tell of the members.
"""

from collections.abc import Callable, Collection
from contextlib import suppress

from tupli_repo.errors import CorruptObjectError
from tupli_repo.odb.block_file import BlockFile
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.holdings import HeldIds, Holdings, Notes
from tupli_repo.odb.objects import ObjectId
from tupli_repo.odb.pack import VerifiedMemory
from tupli_repo.odb.store import ObjectStore


class PublishedStore(ObjectStore):
    """Every object of one repository; see `ObjectStore`.

    Args:
        files: The repository's files.
        memory: What of sealed packs need not be hashed again; everything is where None.
        notes: Where it is noted in which packs sets lie; None: nowhere.
    """

    def __init__(
        self,
        files: RepositoryFiles,
        memory: VerifiedMemory | None = None,
        notes: Notes | None = None,
    ) -> None:
        super().__init__(files, memory)
        self._holdings = Holdings(self, notes)
        self._looked: tuple[list[str], dict[str, HeldIds]] | None = None

    def refresh(self) -> None:
        """Look for what others have added or removed since; see `ObjectStore.refresh`."""
        self._looked = None
        super().refresh()

    def missing_of(self, oid: ObjectId, members: Callable[[], Collection[bytes]]) -> set[bytes]:
        """Return which members of a set are not here, as of the last `refresh`.

        Args:
            oid: The set's id.
            members: Gives their raw ids; called where it is not known in which files they are.

        Raises:
            CorruptObjectError: A file is damaged, so that it cannot be told of one.
        """
        return self._holdings.missing(oid, members)

    def holders(self) -> dict[str, HeldIds]:
        """Return what each pack and journal holds, by its file's name; a pack's with its stamp.

        A pack whose file has another size or time than it had is looked into again.
        """
        packs, journals = self.pack_names(), self.journals()
        names = [*packs, *(journal.path.name for journal in journals)]
        if self._looked is None or self._looked[0] != names:
            found: dict[str, HeldIds] = {}
            for name in packs:
                with suppress(KeyError):  # gone since
                    file = self.pack(name)
                    found[f"{name} {self._stamp(file)}"] = _IdsIn(file)
            found |= {journal.path.name: _IdsIn(journal) for journal in journals}
            self._looked = names, found
        return self._looked[1]

    def _stamp(self, file: BlockFile) -> str:
        status = self._files.status(file.path)
        if status is None:
            return ""
        return f"{status.size_bytes} {status.mtime_ns} {status.ctime_ns} {status.inode}"


class _IdsIn:
    """The ids of what a file holds; nothing where that cannot be told."""

    def __init__(self, file: BlockFile) -> None:
        self._file = file

    def among(self, raw_ids: set[bytes]) -> set[bytes]:
        with suppress(FileNotFoundError, CorruptObjectError):
            return self._file.directory.raw_ids() & raw_ids
        return set()
