"""The repositories a repair asks, and the trash of its own.

Nothing that is cached of them counts: all is read anew.
"""

from collections.abc import Iterable
from typing import NamedTuple

from tupli_repo.catalog import catalog_path, remove_catalog
from tupli_repo.config import RepositoryFormat, SettingsFile
from tupli_repo.errors import TupliError
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.maintenance.sources import RemoteSource, Source, TrashSource
from tupli_repo.odb.refs import YANK_SUFFIX, RefName
from tupli_repo.odb.remote import RemoteObjects
from tupli_repo.repository.sharing.remotes import OpenRemote, Remotes, open_remote
from tupli_repo.schema.transfers import RemoteItem


class FoundFile(NamedTuple):
    """A record's or yank's file, as another repository has it."""

    file: str
    data: bytes
    kind: str
    source: str


class Others:
    """Every place where something that is lost may be.

    Args:
        files: The repository that lost it.
        asked: Names or places of remotes; all that are known where None.

    Attributes:
        unreachable: One line for each that cannot be asked.
    """

    def __init__(self, files: RepositoryFiles, asked: Iterable[str] | None) -> None:
        self._files = files
        self._asked = asked
        self._open: list[tuple[str, OpenRemote]] | None = None
        self._sources: list[Source] = []
        self.unreachable: list[str] = []

    def check_asked(self) -> None:
        """Check that what is to be asked is known here.

        Raises:
            NotFoundError: It is not.
        """
        if self._asked is not None:
            self._items()

    def sources(self) -> list[Source]:
        """Return where objects may be."""
        if not self._sources:
            self._sources = [TrashSource(self._files)]
            for name, remote in self._opened():
                objects = RemoteObjects(remote.side.objects.transport, fs=self._files.fs)
                try:
                    objects.refresh()
                except TupliError as err:
                    self.unreachable.append(f"'{name}': {err.message}")
                else:
                    self._sources.append(RemoteSource(name, objects))
        return self._sources

    def record_file(self, name: RefName, file: str) -> FoundFile | None:
        """Return the record or yank of a file's name, from whoever has it."""
        record_file = file.removesuffix(YANK_SUFFIX)
        for source, remote in self._opened():
            refs = remote.side.refs
            for one, record in refs.records(name).items():
                if record.file_name != record_file:
                    continue
                if file == record_file:
                    return FoundFile(file, record.dump(), "record", source)
                if (yank := refs.yanks(name).get(one)) is not None:
                    return FoundFile(file, yank.dump(), "yank", source)
        return None

    def record(self, name: RefName, revision: str) -> FoundFile | None:
        """Return the record of a revision, from whoever has it."""
        for source, remote in self._opened():
            record = remote.side.refs.records(name).get(revision)
            if record is not None:
                return FoundFile(record.file_name, record.dump(), "record", source)
        return None

    def forget_derived(self, known: RepositoryFormat | None) -> None:
        """Remove the catalog and what is cached of the remotes: they are made anew."""
        for _, remote in self._open or []:
            remote.side.objects.forget_directories()
        if known is not None:
            remove_catalog(catalog_path(self._files.root, known.id))

    def close(self) -> None:
        """Let go of them."""
        for _, remote in self._open or []:
            remote.close()

    def _opened(self) -> list[tuple[str, OpenRemote]]:
        if self._open is None:
            self._open = []
            for item in self._items():
                try:
                    remote = open_remote(item.url, fs=self._files.fs)
                    remote.side.refs.refresh()
                except TupliError as err:
                    self.unreachable.append(f"'{item.name or item.url}': {err.message}")
                    continue
                if remote.side.objects.transport.place("packs").parent != self._files.root:
                    self._open.append((item.name or item.url, remote))
        return self._open

    def _items(self) -> list[RemoteItem]:
        settings = SettingsFile(self._files.root / "config.toml", fs=self._files.fs)
        known = Remotes(settings, self._files.root.parent)
        if self._asked is not None:
            return [known.find(text) for text in self._asked]
        try:
            return known.all()
        except TupliError as err:
            self.unreachable.append(f"the remotes: {err.message}")
            return []
