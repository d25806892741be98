"""The writer of one process: appends to a journal of its own, seals it, starts the next.

A journal that failed in mid-write is never appended to again: what is whole in it stays readable,
is synced and sealed with the rest. Where an fsync failed, another one would lie: the next `sync`
seals instead, so that the bytes are written anew. A journal that is gone was sealed by somebody who
took this process for dead: what they did not see any more is written again. What somebody has
damaged is lost, which is told once; the rest of it is written again.

What is gathered waits for a moment to be written with others, and is compressed meanwhile. It is
kept until it is written, whatever fails.

Invariant: what `append` accepted is in a journal or pack that every reader finds; after `sync` it
is on the disk itself, and so is what was gathered.
"""

import os
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from tupli_repo.errors import CorruptObjectError, StorageIOError
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.gathered import Group, size_of
from tupli_repo.odb.journal import JournalWriter, Rescued, seal
from tupli_repo.odb.locks import ThreadLock
from tupli_repo.odb.objects import Encoded, decode
from tupli_repo.odb.pack import TARGET_BYTES, packed_ids

GROUP_BYTES = 1 << 20
"""So much is gathered before it is compressed; many blocks, so that few are not full."""
WAITING_BYTES = 8 << 20
"""So much may wait to be written, and one more episode."""
GATHER_S = 0.5
"""Whoever comes later than this after what was written last writes everything."""
_SHOWN_DIGITS = 12
_MOST_SHOWN = 5


class Writer:
    """Appends objects for one process; a forked child starts its own journal.

    Args:
        files: The repository's files.
        target_bytes: The size at which a journal is sealed.

    Attributes:
        sealed: The names of the packs it has made.
    """

    def __init__(self, files: RepositoryFiles, *, target_bytes: int = TARGET_BYTES) -> None:
        self._files = files
        self._target_bytes = target_bytes
        self._lock = ThreadLock()
        self._current: JournalWriter | None = None
        self._finished: list[JournalWriter] = []  # not appended to any more, not sealed yet
        self._is_doubtful = False  # an fsync failed, or a journal is closed and not sealed
        self._damage: list[CorruptObjectError] = []  # not told yet
        self.sealed: list[str] = []
        self._gathered: list[Encoded] = []
        self._gathered_bytes = 0
        self._groups: deque[Group] = deque()  # of what was gathered before
        self._written_at = 0.0
        self._pid = os.getpid()

    def append(self, objects: Sequence[Encoded]) -> None:
        """Add encoded objects at once: readers see all of them or none of the records.

        Raises:
            StorageIOError: The disk refused; the objects may or may not be found later.
            CorruptObjectError: As of `seal`; these objects are in.
        """
        with self._lock:
            self._disown_after_fork()
            self._write_gathered()
            self._write(objects)
            self._seal_if_due()

    def gather(self, objects: Sequence[Encoded]) -> None:
        """Add encoded objects, as `append` does, at the latest when `sync` or `seal` is called.

        Until then whoever asks this writer for its `journal` finds them, but nobody else may.

        Raises:
            StorageIOError: The disk refused these objects, or earlier ones, which are kept.
            CorruptObjectError: As of `append`.
        """
        with self._lock:
            self._disown_after_fork()
            if self._current is None or time.monotonic() - self._written_at >= GATHER_S:
                self.append(objects)
                return
            self._gathered += objects
            self._gathered_bytes += size_of(objects)
            if self._gathered_bytes >= GROUP_BYTES:
                self._group()
                self._write_groups(but_bytes=WAITING_BYTES)
                self._seal_if_due()

    def journal(self, name: str) -> JournalWriter | None:
        """Return the journal of that file name this process appends to; None where it does not.

        Raises:
            StorageIOError: The disk refused what is to be in it.
        """
        with self._lock:
            self._disown_after_fork()
            current = self._current
            if current is None or current.path.name != name:
                return None
            self._write_gathered()
            return current

    def sync(self) -> None:
        """Return when everything appended is on the disk itself.

        Raises:
            StorageIOError: It may not be.
            CorruptObjectError: As of `seal`; what is not lost is.
        """
        with self._lock:
            self._disown_after_fork()
            if self._is_doubtful:
                self.seal()
                return
            self._write_gathered()
            try:
                for journal in self._finished:
                    journal.sync()
                if self._current is not None:
                    self._current.sync()
                    if self._current.is_gone():
                        self.seal()
            except BaseException:
                self._is_doubtful = True
                self._retire()
                raise

    def seal(self) -> None:
        """Turn every journal of this process into a sealed pack.

        Raises:
            StorageIOError: The disk refused; the journals stay, and stay readable.
            CorruptObjectError: Somebody has damaged a journal, and what was in it is lost; all else
                is sealed, and the next call does not tell it again.
        """
        with self._lock:
            self._disown_after_fork()
            self._write_gathered()
            self._retire()
            while self._finished:
                journal, self._is_doubtful = self._finished[-1], True
                if journal.is_gone():
                    self._rewrite(journal)
                else:
                    if sys.platform == "win32":  # no open file can be moved there
                        journal.close()
                    try:
                        self.sealed += [path.name for path in seal(self._files, journal.path)]
                    except (FileNotFoundError, CorruptObjectError):
                        self._rewrite(journal)  # somebody has sealed it just now, or damaged it
                self._finished.remove(journal)
                with suppress(StorageIOError):
                    journal.close()
            self._is_doubtful = False
            if self._damage:
                raise self._damage.pop(0)

    def _group(self) -> None:
        """Let what was gathered be compressed."""
        self._groups.append(Group(self._gathered, self._current))
        self._gathered, self._gathered_bytes = [], 0

    def _write_gathered(self) -> None:
        """Write everything that waits."""
        if self._gathered:
            self._group()
        self._write_groups(but_bytes=0)

    def _write_groups(self, *, but_bytes: int) -> None:
        """Write the groups that are compressed, and others until so many bytes are left."""
        while self._groups:
            waiting = sum(group.size_bytes for group in self._groups)
            if waiting <= but_bytes and not self._groups[0].is_ready:
                return
            self._write(self._groups[0])
            del self._groups[0]

    def _write(self, objects: Group | Sequence[Encoded]) -> None:
        if self._current is None:
            self._current = JournalWriter(self._files)
        try:
            if isinstance(objects, Group):
                self._current.write(objects.blocks_for(self._current))
            else:
                self._current.append(objects)
        except BaseException:  # Ctrl-C too: its end may be torn
            self._retire()
            raise
        self._written_at = time.monotonic()

    def _seal_if_due(self) -> None:
        if self._current is None:
            return
        if self._current.is_gone():
            self.seal()
        elif self._current.size_bytes >= self._target_bytes:
            with suppress(StorageIOError):  # the objects are in: `sync` tries again, and tells
                self.seal()

    def _rewrite(self, gone: JournalWriter) -> None:
        """Pack what whoever sealed the journal has not seen any more, as far as it is whole."""
        found = gone.rescued(but=packed_ids(self._files))
        if found.objects:
            fresh = JournalWriter(self._files)
            self._finished.insert(0, fresh)  # sealed next
            fresh.append(found.objects)
        if found.lost:
            self._damage.append(_loss(gone, found))

    def _retire(self) -> None:
        if self._current is not None:
            self._finished.append(self._current)
            self._current = None

    def _disown_after_fork(self) -> None:
        """Leave the journals of the parent process to it."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._current, self._finished, self._is_doubtful = None, [], False
            self._damage, self.sealed = [], []
            self._gathered, self._gathered_bytes, self._groups = [], 0, deque()


def _loss(journal: JournalWriter, found: Rescued) -> CorruptObjectError:
    """The error that names what is lost: records first, those too of which a part is."""
    torn = [
        oid
        for oid, kind, encoded in found.objects
        if not kind.is_data and not found.lost.isdisjoint(decode(encoded).links)
    ]
    lost = sorted(found.lost)
    told = ", ".join(f"'{oid[:_SHOWN_DIGITS]}'" for oid in [*torn, *lost][:_MOST_SHOWN])
    return CorruptObjectError(
        f"{len(lost)} objects that this process had appended are lost; what they leave incomplete"
        f" begins with {told}",
        path=journal.path,
        hint="record these episodes again; 'tupli fsck --repair' sets aside what is damaged",
    )
