"""Removing what nothing leads to any more, and merging small packs.

What was removed can be restored for as long as it is here, in the trash too.

Invariant: what a listing shows, what a name leads to and what is younger than the grace stays.
"""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from tupli_repo.errors import CorruptObjectError, InvalidInputError, NotFoundError, TupliError
from tupli_repo.odb import trash
from tupli_repo.odb.block import Directory
from tupli_repo.odb.files import RepositoryFiles, is_journal_name
from tupli_repo.odb.maintenance.compact import count_mergeable, merge_small
from tupli_repo.odb.maintenance.gc import DEFAULT_GRACE, OnCleaning, collect, trash_bytes
from tupli_repo.odb.maintenance.reach import Roots
from tupli_repo.odb.objects import Kind, ObjectId
from tupli_repo.odb.trashed import directory_of
from tupli_repo.repository import location
from tupli_repo.repository.cloning import CloningRepository
from tupli_repo.repository.naming import Deferred
from tupli_repo.repository.sharing.remotes import local_path
from tupli_repo.repository.shelf import matching
from tupli_repo.schema.cleaning import GcReport
from tupli_repo.schema.reports import PublishReport, StatusReport

_REMOVABLE = (Kind.BENCHMARK, Kind.ARTIFACT, Kind.EPISODE)


class CleaningRepository(CloningRepository):
    """A repository that can be cleaned, and merges small packs where there are many."""

    def gc(
        self,
        *,
        grace: timedelta = DEFAULT_GRACE,
        dry_run: bool = False,
        on_progress: OnCleaning | None = None,
    ) -> GcReport:
        """Move what nothing leads to to the trash, empty the trash of what is old, merge packs.

        It may run beside everything else, on any machine. What is moved can be read, and comes back
        if something leads to it again, until it has been in the trash for 14 days.

        Args:
            grace: What is younger stays, by the clock of whoever keeps the files. Less than an hour
                is for a repository that nobody is pushing to.
            dry_run: Whether nothing is done but to tell.
            on_progress: Told how far it has come.

        Raises:
            InvalidInputError: The grace is negative.
            LockedError: Another process is cleaning this repository.
            CorruptObjectError: Something is damaged, so that what it needs cannot be told.
            StorageIOError: The disk refused; the next run goes on.
        """
        if grace < timedelta(0):
            raise InvalidInputError(f"'{grace}' is no grace", hint="0 or more")
        if not dry_run:
            self.flush()
        return collect(
            self._files,
            self._store,
            self._roots,
            grace=grace,
            dry_run=dry_run,
            on_progress=on_progress,
        )

    def _roots(self) -> Roots:
        """What is reachable by itself, looked at anew: refs first, as they are written last."""
        self._releases.refresh()
        records = [self._refs.records(name) for name in self._refs.names()]
        named = frozenset(bytes.fromhex(one.release) for some in records for one in some.values())
        if self._format.role == "bare":
            return Roots(
                named,
                only_named=True,
                gone=frozenset(self._releases.taken_back()),
                is_torn=any(
                    not some.keys() >= set(one.parents) for some in records for one in some.values()
                ),
            )
        hidden = self._shelf.tombstones.hidden()
        return Roots(named, hidden=frozenset(map(bytes.fromhex, hidden)))

    # ---- what was removed

    def status(self, *, with_remotes: bool = True) -> StatusReport:
        """Return what the repository holds; see `SharingRepository.status`."""
        found = super().status(with_remotes=with_remotes)
        return found.model_copy(
            update={
                "hidden": len(self.removed()),
                "trash_bytes": trash_bytes(self._files),
                "mergeable_packs": count_mergeable(self._files),
                "pending_names": sum(
                    not all(map(self._releases.is_whole, self._releases.views(name).values()))
                    for name in self._releases.names()
                ),
            }
        )

    def removed(self) -> list[tuple[Kind, ObjectId]]:
        """Return kind and id of what was removed here and can be restored, from the trash too."""
        found = super().removed()
        shown = self._shelf.visible(Kind.ARTIFACT)  # something needs these
        left = self._shelf.tombstones.hidden().difference((oid for _, oid in found), shown)
        kinds = {oid: kind for kind in _REMOVABLE for oid in self._store.ids(kind) if oid in left}
        if left - kinds.keys():
            for _, directory in self._trashed():
                for kind in _REMOVABLE:
                    kinds |= {oid: kind for oid in directory.ids(kind) if oid in left}
        return found + sorted((kind, oid) for oid, kind in kinds.items())

    def restore(self, uris: Iterable[str]) -> list[tuple[Kind, ObjectId]]:
        """Bring back what was removed, by ids or unique prefixes; returns kinds and ids.

        What `gc` has moved to the trash is brought back from there.

        Raises:
            NotFoundError: One was not removed here, or is gone for good; nothing is restored.
            AmbiguousNameError: Several that were removed begin with one; nothing is restored.
            StorageIOError: The disk refused.
        """
        removed = [oid for _, oid in self.removed()]
        try:
            chosen = matching(uris, removed, "removed benchmark, artifact or episode")
        except NotFoundError as err:
            raise NotFoundError(
                err.message, hint="'tupli restore' lists what can be brought back"
            ) from None
        self._bring_back(chosen)
        restored = super().restore(chosen)
        self._bring_back(chosen)  # it was hidden until now: somebody may have cleaned it away
        return restored

    def _bring_back(self, ids: Collection[ObjectId]) -> None:
        """See that some records, and what they need, are here and not in the trash alone."""
        lacking = self._lacking(ids)
        for _ in Kind:  # what comes back may link what is in the trash, too
            if not lacking:
                return
            self._move_back(set(lacking))
            lacking = self._lacking(ids)
        if lacking:
            raise NotFoundError(
                f"'{min(lacking).hex()[:12]}', which what was removed needs, is gone for good",
                hint="'tupli pull' may bring it again",
            )

    def _lacking(self, ids: Iterable[ObjectId]) -> set[bytes]:
        """What of some records and of what they need is not here."""
        self._store.refresh()
        records = set(self._store.ids(*_REMOVABLE))
        seen, front = set[ObjectId](), set(ids)
        while front:
            seen |= front
            found = self._store.read_many(front & records)
            front = {link for _, obj in found for link in obj.links} - seen
        return self._store.missing(map(bytes.fromhex, seen))

    def _move_back(self, wanted: set[bytes]) -> None:
        """Move the files that hold some objects out of the trash."""
        for path, directory in self._trashed():
            if not wanted.isdisjoint(directory.raw_ids()):
                trash.move_back(self._files, path)
                wanted -= directory.raw_ids()

    def _trashed(self) -> Iterator[tuple[Path, Directory]]:
        """The files in the trash and what they hold; journals last: packs have the same."""
        paths = [path for run in trash.runs(self._files) for path in run.files]
        for path in sorted(paths, key=lambda path: is_journal_name(path.name)):
            with suppress(FileNotFoundError, CorruptObjectError):
                yield path, directory_of(self._files, path)

    # ---- tidying up after verbs

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Record and publish many things at once; see `NamedRepository.batch`."""
        with super().batch():
            yield
        self._tidy(self._files)

    def _after_push(self, url: str) -> None:
        with suppress(TupliError):  # a bundle, for one
            root = location.find(local_path(url), fs=self._files.fs)
            self._tidy(RepositoryFiles(root, self._files.fs))

    def _publish_all(self, wanted: list[Deferred]) -> PublishReport:
        report = super()._publish_all(wanted)
        self._tidy(self._files)
        return report

    def _tidy(self, files: RepositoryFiles) -> None:
        """Merge small packs where there are many; the verb is done, whatever comes of it."""
        if not self._batches.depth:
            with suppress(TupliError):
                merge_small(files)
            if files is not self._files:
                files.close()
