"""Bundles: a bare repository in one file.

A bundle is a ZIP file whose members are stored as they are, named `.tupli/…` like the repository's
files, so `unzip` makes a repository of it, and a range of a member is a range of the file. The same
repository makes the same bytes.

Invariant: a file under a bundle's name holds all of the bundle, and is never changed; what is read
from one lies inside the member that was asked for, and no name in one reaches a path.
"""

import io
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from stat import S_IFDIR, S_IFREG
from typing import NamedTuple
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo
from zlib import crc32

from tupli_repo.errors import (
    CorruptObjectError,
    InvalidInputError,
    RepositoryExistsError,
    RepositoryNotFoundError,
    StorageIOError,
)
from tupli_repo.odb.files import FileSystem, RepositoryFiles, Scratch, disk_errors
from tupli_repo.odb.transport import DirectoryTransport, Entry, check_folder_name, check_name

_ROOT = ".tupli/"
_FOLDERS = ("objects", "packs", "refs")
_FORMAT_FILE = "format.json"
_MAGIC = b"PK\x03\x04"
_LOCAL_HEADER = struct.Struct("<4sHHHHHIIIHH")
_ENCRYPTED = 0x1
_OLDEST = (1980, 1, 1, 0, 0, 0)  # a ZIP file knows no older time
_UNIX = 3
_FILE_ATTRIBUTES = (S_IFREG | 0o444) << 16
_FOLDER_ATTRIBUTES = (S_IFDIR | 0o755) << 16 | 0x10
_CHUNK_BYTES = 4 << 20
_MAX_DIRECTORY_BYTES = 16 << 20  # some 120,000 files; a reader takes ten times that in memory
_ENTRY_BYTES = 46
_MALFORMED = (
    BadZipFile,
    EOFError,
    IndexError,
    NotImplementedError,
    OverflowError,
    UnicodeError,
    ValueError,
    struct.error,
)


def is_bundle(path: Path) -> bool:
    """Return whether there is a file that begins like a bundle.

    Raises:
        StorageIOError: The operating system refused to read it.
    """
    path = path.resolve()
    if not path.is_file():
        return False
    with suppress(FileNotFoundError):
        return RepositoryFiles(path.parent).read(path, max_bytes=len(_MAGIC)) == _MAGIC
    return False


class _Member(NamedTuple):
    """Where a file's bytes lie in the bundle, and their checksum."""

    offset: int
    size: int
    checksum: int


class BundleTransport:
    """The repository in a bundle; it can be read only.

    Args:
        path: The bundle.
        fs: The primitives; other ones in tests.

    Raises:
        CorruptObjectError: It is damaged, or no bundle.
        RepositoryNotFoundError: It is a ZIP file of something else.
        StorageIOError: There is no such file, or the operating system refused.
    """

    def __init__(self, path: Path, fs: FileSystem | None = None) -> None:
        self._path = path
        self._fs = fs or FileSystem()
        real = path.resolve()
        with ExitStack() as stack:
            try:
                opened = stack.enter_context(RepositoryFiles(real.parent, self._fs).open(real))
            except FileNotFoundError:
                raise StorageIOError(f"there is no file '{path}'") from None
            self._descriptor, size_bytes = opened
            self._members = self._find_members(size_bytes)
            if _FORMAT_FILE not in self._members:
                raise RepositoryNotFoundError(
                    f"there is no repository in '{path}'", hint="'tupli bundle' makes one"
                )
            self._folders = _folders(self._members)
            self._stack = stack.pop_all()

    def place(self, name: str) -> Path:
        """Return what messages call the file of that name."""
        return Path(f"{self._path}:{_ROOT}{name}")

    def list(self, folder: str) -> list[Entry]:
        """List what is in a folder, as `Transport.list`."""
        return sorted(self._folders.get(check_folder_name(folder), {}).values())

    def read(self, name: str, offset: int, size: int) -> bytes:
        """Return a part of a file, as `Transport.read`; one that is read whole is checked."""
        member = self._members.get(check_name(name))
        if member is None:
            raise FileNotFoundError(f"no file '{name}' in '{self._path}'")
        size = max(0, min(size, member.size - offset))
        with disk_errors("read", self._path):
            data = self._fs.read(self._descriptor, size, member.offset + offset)
        if len(data) != size:
            raise self._damaged("it is cut off")
        if size == member.size and crc32(data) != member.checksum:
            raise self._damaged(f"'{name}' in it fails its checksum")
        return data

    def put(self, name: str, chunks: Iterable[bytes]) -> None:
        """Refuse.

        Raises:
            StorageIOError: Always.
        """
        raise self._unchangeable()

    def put_copy(self, name: str, source: Path) -> bool:
        """Refuse.

        Raises:
            StorageIOError: Always.
        """
        raise self._unchangeable()

    def delete(self, name: str) -> None:
        """Refuse.

        Raises:
            StorageIOError: Always.
        """
        raise self._unchangeable()

    def close(self) -> None:
        """Close the file."""
        self._stack.close()

    def _unchangeable(self) -> StorageIOError:
        return StorageIOError(
            f"'{self._path}' is a bundle, which is never changed", hint="'tupli bundle' makes one"
        )

    def _damaged(self, reason: str) -> CorruptObjectError:
        return CorruptObjectError(reason, path=self._path, hint="get the bundle again")

    def _find_members(self, size_bytes: int) -> dict[str, _Member]:
        """Find the repository's files; what else is in the ZIP file is left out."""
        reader = _Reader(self._fs, self._descriptor, size_bytes)
        with disk_errors("read", self._path):
            try:
                archive = ZipFile(_Bounded(reader))
            except _MALFORMED:
                raise self._damaged("it is cut off, or no bundle") from None
            found: dict[str, _Member] = {}
            end = 0
            for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
                name = _name_in_repository(info)
                if name is None:
                    continue
                if name in found:
                    raise self._damaged(f"it has two files '{name}'")
                if info.header_offset < end:
                    raise self._damaged(f"'{name}' in it lies over another file")
                if info.header_offset >= archive.start_dir:
                    raise self._damaged(f"'{name}' in it reaches over its end")
                found[name] = member = self._member(info, name)
                end = member.offset + member.size
                if end > archive.start_dir:
                    raise self._damaged(f"'{name}' in it reaches over its end")
        return found

    def _member(self, info: ZipInfo, name: str) -> _Member:
        """Check what a file's two headers say."""
        header = self._fs.read(self._descriptor, _LOCAL_HEADER.size, info.header_offset)
        if len(header) != _LOCAL_HEADER.size:
            raise self._damaged("it is cut off")
        magic, _, flags, method, *_, name_size, extra_size = _LOCAL_HEADER.unpack(header)
        at = info.header_offset + _LOCAL_HEADER.size
        if magic != _MAGIC or self._fs.read(self._descriptor, name_size, at) != (
            info.orig_filename.encode()
        ):
            raise self._damaged(f"'{name}' in it is not where its directory says")
        if (info.flag_bits | flags) & _ENCRYPTED:
            raise self._damaged(f"'{name}' in it is encrypted")
        if {info.compress_type, method} != {ZIP_STORED} or info.compress_size != info.file_size:
            raise self._damaged(f"'{name}' in it is compressed")
        return _Member(at + name_size + extra_size, info.file_size, info.CRC)


def write_bundle(
    source: Path | RepositoryFiles,
    target: Path,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Put a bare repository into one file, whole and durable; returns its size in bytes.

    Args:
        source: The repository's `.tupli`; nobody writes to it meanwhile.
        target: The bundle; there is no such file yet.
        on_progress: Told how many bytes of the repository's files are in it, and of how many.

    Raises:
        RepositoryNotFoundError: There is no repository.
        RepositoryExistsError: There is a file of that name.
        InvalidInputError: There is no folder for it.
        CorruptObjectError: One of the repository's files is none.
        StorageIOError: The operating system refused; no part of a bundle is left.
    """
    files = source if isinstance(source, RepositoryFiles) else RepositoryFiles(source)
    status = files.status(target.parent.resolve())
    if status is None or not status.is_folder:
        raise InvalidInputError(f"there is no folder '{target.parent}'")
    if files.status(target) is not None:
        raise _exists(target)
    transport = DirectoryTransport(files)
    entries = _entries(files, transport)
    named = sum(_ENTRY_BYTES + len(_ROOT) + len(entry.name) for entry in entries)
    if named > _MAX_DIRECTORY_BYTES - (1 << 10):
        raise InvalidInputError(
            f"{len(entries)} files are too many for one bundle", hint="bundle fewer names"
        )
    total, done = sum(entry.size for entry in entries), 0
    with Scratch(RepositoryFiles(target.parent, files.fs), beside=target) as scratch:
        out = _Writer(scratch)
        with ZipFile(out, "w", ZIP_STORED) as archive:
            for folder in _FOLDERS:
                archive.writestr(_info(f"{folder}/", _FOLDER_ATTRIBUTES), b"")
            for entry in entries:
                info = _info(entry.name, _FILE_ATTRIBUTES)
                info.file_size = entry.size  # decides whether its header has room for a large one
                with archive.open(info, "w") as member:
                    for chunk in _chunks(transport, entry):
                        member.write(chunk)
                        done += len(chunk)
                        if on_progress is not None:
                            on_progress(done, total)
        try:
            scratch.commit(target, replace=False)
        except StorageIOError as err:
            if isinstance(err.__cause__, FileExistsError):
                raise _exists(target) from None
            raise
    return out.size_bytes


def _exists(target: Path) -> RepositoryExistsError:
    return RepositoryExistsError(
        f"there is a file '{target}' already", hint="choose another name, or remove it first"
    )


def _info(name: str, attributes: int) -> ZipInfo:
    """A header that says nothing of who made the bundle, where, and when."""
    info = ZipInfo(_ROOT + name, _OLDEST)
    info.create_system, info.external_attr = _UNIX, attributes
    return info


def _entries(files: RepositoryFiles, source: DirectoryTransport) -> list[Entry]:
    """The repository's files, sorted; refs are looked for first: what they need is there."""
    status = files.status(files.root / _FORMAT_FILE)
    if status is None:
        raise RepositoryNotFoundError(
            f"there is no repository in '{files.root}'", hint="'tupli init' makes one"
        )
    found = {entry.name: entry for folder in reversed(_FOLDERS) for entry in _below(source, folder)}
    found[_FORMAT_FILE] = Entry(_FORMAT_FILE, status.size_bytes if status.is_file else -1)
    for entry in found.values():
        if entry.size < 0:
            raise CorruptObjectError("it is not a regular file", path=source.place(entry.name))
    return [found[name] for name in sorted(found)]


def _below(source: DirectoryTransport, folder: str) -> Iterator[Entry]:
    for entry in source.list(folder):
        if entry.is_folder:
            yield from _below(source, entry.name)
        else:
            yield entry


def _chunks(source: DirectoryTransport, entry: Entry) -> Iterator[bytes]:
    """A file's bytes, as many as there were when it was listed: a journal may have grown."""
    for offset in range(0, entry.size, _CHUNK_BYTES):
        size = min(_CHUNK_BYTES, entry.size - offset)
        try:
            chunk = source.read(entry.name, offset, size)
        except FileNotFoundError:
            chunk = b""
        if len(chunk) != size:
            raise StorageIOError(
                f"'{source.place(entry.name)}' was changed while it was bundled", hint="try again"
            )
        yield chunk


def _name_in_repository(info: ZipInfo) -> str | None:
    """The name of a repository's file, as a transport has it; None for what is none."""
    if info.orig_filename.startswith(_ROOT):
        with suppress(InvalidInputError):
            return check_name(info.orig_filename.removeprefix(_ROOT))
    return None


def _folders(members: dict[str, _Member]) -> dict[str, dict[str, Entry]]:
    """What is in each folder."""
    folders: dict[str, dict[str, Entry]] = {}
    for name, member in members.items():
        entry = Entry(name, member.size)
        while folder := entry.name.rpartition("/")[0]:
            folders.setdefault(folder, {})[entry.name] = entry
            entry = Entry(folder, -1, is_folder=True)
    return folders


class _Reader(io.RawIOBase):
    """The bundle, as the ZIP reader wants it."""

    def __init__(self, fs: FileSystem, descriptor: int, size_bytes: int) -> None:
        self._fs, self._descriptor, self._size_bytes = fs, descriptor, size_bytes
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size_bytes}[whence]
        if start + offset < 0:
            raise ValueError("a place before the beginning")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._fs.read(self._descriptor, len(buffer), self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class _Bounded(io.BufferedReader):
    """Gives no more at once than a directory may have, whatever the file says it has."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > _MAX_DIRECTORY_BYTES:
            raise ValueError("a directory over the size limit")
        return super().read(size)


class _Writer(io.RawIOBase):
    """The file in the making, as the ZIP writer wants it.

    Once it fails it takes no more: the writer would still write its directory.
    """

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._at = self.size_bytes = 0
        self._is_dead = False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        assert whence == io.SEEK_SET
        if not self._is_dead and offset != self._at:
            self._scratch.seek(offset)
        self._at = offset
        return offset

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if not self._is_dead:
            self._is_dead = True
            self._scratch.write(data)
            self._is_dead = False
        self._at += len(data)
        self.size_bytes = max(self.size_bytes, self._at)
        return len(data)
