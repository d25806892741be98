"""All datasets that are kept: found by key, made, verified, and removed when there is no room.

Entries appear under their key, whole and durable, and go by getting another name first. So any
number of processes use the cache at once, without locks. What was used last stays longest.

Invariant: nothing the disk refuses here reaches a caller who only wants a dataset.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import disk_usage
from threading import Thread
from time import time_ns
from typing import Any, NamedTuple
from uuid import uuid4

from numpy.typing import NDArray

from tupli_repo.errors import StorageIOError
from tupli_repo.materialised.entry import (
    MANIFEST,
    DamagedEntryError,
    Entry,
    check_entry,
    open_entry,
    read_manifest,
)
from tupli_repo.materialised.making import Making, remove_folder
from tupli_repo.materialised.places import may_be_mapped
from tupli_repo.odb.files import FileSystem, RepositoryFiles
from tupli_repo.schema.caching import CacheCleared, CacheReport, CacheVerified, KeptDataset

MIN_BYTES = 1 << 20
"""What is smaller is decoded in a moment."""
MOST_BYTES = 10 << 30
"""What all of them may take where no limit is set, or a tenth of the free disk if that is less."""
_SPARE_BYTES = 1 << 30  # never the last of the disk
_FOLDER_MODE = 0o700
_OTHERS = 0o077
_ABANDONED_NS = 24 * 3600 * 10**9
_KEY = re.compile(r"[0-9a-f]{64}")
_MAKING, _GONE = "making-", "gone-"
OnBytes = Callable[[int, int], None]
"""Told how many bytes were read, and how many there are."""
MakeMore = Callable[[], Mapping[str, NDArray[Any]]]


class _Found(NamedTuple):
    """What the disk says of one entry."""

    folder: Path
    size_bytes: int
    used_ns: int


class DatasetCache:
    """The datasets that one user's processes keep.

    Args:
        folder: Where they are; it need not exist.
        max_bytes: What all of them may take; None: see `MOST_BYTES`.
        is_enabled: Whether any is used or kept.
        min_bytes: What is smaller is not kept.
        fs: The primitives; other ones in tests.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int | None = None,
        is_enabled: bool = True,
        min_bytes: int = MIN_BYTES,
        fs: FileSystem | None = None,
    ) -> None:
        self._folder = folder.resolve()
        self._max_bytes = max_bytes
        self._is_enabled = is_enabled
        self._min_bytes = min_bytes
        self._fs = fs or FileSystem()
        self._files = RepositoryFiles(self._folder, self._fs)

    # ---- what loading needs

    def get(self, key: str) -> Entry | None:
        """Return a kept dataset, mapped; None where there is none.

        What is not what it should be is removed.
        """
        if not self._is_enabled or not self._is_private():
            return None
        folder = self._folder / key
        try:
            entry = open_entry(folder, self._fs)
        except DamagedEntryError:
            self.remove(key)
            return None
        except (OSError, StorageIOError):
            return None
        with suppress(OSError):  # a cache that cannot be changed can be read
            self._fs.renew(folder / MANIFEST)
        return entry

    def begin(self, key: str, size_bytes: int) -> Making | None:
        """Return what keeps a dataset while it is loaded; None where it is not to be kept.

        Args:
            key: Its key, 64 hex digits.
            size_bytes: About how large it is.
        """
        if not self._is_enabled or size_bytes < self._min_bytes:
            return None
        if not may_be_mapped(self._folder):
            return None
        try:
            self._make_folder()
            limit = self._limit()
            if size_bytes > limit or not self._is_room_for(size_bytes):
                return None
            folder = self._folder / f"{_MAKING}{uuid4().hex}"
            self._fs.make_folder(folder, mode=_FOLDER_MODE)
        except (OSError, StorageIOError):
            return None
        return Making(folder, key, max_bytes=limit, fs=self._fs)

    def keep(self, making: Making, *, title: str, notes: dict[str, Any], more: MakeMore) -> Thread:
        """Do what `finish` does in a thread of its own; the interpreter does not exit before.

        Returns:
            The thread, which need not be waited for.
        """
        thread = Thread(
            target=self.finish,
            args=(making,),
            kwargs={"title": title, "notes": notes, "more": more},
            name="tupli-keep",
            daemon=False,
        )
        try:
            thread.start()
        except RuntimeError:  # the interpreter is exiting, or there are too many
            making.discard()
        return thread

    def finish(self, making: Making, *, title: str, notes: dict[str, Any], more: MakeMore) -> bool:
        """Hash a dataset and make it durable; returns whether it is kept from now on.

        Args:
            making: What was begun; its arrays are filled and settled.
            title: What it is, for people.
            notes: What the caller wants to know again, as JSON.
            more: Makes arrays that are kept beside, by label.
        """
        with making, suppress(StorageIOError):
            beside = more()
            size = making.size_bytes + sum(array.nbytes for array in beside.values())
            self._evict(self._limit() - size)
            final = self._folder / making.key
            is_kept = making.finish(final, title=title, notes=notes, more=beside)
            self._sweep()
            return is_kept
        making.discard()
        return False

    def remove(self, key: str) -> bool:
        """Remove one dataset; whoever has it mapped keeps it. Returns whether it was there."""
        gone = self._folder / f"{_GONE}{uuid4().hex}"
        try:
            self._fs.rename(self._folder / key, gone)
        except OSError:
            return False
        remove_folder(gone, self._fs)
        return True

    # ---- what people want to know

    def report(self) -> CacheReport:
        """Return what is kept, what was used last first.

        Raises:
            StorageIOError: The operating system refused.
        """
        found = sorted(self._entries(), key=lambda one: one.used_ns, reverse=True)
        return CacheReport(
            folder=str(self._folder),
            is_enabled=self._is_enabled,
            datasets=[
                KeptDataset(
                    key=one.folder.name,
                    title=self._title(one.folder),
                    size_bytes=one.size_bytes,
                    last_used=_moment(one.used_ns),
                )
                for one in found
            ],
            size_bytes=sum(one.size_bytes for one in found),
            max_bytes=self._limit(),
        )

    def verify(self, on_bytes: OnBytes | None = None) -> CacheVerified:
        """Hold every byte against its hash, and remove each dataset that is wrong.

        Args:
            on_bytes: Told how far it has come.

        Raises:
            StorageIOError: The operating system refused.
        """
        found = list(self._entries())
        total, done, removed = sum(one.size_bytes for one in found), 0, dict[str, str]()

        def read(size: int) -> None:
            nonlocal done
            done += size
            if on_bytes is not None:
                on_bytes(done, total)

        for one in found:
            try:
                check_entry(one.folder, self._fs, read)
            except DamagedEntryError as err:
                removed[one.folder.name] = str(err)
                self.remove(one.folder.name)
            except FileNotFoundError:  # removed meanwhile
                continue
        self._sweep()
        return CacheVerified(datasets=len(found), bytes_read=done, removed=removed)

    def clear(self, older_than: timedelta | None = None) -> CacheCleared:
        """Remove the datasets that were not used lately; those in use stay readable there.

        Args:
            older_than: Only what was not used for so long; everything where None.

        Raises:
            StorageIOError: The operating system refused.
        """
        before_ns = time_ns() - int((older_than or timedelta(0)).total_seconds() * 10**9)
        chosen = [one for one in self._entries() if older_than is None or one.used_ns < before_ns]
        gone = [one for one in chosen if self.remove(one.folder.name)]
        self._sweep()
        return CacheCleared(datasets=len(gone), bytes_freed=sum(one.size_bytes for one in gone))

    # ---- inside

    def _limit(self) -> int:
        if self._max_bytes is not None:
            return self._max_bytes
        used = sum(one.size_bytes for one in self._entries())
        return min(MOST_BYTES, (self._free_bytes() + used) // 10)

    def _free_bytes(self) -> int:
        folder = self._folder
        while not folder.exists():
            folder = folder.parent
        return disk_usage(folder).free

    def _is_room_for(self, size_bytes: int) -> bool:
        """Whether the disk has room; what was not used for long goes for it."""
        lacking = size_bytes + _SPARE_BYTES - self._free_bytes()
        if lacking > 0:
            self._evict(sum(one.size_bytes for one in self._entries()) - lacking)
        return self._free_bytes() >= size_bytes + _SPARE_BYTES

    def _evict(self, left_bytes: int) -> None:
        """Remove what was not used for longest until no more than that is left."""
        found = sorted(self._entries(), key=lambda one: one.used_ns)
        used = sum(one.size_bytes for one in found)
        for one in found:
            if used <= left_bytes:
                break
            self.remove(one.folder.name)
            used -= one.size_bytes

    def _sweep(self) -> None:
        """Remove what was to be removed and could not be, and what the dead have left."""
        for name in self._files.list_folder(self._folder):
            path = self._folder / name
            status = self._files.status(path)
            if status is None or not status.is_folder:
                continue
            is_old = time_ns() - status.mtime_ns > _ABANDONED_NS
            if name.startswith(_GONE) or (name.startswith(_MAKING) and is_old):
                remove_folder(path, self._fs)

    def _entries(self) -> Iterator[_Found]:
        for key in self._files.list_folder(self._folder):
            folder = self._folder / key
            if not _KEY.fullmatch(key):
                continue
            size, used_ns = 0, 0
            for name in self._files.list_folder(folder):
                status = self._files.status(folder / name)
                if status is not None:
                    size += status.size_bytes
                    used_ns = max(used_ns, status.mtime_ns)
            yield _Found(folder, size, used_ns)

    def _title(self, folder: Path) -> str:
        try:
            return read_manifest(folder, self._fs).title
        except (DamagedEntryError, FileNotFoundError):
            return ""

    def _is_private(self) -> bool:
        """Whether the folder is there, and nobody else can put anything into it."""
        try:
            status = self._fs.status(self._folder)
        except OSError:
            return False
        return status.is_folder and (sys.platform == "win32" or not status.mode & _OTHERS)

    def _make_folder(self) -> None:
        """Make the folder for its user alone."""
        self._files.ensure_parents(self._folder)
        with suppress(FileExistsError):
            self._fs.make_folder(self._folder, mode=_FOLDER_MODE)
        if not self._is_private():
            self._fs.chmod(self._folder, _FOLDER_MODE)


def _moment(ns: int) -> str:
    return datetime.fromtimestamp(ns / 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
