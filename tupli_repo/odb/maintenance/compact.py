"""Compaction: several packs become one, without what nothing needs.

The new pack is written, durable, and read back; then the old ones go to the trash; then the
repository is listed again. Each object that was to stay must now be in a pack that is present and
was read since, or the old pack that had it comes back. So nobody relies on what another has seen:
of two who move copies of one object away, the later one to look sees that both are gone.

Invariant: whatever stops it, wherever, each object that was to stay is in a pack or in the trash,
and where nothing stops it, in a pack.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from tupli_repo.errors import CorruptObjectError, LockedError
from tupli_repo.odb import block, trash
from tupli_repo.odb.files import RepositoryFiles, disk_errors
from tupli_repo.odb.maintenance.lock import cleaning
from tupli_repo.odb.objects import ObjectId
from tupli_repo.odb.pack import PACK_SUFFIX, TARGET_BYTES, PackFile, PackWriter
from tupli_repo.odb.remote_files import RemoteFile
from tupli_repo.odb.transport import DirectoryTransport, Entry, is_name

MAX_BYTES = 2 * TARGET_BYTES
"""No pack is made larger than this."""
MANY_PACKS = 64
"""As many packs are merged without being asked."""
_FACTOR = 2
_PART_BYTES = 4 << 20


class Pack(NamedTuple):
    """A pack that may be rewritten; sizes in bytes.

    Attributes:
        mtime_ns: When it was written: neighbours in time stay neighbours.
        name: Its file's name.
        size_bytes: Its size.
        loses: Whether something in it does not stay.
    """

    mtime_ns: int
    name: str
    size_bytes: int
    loses: bool = False


@dataclass(slots=True, kw_only=True)
class Compacted:
    """What became of packs; sizes in bytes.

    Args:
        merged: How many went to the trash.
        written: How many took their place.
        rescued: How many came back from the trash.
        bytes_trashed: The size of what went there and stayed.
        bytes_written: The size of what was written.
    """

    merged: int = 0
    written: int = 0
    rescued: int = 0
    bytes_trashed: int = 0
    bytes_written: int = 0


def choose_small(packs: Iterable[Pack]) -> list[Pack]:
    """Return the packs to be merged, so that each that is left is twice as large as the next.

    Packs that have reached the target are left alone.
    """
    small = sorted(
        (pack for pack in packs if pack.size_bytes < TARGET_BYTES),
        key=lambda pack: (pack.size_bytes, pack.name),
    )
    split = 0
    for n in range(len(small) - 1, 0, -1):
        if small[n].size_bytes < _FACTOR * small[n - 1].size_bytes:
            split = n + 1
            break
    total = sum(pack.size_bytes for pack in small[:split])
    while 0 < split < len(small) and small[split].size_bytes < _FACTOR * total:
        total += small[split].size_bytes
        split += 1
    return small[:split]


def group(packs: Iterable[Pack]) -> list[list[Pack]]:
    """Return packs in groups that become one each; what would stay as it is is left out."""
    groups: list[list[Pack]] = []
    size = 0
    for pack in sorted(packs):
        if not groups or size >= TARGET_BYTES or size + pack.size_bytes > MAX_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(pack)
        size += pack.size_bytes
    return [some for some in groups if len(some) > 1 or some[0].loses]


def compact(
    files: RepositoryFiles,
    packs: Sequence[Pack],
    stays: Callable[[ObjectId], bool],
    report: Compacted,
) -> None:
    """Make one pack of what stays of several; where one of them is gone, nothing is done.

    Args:
        files: The repository's files.
        packs: The packs; together at most `MAX_BYTES`.
        stays: Whether an object stays; the same for as long as this runs.
        report: What is done is added here.

    Raises:
        CorruptObjectError: One is damaged; it stays where it is.
        StorageIOError: The disk refused; nothing is lost.
    """
    with suppress(FileNotFoundError):  # somebody else is at it
        _Compaction(files, packs, stays, report).run()


def merge_small(files: RepositoryFiles, *, at_least: int = MANY_PACKS) -> Compacted:
    """Merge small packs where there are many, nothing is damaged and nobody is cleaning.

    All that is in them stays.

    Raises:
        CorruptObjectError: A pack is damaged; it stays where it is.
        StorageIOError: The disk refused; nothing is lost.
    """
    report = Compacted()
    if len(pack_names(files)) < at_least:
        return report
    with suppress(LockedError), cleaning(files) as is_locked:
        packs = choose_small(_all_packs(files)) if is_locked else []
        for some in group(packs):
            compact(files, some, lambda _: True, report)
    return report


def count_mergeable(files: RepositoryFiles) -> int:
    """Return how many small packs would be merged."""
    return sum(map(len, group(choose_small(_all_packs(files)))))


def pack_names(files: RepositoryFiles) -> list[str]:
    """Return the file names of the packs that are there now."""
    names = files.list_folder(files.packs)
    return [one for one in names if one.endswith(PACK_SUFFIX) and is_name(f"packs/{one}")]


def _all_packs(files: RepositoryFiles) -> Iterator[Pack]:
    for name in pack_names(files):
        status = files.status(files.packs / name)
        if status is not None and status.is_file:
            yield Pack(status.mtime_ns, name, status.size_bytes)


class _Compaction:
    """One group under way."""

    def __init__(
        self,
        files: RepositoryFiles,
        packs: Sequence[Pack],
        stays: Callable[[ObjectId], bool],
        report: Compacted,
    ) -> None:
        self._files = files
        self._packs = packs
        self._stays = stays
        self._report = report
        self._moved: list[tuple[Path, Pack]] = []

    def run(self) -> None:
        written = self._write()
        if written is not None and not self._reads_back(written):
            raise CorruptObjectError(
                "it was written just now and reads back otherwise",
                path=written,
                hint="'tupli fsck --repair' sets it aside; nothing was removed",
            )
        self._move_away(written)
        self._look_again(written)

    def _write(self) -> Path | None:
        """Write what stays; None where nothing does."""
        transport = DirectoryTransport(self._files)
        with PackWriter(self._files) as writer:
            for pack in self._packs:
                entry = Entry(f"packs/{pack.name}", pack.size_bytes)
                source = RemoteFile(transport, entry, None, self._files.fs)
                source.copy_to(writer.builder, self._stays, repack_raw=block.REPACK_RAW_BYTES)
            if not len(writer.builder):
                return None
            path = writer.commit()
        if all(pack.name != path.name for pack in self._packs):
            status = self._files.status(path)
            self._report.written += 1
            self._report.bytes_written += status.size_bytes if status is not None else 0
        return path

    def _reads_back(self, path: Path) -> bool:
        """Whether a pack is present and its bytes are those its name is the hash of."""
        digest = sha256()
        try:
            with self._files.open(path) as (descriptor, size), disk_errors("read", path):
                for at in range(0, size, _PART_BYTES):
                    digest.update(self._files.fs.read(descriptor, _PART_BYTES, at))
        except FileNotFoundError:
            return self._is_in_trash(path)  # another cleaner has merged it already
        return path.name == digest.hexdigest() + PACK_SUFFIX

    def _is_in_trash(self, path: Path) -> bool:
        return next(trash.find(self._files, path.name), None) is not None

    def _move_away(self, written: Path | None) -> None:
        loses = any(pack.loses for pack in self._packs)
        run = trash.NewRun(self._files, reason=trash.UNREACHABLE if loses else trash.SUPERSEDED)
        for pack in self._packs:
            if written is not None and pack.name == written.name:
                continue  # it came out as it was
            moved = run.move(self._files.packs / pack.name)
            if moved is not None:
                self._moved.append((moved, pack))
                self._report.merged += 1
                self._report.bytes_trashed += pack.size_bytes
        run.settle()

    def _look_again(self, written: Path | None) -> None:
        """See that what stays is in packs that are present, by reading them; else bring back."""
        fresh: set[bytes] = set()
        if written is not None and self._moved and self._reads_back(written):
            fresh = self._ids_in([written.name])
        for moved, pack in self._moved:
            with suppress(FileNotFoundError):  # brought back by another
                old = PackFile(self._files, moved).directory
                left = {bytes.fromhex(oid) for oid in old.ids() if self._stays(oid)} - fresh
                if not left or not left - self._ids_in(pack_names(self._files)):
                    continue
                if trash.move_back(self._files, moved) is not None:
                    self._report.rescued += 1
                    self._report.bytes_trashed -= pack.size_bytes

    def _ids_in(self, names: Iterable[str]) -> set[bytes]:
        """What is in packs that are present now."""
        found: set[bytes] = set()
        for name in names:
            with suppress(FileNotFoundError, CorruptObjectError):
                found |= PackFile(self._files, self._files.packs / name).directory.raw_ids()
        return found
