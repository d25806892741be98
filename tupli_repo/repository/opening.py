"""Opening a repository, making durable what was written, and looking at it as a whole.

Invariant: after `flush`, and after leaving `batch`, what was recorded is on the disk itself.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import local
from typing import Any, Self

from tupli_repo.catalog import SetNotes, VerifiedBlocks, catalog_path
from tupli_repo.codec.trust import TrustPolicy
from tupli_repo.config import RepositoryFormat, Settings, SettingsFile, effective_settings
from tupli_repo.errors import CorruptObjectError
from tupli_repo.grants import Grants, check_import_path
from tupli_repo.odb.files import FileSystem, RepositoryFiles
from tupli_repo.odb.objects import (
    Kind,
    Object,
    ObjectId,
)
from tupli_repo.odb.refs import RefStore
from tupli_repo.repository import location, upkeep
from tupli_repo.repository.benchmarks import Benchmarks
from tupli_repo.repository.episodes import Episodes
from tupli_repo.repository.keeping import Keeping, user_cache
from tupli_repo.repository.published.publishing import Publisher
from tupli_repo.repository.published.releases import Releases
from tupli_repo.repository.published.revisions import Revisions
from tupli_repo.repository.published.stored import PublishedStore
from tupli_repo.repository.records import Annotations
from tupli_repo.repository.shelf import (
    Shelf,
    matching,
)
from tupli_repo.repository.subjects import Subjects
from tupli_repo.schema.reports import StatusReport, UsageItem


class _Batches(local):
    """How many batches are open in this thread; a forked child begins with none.

    Attributes:
        deferred: What is to be done when the outermost is left.
    """

    def __init__(self) -> None:
        self._pid, self._depth = os.getpid(), 0
        self.deferred: list[Any] = []

    @property
    def depth(self) -> int:
        return self._depth if self._pid == os.getpid() else 0

    @depth.setter
    def depth(self, depth: int) -> None:
        if self._pid != os.getpid():
            self.deferred = []
        self._pid, self._depth = os.getpid(), depth


class OpenRepository:
    """A repository that was opened: see `Repository`, which has the verbs."""

    def __init__(self, path: str | Path | None = None, *, fs: FileSystem | None = None) -> None:
        root = location.find(None if path is None else Path(path), fs=fs)
        self._files = RepositoryFiles(root, fs)
        self._format = location.read_format(self._files)
        self._files.check_folders()
        self.settings_file = SettingsFile(root / "config.toml", fs=self._files.fs)
        self.settings: Settings = effective_settings(self.settings_file)
        catalog = catalog_path(root, self._format.id)
        memory = None if self.settings.verify_always else VerifiedBlocks(catalog)
        self._store = PublishedStore(self._files, memory, SetNotes(catalog))
        self._refs = RefStore(self._files)
        self._releases = Releases(self._store, self._refs)
        self._revisions = Revisions(self._releases)
        is_bare = self._format.role == "bare"
        self._annotations = Annotations(self._store, self._releases.notes if is_bare else None)
        said_of = self._annotations.of_any
        self._publisher = Publisher(self._store, self._refs, self._releases, said_of)
        self._episodes = Episodes(
            self._store, catalog, self._releases.groups_of_episodes, self._annotations.labels
        )
        self._shelf = Shelf(
            self._store,
            self._episodes,
            self._releases,
            repository=self._format.id,
            only_published=is_bare,
        )
        self._subjects = Subjects(self._store, self._shelf, self._releases, self._revisions)
        self._benchmarks = Benchmarks(self._store, self._shelf)
        self._known_benchmarks: set[str] = set()
        self._settled: set[Path] = set()
        self._batches = _Batches()
        self._grants = Grants(root, self._format.id)
        cache = user_cache(self.settings, fs=self._files.fs)
        self._keeping = Keeping(self._episodes, cache, self._name_of_benchmark)

    @classmethod
    def init(
        cls,
        path: str | Path = ".",
        *,
        bare: bool = False,
        shared: bool | str = False,
        fs: FileSystem | None = None,
    ) -> Self:
        """Make an empty repository in a folder and open it.

        Args:
            path: The folder.
            bare: Whether only what is published in it is seen: for a drive.
            shared: Whether the folder's group may write, too; or the group's name.
            fs: How the disk is reached; another one in tests.

        Raises:
            RepositoryExistsError: There is one already.
            InvalidInputError: There is no such group.
            StorageIOError: The operating system refused.
        """
        root = location.create(Path(path), role="bare" if bare else "work", shared=shared, fs=fs)
        return cls(root, fs=fs)

    @property
    def root(self) -> Path:
        """The `.tupli` folder."""
        return self._files.root

    @property
    def format(self) -> RepositoryFormat:
        """What `format.json` says: id, role, format."""
        return self._format

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, or another process, opens the same repository anew."""
        return type(self), (str(self.root),)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}('{self.root.parent}')"

    def flush(self) -> None:
        """Return when every episode recorded by this process is on the disk itself.

        Raises:
            StorageIOError: It may not be.
        """
        self._store.sync()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Record many episodes with one wait for the disk, when the block is left.

        It speaks for this thread alone: what others record is durable at once. Meanwhile other
        processes may see some of the episodes only later: a few MiB are gathered, and written
        together.

        Raises:
            StorageIOError: Not all of them may be on the disk.
        """
        depth = self._batches.depth
        self._batches.depth = depth + 1
        try:
            yield
        finally:
            self._batches.depth = depth
            if not depth:
                self.flush()

    def close(self) -> None:
        """Seal this process's journal. The repository stays usable.

        What is in it is catalogued at once, so that the next listing here need not wait for it.

        Raises:
            StorageIOError: The disk refused; what was recorded stays readable.
        """
        self._episodes.index(self._store.close())

    def on_indexing(self, tell: Callable[[int, int], None] | None) -> None:
        """Have somebody told while packs are read for the first time, before they are listed.

        Args:
            tell: Called with how many packs have been read, and how many are to be; None for
                nobody.
        """
        self._episodes.on_indexing(tell)

    # ---- trust

    def trust(self, names: Iterable[str | type]) -> list[str]:
        """Grant names for this user and this repository; returns those that are new.

        Args:
            names: ``'pkg.mod.Class'`` exactly, or ``'pkg.*'`` for the classes under ``pkg``.

        Raises:
            InvalidInputError: A name is malformed, too wide or can never be granted; none is.
            StorageIOError: The user's configuration folder cannot be read or written.
            LockedError: Another process keeps the grants locked.
        """
        return self._grants.grant(names)

    def distrust(self, names: Iterable[str | type]) -> list[str]:
        """Take back what this user granted here; returns the names, each once.

        Raises:
            NotFoundError: One was not granted; nothing is taken back.
            StorageIOError: The user's configuration folder cannot be read or written.
            LockedError: Another process keeps the grants locked.
        """
        return self._grants.revoke(names)

    def trusted(self) -> tuple[str, ...]:
        """Return the names this user granted here, sorted."""
        return self._grants.names

    def trust_policy(self, names: Iterable[str | type] = ()) -> TrustPolicy:
        """Return what an environment loaded from here may bring to life.

        Args:
            names: Granted for this once, beside what this user granted and stored here.

        Raises:
            UntrustedCodeError: Python imports from inside this repository.
            InvalidInputError: A name cannot be granted, or the file of grants is malformed.
        """
        check_import_path(self.root)
        return self._grants.policy(names)

    def trust_document(self, sha256: str) -> None:
        """Vouch for an environment's text that this user stores here; see `Grants.add_document`.

        Args:
            sha256: Of the text, 64 hex digits.
        """
        self._grants.add_document(sha256)

    # ---- objects

    def removed(self) -> list[tuple[Kind, ObjectId]]:
        """Return kind and id of what was removed here and can be restored."""
        self._releases.refresh()
        return self._shelf.removed()

    def remove(self, uris: Iterable[str], *, why: str = "") -> list[tuple[Kind, ObjectId]]:
        """Hide benchmarks, artifacts and episodes here, all at once; returns kinds and ids.

        Args:
            uris: Ids or unique prefixes.
            why: A note that is kept.

        Raises:
            NotFoundError: One is not here; nothing is hidden.
            AmbiguousNameError: Several begin with one; nothing is hidden.
        """
        found = self._resolve_all(uris)
        if found:
            ids = [oid for _, oid in found]
            self._known_benchmarks.difference_update(ids)
            self._shelf.tombstones.hide(ids, user=self.settings.user_name, why=why)
        return found

    def restore(self, uris: Iterable[str]) -> list[tuple[Kind, ObjectId]]:
        """Bring back what was removed, by ids or unique prefixes; returns kinds and ids.

        Raises:
            NotFoundError: One was not removed here; nothing is brought back.
            AmbiguousNameError: Several that were removed begin with one; nothing is brought back.
        """
        removed = {oid: kind for kind, oid in self.removed()}
        chosen = matching(uris, removed, "a removed benchmark, artifact or episode")
        self._shelf.tombstones.reveal(chosen, user=self.settings.user_name)
        return [(removed[oid], oid) for oid in chosen]

    def status(self) -> StatusReport:
        """Return what the repository holds.

        Raises:
            CorruptObjectError: A record is damaged.
        """
        self._releases.refresh()
        return upkeep.status(
            self._files, self._store, self._shelf, self._episodes, role=self._format.role
        )

    def usage(self) -> list[UsageItem]:
        """Return what each benchmark, with its episodes, and each artifact takes on the disk.

        Raises:
            CorruptObjectError: A record is damaged.
        """
        self._releases.refresh()
        return upkeep.usage(self._store, self._shelf)

    def resolve(self, uri: str) -> tuple[Kind, ObjectId]:
        """Return kind and id of a benchmark, artifact or episode, by id, unique prefix or revision.

        Raises:
            InvalidInputError: It is none of these.
            NotFoundError: Nothing here begins with it.
            AmbiguousNameError: Several do.
        """
        (found,) = self._resolve_all([uri])
        return found

    def _resolve_all(self, uris: Iterable[str]) -> list[tuple[Kind, ObjectId]]:
        """Kinds and ids, each once, of ids, unique prefixes or revisions."""
        uris = list(uris)
        self._releases.refresh()
        kinds = (Kind.BENCHMARK, Kind.ARTIFACT, Kind.EPISODE)
        visible = {oid: kind for kind in kinds for oid in self._shelf.visible(kind)}
        named = {uri: found for uri in uris if (found := self._shelf.named(uri))}
        chosen = matching(
            (uri if uri not in named else named[uri][1] for uri in uris),
            [*visible, *(oid for _, oid in named.values())],
            "benchmark, artifact or episode",
        )
        kind_of = visible | {oid: kind for kind, oid in named.values()}
        return [(kind_of[oid], oid) for oid in chosen]

    def _name_of_benchmark(self, oid: str) -> str:
        """A benchmark's name, the beginning of its id where that is not known."""
        try:
            return self._shelf.benchmarks.all()[ObjectId(oid)].body.name
        except (KeyError, CorruptObjectError):
            return oid[:12]

    def read_object(self, uri: str) -> tuple[ObjectId, Object]:
        """Return any object by id or unique prefix, verified; what a revision is of by its name.

        Raises:
            NotFoundError: It is not here.
            CorruptObjectError: It is damaged.
        """
        self._releases.refresh()
        named = self._shelf.named(uri)
        if named is None:
            (oid,) = matching([uri], self._store.ids(), "object")
        else:
            _, oid = named
        return oid, self._store.read(oid)
