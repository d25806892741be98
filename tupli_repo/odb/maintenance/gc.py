"""Removing what nothing leads to any more, in steps each of which can be the last.

Journals whose writers seem dead are sealed, private folders nobody finishes go, what is reachable
is marked. What was there before the mark, is not marked and is older than the grace goes to the
trash; packs are merged or rewritten without it. Then roots and store are looked at anew, and what
is reachable now and only in the trash comes back. Last, what has been in the trash for long is
removed, after one more look; first where there is no room for the rest. Nothing is removed for good
by the run that moved it.

No step relies on the lock, on what another cleaner does, or on this machine's clock: a clock that
jumps moves too much or too little to the trash, and the next look brings back what is needed.
Where something that names lead to is missing, what that led to is not known: packs are merged, and
nothing else goes until it is back.

Invariant: what is reachable is never removed for good; whatever stops this, wherever, it is in its
place or in the trash, where readers find it, and the next run brings it back.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from tupli_repo.errors import CorruptObjectError, StorageIOError
from tupli_repo.odb import journal, trash
from tupli_repo.odb.block_file import BlockFile
from tupli_repo.odb.files import FileStatus, RepositoryFiles
from tupli_repo.odb.maintenance import staging
from tupli_repo.odb.maintenance.ages import Ages, is_full
from tupli_repo.odb.maintenance.compact import Compacted, Pack, choose_small, compact, group
from tupli_repo.odb.maintenance.lock import cleaning
from tupli_repo.odb.maintenance.reach import LISTED, FindRoots, Reach
from tupli_repo.odb.objects import Kind, ObjectId
from tupli_repo.odb.store import ObjectStore
from tupli_repo.odb.trashed import TrashContents
from tupli_repo.schema.cleaning import GcReport

DEFAULT_GRACE = timedelta(hours=24)
_LONG_DEAD = timedelta(days=14)
"""A pack with anything dead in it that is as old is rewritten, however little that is."""


class CleaningProgress(NamedTuple):
    """How far cleaning has come: what it is at, and how much of that is done."""

    doing: str
    done: int
    of: int


OnCleaning = Callable[[CleaningProgress], None]


@dataclass(slots=True, kw_only=True)
class _Tally:
    """What `GcReport` tells, while it is counted; of packs that are compacted, `Compacted` does."""

    unreachable: int = 0
    unreachable_bytes: int = 0
    lacking: int = 0
    journals_sealed: int = 0
    staging_removed: int = 0
    files_trashed: int = 0
    bytes_trashed: int = 0
    trash_removed: int = 0
    rescued: int = 0
    bytes_freed: int = 0
    bytes_in_trash: int = 0


def collect(
    files: RepositoryFiles,
    store: ObjectStore,
    find_roots: FindRoots,
    *,
    grace: timedelta = DEFAULT_GRACE,
    dry_run: bool = False,
    on_progress: OnCleaning | None = None,
) -> GcReport:
    """Clean one repository, and return what was done.

    Args:
        files: Its files.
        store: Its objects.
        find_roots: Looks anew at what is reachable by itself.
        grace: What is younger stays.
        dry_run: Whether nothing is done but to tell.
        on_progress: Told how far it has come.

    Raises:
        LockedError: Somebody else is cleaning it.
        CorruptObjectError: Something is damaged, so that what it links cannot be told; nothing
            that was not in the trash before is in danger.
        StorageIOError: The disk refused; the next run goes on.
    """
    with ExitStack() as stack:
        if not dry_run:
            stack.enter_context(cleaning(files))
        try:
            return _Collection(files, store, find_roots, grace, on_progress, dry_run).run()
        except CorruptObjectError as err:
            raise CorruptObjectError(
                err.reason,
                path=err.path,
                hint="'tupli fsck --repair' mends what it can; nothing was lost",
            ) from err


def trash_bytes(files: RepositoryFiles) -> int:
    """Return the size of what is in the trash."""
    paths = (path for run in trash.runs(files) for path in run.files)
    return sum(status.size_bytes for path in paths if (status := files.status(path)) is not None)


class _Collection:
    """One run."""

    def __init__(
        self,
        files: RepositoryFiles,
        store: ObjectStore,
        find_roots: FindRoots,
        grace: timedelta,
        on_progress: OnCleaning | None,
        dry_run: bool,  # noqa: FBT001 - private
    ) -> None:
        self._files = files
        self._store = store
        self._grace = grace
        self._on_progress = on_progress
        self._dry_run = dry_run
        self._reach = Reach(store, find_roots)
        self._ages = Ages(files, to_tell=dry_run)
        self._trashed = TrashContents(files, LISTED)
        self._tally = _Tally()
        self._compacted = Compacted()

    def run(self) -> GcReport:
        try:
            self._run()
        except StorageIOError as err:
            if self._dry_run or not (is_full(err) and self._make_room()):
                raise
            self._run()
        return self._report()

    def _report(self) -> GcReport:
        tally, packs = self._tally, self._compacted
        tally.files_trashed += packs.merged - packs.rescued
        tally.bytes_trashed += packs.bytes_trashed
        tally.rescued += packs.rescued
        return GcReport(
            dry_run=self._dry_run,
            grace_hours=self._grace / timedelta(hours=1),
            packs_merged=packs.merged,
            packs_written=packs.written,
            bytes_written=packs.bytes_written,
            **asdict(tally),
        )

    def _make_room(self) -> bool:
        """Remove what is old in the trash; whether that freed anything."""
        freed = self._tally.bytes_freed
        expired = [run for run in trash.runs(self._files) if self._is_expired(run)]
        if expired:
            self._store.refresh()
            self._reach.look()
            self._empty_trash(expired, self._rescue(trash.runs(self._files)))
        return self._tally.bytes_freed > freed

    def _run(self) -> None:
        expired = [run for run in trash.runs(self._files) if self._is_expired(run)]
        self._remove_staging()
        self._seal_journals()
        self._store.refresh()
        loose, packs = list(self._store.loose()), self._store.pack_names()
        self._tell("marking what is reachable", 0, 1)
        self._reach.look()  # it lists anew: whatever was listed before, it has seen
        if self._reach.lacking and not self._dry_run:  # whoever moved it may have been cut off
            self._rescue(trash.runs(self._files))
        self._tally.lacking = self._reach.lacking
        self._sweep_loose(loose)
        self._sweep_packs(packs)
        needed: set[Path] = set()
        if not self._dry_run:
            self._reach.look()
            needed = self._rescue(trash.runs(self._files))
        self._empty_trash(expired, needed)
        self._store.refresh()
        self._tally.bytes_in_trash = trash_bytes(self._files)

    def _tell(self, doing: str, done: int, of: int) -> None:
        if self._on_progress is not None:
            self._on_progress(CleaningProgress(doing, done, of))

    def _is_expired(self, run: trash.Run) -> bool:
        return self._ages.of(run.stamp) >= run.kept

    def _is_old(self, status: FileStatus | None) -> bool:
        return status is not None and status.is_file and self._ages.of(status) >= self._grace

    # ---- what nobody will finish

    def _seal_journals(self) -> None:
        if not self._dry_run:
            self._store.seal()
        self._store.refresh()
        journals = self._store.journals()
        for n, found in enumerate(journals):
            self._tell("sealing journals", n, len(journals))
            if self._is_old(self._files.status(found.path)):
                with suppress(FileNotFoundError):  # its writer, or another cleaner, was faster
                    if not self._dry_run:
                        journal.seal(self._files, found.path)
                    self._tally.journals_sealed += 1

    def _remove_staging(self) -> None:
        """Remove private folders; never before a day: even a slow writer must not lose its own."""
        grace = max(self._grace, DEFAULT_GRACE)
        for found in list(staging.abandoned(self._files, self._ages, grace)):
            if not self._dry_run:
                staging.remove(self._files, found)
            self._tally.staging_removed += 1
            self._tally.bytes_freed += found.size_bytes

    # ---- what nothing leads to

    def _sweep_loose(self, present: Sequence[ObjectId]) -> None:
        dead = [oid for oid in present if not self._stays(oid)]
        run = trash.NewRun(self._files, reason=trash.UNREACHABLE)
        try:
            for n, oid in enumerate(dead):
                self._tell("moving loose objects", n, len(dead))
                path = self._files.objects / oid[:2] / oid[2:]
                status = self._files.status(path)
                if status is not None and self._is_old(status):
                    self._tally.unreachable += 1
                    self._tally.unreachable_bytes += status.size_bytes
                    self._trash(run, path, status.size_bytes)
        finally:
            run.settle()

    def _sweep_packs(self, present: Sequence[str]) -> None:
        """Move packs of which nothing stays, and merge or rewrite others."""
        small, chosen = list[Pack](), list[Pack]()
        run = trash.NewRun(self._files, reason=trash.UNREACHABLE)
        known = {file.path.name: file for file in self._store.block_files()}
        for name in present:
            status = self._files.status(self._files.packs / name)
            if name not in known or status is None:
                continue
            is_old, directory = self._is_old(status), known[name].directory
            dead = set() if self._tally.lacking else directory.raw_ids() - self._reach.marked
            pack = Pack(status.mtime_ns, name, status.size_bytes, loses=bool(dead))
            if not dead:
                small.append(pack)
            elif is_old:
                share = self._count(known[name], dead)
                if len(dead) == len(directory):
                    self._trash(run, self._files.packs / name, status.size_bytes)
                elif self._is_worth_it(status, dead, share):
                    chosen.append(pack)
                else:
                    small.append(pack)
        run.settle()
        groups = group({*chosen, *choose_small(small)})
        for n, some in enumerate(groups):
            self._tell("merging packs", n, len(groups))
            self._compact(some)

    def _count(self, pack: BlockFile, dead: Iterable[bytes]) -> float:
        """Count dead objects of a pack; returns which part of it they take."""
        raw_size, stored, directory = 0, 0.0, pack.directory
        for raw_id in dead:
            entry = directory.get(ObjectId(raw_id.hex()))
            if entry is not None:
                place = directory.blocks[entry.block]
                raw_size += entry.length
                stored += place.stored * entry.length / max(1, place.raw)
                self._tally.unreachable += 1
        self._tally.unreachable_bytes += round(stored)
        return raw_size / max(1, sum(place.raw for place in directory.blocks))

    def _is_worth_it(self, status: FileStatus, dead: set[bytes], share: float) -> bool:
        """Whether an old pack is written anew without what is dead in it."""
        is_removed = not self._reach.roots.hidden.isdisjoint(dead)
        return is_removed or share >= 0.5 or self._ages.of(status) >= _LONG_DEAD

    def _stays(self, oid: ObjectId) -> bool:
        return bool(self._tally.lacking) or bytes.fromhex(oid) in self._reach.marked

    def _compact(self, packs: Sequence[Pack]) -> None:
        if self._dry_run:
            self._compacted.merged += len(packs)
            self._compacted.written += 1
            self._compacted.bytes_trashed += sum(pack.size_bytes for pack in packs)
            return
        compact(self._files, packs, self._stays, self._compacted)

    def _trash(self, run: trash.NewRun, path: Path, size_bytes: int) -> None:
        if self._dry_run or run.move(path) is not None:
            self._tally.files_trashed += 1
            self._tally.bytes_trashed += size_bytes

    # ---- what was in the trash

    def _rescue(self, runs: Sequence[trash.Run]) -> set[Path]:
        """Bring back what is reachable and nowhere else; returns the runs that had some of it."""
        needed: set[Path] = set()
        for _ in Kind:  # what comes back may link what is in the trash, too
            n_moved = 0
            for run in runs:
                for path in run.files:
                    if self._is_needed(path):
                        needed.add(run.path)
                        n_moved += trash.move_back(self._files, path) is not None
            if not n_moved:
                break
            self._tally.rescued += n_moved
            self._reach.look()
        return needed

    def _is_needed(self, path: Path) -> bool:
        """Whether a file in the trash holds something that is reachable and was not here just now.

        In a work repository a record that is not hidden is reachable by itself.
        """
        reach, roots = self._reach, self._reach.roots
        held = self._trashed.of(path)
        if held is None:
            return False
        lost = reach.unread - roots.gone if roots.only_named else reach.unread
        if lost and not lost.isdisjoint(held.of_all()):
            return True
        records = () if roots.only_named else held.of_chosen()
        return any(raw not in reach.marked and raw not in roots.hidden for raw in records)

    def _empty_trash(self, expired: Sequence[trash.Run], needed: set[Path]) -> None:
        """Remove runs for good, after one more look; a run that was needed stays once more."""
        if expired and not self._dry_run:
            self._reach.look()
            needed |= self._rescue(expired)
        is_unsure = bool(self._tally.lacking or self._reach.lacking)
        for n, run in enumerate(expired):
            self._tell("emptying the trash", n, len(expired))
            if is_unsure and run.reason not in (trash.SEALED, trash.SUPERSEDED):
                continue
            if run.path in needed or any(self._trashed.of(path) is None for path in run.files):
                continue  # what cannot be told might be needed
            sizes = [trash.freed_by(s) for path in run.files if (s := self._files.status(path))]
            freed = sum(sizes) if self._dry_run else trash.remove(self._files, run)
            self._tally.bytes_freed += freed
            self._tally.trash_removed += 1
