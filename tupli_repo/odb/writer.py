"""The writer of one process: appends to a journal of its own, seals it, starts the next.

A journal that failed in mid-write is never appended to again: what is whole in it stays readable,
is synced and sealed with the rest. Where an fsync failed, another one would lie: the next `sync`
seals instead, so that the bytes are written anew. A journal that is gone was sealed by somebody who
took this process for dead: what they did not see any more is written again.

Invariant: what `append` accepted is in a journal or pack that every reader finds; after `sync` it
is on the disk itself.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from tupli_repo.errors import StorageIOError
from tupli_repo.odb.files import RepositoryFiles
from tupli_repo.odb.journal import JournalWriter, seal
from tupli_repo.odb.locks import ThreadLock
from tupli_repo.odb.objects import Kind, ObjectId
from tupli_repo.odb.pack import TARGET_BYTES, packed_ids


class Writer:
    """Appends objects for one process; a forked child starts its own journal.

    Args:
        files: The repository's files.
        target_bytes: The size at which a journal is sealed.
    """

    def __init__(self, files: RepositoryFiles, *, target_bytes: int = TARGET_BYTES) -> None:
        self._files = files
        self._target_bytes = target_bytes
        self._lock = ThreadLock()
        self._current: JournalWriter | None = None
        self._finished: list[JournalWriter] = []  # not appended to any more, not sealed yet
        self._is_doubtful = False  # an fsync failed, or a journal is closed and not sealed
        self._pid = os.getpid()

    def append(self, objects: Sequence[tuple[ObjectId, Kind, bytes]]) -> None:
        """Add encoded objects at once: readers see all of them or none of the records.

        Raises:
            StorageIOError: The disk refused; the objects may or may not be found later.
        """
        with self._lock:
            self._disown_after_fork()
            if self._current is None:
                self._current = JournalWriter(self._files)
            try:
                self._current.append(objects)
            except BaseException:  # Ctrl-C too: its end may be torn
                self._retire()
                raise
            if self._current.is_gone():
                self.seal()
            elif self._current.size_bytes >= self._target_bytes:
                with suppress(StorageIOError):  # the objects are in: `sync` tries again, and tells
                    self.seal()

    def sync(self) -> None:
        """Return when everything appended is on the disk itself.

        Raises:
            StorageIOError: It may not be.
        """
        with self._lock:
            self._disown_after_fork()
            if self._is_doubtful:
                self.seal()
                return
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
        """
        with self._lock:
            self._disown_after_fork()
            self._retire()
            while self._finished:
                journal, self._is_doubtful = self._finished[-1], True
                if journal.is_gone():
                    self._rewrite(journal)
                else:
                    if sys.platform == "win32":  # no open file can be moved there
                        journal.close()
                    try:
                        seal(self._files, journal.path)
                    except FileNotFoundError:  # somebody else sealed it just now
                        self._rewrite(journal)
                self._finished.remove(journal)
                with suppress(StorageIOError):
                    journal.close()
            self._is_doubtful = False

    def _rewrite(self, gone: JournalWriter) -> None:
        """Pack what whoever sealed the journal has not seen any more."""
        packed = packed_ids(self._files)
        objects = [item for item in gone.rescued() if item[0] not in packed]
        if objects:
            fresh = JournalWriter(self._files)
            self._finished.insert(0, fresh)  # sealed next
            fresh.append(objects)

    def _retire(self) -> None:
        if self._current is not None:
            self._finished.append(self._current)
            self._current = None

    def _disown_after_fork(self) -> None:
        """Leave the journals of the parent process to it."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._current, self._finished, self._is_doubtful = None, [], False
