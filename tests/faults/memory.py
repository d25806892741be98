"""A disk in memory, with the errors, times and modes of a real one.

`MemoryFileSystem` has every primitive of `FileSystem`. It is quick, it can be copied as it stands,
its clock stands still until the test moves it, and nothing on the machine is touched::

    disk = MemoryFileSystem()
    ada = Repository.init("/lab/ada", fs=disk)
    before = disk.copy()  # a snapshot: the same files on another disk

Where `log` is set to a list, each change is noted there, for `PowerLoss` to replay.

Every user is root here, as in a container: modes are kept and bar nobody. There are no symbolic
links. Two things follow Linux where systems differ: `remove` of a folder is EISDIR, and a folder
can be opened but not read.
"""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from stat import S_IMODE, S_ISGID
from threading import RLock

from tests.faults.nodes import Change, Entry, FileSync, FolderSync, Naming, Node, Writing
from tupli_repo.odb.files import FileStatus, FileSystem

_FIRST_DESCRIPTOR = 1_000_000  # no real one: a call that goes past this disk fails
_START_NS = 1_800_000_000 * 10**9
_TICK_NS = 1_000
_MAX_NAME_BYTES = 255
_UMASK = 0o022


class _Open:
    """What a descriptor stands for."""

    __slots__ = ("at", "is_writable", "node", "path")

    def __init__(self, path: str, node: Node, *, is_writable: bool) -> None:
        self.path, self.node, self.at, self.is_writable = path, node, 0, is_writable


class MemoryFileSystem(FileSystem):
    """A disk in memory; safe to use from several threads.

    Attributes:
        now_ns: The time, in nanoseconds since 1970. Each change takes a microsecond.
        log: Where changes are noted; None: nowhere.
        capacity_bytes: How many bytes all files may have together before ENOSPC; None: any.
        max_open: How many files may be open before EMFILE; None: any.
    """

    def __init__(
        self,
        *,
        now_ns: int = _START_NS,
        capacity_bytes: int | None = None,
        max_open: int | None = None,
    ) -> None:
        self.now_ns = now_ns
        self.log: list[Change] | None = None
        self.capacity_bytes = capacity_bytes
        self.max_open = max_open
        self.root = Node(1, 0o755, now_ns, is_folder=True)
        self._lock = RLock()
        self._open: dict[int, _Open] = {}
        self._next_inode, self._next_descriptor = 2, _FIRST_DESCRIPTOR

    # ---- for tests

    def copy(self) -> "MemoryFileSystem":
        """Return another disk with the same files; nothing is open there."""
        with self._lock:
            other = type(self)(
                now_ns=self.now_ns, capacity_bytes=self.capacity_bytes, max_open=self.max_open
            )
            made: dict[int, Node] = {}
            other.root = _copied(self.root, made)
            other._next_inode = self._next_inode
            other._next_descriptor = self._next_descriptor
            return other

    def release(self) -> None:
        """Close whatever is open, as the end of a process does."""
        with self._lock:
            self._open.clear()

    def open_paths(self) -> list[str]:
        """Return the paths of the files that are open, as they were when opened, sorted."""
        with self._lock:
            return sorted(one.path for one in self._open.values())

    def files(self, below: str | Path = "/") -> dict[str, bytes]:
        """Return the bytes of every file below a folder, by path, sorted."""
        with self._lock:
            try:
                start = self._find(Path(below))
            except FileNotFoundError:
                return {}
            return dict(sorted(_files(start, "" if str(below) == "/" else str(below))))

    def print_of(self, below: str | Path = "/") -> int:
        """Return a number that is the same for the same names and bytes below a folder."""
        with self._lock:
            try:
                return hash(_tree(self._find(Path(below))))
            except FileNotFoundError:
                return 0

    def overwrite(self, path: str | Path, data: bytes) -> None:
        """Put other bytes in a file, as no writer of ours does; there need not be one."""
        with self._lock:
            path = Path(path)
            self.make_folders(path.parent)
            parent = self._folder(path.parent)
            node = parent.get(path.name)
            if node is None:
                self.close(self.create(path, mode=0o644))
                node = parent[path.name]
            node.data = bytearray(data)
            node.mtime_ns = node.ctime_ns = self._tick()

    def make_folders(self, path: str | Path) -> None:
        """Make a folder and those above it that are missing."""
        path = Path(path)
        for folder in (*reversed(path.parents), path):
            if folder.name and folder.name not in self._folder(folder.parent):
                self.make_folder(folder, mode=0o755)

    # ---- writing

    def create(self, path: Path, *, mode: int) -> int:
        with self._lock:
            folder, name = self._place(path)
            if name in _names(folder):
                raise _error(errno.EEXIST, path)
            node = self._new(folder, mode, is_folder=False)
            descriptor = self._opened(path, node, is_writable=True)
            self._enter(path, folder, name, node)
            return descriptor

    def write(self, descriptor: int, data: bytes) -> None:
        with self._lock:
            if not data:
                return  # nothing is asked of the operating system
            one = self._writable(descriptor)
            self._write_at(one, one.at, bytes(data))
            one.at += len(data)

    def write_parts(self, descriptor: int, parts: Sequence[bytes]) -> None:
        self.write(descriptor, b"".join(parts))

    def seek(self, descriptor: int, offset: int) -> None:
        with self._lock:
            one = self._at(descriptor)
            if offset < 0:
                raise _error(errno.EINVAL)
            one.at = offset

    def fsync(self, descriptor: int) -> None:
        with self._lock:
            one = self._at(descriptor)
            is_folder = one.node.names is not None
            self._note((FolderSync if is_folder else FileSync)(one.node.inode))

    def close(self, descriptor: int) -> None:
        with self._lock:
            self._at(descriptor)
            del self._open[descriptor]

    def rename(self, source: Path, target: Path) -> None:
        with self._lock:
            from_folder, old = self._place(source)
            to_folder, new = self._place(target)  # both folders are looked for before the file
            node = self._named(source)
            there = _names(to_folder).get(new)
            if there is node:
                return  # two names of one file: both stay, says POSIX
            if node.names is not None and _is_below(to_folder, node):
                raise _error(errno.EINVAL, source, target)
            if there is not None and there.names is not None and node.names is None:
                raise _error(errno.EISDIR, source, target)
            if there is not None and there.names is None and node.names is not None:
                raise _error(errno.ENOTDIR, source, target)
            if there is not None and there.names:
                raise _error(errno.ENOTEMPTY, source, target)
            now = self._tick()
            if there is not None:
                there.n_links -= 1
                there.ctime_ns = now
            del _names(from_folder)[old]
            _names(to_folder)[new] = node
            node.ctime_ns = now
            _touch(from_folder, now)
            _touch(to_folder, now)
            went = Entry(from_folder.inode, old, node, is_there=False)
            came = Entry(to_folder.inode, new, node, is_there=True)
            if from_folder is to_folder:
                self._note(Naming(str(target), (went, came)))
            else:  # one half may be on the disk without the other
                self._note(Naming(str(source), (went,)))
                self._note(Naming(str(target), (came,)))

    def link(self, source: Path, target: Path) -> None:
        with self._lock:
            node = self._named(source)
            folder, name = self._place(target)
            if name in _names(folder):
                raise _error(errno.EEXIST, source, target)
            if node.names is not None:
                raise _error(errno.EPERM, source, target)
            node.n_links += 1
            node.ctime_ns = self.now_ns + _TICK_NS
            self._enter(target, folder, name, node)

    def remove(self, path: Path) -> None:
        with self._lock:
            folder, name = self._place(path)
            node = self._named(path)
            if node.names is not None:
                raise _error(errno.EISDIR, path)
            self._leave(path, folder, name, node)

    def make_folder(self, path: Path, *, mode: int) -> None:
        with self._lock:
            folder, name = self._place(path)
            if name in _names(folder):
                raise _error(errno.EEXIST, path)
            self._enter(path, folder, name, self._new(folder, mode, is_folder=True))

    def chmod(self, path: Path, mode: int) -> None:
        with self._lock:
            node = self._named(path)
            node.mode, node.ctime_ns = S_IMODE(mode), self._tick()

    def change_group(self, path: Path, group: int) -> None:
        with self._lock:
            self._named(path).ctime_ns = self._tick()

    def remove_folder(self, path: Path) -> None:
        with self._lock:
            folder, name = self._place(path)
            node = self._named(path)
            if node.names is None:
                raise _error(errno.ENOTDIR, path)
            if node.names:
                raise _error(errno.ENOTEMPTY, path)
            self._leave(path, folder, name, node)

    def fsync_folder(self, path: Path) -> None:
        with self._lock:
            node = self._named(path)
            if node.names is not None:
                self._note(FolderSync(node.inode))

    def copy_range(self, source: int, descriptor: int, size: int) -> None:
        with self._lock:
            if size <= 0:
                return
            inside, one = self._at(source), self._at(descriptor)
            if inside.node.names is not None or one.node.names is not None:
                raise _error(errno.EISDIR)
            if not one.is_writable:
                raise _error(errno.EBADF)
            part = bytes(inside.node.data[:size])
            if part:
                self._write_at(one, 0, part)
            if len(part) < size:
                raise OSError(errno.EIO, "the file is shorter than it was")

    # ---- reading

    def open_read(self, path: Path) -> int:
        with self._lock:
            return self._opened(path, self._named(path), is_writable=False)

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        with self._lock:
            if size <= 0:
                return b""
            one = self._at(descriptor)
            if offset < 0:
                raise _error(errno.EINVAL)
            if one.node.names is not None:
                raise _error(errno.EISDIR)
            return bytes(one.node.data[offset : offset + size])

    def list_folder(self, path: Path) -> list[str]:
        with self._lock:
            return sorted(self._folder(path))

    def status(self, path: Path) -> FileStatus:
        with self._lock:
            node = self._named(path)
            return FileStatus(
                size_bytes=len(node.data),
                mtime_ns=node.mtime_ns,
                ctime_ns=node.ctime_ns,
                inode=node.inode,
                is_file=node.names is None,
                is_folder=node.names is not None,
                mode=node.mode,
                links=node.n_links,
            )

    # ---- nodes

    def _find(self, path: Path) -> Node:
        node = self.root
        for name in path.parts[1:]:
            if node.names is None:
                raise _error(errno.ENOTDIR, path)
            found = node.names.get(name)
            if found is None:
                if len(os.fsencode(name)) > _MAX_NAME_BYTES:
                    raise _error(errno.ENAMETOOLONG, path)
                raise _error(errno.ENOENT, path)
            node = found
        return node

    def _named(self, path: Path) -> Node:
        return self._find(path if path.is_absolute() else path.absolute())

    def _folder(self, path: Path) -> dict[str, Node]:
        names = self._named(path).names
        if names is None:
            raise _error(errno.ENOTDIR, path)
        return names

    def _place(self, path: Path) -> tuple[Node, str]:
        """The folder in which a name lies or shall lie, and the name."""
        folder = self._named(path.parent)
        if folder.names is None:
            raise _error(errno.ENOTDIR, path)
        if len(os.fsencode(path.name)) > _MAX_NAME_BYTES:
            raise _error(errno.ENAMETOOLONG, path)
        return folder, path.name

    def _new(self, folder: Node, mode: int, *, is_folder: bool) -> Node:
        mode = mode & 0o777 & ~_UMASK
        if is_folder and folder.mode & S_ISGID:
            mode |= S_ISGID
        inode, self._next_inode = self._next_inode, self._next_inode + 1
        return Node(inode, mode, self.now_ns + _TICK_NS, is_folder=is_folder)

    def _enter(self, path: Path, folder: Node, name: str, node: Node) -> None:
        _names(folder)[name] = node
        _touch(folder, self._tick())
        self._note(Naming(str(path), (Entry(folder.inode, name, node, is_there=True),)))

    def _leave(self, path: Path, folder: Node, name: str, node: Node) -> None:
        del _names(folder)[name]
        now = self._tick()
        _touch(folder, now)
        node.n_links, node.ctime_ns = node.n_links - 1, now
        self._note(Naming(str(path), (Entry(folder.inode, name, node, is_there=False),)))

    def _write_at(self, one: _Open, offset: int, data: bytes) -> None:
        self._need(max(0, offset + len(data) - len(one.node.data)))
        _overlay(one.node.data, offset, data)
        one.node.mtime_ns = one.node.ctime_ns = self._tick()
        self._note(Writing(one.path, one.node.inode, offset, data))

    def _need(self, more: int) -> None:
        if self.capacity_bytes is not None and more:
            used = sum(map(len, self.files().values()))
            if used + more > self.capacity_bytes:
                raise _error(errno.ENOSPC)

    def _opened(self, path: Path, node: Node, *, is_writable: bool) -> int:
        if self.max_open is not None and len(self._open) >= self.max_open:
            raise _error(errno.EMFILE, path)
        descriptor, self._next_descriptor = self._next_descriptor, self._next_descriptor + 1
        self._open[descriptor] = _Open(str(path), node, is_writable=is_writable)
        return descriptor

    def _at(self, descriptor: int) -> _Open:
        found = self._open.get(descriptor)
        if found is None:
            raise _error(errno.EBADF)
        return found

    def _writable(self, descriptor: int) -> _Open:
        found = self._at(descriptor)
        if not found.is_writable:
            raise _error(errno.EBADF)
        return found

    def _tick(self) -> int:
        self.now_ns += _TICK_NS
        return self.now_ns

    def _note(self, change: Change) -> None:
        if self.log is not None:
            self.log.append(change)


def _error(number: int, *paths: Path) -> OSError:
    """The error of the operating system, of its own class (`FileNotFoundError`…)."""
    if len(paths) == 2:
        return OSError(number, os.strerror(number), str(paths[0]), None, str(paths[1]))
    return OSError(number, os.strerror(number), *map(str, paths))


def _names(folder: Node) -> dict[str, Node]:
    assert folder.names is not None
    return folder.names


def _touch(folder: Node, now_ns: int) -> None:
    folder.mtime_ns = folder.ctime_ns = now_ns


def _is_below(folder: Node, above: Node) -> bool:
    if folder is above:
        return True
    return any(_is_below(folder, node) for node in _names(above).values() if node.names is not None)


def _overlay(data: bytearray, offset: int, part: bytes) -> None:
    if offset > len(data):
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(part)] = part


def _copied(node: Node, made: dict[int, Node]) -> Node:
    """Copy a node with all below it; what has two names is one node there too."""
    if node.inode in made:
        return made[node.inode]
    other = made[node.inode] = node.like()
    if node.names is not None:
        other.names = {name: _copied(below, made) for name, below in node.names.items()}
    return other


def _files(node: Node, path: str) -> list[tuple[str, bytes]]:
    if node.names is None:
        return [(path, bytes(node.data))]
    return [one for name, below in node.names.items() for one in _files(below, f"{path}/{name}")]


def _tree(node: Node) -> tuple[object, ...]:
    if node.names is None:
        return (bytes(node.data),)
    return tuple((name, _tree(one)) for name, one in sorted(node.names.items()))
