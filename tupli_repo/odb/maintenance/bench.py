"""The workbench of a repair: writing what was found, setting aside what is damaged.

What is damaged goes to `damaged/<run>/`, under its own path there, with a note beside it.

Invariant: nothing is deleted and no file is changed; where a damaged file is replaced, its bytes
are in `damaged/` before, and what replaces it is durable before the damaged file leaves its place.
"""

from collections.abc import Iterable
from pathlib import Path
from uuid import uuid4

from tupli_repo.errors import StorageIOError
from tupli_repo.odb import frames
from tupli_repo.odb.files import RepositoryFiles, Scratch, disk_errors
from tupli_repo.odb.maintenance.check import loose_path, read_loose
from tupli_repo.odb.maintenance.names import relative
from tupli_repo.odb.maintenance.salvage import scan
from tupli_repo.odb.objects import Encoded, ObjectId
from tupli_repo.odb.pack import TARGET_BYTES, PackWriter

_PART_BYTES = 4 << 20


class Bench:
    """Changes what a repair changes.

    Args:
        files: The repository's files.
        now: The time, for the name of the folder.

    Attributes:
        folder: Where damaged files go.
        moved: The damaged files that went there, relative to the `.tupli`.
        replaced: The files that were written in the place of something.
    """

    def __init__(self, files: RepositoryFiles, now: str) -> None:
        stamp = now.partition(".")[0].replace("-", "").replace(":", "")
        self.folder = files.root / "damaged" / f"{stamp}-{uuid4().hex[:8]}"
        self.moved: list[str] = []
        self.replaced: set[Path] = set()
        self._files = files

    def set_aside(self, path: Path, note: str) -> None:
        """Move something that is damaged out of its place; one that is gone is no error.

        Raises:
            StorageIOError: The disk refused.
        """
        status = self._files.status(path)
        target = self._place(path, note)
        fs = self._files.fs
        with disk_errors("set aside", path):
            try:
                if status is not None and status.is_file and self._files.link(path, target):
                    fs.fsync_folder(target.parent)  # else a power failure might leave neither name
                    fs.remove(path)
                else:
                    fs.rename(path, target)
                    fs.fsync_folder(target.parent)
            except FileNotFoundError:
                return
            fs.fsync_folder(path.parent)
        self.moved.append(relative(self._files.root, path))

    def replace(self, path: Path, data: bytes, note: str) -> None:
        """Make ``path`` hold ``data``; what is there is set aside, and never out of both places.

        Raises:
            StorageIOError: The disk refused.
        """
        self._keep(path, note)
        if self._files.status(path.parent) is None:
            self._files.ensure_parents(path)
        self._files.write_atomic(path, data)
        self.replaced.add(path)

    def write_loose(self, oid: ObjectId, encoded: bytes, note: str) -> None:
        """Write an object into a file of its own, in the place of a damaged one, if there is one.

        Raises:
            StorageIOError: The disk refused.
        """
        path = loose_path(self._files, oid)
        self.replace(path, frames.compress(encoded), note)
        read_loose(self._files, oid)  # read back before anything is set aside for it

    def write_packs(self, objects: Iterable[Encoded], note: str = "") -> set[Path]:
        """Write objects into packs, in their order, data before records in each.

        Returns:
            The packs; they were read back.

        Raises:
            StorageIOError: The disk refused.
        """
        packs: set[Path] = set()
        writer: PackWriter | None = None
        try:
            for oid, kind, encoded in objects:
                if writer is not None and writer.size_bytes + len(encoded) > TARGET_BYTES:
                    packs.add(self._commit(writer, note))
                    writer = None
                if writer is None:
                    writer = PackWriter(self._files)
                writer.add(oid, kind, encoded)
            if writer is not None:
                packs.add(self._commit(writer, note))
        except BaseException:  # Ctrl-C too
            if writer is not None:
                writer.__exit__(None, None, None)
            raise
        return packs

    def _commit(self, writer: PackWriter, note: str) -> Path:
        path = writer.finish()
        self._keep(path, note)  # the damaged pack may have been just this one
        writer.commit()
        self.replaced.add(path)
        if problems := scan(self._files, path).problems:
            raise StorageIOError(
                f"cannot write '{path}': what was written reads back otherwise: {problems[0]}",
                hint="the disk may fail; copy the repository to another one",
            )
        return path

    def _keep(self, path: Path, note: str) -> None:
        """See that what is in a place is in `damaged/` too; what is no file goes there."""
        status = self._files.status(path)
        if status is None:
            return
        if not status.is_file:
            self.set_aside(path, note)
            return
        target = self._place(path, note)
        with disk_errors("set aside", path):
            try:
                is_linked = self._files.link(path, target)
            except FileNotFoundError:  # gone meanwhile
                return
            if is_linked:
                self._files.fs.fsync_folder(target.parent)
            else:
                self._copy(path, target)
        self.moved.append(relative(self._files.root, path))

    def _copy(self, path: Path, target: Path) -> None:
        with self._files.open(path) as (descriptor, size), Scratch(self._files) as scratch:
            for at in range(0, size, _PART_BYTES):
                scratch.write(self._files.fs.read(descriptor, min(_PART_BYTES, size - at), at))
            scratch.commit(target)

    def _place(self, path: Path, note: str) -> Path:
        """Where something goes, a name that nothing has; the note is there first."""
        target = self.folder / path.relative_to(self._files.root)
        while self._files.status(target) is not None:
            target = target.with_name(f"{target.name}.again")
        self._files.ensure_parents(target)
        told = f"{relative(self._files.root, path)}\n{note}\n"
        self._files.write_atomic(target.with_name(f"{target.name}.note"), told.encode())
        return target
