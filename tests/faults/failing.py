"""File systems that watch, fail, tear and die, and a way to do so at each step of an operation.

`HastyFileSystem` does not wait for the disk. `RecordingFileSystem` tells in which order the
primitives were called. `FailingFileSystem` raises at the n-th one. `each_step` runs a test's body
once for every n::

    for attempt in each_step(Killed):
        files = RepositoryFiles(tmp_path / str(attempt.step), attempt.fs)
        with attempt:
            operate(files)
        # look at what is left, with the real file system

They stand before the real disk, or before another `FileSystem`, one in memory for instance.

Faults: an `OSError` reaches the code once, or from then on (``lasting``, as a full disk does);
after `Killed` nothing happens any more, not even the tidying up; any other exception
(`KeyboardInterrupt`) comes once.
"""

import errno
import os
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import suppress
from functools import partial
from mmap import mmap
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple, Self

from tupli_repo.errors import StorageIOError
from tupli_repo.odb.files import FileStatus, FileSystem

_NEEDS_SPACE = frozenset(
    {"create", "write", "allocate", "copy_range", "fsync", "link", "make_folder"}
)
_MOST_STEPS = 20_000


class Killed(BaseException):
    """The process is dead: whatever it still wants of the disk does not happen."""


def refusal(number: int) -> OSError:
    """Return what the operating system raises for an error number, of its own class."""
    return OSError(number, os.strerror(number))


full_disk = partial(refusal, errno.ENOSPC)
broken_disk = partial(refusal, errno.EIO)

EVERY_FAULT: dict[str, Callable[[], BaseException]] = {
    "killed": Killed,
    "Ctrl-C": KeyboardInterrupt,
    **{
        name: partial(refusal, getattr(errno, name))
        for name in ("ENOSPC", "EDQUOT", "EIO", "EINTR", "ESTALE", "EACCES", "EROFS", "EMFILE")
        if hasattr(errno, name)
    },
}
"""What can happen to a primitive that changes the disk, by name."""
READ_FAULTS = {name: EVERY_FAULT[name] for name in ("EIO", "EINTR", "ESTALE", "EMFILE", "EACCES")}
"""What can happen to one that reads."""
Counted = Literal["changes", "reads", "all"]
"""Which primitives are steps at which something happens."""


class HastyFileSystem(FileSystem):
    """The real file system without waiting for the disk: no test really loses power."""

    def write_parts(self, descriptor: int, parts: Sequence[bytes]) -> None:
        self.write(descriptor, b"".join(parts))  # so that `write` alone is to be replaced

    def fsync(self, descriptor: int) -> None:
        os.fstat(descriptor)

    def fsync_folder(self, path: Path) -> None:
        os.stat(path)

    def allocate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)


class Call(NamedTuple):
    """One primitive: its name, the file or folder, and whether it changes the disk."""

    name: str
    path: Path
    changes: bool


class RecordingFileSystem(FileSystem):
    """A file system with a log of every primitive in order.

    Args:
        inner: The one that does the work; the real one, where each fsync is logged only.
    """

    def __init__(self, inner: FileSystem | None = None) -> None:
        self.inner = inner or HastyFileSystem()
        self.calls: list[Call] = []
        self._paths: dict[int, Path] = {}
        self._written: set[int] = set()

    def changes(self) -> list[tuple[str, Path]]:
        """Return name and path of the primitives that changed the disk, in order."""
        return [(call.name, call.path) for call in self.calls if call.changes]

    def clear(self) -> None:
        """Forget the log."""
        self.calls.clear()

    def release(self) -> None:
        """Close what is still open, as the end of a process does."""
        for descriptor in list(self._paths):
            with suppress(OSError):
                self.inner.close(descriptor)
        self._paths.clear()

    def before(self, call: Call) -> None:
        """Called before each primitive; raises where it is to fail."""
        self.calls.append(call)

    def create(self, path: Path, *, mode: int) -> int:
        self.before(Call("create", path, True))
        descriptor = self.inner.create(path, mode=mode)
        self._paths[descriptor] = path
        self._written.add(descriptor)
        return descriptor

    def write(self, descriptor: int, data: bytes) -> None:
        self.before(Call("write", self._paths[descriptor], True))
        self.inner.write(descriptor, data)

    def write_parts(self, descriptor: int, parts: Sequence[bytes]) -> None:
        self.write(descriptor, b"".join(parts))  # one write, torn anywhere

    def fsync(self, descriptor: int) -> None:
        self.before(Call("fsync", self._paths[descriptor], True))
        self.inner.fsync(descriptor)

    def close(self, descriptor: int) -> None:
        path, written = self._paths.pop(descriptor), descriptor in self._written
        self._written.discard(descriptor)
        self.inner.close(descriptor)  # first: one that fails has closed it all the same
        self.before(Call("close", path, written))

    def rename(self, source: Path, target: Path) -> None:
        self.before(Call("rename", target, True))
        self.inner.rename(source, target)

    def link(self, source: Path, target: Path) -> None:
        self.before(Call("link", target, True))
        self.inner.link(source, target)

    def remove(self, path: Path) -> None:
        self.before(Call("remove", path, True))
        self.inner.remove(path)

    def make_folder(self, path: Path, *, mode: int) -> None:
        self.before(Call("make_folder", path, True))
        self.inner.make_folder(path, mode=mode)

    def chmod(self, path: Path, mode: int) -> None:
        self.before(Call("chmod", path, True))
        self.inner.chmod(path, mode)

    def change_group(self, path: Path, group: int) -> None:
        self.before(Call("change_group", path, True))
        self.inner.change_group(path, group)

    def remove_folder(self, path: Path) -> None:
        self.before(Call("remove_folder", path, True))
        self.inner.remove_folder(path)

    def fsync_folder(self, path: Path) -> None:
        self.before(Call("fsync_folder", path, True))
        self.inner.fsync_folder(path)

    def open_read(self, path: Path) -> int:
        self.before(Call("open_read", path, False))
        descriptor = self.inner.open_read(path)
        self._paths[descriptor] = path
        return descriptor

    def read(self, descriptor: int, size: int, offset: int) -> bytes:
        self.before(Call("read", self._paths[descriptor], False))
        return self.inner.read(descriptor, size, offset)

    def copy_range(self, source: int, descriptor: int, size: int) -> None:
        self.before(Call("copy_range", self._paths[descriptor], True))
        self.inner.copy_range(source, descriptor, size)

    def allocate(self, descriptor: int, size: int) -> None:
        self.before(Call("allocate", self._paths[descriptor], True))
        self.inner.allocate(descriptor, size)

    def map_shared(self, descriptor: int, size: int) -> mmap:
        self.before(Call("map_shared", self._paths[descriptor], True))
        return self.inner.map_shared(descriptor, size)

    def map_private(self, descriptor: int, size: int) -> mmap:
        self.before(Call("map_private", self._paths[descriptor], False))
        return self.inner.map_private(descriptor, size)

    def renew(self, path: Path) -> None:
        self.before(Call("renew", path, True))
        self.inner.renew(path)

    def list_folder(self, path: Path) -> list[str]:
        self.before(Call("list_folder", path, False))
        return self.inner.list_folder(path)

    def status(self, path: Path) -> FileStatus:
        self.before(Call("status", path, False))
        return self.inner.status(path)


class FailingFileSystem(RecordingFileSystem):
    """Fails at one step; a step is a primitive that changes the disk, or one that reads.

    Args:
        step: Which one, counted from 1; 0 is none (`fail_at` sets it later).
        fault: What it raises.
        torn: Where that step is a write: the part of the data that reaches the file before, 0 to 1.
        lasting: Whether each later step that needs space fails too.
        inner: The file system that does the work.
        counted: Which primitives are steps.
    """

    def __init__(
        self,
        step: int,
        fault: BaseException,
        *,
        torn: float = 0.0,
        lasting: bool = False,
        inner: FileSystem | None = None,
        counted: Counted = "changes",
    ) -> None:
        super().__init__(inner)
        self.fault = fault
        self.failed: Call | None = None
        self._torn = torn
        self._lasting = lasting
        self._counted = counted
        self._left = step

    def fail_at(self, step: int) -> None:
        """Fail at the n-th step from now on."""
        self.failed, self._left = None, step

    def heal(self) -> None:
        """Fail no more: there is space again. The dead stay dead."""
        self._left, self._lasting = 0, False

    def before(self, call: Call) -> None:
        super().before(call)
        if self.failed is not None:
            if isinstance(self.fault, Killed) or (self._lasting and call.name in _NEEDS_SPACE):
                raise self.fault
            return
        if self._counted == "all" or call.changes is (self._counted == "changes"):
            self._left -= 1
            if self._left == 0:
                self.failed = call
                raise self.fault

    def write(self, descriptor: int, data: bytes) -> None:
        if self.failed is None and self._left == 1 and self._counted != "reads":
            self.inner.write(descriptor, data[: int(len(data) * self._torn)])
        super().write(descriptor, data)


class Attempt:
    """One run with a fault at one step; as a context manager it takes the fault back in.

    Args:
        step: The step that fails.
        fs: The file system that fails there.
    """

    def __init__(self, step: int, fs: FailingFileSystem) -> None:
        self.step = step
        self.fs = fs
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None
    ) -> bool:
        if isinstance(self.fs.fault, Killed):
            self.fs.release()
        self.error = err
        if err is self.fs.fault:
            return not isinstance(err, OSError)  # a bare OSError must not come through
        return isinstance(err, StorageIOError) and err.__cause__ is self.fs.fault


def each_step(
    fault: Callable[[], BaseException],
    *,
    torn: float = 0.0,
    lasting: bool = False,
    skip: Container[int] = (),
    inner: Callable[[], FileSystem] = HastyFileSystem,
    counted: Counted = "changes",
) -> Iterator[Attempt]:
    """Give an attempt that fails at step 1, one that fails at step 2, and so on.

    The one that meets no fault any more, because the operation has fewer steps, is the last; the
    loop's body is run for it too, so what holds after a fault is seen to hold without one.

    Args:
        fault: Makes what is raised.
        torn: The part of the data that a write that fails lets through, 0 to 1.
        lasting: Whether each later step that needs space fails too.
        skip: Steps that are like others.
        inner: Makes the file system below each attempt's.
        counted: Which primitives are steps.
    """
    for step in (n for n in range(1, _MOST_STEPS) if n not in skip):
        fs = FailingFileSystem(
            step, fault(), torn=torn, lasting=lasting, inner=inner(), counted=counted
        )
        yield Attempt(step, fs)
        if fs.failed is None:
            assert step > 1, "the operation has no step at which it could fail"
            return
    raise AssertionError(f"the operation has more than {_MOST_STEPS} steps")
